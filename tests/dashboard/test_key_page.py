"""A key's page says what became of its calls, a new key's page why its first call was refused; a key is rotated."""

import datetime
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.keys import find_callers, read_caller
from bridge.db import now_utc
from bridge.errors import BridgeError, InsufficientBalance, InvalidApiKey, ModelNotAllowed
from bridge.limits.limits import admit
from bridge.limits.refusals import RefusalCounter
from bridge.telemetry import new_request_id
from tests.dashboard.pages import post, sign_in
from tests.factories import Factories, MadeAccount, MadeKey
from tests.ledger.records import add_record

HOUR = datetime.timedelta(hours=1)
pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account()
    sign_in(client, account.email, account.password)
    return account


@pytest.fixture
def key(make: Factories, account: MadeAccount) -> MadeKey:
    return make.make_key(account, name="worker-prod")


def refuse(app: Flask, key: MadeKey, *errors: BridgeError, model: str = "gpt-4o") -> None:
    class Caller:
        account_id, key_id = key.account_id, key.id

    counter = RefusalCounter()
    for error in errors:
        counter.count(Caller, error, new_request_id(), model, model)  # type: ignore[arg-type]
    with app.app_context():
        counter.write()


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))


def test_the_page_of_a_key_says_why_it_was_refused_and_what_to_do(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    with app.app_context():
        add_record(account.id, key_id=key.id)
    refuse(app, key, ModelNotAllowed("This API key may not use o3."), model="o3")
    refuse(app, key, InsufficientBalance("Insufficient credits: no"), InsufficientBalance("Insufficient credits: none"))
    page = client.get(f"/dashboard/keys/{key.id}").text
    told = plain(page)
    assert "Why was I refused?" in told
    assert "It asked for o3." in told
    assert "“Insufficient credits: none”" in told
    assert "2 calls, last" in told
    assert '<a class="small" href="/dashboard/billing">Add credit</a>' in page
    assert '<a class="small" href="#terms">Allow it</a>' in page  # what helps is in the form below
    assert re.search(r"Refused, 24 h ?3 ?75.0% of its calls", told)
    assert f'href="/dashboard/usage?key={key.id}&amp;status=refused"' in page


def test_a_key_that_was_never_refused_says_nothing_of_it(client: FlaskClient, account: MadeAccount, key: MadeKey):
    told = plain(client.get(f"/dashboard/keys/{key.id}").text)
    assert "Why was I refused?" not in told
    assert re.search(r"Last call ?never", told)


@pytest.mark.usefixtures("within_an_hour")
def test_the_chart_has_every_call_of_a_day_by_hour_and_leads_to_them(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    assert "Calls, 24 h" not in client.get(f"/dashboard/keys/{key.id}").text  # nothing to draw yet
    now = now_utc()
    then = now - 3 * HOUR
    with app.app_context():
        add_record(account.id, key_id=key.id)
        add_record(account.id, key_id=key.id + 1)  # another key's
        add_record(account.id, created_at=then, key_id=key.id)
        failed = {"state": "released", "outcome": "failed", "charge_nanos": 0}
        add_record(account.id, created_at=then, key_id=key.id, **failed)
        add_record(account.id, created_at=now - 30 * HOUR, key_id=key.id)  # too long ago
    refuse(app, key, InsufficientBalance("no"), InsufficientBalance("no"))
    page = client.get(f"/dashboard/keys/{key.id}").text
    texts = re.findall(r'aria-label="(\d\d:00 to [^"]+)"', page[page.index("chart slim") :])
    assert len(texts) == 24
    assert texts[-1] == f"{now:%H}:00 to {now + HOUR:%H}:00: 1 answered, 2 refused"
    assert texts[-4] == f"{then:%H}:00 to {then + HOUR:%H}:00: 1 answered, 1 failed"
    assert sum("no calls" in text for text in texts) == 22
    address = f"/dashboard/usage?key={key.id}&amp;period=dates&amp;from={now:%Y-%m-%d}&amp;to={now:%Y-%m-%d}"
    assert f'href="{address}"' in page
    assert client.get(address.replace("&amp;", "&")).status_code == 200


def test_the_page_says_how_much_of_the_limits_is_in_use_now(app: Flask, client: FlaskClient, make: Factories):
    account = make.make_account()
    sign_in(client, account.email, account.password)
    key = make.make_key(account, rpm=10, tpm=2000)
    services = app.extensions["bridge_services"]
    with app.app_context():
        caller = read_caller(key.secret)
        assert caller
        admit(services.counters, caller, "req_1", requests=9, tokens=420, lease_seconds=60)
    told = plain(client.get(f"/dashboard/keys/{key.id}").text)
    assert "This minute" in told
    assert "Requests a minute9 of 10" in told
    assert "Tokens a minute420 of 2,000" in told
    page = client.get(f"/dashboard/keys/{key.id}").text
    assert re.search(r'<progress class="hot" max="10" value="9" aria-label="Requests a minute: 9 of 10"', page)


def test_a_new_keys_page_tells_of_a_refused_call_until_one_is_answered(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    path = f"/dashboard/keys/{key.id}/first-request"
    assert client.get(path).status_code == 204
    refuse(app, key, InsufficientBalance("Insufficient credits: <b>no</b>"))
    answer = client.get(path)
    assert answer.status_code == 202  # shown, and asked again
    assert "Your last call was refused: 402." in plain(answer.text)
    assert "&lt;b&gt;no&lt;/b&gt;" in answer.text
    assert 'href="/dashboard/billing">Add credit</a>' in answer.text
    assert "free model" not in answer.text
    assert "Try a free model first" in client.get(f"{path}?free=1").text  # which is what the page's code asks for
    with app.app_context():
        record = add_record(account.id, key_id=key.id)
    answer = client.get(path)
    assert answer.status_code == 200
    assert record.request_id in answer.text


def test_a_key_is_rotated_on_its_page_and_its_old_secret_ended(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    page = post(client, f"/dashboard/keys/{key.id}/rotate", overlap="1").text
    [secret] = re.findall(r'<code id="secret">(sk-[^<]+)</code>', page)
    with app.app_context():
        old, new = find_callers([key.secret, secret])
        assert (old.key_id, new.key_id) == (key.id, key.id)
    assert "The old secret still works until" in plain(client.get(f"/dashboard/keys/{key.id}").text)
    assert post(client, f"/dashboard/keys/{key.id}/end-old").status_code == 303
    with app.app_context():
        old, new = find_callers([key.secret, secret])
        assert isinstance(old, InvalidApiKey)
        assert new.key_id == key.id


def test_an_odd_overlap_is_a_day(app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey):
    assert post(client, f"/dashboard/keys/{key.id}/rotate", overlap="99999").status_code == 200
    with app.app_context():
        [old] = find_callers([key.secret])
        assert old.expires_at is not None
