"""Usage and margin: sums are exact under any filter and equal in tables, chart and CSV; days that lost money are
marked."""

import csv
import datetime
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from time_machine import travel

from bridge.ledger.rollups import roll_up
from tests.factories import Factories, MadeAccount
from tests.ledger.records import add_failure, add_record

PAGE = "/admin/usage"
NOON = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
CENT = 10_000_000


@pytest.fixture(autouse=True)
def _today():
    """A Tuesday; sessions begin on that day too."""
    with travel(NOON, tick=False):
        yield


@pytest.fixture
def traffic(app: Flask, make: Factories) -> list[MadeAccount]:
    """Two customers' requests of today, yesterday and last month; half of them are rolled up."""
    mira, kai = make.make_account(), make.make_account()
    with app.app_context():
        add_record(mira.id, charge_nanos=300 * CENT, cost_nanos=200 * CENT)
        add_record(mira.id, created_at=NOON - DAY, charge_nanos=CENT, cost_nanos=3 * CENT, channel_name="spare")
        roll_up()
        add_record(kai.id, model_id="sonnet", charge_nanos=100 * CENT, cost_nanos=100 * CENT + 1, loss_nanos=5)
        add_record(kai.id, created_at=NOON - 20 * DAY, charge_nanos=7 * CENT, cost_nanos=0)
        add_failure(kai.id, channel_name=None, cost_nanos=0)
    return [mira, kai]


def read(client: FlaskClient, query: str = "") -> str:
    answer = client.get(f"{PAGE}{query}")
    assert answer.status_code == 200
    return answer.text


def figure(page: str, label: str) -> str:
    """A figure's exact value."""
    found = re.search(rf"<dt>{label}</dt><dd><span title=\"exactly ([^\"]+)\"", page)
    assert found, label
    return found[1]


@pytest.mark.parametrize(
    ("query", "revenue", "cost", "margin"),
    [
        ("?period=today", "$4.00", "$3.000000001", "$0.999999999"),
        ("?period=7", "$4.01", "$3.030000001", "$0.979999999"),
        ("", "$4.08", "$3.030000001", "$1.049999999"),
        ("?period=month", "$4.01", "$3.030000001", "$0.979999999"),
        ("?period=last", "$0.07", "$0.00", "$0.07"),
        ("?from=2026-03-09&to=2026-03-09", "$0.01", "$0.03", "−$0.02"),
        ("?period=7&model=sonnet", "$1.00", "$1.000000001", "−$0.000000001"),
        ("?period=7&channel=spare", "$0.01", "$0.03", "−$0.02"),
    ],
)
@pytest.mark.usefixtures("operator", "traffic")
def test_figures_are_exact_under_any_filter(client: FlaskClient, query: str, revenue: str, cost: str, margin: str):
    page = read(client, query)
    assert [figure(page, label) for label in ("Revenue", "Provider cost", "Margin")] == [revenue, cost, margin]


@pytest.mark.usefixtures("operator")
def test_an_account_is_asked_for_by_address_or_id_and_an_unknown_one_is_said(
    client: FlaskClient, traffic: list[MadeAccount]
):
    mira, kai = traffic
    assert figure(read(client, f"?account={mira.email.upper()}"), "Revenue") == "$3.01"
    page = read(client, f"?account={kai.id}")
    assert figure(page, "Revenue") == "$1.07"
    assert figure(page, "Unpaid") == "$0.000000005"
    assert "1 failed, not charged" in page
    assert "no channel" in page
    assert "No account has that address" in read(client, "?account=nobody@example.com")


@pytest.mark.usefixtures("operator", "traffic")
def test_a_day_that_lost_money_says_so_and_each_row_leads_to_its_part(client: FlaskClient, traffic: list[MadeAccount]):
    page = read(client, "?period=7")
    assert page.count("cost is above revenue") == 1
    for link in ("model=sonnet", "channel=-", f"account={traffic[0].id}", "from=2026-03-09&amp;to=2026-03-09"):
        assert f"{link}" in page
    assert {"c0", "c1", "c6"} <= set(re.findall(r'<rect class="(c\d)"', page))


@pytest.mark.usefixtures("operator", "traffic")
def test_what_providers_counted_and_nobody_was_charged_for_is_said(app: Flask, client: FlaskClient, make: Factories):
    assert "all counts were charged" in read(client)
    account = make.make_account()
    with app.app_context():
        add_record(account.id, provider_counts='{"prompt_tokens":1900}', uncharged_tokens=900, uncharged_nanos=9 * CENT)
        roll_up()
        add_record(account.id, provider_counts='{"prompt_tokens":1100}', uncharged_tokens=100, uncharged_nanos=CENT)
    page = read(client, f"?account={account.id}")
    assert figure(page, "Given away") == "$0.10"
    assert "1,000 of 3,200 counted tokens not charged" in page
    (row,) = csv.DictReader(client.get(f"{PAGE}.csv?account={account.id}").text.splitlines())
    assert (row["prompt_tokens"], row["uncharged_tokens"], row["uncharged_dollars"]) == ("2000", "1000", "0.1")


@pytest.mark.usefixtures("operator", "traffic")
def test_the_csv_adds_up_to_the_page(client: FlaskClient):
    rows = list(csv.DictReader(client.get(f"{PAGE}.csv?period=7").text.splitlines()))
    assert [(row["day"], row["model"], row["channel"], row["requests"], row["failed"]) for row in rows] == [
        ("2026-03-09", "gpt-4o", "spare", "1", "0"),
        ("2026-03-10", "gpt-4o", "openai-main", "1", "0"),
        ("2026-03-10", "gpt-4o", "", "1", "1"),
        ("2026-03-10", "sonnet", "openai-main", "1", "0"),
    ]
    assert [row["margin_dollars"] for row in rows] == ["-0.02", "1", "0", "-0.000000001"]
    assert all("@" in row["account"] for row in rows)


@pytest.mark.parametrize("query", ["?from=soon", "?from=2026-03-11&to=2026-03-01", "?from=2020-01-01"])
@pytest.mark.usefixtures("operator", "traffic")
def test_days_that_are_none_are_said_and_thirty_are_shown(client: FlaskClient, query: str):
    page = read(client, query)
    assert 'id="from-error"' in page
    assert figure(page, "Revenue") == "$4.08"


@pytest.mark.usefixtures("operator")
def test_long_periods_are_shown_by_month_and_empty_ones_say_what_to_do(client: FlaskClient, traffic: list[MadeAccount]):
    page = read(client, "?from=2025-06-01&to=2026-03-10")
    assert "By month" in page
    assert [month for month in ("Feb 2026", "Mar 2026") if month in page] == ["Feb 2026", "Mar 2026"]
    assert "Nothing was asked" in read(client, "?model=no-such")


def test_customers_find_no_such_page(customers_client: FlaskClient):
    assert customers_client.get(PAGE).status_code == 404
    assert customers_client.get(f"{PAGE}.csv").status_code == 404
