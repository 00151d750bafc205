"""The key pages: a secret is shown once, errors are beside their field, and nobody reaches another's key."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import set_account_limits
from bridge.accounts.key_search import list_all_keys
from bridge.accounts.keys import read_caller
from bridge.db import db, now_utc, transaction
from bridge.ledger.budgets import NEVER
from bridge.ledger.tables import Budget
from tests.dashboard.pages import post, sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_record

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
NEW, KEYS = "/dashboard/keys/new", "/dashboard/keys"


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    """The account that is signed in."""
    account = make.make_account()
    assert sign_in(client, account.email, account.password).status_code == 303
    return account


def secret_in(page: str) -> str:
    found = re.search(r'id="secret">(sk-[0-9A-Za-z]{38})<', page)
    assert found
    return found[1]


def test_a_new_key_is_shown_once_with_code_that_works(app: Flask, client: FlaskClient, account: MadeAccount):
    answer = post(client, KEYS, NEW, name="worker-prod", rpm="60", budget_day="5")
    secret = secret_in(answer.text)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.text.count(secret) == 5  # in the box, on its button, in three snippets
    assert "http://127.0.0.1:8000/v1" in answer.text
    with app.app_context():
        caller = read_caller(secret)
        key = list_all_keys(account.id)[0]
    assert caller
    assert (caller.account_id, caller.rpm, caller.budget_day_nanos) == (account.id, 60, 5 * DOLLAR)
    for page in (KEYS, f"{KEYS}/{key.id}", "/dashboard/"):
        assert secret not in client.get(page).text
    assert f"sk-…{secret[-4:]}" in client.get(KEYS).text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("rpm", "many"),
        ("tpm", "-1"),
        ("concurrency", "1.5"),
        ("budget_day", "ten"),
        ("models", "gpt-9"),
        ("addresses", "10.0.0.1/8"),
        ("expires_at", "2020-01-01T00:00"),
        ("expires_at", "soon"),
    ],
)
def test_an_error_stands_beside_its_field_and_values_stay(
    app: Flask, client: FlaskClient, account: MadeAccount, field: str, value: str
):
    sent = {"name": "kept-name", "addresses": "203.0.113.7", field: value}
    answer = post(client, KEYS, NEW, **sent)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    control = re.search(rf'<(?:input|textarea|summary)[^>]*\bid="{field}"[^>]*>', answer.text)
    assert control
    assert f'aria-describedby="{field}-error' in control[0]
    assert 'aria-invalid="true"' in control[0]
    assert f'href="#{field}"' in answer.text
    for kept in filter(None, sent.values()):
        assert kept in answer.text
    with app.app_context():
        assert list_all_keys(account.id) == []


def test_the_page_of_a_key_says_which_limit_binds(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    with app.app_context():
        set_account_limits(account.id, {"rpm": 60, "tpm": 5000})
    new = client.get(NEW).text
    assert new.count("Leave empty for the account&#39;s ") + new.count("Leave empty for the account's ") == 2
    made = post(client, KEYS, NEW, name="lifted", rpm="1000", tpm="400", concurrency="1000").text
    for label, figure in (("Requests a minute", "60"), ("Tokens a minute", "400"), ("At once", "1,000")):
        assert f"<dt>{label}</dt><dd>{figure}</dd>" in made
    with app.app_context():
        key = list_all_keys(account.id)[0]
    page = client.get(f"{KEYS}/{key.id}").text
    assert re.search(r'id="rpm-hint">The account.{1,5}s 60 binds', page)
    assert re.search(r'id="tpm-hint">400 binds', page)
    assert "60 / 400" in client.get(KEYS).text


def test_a_key_is_changed_and_counts_at_once(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    key = make.make_key(account, rpm=60, models=["gpt-4o"], addresses=["203.0.113.0/24"])
    page = client.get(f"{KEYS}/{key.id}").text
    assert re.search(r'value="gpt-4o"\s+checked', page)
    assert "203.0.113.0/24</textarea>" in page
    answer = post(client, f"{KEYS}/{key.id}", f"{KEYS}/{key.id}", name="renamed", rpm="2", models="gpt-4o, gpt-4o-mini")
    assert (answer.status_code, answer.location) == (303, KEYS)
    with app.app_context():
        caller = read_caller(key.secret)
    assert caller
    assert (caller.key_name, caller.rpm, caller.addresses) == ("renamed", 2, None)
    assert caller.models == {"gpt-4o", "gpt-4o-mini"}


def test_saving_a_key_as_it_is_keeps_its_expiry_to_the_second(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    expires_at = now_utc().replace(year=2099, second=31, microsecond=5)
    key = make.make_key(account, expires_at=expires_at)
    post(client, f"{KEYS}/{key.id}", f"{KEYS}/{key.id}", name="same", expires_at=expires_at.strftime("%Y-%m-%dT%H:%M"))
    with app.app_context():
        assert list_all_keys(account.id)[0].expires_at == expires_at


def test_a_disabled_key_is_refused_until_it_is_enabled(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key = make.make_key(account)
    post(client, f"{KEYS}/{key.id}/disable", KEYS)
    with app.app_context():
        assert read_caller(key.secret) is None
    assert "Disabled" in client.get(KEYS).text
    post(client, f"{KEYS}/{key.id}/enable", KEYS)
    with app.app_context():
        assert read_caller(key.secret)


def test_revoking_asks_for_the_name(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    key = make.make_key(account, name="worker-prod")
    refused = post(client, f"{KEYS}/{key.id}/revoke", f"{KEYS}/{key.id}", confirm="worker")
    assert refused.status_code == 400
    assert "Nothing was revoked" in refused.text
    with app.app_context():
        assert read_caller(key.secret)
    assert post(client, f"{KEYS}/{key.id}/revoke", f"{KEYS}/{key.id}", confirm="worker-prod").status_code == 303
    with app.app_context():
        assert read_caller(key.secret) is None
    assert client.get(f"{KEYS}/{key.id}").status_code == 404


def test_another_accounts_key_looks_missing(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    foreign = make.make_key(name="theirs")
    assert client.get(f"{KEYS}/{foreign.id}").status_code == 404
    assert client.get(f"{KEYS}/{foreign.id}/first-request").status_code == 404
    for action in ("", "/disable", "/enable", "/revoke"):
        assert post(client, f"{KEYS}/{foreign.id}{action}", KEYS, name="mine", confirm="theirs").status_code == 404
    assert "theirs" not in client.get(KEYS).text
    with app.app_context():
        caller = read_caller(foreign.secret)
    assert caller
    assert caller.key_name == "theirs"


def test_nothing_changes_without_the_forms_token(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key = make.make_key(account, name="worker")
    for path in (KEYS, *(f"{KEYS}/{key.id}{action}" for action in ("", "/disable", "/revoke"))):
        assert client.post(path, data={"name": "x", "confirm": "worker"}).status_code == 400
    with app.app_context():
        assert [one.name for one in list_all_keys(account.id)] == ["worker"]
        assert read_caller(key.secret)


def test_a_budget_shows_what_is_spent_of_it(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    key = make.make_key(account, name="eval-nightly", budget_total_nanos=5 * DOLLAR)
    with app.app_context(), transaction() as session:
        session.add(Budget(key_id=key.id, period="total", period_start=NEVER, spent_nanos=4_410_000_000))
    page = client.get(KEYS).text
    assert "88% of budget" in page
    assert re.search(r"\$4\.41</span> <span[^>]*>of \$5\.00 in all", page)
    assert '<progress class="hot" max="100" value="88"' in page


def test_a_name_is_text_and_never_markup(client: FlaskClient, make: Factories, account: MadeAccount):
    key = make.make_key(account, name="<script>alert(1)</script>")
    for page in (KEYS, f"{KEYS}/{key.id}"):
        assert "<script>alert" not in client.get(page).text


def test_the_page_of_a_new_key_learns_of_its_first_request(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key = make.make_key(account)
    path = f"{KEYS}/{key.id}/first-request"
    assert client.get(path).status_code == 204
    with app.app_context():
        record = add_record(account.id, key_id=key.id)
        db.session.remove()
    answer = client.get(path)
    assert answer.status_code == 200
    assert f"/dashboard/usage/{record.request_id}" in answer.text


def test_without_keys_the_page_says_what_a_key_is_for(client: FlaskClient, account: MadeAccount):
    page = client.get(KEYS).text
    assert "No keys yet" in page
    assert "$10.00 available" in page
    assert page.count('href="/dashboard/keys/new"') == 1


def test_many_keys_are_shown_page_by_page(
    client: FlaskClient, account: MadeAccount, make: Factories, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bridge.dashboard.key_list.PAGE_SIZE", 2)
    for number in range(5):
        make.make_key(account, name=f"numbered-{number}")
    seen: list[list[str]] = []
    address: str | None = KEYS
    while address:
        page = client.get(address).text
        seen.append(sorted(set(re.findall(r"numbered-\d", page)), reverse=True))
        older = re.search(r'href="([^"]*)">Older<', page)
        assert (">Newer<" in page) == (len(seen) > 1)
        address = older[1] if older else None
    assert seen == [["numbered-4", "numbered-3"], ["numbered-2", "numbered-1"], ["numbered-0"]]
    for odd in ("x", "-1", "9" * 30, ""):
        assert "numbered-4" in client.get(f"{KEYS}?page={odd}").text


def test_a_new_key_without_credit_says_what_to_do(app: Flask, make: Factories):
    account, browser = make.make_account(0), app.test_client()
    sign_in(browser, account.email, account.password)
    page = post(browser, KEYS, f"{KEYS}/new", name="first").text
    assert "You have no credit yet." in page
    assert 'href="/dashboard/billing">Add credit' in page
    assert '<dt>Balance</dt><dd title="exactly $0.00">$0.00</dd>' in page
