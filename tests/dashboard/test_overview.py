"""The overview: the figures are the ledger's, the table is the chart's text, and a newcomer sees the first steps."""

import datetime
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.chart import DAY, Bar, Chart, SpanSum, draw, rank_parts
from bridge.db import now_utc, transaction
from bridge.ledger.tables import Budget
from bridge.limits.tables import Refusal
from tests.dashboard.pages import sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_failure, add_record

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
DAYS = [START + datetime.timedelta(days=number) for number in range(14)]


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account(0)
    sign_in(client, account.email, account.password)
    return account


def figures(page: str) -> dict[str, str]:
    """Label -> value and hint of the strip of figures, without markup."""
    pairs = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page, re.DOTALL)
    return {label: re.sub(r"<[^>]*>", " ", value).strip() for label, value in pairs}


def figures_of(page: str) -> str:
    """The strip of figures, with its markup."""
    return page.partition('<dl class="stats">')[2].partition("</dl>")[0]


def test_a_newcomer_sees_the_first_steps_and_no_chart(client: FlaskClient, account: MadeAccount):
    page = client.get("/dashboard/").text
    assert "0 of 3" in page
    assert "No requests yet" in page
    assert 'href="/dashboard/keys/new"' in page
    assert 'class="chart' not in page


def test_the_steps_are_ticked_one_by_one_and_go_when_done(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key = make.make_key(account)
    assert "1 of 3" in client.get("/dashboard/").text
    with app.app_context():
        add_record(account.id, key_id=key.id)
    assert "2 of 3" in client.get("/dashboard/").text
    richer = make.make_account()
    key = make.make_key(richer)
    with app.app_context():
        add_record(richer.id, key_id=key.id)
    client = app.test_client()
    sign_in(client, richer.email, richer.password)
    assert "First steps" not in client.get("/dashboard/").text


def test_the_figures_are_the_ledgers(app: Flask, client: FlaskClient, make: Factories):
    account = make.make_account(10 * DOLLAR)
    other = make.make_account()
    sign_in(client, account.email, account.password)
    yesterday = now_utc() - datetime.timedelta(days=1)
    with app.app_context():
        add_record(account.id, charge_nanos=1_500_000_000)
        add_record(account.id, charge_nanos=2_000_000_000, created_at=yesterday)
        add_record(account.id, charge_nanos=DOLLAR, created_at=now_utc() - datetime.timedelta(days=20))
        add_failure(account.id)
        add_record(other.id, charge_nanos=77 * DOLLAR)
    shown = figures(client.get("/dashboard/").text)
    assert shown["Balance"].startswith("$10.00")
    assert shown["Spend today"].split() == ["$1.50", "yesterday", "$2.00"]
    assert shown["Spend, 14 days"].split() == ["$3.50", "lasts", "about", "40", "days", "at", "this", "rate"]
    assert shown["Requests"].split() == ["3", "33.3%", "failed;", "not", "charged"]
    assert figures(client.get("/dashboard/?period=30").text)["Spend, 30 days"].startswith("$4.50")
    assert "Spend, 14 days" in client.get("/dashboard/?period=forever").text


def test_the_table_beneath_the_chart_has_its_figures(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context():
        for rank, model in enumerate(("dear", "b", "c", "d", "e", "f")):
            add_record(account.id, model_id=model, charge_nanos=(10 - rank) * DOLLAR)
    page = client.get("/dashboard/").text
    assert page.count('<svg class="chart') == 2
    rows = re.findall(r'<i class="sw (c\d)"></i><span class="mono">(\w+)</span>.*?\$(\d+\.\d\d)', page, re.DOTALL)
    assert rows == [
        ("c1", "dear", "10.00"),
        ("c2", "b", "9.00"),
        ("c3", "c", "8.00"),
        ("c4", "d", "7.00"),
        ("c0", "other", "11.00"),
    ]


def test_last_requests_link_to_their_receipts(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    key = make.make_key(account, name="worker-prod")
    with app.app_context():
        record = add_record(account.id, key_id=key.id)
    page = client.get("/dashboard/").text
    assert f'href="/dashboard/usage/{record.request_id}"' in page
    assert "worker-prod" in page
    assert "$0.003000" in page


def test_refused_calls_are_counted_with_their_code_and_what_to_do(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    key, other = make.make_key(account, name="worker-prod"), make.make_key()
    with app.app_context(), transaction() as session:
        at = {"start": now_utc().replace(minute=0, second=0, microsecond=0), "last_at": now_utc(), "model_id": "gpt-4o"}
        last = {"status": 402, "last_message": "…", "last_model": "gpt-4o", "last_request_id": "req_1"}
        for of, code, requests in ((key, "insufficient_balance", 36), (other, "model_not_allowed", 7)):
            place = {"account_id": of.account_id, "key_id": of.id, "code": code, "requests": requests}
            session.add(Refusal(**place, **at, **last))
    page = client.get("/dashboard/").text
    assert "36 refused</a>; not charged" in figures_of(page)
    card = page.partition("Refused calls</h2>")[2]
    for said in (
        "Not enough credit",
        "insufficient_balance",
        "worker-prod",
        'href="/dashboard/billing">Add credit</a>',
    ):
        assert said in card
    assert "model_not_allowed" not in page
    assert ">All refused calls</a>" in card
    link = re.search(r'href="([^"]+)">36 refused', page)
    assert link
    assert "insufficient_balance" in client.get(link[1].replace("&amp;", "&")).text


def test_keys_near_their_budget_are_named(app: Flask, client: FlaskClient, make: Factories, account: MadeAccount):
    near = make.make_key(account, name="near", budget_day_nanos=DOLLAR)
    far = make.make_key(account, name="far", budget_day_nanos=DOLLAR)
    with app.app_context(), transaction() as session:
        session.add(Budget(key_id=near.id, period="day", period_start=now_utc().date(), spent_nanos=800_000_000))
        session.add(Budget(key_id=far.id, period="day", period_start=now_utc().date(), spent_nanos=799_999_999))
    page = client.get("/dashboard/").text
    assert "Keys near their budget" in page
    assert ">near</a>" in page
    assert ">far</a>" not in page


def bars(sums: list[SpanSum]) -> list[tuple[str, float]]:
    chart = draw(sums, DAYS, DAY, width=640, name_every=1, css="wide")
    return [(bar.colour, round(bar.height, 1)) for bar in bars_of(chart)]


def bars_of(chart: Chart) -> list[Bar]:
    return [bar for slot in chart.slots for bar in slot.bars]


def test_bars_are_as_high_as_their_amounts(engine: str):
    sums = [SpanSum(START, "a", 1, 2 * DOLLAR), SpanSum(START, "b", 1, DOLLAR), SpanSum(DAYS[3], "b", 1, 4 * DOLLAR)]
    chart = draw(sums, DAYS, DAY, width=640, name_every=3, css="wide")
    assert [line.text for line in chart.lines] == ["$0", "$1", "$2", "$3", "$4"]
    assert [name.text for name in chart.names] == ["1", "4", "7", "10", "13"]
    assert bars(sums) == [("c1", 40.5), ("c2", 82.0), ("c1", 165.0)]  # b is the dearest; a gap of 1 parts them
    below, above = bars_of(chart)[:2]
    assert above.y + above.height + 1 == pytest.approx(below.y)
    top = min(bar.y for bar in bars_of(chart))
    assert top == pytest.approx(chart.lines[-1].y)


def test_amounts_far_below_a_cent_have_a_scale_too(engine: str):
    chart = draw([SpanSum(START, "a", 1, 37)], DAYS, DAY, width=640, name_every=1, css="wide")
    assert [line.text for line in chart.lines][-1] == "$0.00000004"
    tiny = draw([SpanSum(START, "a", 1, 0)], DAYS, DAY, width=640, name_every=1, css="wide")
    assert bars_of(tiny) == []


def test_five_models_need_no_other(engine: str):
    five = [SpanSum(START, name, 1, 1) for name in "abcde"]
    assert [series.colour for series in rank_parts(five)] == ["c1", "c2", "c3", "c4", "c5"]
    assert [series.name for series in rank_parts([*five, SpanSum(START, "f", 1, 1)])][-1] == "other"
