"""`flask code` and `flask mail` do what they print, and fail with one line."""

import dataclasses
import re

import pytest
from flask import Flask

from bridge.errors import InvalidRequest
from bridge.payments.codes import redeem
from tests.factories import DOLLAR, Factories
from tests.mail.conftest import start_server  # noqa: F401 - a fixture
from tests.mail.server import MailServer

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def run(app: Flask, *arguments: str) -> tuple[int, str, str]:
    result = app.test_cli_runner().invoke(args=list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_codes_are_made_listed_and_voided(app: Flask, make: Factories):
    account = make.make_account(0)
    status, printed, _ = run(app, "code", "create", "10", "--count", "3", "--expires", "2100-01-01", "--note", "Gift")
    codes = re.findall(r"^(?:[0-9A-Z]{5}-){3}[0-9A-Z]{5}$", printed, re.MULTILINE)
    assert (status, len(set(codes))) == (0, 3)
    with app.app_context():
        assert redeem(account.id, codes[0], made_by="x") == 10 * DOLLAR
    line = run(app, "code", "list")[1].splitlines()[1]
    assert line.split() == ["1", "10.00", "1", "of", "3", "open", "2100-01-01T00:00:00+00:00", "command", "Gift"]
    assert run(app, "code", "void", "1") == (0, "Voided batch 1: 2 codes that nobody had redeemed.\n1\n", "")
    with app.app_context(), pytest.raises(InvalidRequest):
        redeem(account.id, codes[1], made_by="x")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("create", "ten"), "dollars"),
        (("create", "10", "--count", "0"), "1 to 1,000"),
        (("create", "10", "--expires", "soon"), "ISO 8601"),
        (("create", "10", "--expires", "2020-01-01"), "passed already"),
        (("void", "9"), "no such batch"),
    ],
)
def test_what_makes_no_sense_is_one_line(app: Flask, arguments: tuple[str, ...], complaint: str):
    status, printed, said = run(app, "code", *arguments)
    assert (status, printed) == (1, "")
    assert said.startswith("Error: ")
    assert said.count("\n") == 1
    assert complaint in said


def test_a_mail_is_tried_or_refused_aloud(app: Flask, start_server):  # noqa: F811 - the fixture
    assert "There is no mail server" in run(app, "mail", "test", "ada@example.com")[1]
    server: MailServer = start_server()
    url = f"smtp://127.0.0.1:{server.port}"
    app.config["BRIDGE"] = dataclasses.replace(app.config["BRIDGE"], smtp_url=url, smtp_from="no-reply@gateway.test")
    status, printed, _ = run(app, "mail", "test", "ada@example.com")
    assert (status, printed) == (0, f"127.0.0.1:{server.port} took a mail to ada@example.com.\n")
    assert [mail.recipients for mail in server.mails] == [["TO:<ada@example.com>"]]
    server.answers["RCPT"] = b"550 no such user"
    status, _, said = run(app, "mail", "test", "ada@example.com")
    assert (status, said) == (1, f"Error: 127.0.0.1:{server.port} did not take it: 550 no such user\n")
