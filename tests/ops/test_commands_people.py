"""`flask account email`, `sessions`, `second-factor` and `delete` do what they print, are on record, and fail with one
line."""

import pytest
from flask import Flask

from bridge.accounts.emails import find_by_email
from bridge.accounts.keys import read_caller
from bridge.accounts.passkeys import list_passkeys
from bridge.accounts.second_factor import draw_secret, find_second_factor, turn_on
from bridge.accounts.sessions import list_sessions
from bridge.accounts.tables import Member, Passkey
from bridge.acts import COMMAND, list_acts
from bridge.db import now_utc, transaction
from tests.dashboard.letters import read_mails
from tests.dashboard.pages import sign_in
from tests.factories import Factories, MadeAccount
from tests.ops.test_commands_codes import run

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account()


def find(account: MadeAccount) -> Member:
    member = find_by_email(account.email)
    assert member
    return member


def test_an_address_is_changed_at_the_operators_word(app: Flask, make: Factories, account: MadeAccount):
    taken = make.make_account()
    assert run(app, "account", "email", account.email, "New@Example.com")[:2] == (
        0,
        f"{account.email} signs in as new@example.com from now on.\n",
    )
    assert sign_in(app.test_client(), "new@example.com", account.password).status_code == 303
    assert "new@example.com" in read_mails(app, account.email)[0]
    for wanted in (taken.email, "no address"):
        status, printed, complaint = run(app, "account", "email", "new@example.com", wanted)
        assert (status, printed, complaint.count("\n")) == (1, "", 1)
    with app.app_context():
        assert ("email", "command") in [(act.what, act.made_by) for act in list_acts(account.id)]


def test_sessions_are_listed_and_ended(app: Flask, account: MadeAccount):
    browser = app.test_client()
    browser.environ_base["HTTP_USER_AGENT"] = "a browser"
    sign_in(browser, account.email, account.password)
    status, printed, _ = run(app, "account", "sessions", "list", account.email)
    assert (status, printed.splitlines()[1].endswith("127.0.0.1  a browser")) == (0, True)
    assert run(app, "account", "sessions", "end", account.email)[0] == 0
    assert browser.get("/dashboard/").status_code == 302
    with app.app_context():
        assert list_sessions(find(account).id) == []


def test_a_lost_second_factor_is_removed(app: Flask, account: MadeAccount, monkeypatch: pytest.MonkeyPatch):
    assert run(app, "account", "second-factor", "remove", account.email)[0] == 1
    monkeypatch.setattr("bridge.accounts.second_factor._find_step", lambda _secret, _code: 1)
    with app.app_context():
        turn_on(find(account), draw_secret(), "", COMMAND)
    assert sign_in(app.test_client(), account.email, account.password).location == "/sign-in/code"
    assert run(app, "account", "second-factor", "remove", account.email)[0] == 0
    assert sign_in(app.test_client(), account.email, account.password).location == "/dashboard/"
    assert "turned off" in " ".join(read_mails(app, account.email))
    with app.app_context():
        assert find_second_factor(find(account).id) is None


def test_lost_passkeys_are_removed_only_when_it_is_said(app: Flask, account: MadeAccount):
    with app.app_context(), transaction() as session:
        fields = {"credential_id": b"1", "public_key": b"2", "sign_count": 0, "created_at": now_utc()}
        session.add(Passkey(member_id=find(account).id, name="Laptop", **fields))
    status, _, problem = run(app, "account", "second-factor", "remove", account.email)
    assert (status, "--passkeys" in problem) == (1, True)
    assert run(app, "account", "second-factor", "remove", account.email, "--passkeys")[0] == 0
    with app.app_context():
        assert list_passkeys(find(account).id) == []


def test_an_account_is_deleted_and_its_balance_told(app: Flask, make: Factories, account: MadeAccount):
    key = make.make_key(account)
    status, printed, _ = run(app, "account", "delete", account.email)
    assert status == 1  # nobody answered
    status, printed, _ = run(app, "account", "delete", account.email, "--yes")
    assert status == 0
    assert printed.splitlines()[0].endswith("Its balance was $10.00; 1 key refused.")
    assert printed.splitlines()[-1] == str(account.id)
    with app.app_context():
        assert find_by_email(account.email) is None
        assert read_caller(key.secret) is None
        assert [act.made_by for act in list_acts(account.id) if act.what == "deleted"] == ["command"]
    assert "The balance was $10.00" in read_mails(app, account.email)[0]
