"""`flask audit` and `flask approval` print what the pages show, by the same filter."""

import csv
import io

import pytest
from flask import Flask

from bridge.accounts.customers import set_account_limits
from bridge.acts import COMMAND, Actor
from bridge.payments.approvals import BALANCE, Wish, ask_for_approval, list_waiting_approvals, refuse
from tests.factories import DOLLAR, Factories
from tests.ops.test_commands_codes import run

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
OPS = Actor("ops@example.com", is_operator=True)


def test_the_audit_log_is_listed_and_exported_by_the_pages_filter(app: Flask, make: Factories):
    account, another = make.make_account(0), make.make_account(0)
    with app.app_context():
        set_account_limits(account.id, {"rpm": 60}, OPS)
        set_account_limits(account.id, {"rpm": 7}, COMMAND)
        set_account_limits(another.id, {"rpm": 5}, OPS)

    def found(*options: str) -> list[str]:
        status, printed, problem = run(app, "audit", "export", "--kind", "limits", *options)
        assert (status, problem) == (0, "")
        return [line["detail"] for line in csv.DictReader(io.StringIO(printed))]

    assert found() == ["rpm none → 5", "rpm 60 → 7", "rpm none → 60"]
    assert found("--who", "command") == ["rpm 60 → 7"]
    assert found("--by", OPS.by, "--account", account.email) == ["rpm none → 60"]
    assert found("--text", "none") == ["rpm none → 5", "rpm none → 60"]
    assert found("--since", "2001-01-01", "--until", "2001-02-01") == []
    status, printed, _ = run(app, "audit", "list", "--kind", "limits", "--limit", "1")
    assert (status, len(printed.splitlines())) == (0, 2)
    assert all(word in printed for word in ("Account limits changed", OPS.by, another.email, "rpm none → 5"))
    assert run(app, "audit", "list", "--account", "nobody@example.com")[0] == 1
    assert run(app, "audit", "list", "--since", "yesterday")[0] == 1


def test_what_waits_for_approval_is_listed_apart_from_what_is_decided(app: Flask, make: Factories):
    account = make.make_account(0)
    with app.app_context():
        for note in ("First", "Second"):
            ask_for_approval(Wish(BALANCE, 500 * DOLLAR, account.id, note=note), OPS)
        refuse(list_waiting_approvals()[0].id, Actor("other@example.com"), "Not agreed")
    status, waiting, _ = run(app, "approval", "list")
    assert status == 0
    assert all(word in waiting for word in (OPS.by, account.email, "balance +$500.00, Second"))
    assert "First" not in waiting
    _, decided, _ = run(app, "approval", "list", "--decided")
    assert all(word in decided for word in ("refused", "other@example.com", "First"))
    assert "Second" not in decided
