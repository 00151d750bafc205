"""Home: what came in beside the period before, each thing to decide with its one link, and at a bounded cost."""

import datetime
import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bench.pages import MOST_STATEMENTS
from bridge.accounts.customers import suspend_account
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.admin.home import compare
from bridge.catalogue.channel_keys import add_key
from bridge.catalogue.model_editing import enter_price
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Channel, ChannelKey, Model
from bridge.daily import LEDGER_CHECK, finish_job, take_job
from bridge.db import now_utc, transaction
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import Hold
from bridge.ledger.totals import Total, add_up, roll_up_totals
from bridge.mail.tables import Mail
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import Payment
from bridge.telemetry import new_request_id
from tests.dashboard.pages import sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_failure, add_record

DAY, HOUR = datetime.timedelta(days=1), datetime.timedelta(hours=1)
HOME = "/admin/"


@pytest.fixture
def channel(app: Flask, make: Factories, operator: MadeAccount) -> str:
    """A real channel that has answered: so the gateway is set up."""
    name = make.make_channel("http://127.0.0.1:9", make.make_model(id_="sold"), waits=False)
    change(app, name, last_answer_at=now_utc(), health="healthy")
    return name


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The statements that are sent from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def change(app: Flask, name: str, **columns: object) -> None:
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Channel).where(Channel.name == name).values(**columns))


def add_trouble(app: Flask, account_id: int) -> None:
    """One of each thing that wants an operator, but for channels."""
    now = now_utc()
    payment = {"amount_minor": 2000, "currency": "usd", "credit_nanos": 20 * DOLLAR, "kind": "checkout"}
    with app.app_context():
        enter_price("sold", [make_rates({"input": 1, "output": 2})], effective_at=now + 3 * DAY)
        assert take_job(LEDGER_CHECK, now.date())
        with transaction() as session:
            finish_job(LEDGER_CHECK, now.date(), ["account 1: the balance differs"])
            session.add(Payment(id=new_payment_id(), account_id=account_id, state="review", **payment))
            mail = {"once": "x", "recipient": "a@example.com", "subject": "s", "text": "t"}
            session.add(Mail(**mail, state="failed", ended_at=now))
            times = {"created_at": now - DAY, "deadline_at": now - HOUR}
            session.add(
                Hold(
                    request_id=new_request_id(), account_id=account_id, key_id=1, amount_nanos=0, details="{}", **times
                )
            )
            session.execute(sa.update(Model).where(Model.id == "sold").values(told_below_cost_at=now))
            session.execute(sa.update(Channel).where(Channel.provider == "sandbox").values(enabled=False))
        suspend_account(account_id)


def list_matters(page: str) -> list[tuple[str, list[str]]]:
    """What needs attention: each title with the links beside it."""
    card = page.partition("Needs attention")[2].partition("</section>")[0]
    items = re.findall(r"<li>(.*?)</li>", card, re.DOTALL)
    return [(re.findall(r'class="st st-\w+">([^<]*)<', item)[0], re.findall(r'href="([^"]+)"', item)) for item in items]


def test_operators_land_here_unless_they_wanted_to_go_elsewhere(app: Flask, make: Factories, customer: MadeAccount):
    operator = make.make_account(is_operator=True)
    for account, asked_for, lands in (
        (operator, "", HOME),
        (operator, "/dashboard/keys", "/dashboard/keys"),
        (customer, "", "/dashboard/"),
    ):
        answer = sign_in(app.test_client(), account.email, account.password, next=asked_for)
        assert answer.location == lands


def test_revenue_cost_and_margin_are_the_customers_alone(
    app: Flask, client: FlaskClient, channel: str, customer: MadeAccount
):
    with app.app_context():
        own, drill = (issue_key(customer.id, KeyTerms(name="k"), is_drill=each).key.id for each in (False, True))
        add_record(customer.id, key_id=own, charge_nanos=5 * DOLLAR, cost_nanos=4 * DOLLAR)
        add_record(customer.id, key_id=drill, charge_nanos=3 * DOLLAR)
        add_failure(customer.id, key_id=own)
        roll_up()
        roll_up_totals()
        add_record(customer.id, key_id=own, charge_nanos=5 * DOLLAR, cost_nanos=4 * DOLLAR)
    for period in ("today", "7", "30"):
        page = client.get(f"{HOME}?period={period}").text
        figures = re.sub(r"<[^>]+>|\s+", " ", page.partition('<dl class="stats">')[2].partition("</dl>")[0])
        for said in ("$10.00", "$8.00", "$2.00", "20.0%", "66.7% answered", "400 ms"):
            assert said in figures, (period, said, figures)
    assert page.count(f">{customer.email}</a>") == 2  # $5 a day of $10: busy, and low
    assert "about 2 days" in page


def test_a_period_is_compared_with_the_one_before_up_to_the_same_moment():
    now = datetime.datetime(2026, 3, 10, 12, 30, tzinfo=datetime.UTC)
    one = Total(2, 0, 2 * DOLLAR, DOLLAR)
    noon = now.replace(minute=0)
    hours = {noon: one, noon - DAY: one, noon - DAY - HOUR: one, noon - DAY + HOUR: one, noon - 8 * DAY: one}
    assert compare(hours, now, 1).now == one
    assert compare(hours, now, 1).before == Total(3, 0, 3 * DOLLAR, DOLLAR * 3 // 2)  # half of the hour that runs
    assert compare(hours, now, 7).now == add_up([one] * 4)
    assert compare(hours, now, 7).before == one


def test_each_thing_to_decide_has_one_link(app: Flask, client: FlaskClient, channel: str, customer: MadeAccount):
    calm = client.get(HOME).text
    assert list_matters(calm) == []
    assert "Nothing. Channels, prices, payments and jobs are in order." in calm
    add_trouble(app, customer.id)
    change(app, channel, health="out", last_error="402 insufficient balance", last_error_at=now_utc())
    page = client.get(HOME).text
    found = list_matters(page)
    assert all(len(links) == 1 for _, links in found)
    links = {title: link for title, (link,) in found}
    assert links.pop(next(title for title in links if "no channel" in title)) == "/admin/setup/connect"
    assert links == {
        f"{channel}: out of service": f"/admin/channels/{channel}",
        "The ledger has 1 difference": "/admin/system",
        "Background jobs are late": "/admin/system",
        "1 model is sold below cost": "/admin/models/one?id=sold",
        "1 price will change": "/admin/models/one?id=sold",
        "1 payment needs review": "/admin/payments",
        "1 email could not be sent": "/admin/system",
        "1 customer is suspended": "/admin/customers",
    }
    assert "sold is not served." in page
    assert f"Open {channel}" in page
    for link in links.values():
        assert client.get(link).status_code == 200


def test_a_refused_key_of_several_is_to_be_decided(app: Flask, client: FlaskClient, channel: str):
    with app.app_context():
        add_key(channel, "sk-another-1234")
        with transaction() as session:
            second = sa.select(sa.func.max(ChannelKey.id)).scalar_subquery()
            session.execute(sa.update(ChannelKey).where(ChannelKey.id == second).values(health="out"))
    change(app, channel, last_answer_at=now_utc(), health="healthy")
    assert list_matters(client.get(HOME).text) == [(f"{channel}: a key is refused", [f"/admin/channels/{channel}"])]
    change(app, channel, health="out")  # all of them are: which is said of the channel
    assert [title for title, _ in list_matters(client.get(HOME).text)] == [f"{channel}: out of service"]


def test_the_page_takes_ten_statements_whatever_it_shows(
    app: Flask, client: FlaskClient, channel: str, make: Factories, asked: list[str]
):
    accounts = [make.make_account(DOLLAR) for _ in range(8)]
    with app.app_context():
        for account in accounts:
            add_record(account.id, charge_nanos=DOLLAR)
        roll_up()
        roll_up_totals()
    add_trouble(app, accounts[0].id)
    client.get(HOME)
    for period in ("today", "7", "30"):
        asked.clear()
        page = client.get(f"{HOME}?period={period}").text
        assert "Customers running low" in page
        assert len(asked) <= MOST_STATEMENTS, asked


def test_the_setup_stays_to_be_seen(client: FlaskClient, channel: str):
    assert "/admin/setup" in client.get(HOME).text
    page = client.get("/admin/setup").text
    assert "4 of 6" in page
    assert "SMTP_URL is missing" in page
