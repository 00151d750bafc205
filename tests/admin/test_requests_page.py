"""The request log: any request of any account is found by whatever is known of it, and looked at as its operator
does."""

import csv
import datetime
import json
import re
from types import SimpleNamespace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.db import now_utc, transaction
from bridge.errors import RateLimitExceeded
from bridge.ledger import request_log
from bridge.ledger.attempt_errors import AttemptErrors, delete_old_errors, list_errors
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import Hold
from bridge.limits.refusals import RefusalCounter
from bridge.limits.tables import Refusal
from bridge.telemetry import new_request_id
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount, MadeKey
from tests.ledger.records import add_failure, add_record

PAGE = "/admin/requests"
MINUTE, DAY = datetime.timedelta(minutes=1), datetime.timedelta(days=1)
MICRO = 1_000


def read(client: FlaskClient, query: str = "") -> str:
    answer = client.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return answer.text


def ids(page: str) -> list[str]:
    return re.findall(rf'href="{PAGE}/(req_[0-9a-f]{{32}})"', page)


@pytest.fixture
def two(app: Flask, make: Factories) -> list[tuple[MadeAccount, MadeKey]]:
    accounts = [make.make_account(DOLLAR), make.make_account(DOLLAR)]
    return [(account, make.make_key(account, name=f"key-{number}")) for number, account in enumerate(accounts)]


@pytest.fixture
def traffic(app: Flask, two: list[tuple[MadeAccount, MadeKey]]) -> dict[str, str]:
    """One request of each kind, by its name, the newest last."""
    (mira, first), (kai, second) = two
    attempts = [
        {"channel": "a", "upstream_id": "m", "started_ms": 1, "took_ms": 9, "outcome": "529 overloaded_error"},
        {"channel": "b", "upstream_id": "m", "started_ms": 10, "took_ms": 90, "outcome": "200", "reference": "up-77x"},
    ]
    with app.app_context():
        mine = {"key_id": first.id, "end_user": "ada", "tags": '["env=prod"]'}
        found = {
            "spare": add_record(mira.id, ago=4 * MINUTE, **mine, channel_name="spare").request_id,
            "sonnet": add_record(kai.id, ago=3 * MINUTE, key_id=second.id, model_id="sonnet").request_id,
            "failed": add_failure(kai.id, ago=2 * MINUTE, key_id=second.id).request_id,
        }
        twice = json.dumps(attempts, separators=(",", ":"))
        found["twice"] = add_record(mira.id, ago=MINUTE, key_id=first.id, attempts=twice).request_id
    return found


@pytest.mark.usefixtures("operator")
def test_every_filter_finds_its_requests_and_no_other(client: FlaskClient, traffic: dict[str, str], two):
    (mira, first), (kai, _) = two
    found = {
        "": ["twice", "failed", "sonnet", "spare"],
        f"?account={mira.id}": ["twice", "spare"],
        f"?key={first.id}&channel=spare": ["spare"],
        "?model=sonnet": ["sonnet"],
        "?status=failed": ["failed"],
        "?status=complete": ["twice", "sonnet", "spare"],
        "?code=503": ["failed"],
        "?code=upstream_error": ["failed"],
        "?end_user=ada": ["spare"],
        "?tag=env%3Dprod": ["spare"],
        f"?account={kai.id}&tag=env%3Dprod": [],
        "?status=running": [],
    }
    for query, names in found.items():
        assert ids(read(client, query)) == [traffic[name] for name in names], query


@pytest.mark.usefixtures("operator")
def test_a_request_is_found_by_its_ids_its_upstreams_id_and_its_customer(
    client: FlaskClient, traffic: dict[str, str], two
):
    twice = traffic["twice"]
    for text in (twice, twice.replace("req_", "chatcmpl-"), "up-77x"):
        assert client.get(f"{PAGE}?q={text}").location == f"{PAGE}/{twice}"
    assert f"account={two[0][0].id}" in client.get(f"{PAGE}?q={two[0][0].email}").location
    assert "No request or customer has that id" in read(client, "?q=up-77")


@pytest.mark.usefixtures("operator")
def test_pages_lead_from_the_newest_to_the_oldest(app: Flask, client: FlaskClient, two):
    account, key = two[0]
    with app.app_context():
        made = [add_record(account.id, key_id=key.id, ago=place * MINUTE).request_id for place in range(1, 56)]
    seen, page = [], read(client)
    while True:
        seen += ids(page)
        older = re.search(rf'href="{PAGE}(\?[^"]*before=[^"]*)"', page)
        if older is None:
            break
        page = read(client, older[1].replace("&amp;", "&"))
    assert seen == made


@pytest.mark.usefixtures("operator")
def test_a_rare_request_is_found_though_each_page_looks_at_few_rows(
    app: Flask, client: FlaskClient, two, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(request_log, "LOOKED_AT", 4)
    account, key = two[0]
    with app.app_context():
        rare = add_failure(account.id, key_id=key.id, ago=50 * MINUTE).request_id
        for place in range(1, 11):
            add_record(account.id, key_id=key.id, ago=place * MINUTE)
    page, steps = read(client, "?status=failed"), 0
    while not ids(page):
        assert "Looked back to" in page
        older = re.search(rf'href="{PAGE}(\?[^"]*before=[^"]*)"', page)
        assert older
        page, steps = read(client, older[1].replace("&amp;", "&")), steps + 1
    assert ids(page) == [rare]
    assert steps == 2
    rows = list(csv.DictReader(client.get(f"{PAGE}.csv?status=failed").text.splitlines()))
    assert [row["request_id"] for row in rows] == [rare]


@pytest.mark.usefixtures("operator")
def test_running_and_refused_requests_are_rows_too(app: Flask, client: FlaskClient, two):
    account, key = two[0]
    now, running = now_utc(), new_request_id()
    with app.app_context():
        with transaction() as session:
            hold = {"request_id": running, "account_id": account.id, "key_id": key.id, "amount_nanos": 0}
            details = json.dumps({"model_asked": "gpt-4o", "model_id": "gpt-4o"})
            session.add(Hold(**hold, details=details, created_at=now, deadline_at=now + DAY))
        counter, caller = RefusalCounter(), SimpleNamespace(account_id=account.id, key_id=key.id)
        for _ in range(3):
            counter.count(caller, RateLimitExceeded("Too many."), new_request_id(), "gpt-4o", "gpt-4o")
        counter.write()
    page = read(client)
    assert ids(page) == [running]
    assert "3 calls" in page
    assert "Running request" in client.get(f"{PAGE}/{running}").text
    assert "3 calls" in read(client, "?status=refused&code=429")
    assert "3 calls" not in read(client, "?channel=spare")
    assert ids(read(client, "?model=sonnet")) == []
    (row,) = csv.DictReader(client.get(f"{PAGE}.csv?status=refused").text.splitlines())
    assert (row["requests"], row["message"], row["account"]) == ("3", "Too many.", account.email)


@pytest.mark.usefixtures("operator")
def test_what_was_refused_between_two_pages_is_on_one_of_them(app: Flask, client: FlaskClient, two):
    account, key = two[0]
    with app.app_context():
        for place in range(30):
            add_record(account.id, key_id=key.id, ago=(place + (1 if place > 24 else 0)) * MINUTE)
        between = now_utc() - 25 * MINUTE  # after the first page's last request, and before the next page's first
        refusal = {"account_id": account.id, "key_id": key.id, "code": "rate_limit_exceeded", "model_id": "gpt-4o"}
        hour = between.replace(minute=0, second=0, microsecond=0)
        last = {"last_at": between, "last_message": "", "last_model": "gpt-4o", "last_request_id": new_request_id()}
        with transaction() as session:
            session.add(Refusal(**refusal, **last, start=hour, status=429, requests=7))
    page = read(client)
    older = re.search(rf'href="{PAGE}(\?[^"]*before=[^"]*)"', page)
    assert older
    assert [each.count("7 calls") for each in (page, read(client, older[1].replace("&amp;", "&")))] == [0, 1]


@pytest.mark.usefixtures("operator")
def test_the_live_tail_shows_what_has_come_since(app: Flask, client: FlaskClient, traffic: dict[str, str], two):
    account, key = two[0]
    polled = re.search(r'data-poll="([^"]+)"', read(client, f"?account={account.id}"))
    assert polled
    with app.app_context():
        newest = add_record(account.id, key_id=key.id).request_id
    answer = client.get(polled[1].replace("&amp;", "&"))
    assert (answer.status_code, ids(answer.text)) == (202, [newest, traffic["twice"], traffic["spare"]])
    assert "data-poll" not in read(client, "?live=off")
    assert "data-poll" not in read(client, "?period=dates&from=2026-01-01")


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("period", ["hour", "today", "7"])
def test_bars_add_up_to_the_rows_and_lead_to_them(
    app: Flask, client: FlaskClient, traffic: dict[str, str], period: str
):
    with app.app_context():
        roll_up()
    page = read(client, f"?period={period}")
    chart = page[page.index('class="chart wide"') : page.index('class="chart slim"')]
    bars = re.findall(r'<a href="([^"]+)"[^>]*aria-label="[^:]+(?::\d\d)?: (\d+) answered, (\d+) failed', chart)
    if period != "hour":  # midnight may just have passed
        assert sum(int(answered) + int(failed) for _, answered, failed in bars) <= 4
    for address, answered, failed in bars:
        if int(answered) + int(failed):
            assert len(ids(client.get(address.replace("&amp;", "&")).text)) == int(answered) + int(failed)


@pytest.mark.usefixtures("operator")
def test_the_receipt_shows_cost_margin_and_what_each_attempt_was_answered(
    app: Flask, client: FlaskClient, traffic: dict[str, str], two
):
    twice, account = traffic["twice"], two[0][0]
    with app.app_context():
        errors = AttemptErrors()
        errors.note(account.id, twice, 1, 529, "overloaded_error: <Overloaded>")
        errors.write()
    page = client.get(f"{PAGE}/{twice}").text
    for text in (account.email, "key-0", "up-77x", "529 overloaded_error", "overloaded_error: &lt;Overloaded&gt;"):
        assert text in page
    assert "$0.003000" in page
    with app.app_context():
        old = f"req_{int((now_utc() - 8 * DAY).timestamp() * 1000):012x}{'7' + '0' * 19}"
        errors.note(account.id, old, 1, 500, "gone")
        errors.write()
        delete_old_errors()
        assert list_errors(old) == {}
        assert list(list_errors(twice)) == [1]


@pytest.mark.usefixtures("operator")
def test_a_request_is_refunded_in_place_once_and_for_a_reason(
    client: FlaskClient, traffic: dict[str, str], two, make: Factories
):
    page, before = f"{PAGE}/{traffic['twice']}", make.find_money(two[0][0].id)[0]
    answer = post(client, f"{page}/refund", page, reason=" ")
    assert answer.status_code == 400
    assert "Say why: the customer reads it." in answer.text
    assert post(client, f"{page}/refund", page, reason="It was empty.").location.endswith(page)
    assert "It was empty." in client.get(page).text
    assert make.find_money(two[0][0].id)[0] == before + 3_000 * MICRO
    answer = post(client, f"{page}/refund", "/admin/channels/new", reason="Again.")
    assert answer.status_code == 400
    assert "was refunded before" in answer.text
    assert make.find_money(two[0][0].id)[0] == before + 3_000 * MICRO


def test_customers_see_no_log_and_nobody_elses_receipt(customers_client: FlaskClient, traffic: dict[str, str]):
    for path in (PAGE, f"{PAGE}/rows", f"{PAGE}.csv", f"{PAGE}/{traffic['twice']}"):
        assert customers_client.get(path).status_code == 404
