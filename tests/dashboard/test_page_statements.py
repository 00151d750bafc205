"""What a page costs: at most ten SQL statements, whatever it has to show. `make bench ARGS=--pages` measures the same
pages, with the account's thousands of keys and its CPU."""

import datetime
from collections.abc import Iterable, Iterator
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bench.pages import MOST_STATEMENTS, list_operator_pages, list_pages
from bridge.acts import COMMAND
from bridge.catalogue.incidents import open_incident
from bridge.catalogue.tables import Channel
from bridge.db import db, now_utc, transaction
from bridge.errors import RateLimitExceeded
from bridge.ledger.budgets import OF_KEY, OF_USER
from bridge.ledger.label_rollups import roll_up_labels
from bridge.ledger.ledger import credit
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import Budget, Hold
from bridge.limits.refusals import RefusalCounter
from bridge.payments.plan_tables import Subscription
from bridge.payments.plans import Offer, create_plan
from bridge.payments.rows import PAID, new_payment_id
from bridge.payments.tables import Payment
from bridge.telemetry import new_request_id
from tests.dashboard.pages import sign_in
from tests.factories import DOLLAR, Factories
from tests.ledger.records import add_record

DAY = datetime.timedelta(days=1)
# what a page's script asks, what is downloaded, what leads elsewhere, and what some members alone see
NO_PAGES = {
    *("dashboard.poll_plan", "dashboard.poll_payment", "dashboard.poll_payments", "dashboard.show_first_request"),
    "dashboard.show_playground_receipt",
    *("dashboard.export_usage", "dashboard.export_statement", "dashboard.export_team_log"),
    *("dashboard.go_and_connect", "dashboard.go_and_prove", "dashboard.show_proof"),
    "dashboard.show_new_passkey",
    *("admin.export_audit", "admin.export_requests", "admin.export_usage", "admin.export_customers"),
    *("admin.show_models_setup", "admin.show_setup_done", "admin.show_try_setup"),  # steps that ask an upstream
}
FURTHER = (
    *("/dashboard/usage?by=key&period=today", "/dashboard/usage?status=running", "/dashboard/usage?instead=gpt-4o"),
    *("/dashboard/usage?tag=env%3Dprod&by=end_user", "/dashboard/usage?end_user=ada&by=model"),
    *("/dashboard/keys?sort=name", "/dashboard/keys?q=key&sort=used", "/"),
)


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """The statements that are sent from now on."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


@pytest.fixture
def places(app: Flask, client: FlaskClient, make: Factories) -> dict[str, str]:
    """A signed-in account that has something of everything: what the pages' addresses name of it."""
    account = make.make_account(10 * DOLLAR)
    sign_in(client, account.email, account.password)
    budgets = {"budget_day_nanos": DOLLAR, "budget_month_nanos": 2 * DOLLAR, "budget_user_nanos": DOLLAR}
    keys = [make.make_key(account, name=f"key-{number}", **budgets) for number in range(6)]
    make.make_key(account, name="without a budget")
    today, key = now_utc().date(), keys[0]
    common = {"account_id": account.id, "key_id": key.id}
    with app.app_context():
        for number, one in enumerate(keys * 2):
            labels = {"end_user": f"user-{number}", "tags": '["env=prod"]', "model_id": f"model-{number}"}
            request_id = add_record(account.id, key_id=one.id, ago=number * DAY, **labels).request_id
        roll_up()
        roll_up_labels()
        add_record(account.id, key_id=key.id, end_user="ada", tags='["env=prod"]')
        counter = RefusalCounter()
        for one in keys:
            caller = SimpleNamespace(account_id=account.id, key_id=one.id)
            counter.count(caller, RateLimitExceeded("Too many."), new_request_id(), "gpt-4o", "gpt-4o")
        counter.write()
        now, payment_id = now_utc(), new_payment_id()
        amounts = {"amount_minor": 2000, "currency": "usd", "credit_nanos": 20 * DOLLAR}
        paid = {"state": "paid", "payment_intent": "pi_1", "paid_at": now}
        window = {"key_id": key.id, "period": "day", "period_start": today, "spent_nanos": DOLLAR}
        with transaction() as session:
            session.add(Payment(id=payment_id, account_id=account.id, kind="checkout", **amounts, **paid))
            session.add_all(Budget(**window, scope=scope) for scope in (OF_KEY, f"{OF_USER}ada"))
            hold = {"request_id": new_request_id(), "amount_nanos": 0, "created_at": now, "deadline_at": now + DAY}
            session.add(Hold(**common, **hold, details='{"model_asked": "gpt-4o"}'))
        credit(account.id, DOLLAR, source=PAID, external_id="pi_1")
        plan = create_plan(app.config["BRIDGE"], Offer("Pro", 2000, rpm=600))
        with transaction() as session:
            fields = {"id": "sbs_1", "state": "active", "made_by": "a test"}
            session.add(Subscription(account_id=account.id, plan_id=plan.id, **fields))
    return {"key": str(key.id), "request": request_id, "payment": payment_id, "plan": str(plan.id)}


def test_a_page_takes_ten_statements_at_most(client: FlaskClient, places: dict[str, str], asked: list[str]):
    counts = count_statements(client, (*list_pages(places).values(), *FURTHER), asked)
    assert not {path: count for path, count in counts.items() if count > MOST_STATEMENTS}
    assert all(counts.values())


def test_so_does_an_operators_page(app: Flask, make: Factories, places: dict[str, str], asked: list[str]):
    operator, client = make.make_account(0, is_operator=True), app.test_client()
    sign_in(client, operator.email, operator.password)
    with app.app_context():
        channel = db.session.scalars(sa.select(Channel.name).limit(1)).one()
        incident = open_incident("Slow answers", "We look into it.", COMMAND, models=["gpt-4o"])
    places |= {"account": "1", "channel": channel, "model": "gpt-4o", "incident": str(incident)}
    narrow = f"?q=&key={places['key']}&account=1&model=model-1&before={places['request']}"
    further = (f"/admin/requests{narrow}", f"/admin/requests{narrow}&period=7", "/admin/usage?account=1&period=today")
    counts = count_statements(client, (*list_operator_pages(places).values(), *further), asked)
    assert not {path: count for path, count in counts.items() if count > MOST_STATEMENTS}
    assert all(counts.values())


def count_statements(client: FlaskClient, paths: Iterable[str], asked: list[str]) -> dict[str, int]:
    counts = {}
    for path in paths:
        client.get(path)  # some things are read once, and kept as long as they are true
        asked.clear()
        assert client.get(path).status_code in (200, 202), path
        counts[path] = len([each for each in asked if not each.startswith(("BEGIN", "PRAGMA"))])
    return counts


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_every_page_is_measured(app: Flask):
    places = dict.fromkeys(("key", "request", "payment", "account", "channel", "model", "plan", "incident"), "1")
    measured = [*list_pages(places).values(), *list_operator_pages(places).values()]
    urls = app.url_map.bind("localhost")
    found = {urls.match(path.partition("?")[0])[0] for path in measured}
    pages = {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("dashboard.", "admin.")) and "GET" in (rule.methods or ())
    }
    assert pages - found == NO_PAGES
