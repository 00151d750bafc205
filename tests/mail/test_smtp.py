"""A mail reaches a real SMTP server: signed in, with verified TLS, and readable as written."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.config import Settings
from bridge.mail import smtp
from bridge.mail.smtp import MailDelayed, MailRefused, find_server, send, write_message
from bridge.settings_problems import list_problems
from tests.mail.server import PASSWORD, USER, MailServer

FROM = "AI Bridge <no-reply@gateway.test>"


def hand_over(
    recipient: str = "ada@example.com", subject: str = "Hello", text: str = "Hi.\n", **fields: object
) -> None:
    server = find_server(Settings(smtp_from=FROM, **fields))  # type: ignore[arg-type]
    assert server
    send(server, write_message(server, recipient, subject, text, 17))


def test_a_mail_arrives_as_it_was_written(server: MailServer):
    text = "Your balance is $4.99 – below “five”.\n.\nA line with a dot alone, ünd mehr.\n"
    hand_over(subject="Balance below $5.00 – ünd", text=text, smtp_url=f"smtp://127.0.0.1:{server.port}")
    (mail,) = server.mails
    assert mail.sender.startswith("FROM:<no-reply@gateway.test>")
    assert mail.recipients == ["TO:<ada@example.com>"]
    assert (mail.message["From"], mail.message["To"]) == (FROM, "ada@example.com")
    assert mail.message["Subject"] == "Balance below $5.00 – ünd"
    assert mail.message["Message-ID"] == "<ai-bridge-17@gateway.test>"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["Date"]
    assert mail.message.get_content().replace("\r\n", "\n") == text
    assert not mail.encrypted


@pytest.mark.parametrize("implicit", [False, True])
def test_tls_is_used_and_the_password_goes_through_it(
    start_server: Callable[..., MailServer], certificate: Path, monkeypatch: pytest.MonkeyPatch, implicit: bool
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = start_server(certificate, implicit_tls=implicit)
    scheme = "smtps" if implicit else "smtp"
    hand_over(smtp_url=f"{scheme}://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}")
    assert [(mail.encrypted, mail.user) for mail in server.mails] == [(True, USER)]


@pytest.mark.parametrize("implicit", [False, True])
def test_a_certificate_that_nobody_vouches_for_gets_no_mail(
    start_server: Callable[..., MailServer], certificate: Path, implicit: bool
):
    server = start_server(certificate, implicit_tls=implicit)
    scheme = "smtps" if implicit else "smtp"
    with pytest.raises(MailDelayed, match="(?i)certificate"):
        hand_over(smtp_url=f"{scheme}://{USER}:x@127.0.0.1:{server.port}")
    assert server.connections == 1
    assert server.mails == []


def test_a_certificate_of_another_name_gets_no_mail(
    start_server: Callable[..., MailServer], certificate: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server = start_server(certificate)
    with pytest.raises(MailDelayed, match="(?i)mismatch|not valid"):
        hand_over(smtp_url=f"smtp://localhost:{server.port}")
    assert server.mails == []


def test_a_server_elsewhere_without_tls_gets_neither_password_nor_mail(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(smtp, "_is_this_machine", lambda _host: False)
    with pytest.raises(MailDelayed, match="STARTTLS"):
        hand_over(smtp_url=f"smtp://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}")
    assert server.mails == []


def test_host_port_user_and_password_may_come_apart(server: MailServer):
    hand_over(smtp_host="127.0.0.1", smtp_port=server.port, smtp_user=USER, smtp_password=PASSWORD)
    assert [mail.user for mail in server.mails] == [USER]


@pytest.mark.parametrize(
    ("verb", "answer", "refused"),
    [
        ("RCPT", b"550 no such user", True),
        ("RCPT", b"450 mailbox busy", False),
        ("DATA", b"554 we think it is spam", True),
        ("DATA", b"451 local error", False),
        ("MAIL", b"550 you may not send", False),  # for us to fix: the mail can wait for that
    ],
)
def test_what_the_server_says_decides_whether_it_is_worth_another_try(
    server: MailServer, verb: str, answer: bytes, refused: bool
):
    server.answers[verb] = answer
    with pytest.raises(MailRefused if refused else MailDelayed, match=answer.decode()[:3]):
        hand_over(smtp_url=f"smtp://127.0.0.1:{server.port}")
    assert server.mails == []


def test_a_wrong_password_waits_for_the_operator(server: MailServer):
    with pytest.raises(MailDelayed, match="535"):
        hand_over(smtp_url=f"smtp://{USER}:wrong@127.0.0.1:{server.port}")


def test_a_bad_farewell_does_not_unsend_a_mail(server: MailServer):
    server.answers["QUIT"] = b"500 stay"
    hand_over(smtp_url=f"smtp://127.0.0.1:{server.port}")
    assert len(server.mails) == 1


def test_nobody_there_is_no_reason_to_give_up(server: MailServer):
    server.close()
    with pytest.raises(MailDelayed):
        hand_over(smtp_url=f"smtp://127.0.0.1:{server.port}")


@pytest.mark.parametrize("field", ["subject", "recipient"])
def test_no_header_can_be_smuggled_in(server: MailServer, field: str):
    with pytest.raises(MailRefused):
        hand_over(**{field: "a@example.com\nBcc: all@example.com"}, smtp_url=f"smtp://127.0.0.1:{server.port}")  # type: ignore[arg-type]
    assert server.mails == []


def test_passwords_are_not_shown():
    server = find_server(Settings(smtp_url="smtp://me:hunter2@mail.test", smtp_from=FROM))
    assert server
    assert (server.port, server.implicit_tls, server.password) == (587, False, "hunter2")
    assert "hunter2" not in repr(server)
    assert find_server(Settings()) is None


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"smtp_url": "mail.test:587", "smtp_from": FROM}, "SMTP_URL"),
        ({"smtp_url": "smtp://user:p@ss@mail.test", "smtp_from": FROM}, "SMTP_URL"),
        ({"smtp_url": "smtp://mail.test"}, "SMTP_FROM"),
        ({"smtp_host": "mail.test", "smtp_from": "AI Bridge"}, "SMTP_FROM"),
        ({"smtp_url": "smtp://me:w%C3%B6rd@mail.test", "smtp_from": FROM}, "The mail server's"),
        ({"nightly_hour": 24}, "NIGHTLY_HOUR"),
    ],
)
def test_what_is_wrong_with_the_settings_is_said_at_start(settings: Settings, fields: dict, complaint: str):
    (found,) = list_problems(dataclasses.replace(settings, **fields))
    assert found.startswith(complaint)


def test_right_settings_start(mailing: Settings):
    assert list_problems(mailing) == []
