"""The usage page answers questions: what was refused and runs, by what it is grouped, of which days, and what another
model would have cost."""

import csv
import datetime
import io
import json
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.db import now_utc, transaction
from bridge.errors import InsufficientBalance, KeyBudgetExceeded, RateLimitExceeded
from bridge.ledger.tables import Hold
from bridge.limits.refusals import RefusalCounter
from bridge.telemetry import new_request_id
from tests.dashboard.pages import sign_in
from tests.factories import Factories, MadeAccount, MadeKey
from tests.ledger.records import add_failure, add_record

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
USAGE = "/dashboard/usage"


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account()
    sign_in(client, account.email, account.password)
    return account


@pytest.fixture
def key(make: Factories, account: MadeAccount) -> MadeKey:
    return make.make_key(account, name="worker-prod")


class Refused:
    """A caller whose requests are refused."""

    def __init__(self, app: Flask, key: MadeKey):
        self._app, self._key, self._counter = app, key, RefusalCounter()
        self.account_id, self.key_id = key.account_id, key.id

    def add(self, *errors: Exception, model: str = "gpt-4o") -> None:
        for error in errors:
            self._counter.count(self, error, new_request_id(), model, model)  # type: ignore[arg-type]
        with self._app.app_context():
            self._counter.write()


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def day(ago: int) -> str:
    return f"{now_utc() - datetime.timedelta(days=ago):%Y-%m-%d}"


def hold(app: Flask, key: MadeKey, model: str = "gpt-4o") -> str:
    request_id = new_request_id()
    with app.app_context(), transaction() as session:
        session.add(
            Hold(
                request_id=request_id,
                account_id=key.account_id,
                key_id=key.id,
                amount_nanos=190_000_000,
                details=json.dumps({"model_asked": model}),
                created_at=now_utc(),
                deadline_at=now_utc() + datetime.timedelta(hours=1),
            )
        )
    return request_id


def test_refused_calls_are_shown_by_code_with_their_message_and_what_to_do(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    refused = Refused(app, key)
    refused.add(RateLimitExceeded("Rate limit exceeded: 60 RPM"), RateLimitExceeded("Rate limit exceeded: 61 RPM"))
    refused.add(InsufficientBalance("Insufficient credits: no"), KeyBudgetExceeded("Insufficient credits: budget"))
    page = client.get(USAGE).text
    assert re.search(r"<dt>Refused</dt>\s*<dd>\s*<a [^>]+>4</a>", page)
    assert "“Rate limit exceeded: 61 RPM”" in page
    assert "60 RPM" not in page
    assert f'<a href="/dashboard/keys/{key.id}">Raise the limit</a>' in page
    assert '<a href="/dashboard/billing">Add credit</a>' in page
    only = client.get(f"{USAGE}?status=refused&code=insufficient_balance").text
    assert "Insufficient credits: no" in only
    assert "61 RPM" not in only


def test_nobody_sees_anothers_refusals_or_running_requests(
    app: Flask, make: Factories, client: FlaskClient, account: MadeAccount
):
    other = make.make_key()
    Refused(app, other).add(RateLimitExceeded("Not for you"))
    request_id = hold(app, other)
    for query in ("", "?status=refused", "?status=running", f"?key={other.id}"):
        page = client.get(USAGE + query).text
        assert "Not for you" not in page
        assert request_id not in page
    assert "Not for you" not in client.get("/dashboard/usage.csv").text


def test_running_requests_are_rows_with_what_they_hold(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    request_id = hold(app, key)
    with app.app_context():
        add_record(account.id, key_id=key.id)
    page = client.get(USAGE).text
    assert "1 running, holding $0.19" in page
    assert request_id not in page
    running = client.get(f"{USAGE}?status=running").text
    assert request_id in running
    assert "$0.190" in running


def test_the_csv_has_refusals_with_their_number_and_last_message(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    with app.app_context():
        record = add_record(account.id, key_id=key.id)
    Refused(app, key).add(RateLimitExceeded("first"), RateLimitExceeded("last"))
    rows = {row["outcome"]: row for row in read_csv(client.get("/dashboard/usage.csv").text)}
    assert (rows["complete"]["request_id"], rows["complete"]["requests"]) == (record.request_id, "1")
    refused = rows["refused"]
    assert (refused["requests"], refused["message"], refused["error_code"]) == ("2", "last", "rate_limit_exceeded")
    assert (refused["key"], refused["model_asked"], refused["cost_dollars"]) == ("worker-prod", "gpt-4o", "0")
    alone = read_csv(client.get("/dashboard/usage.csv?status=refused").text)
    assert [row["outcome"] for row in alone] == ["refused"]
    assert [row["outcome"] for row in read_csv(client.get("/dashboard/usage.csv?status=failed").text)] == []


@pytest.mark.parametrize("by", ["model", "key", "end_user", "tag"])
def test_groups_and_their_csv_sum_to_the_charges(
    app: Flask, make: Factories, client: FlaskClient, account: MadeAccount, key: MadeKey, by: str
):
    second = make.make_key(account, name="second")
    with app.app_context():
        tags = json.dumps(["project=search"])
        add_record(account.id, key_id=key.id, charge_nanos=3_000_000_000, end_user="ann", tags=tags)
        add_record(account.id, key_id=second.id, charge_nanos=1_000_000_000, model_id="o3", end_user="bob", tags=tags)
        add_failure(account.id, key_id=second.id, model_id="o3", end_user="bob", tags=tags)
    Refused(app, key).add(RateLimitExceeded("no"))
    rows = {row[by]: row for row in read_csv(client.get(f"/dashboard/usage.csv?sums=1&by={by}").text)}
    names = {
        "model": ["gpt-4o", "o3"],
        "key": ["worker-prod", "second"],
        "end_user": ["ann", "bob"],
        "tag": ["project=search"],
    }[by]
    assert list(rows) == names
    assert sum(float(row["cost_dollars"]) for row in rows.values()) == 4
    assert rows[names[-1]]["failed"] == "1"
    assert rows[names[0]]["refused"] == ("1" if by in ("model", "key") else "")
    page = client.get(f"{USAGE}?by={by}").text
    for name in names:
        assert re.search(rf'<th scope="row"[^>]*>\s*<i class="sw c\d"></i>\s*<a[^>]*>\s*{name}', page)
    assert "c1" in re.findall(r'<rect\s+class="(c\d)"', page)


def test_groups_within_a_label_are_summed_from_its_rows(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    with app.app_context():
        add_record(account.id, key_id=key.id, charge_nanos=3_000_000_000, end_user="ann")
        add_record(account.id, key_id=key.id, charge_nanos=1_000_000_000, end_user="bob", model_id="o3")
    rows = read_csv(client.get("/dashboard/usage.csv?sums=1&by=model&end_user=ann").text)
    assert [(row["model"], row["cost_dollars"]) for row in rows] == [("gpt-4o", "3")]
    page = client.get(f"{USAGE}?end_user=ann").text
    assert "Refused</dt>" not in page  # of end users nobody knows


def test_own_dates_choose_days_and_each_bar_leads_to_its_day(
    app: Flask, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    with app.app_context():
        for ago in (1, 3, 5):
            add_record(account.id, key_id=key.id, ago=datetime.timedelta(days=ago), charge_nanos=ago * 10**9)
    page = client.get(f"{USAGE}?period=dates&from={day(4)}&to={day(2)}").text
    assert "exactly $3" in page
    assert f'name="from" value="{day(4)}"' in re.sub(r"\s+", " ", page)
    links = re.findall(r'<a href="([^"]+)" aria-label="(\d+ \w+: \$3\.00, 1 requests?)"', page)
    assert links
    one_day = client.get(links[0][0].replace("&amp;", "&")).text
    assert "exactly $3" in one_day
    assert len(re.findall(r'href="/dashboard/usage/req_', one_day)) == 1


@pytest.mark.parametrize(
    "query",
    [
        "period=dates",
        "period=dates&from=2026-13-45&to=x",
        "period=dates&from=9999-12-31&to=0001-01-01",
        "period=dates&from=2026-05-05&to=2020-01-01",
        "period=today&by=nonsense&status=gone&code=x&instead=y",
        "by=tag&period=today",
    ],
)
def test_odd_dates_and_values_are_no_error(client: FlaskClient, account: MadeAccount, key: MadeKey, query: str):
    assert client.get(f"{USAGE}?{query}").status_code == 200
    assert client.get(f"/dashboard/usage.csv?{query}").status_code == 200
    assert client.get(f"/dashboard/usage.csv?{query}&sums=1").status_code == 200


def test_another_models_cost_is_told_from_the_counts_alone(
    app: Flask, make: Factories, client: FlaskClient, account: MadeAccount, key: MadeKey
):
    model = make.make_model(input_price=10**9, cached_price_nanos=10**8, output_price=4 * 10**9)
    with app.app_context():
        add_record(
            account.id,
            key_id=key.id,
            prompt_tokens=2_000_000,
            cached_tokens=1_000_000,
            completion_tokens=500_000,
            charge_nanos=6_200_000_000,
        )
    assert f'<option value="{model}"' in client.get(USAGE).text  # its price has no date
    page = client.get(f"{USAGE}?instead={model}").text
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", page))
    assert f"{model}: about $3.10 instead of $6.20, 50.0% less." in told
    assert "Compare" in page
