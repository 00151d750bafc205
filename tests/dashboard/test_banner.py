"""One banner tells the account's state: the worst first, with one action, at few statements."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.acts import COMMAND
from bridge.catalogue.incidents import open_incident, post_update
from bridge.db import db, now_utc, transaction
from bridge.ledger.alerts import set_alert
from bridge.ledger.ledger import adjust, credit
from bridge.ledger.tables import Budget
from bridge.payments.tables import AutoTopUp
from bridge.providers.base import AttemptFailed, Blame
from tests.dashboard.pages import sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_record

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
NOTE = re.compile(r'<div class="note[^>]*><p><b>(.*?)</b>(.*?)</p>(?:<a [^>]*href="(.*?)")?')
OF_BANNERS = 6  # statements at most


@pytest.fixture
def account(make: Factories, client: FlaskClient) -> MadeAccount:
    account = make.make_account(0)
    sign_in(client, account.email, account.password)
    return account


def told(client: FlaskClient, path: str = "/dashboard/settings") -> list[tuple[str, str, str]]:
    """The page's banners: bold clause, text and where the action leads."""
    return [(title, text.strip(), url) for title, text, url in NOTE.findall(client.get(path).text)]


def put_out(app: Flask, model: str, account: MadeAccount) -> None:
    """Every channel of the model refuses its key, as the account has found at this process."""
    services = app.extensions["bridge_services"]
    for route in services.catalogue.models[model].routes:
        services.health.failed(route, AttemptFailed(Blame.CREDENTIAL, "401"), account_id=account.id)


def test_the_worst_is_told_alone_and_the_next_one_when_that_is_over(
    app: Flask, client: FlaskClient, make: Factories, account: MadeAccount
):
    model = make.make_model()
    make.make_channel("http://127.0.0.1:9", model)
    key = make.make_key(account, name="eval", budget_day_nanos=5 * DOLLAR)
    with app.app_context():
        with transaction() as session:
            session.add(Budget(key_id=key.id, period="day", period_start=now_utc().date(), spent_nanos=4_410_000_000))
            rule = AutoTopUp(account_id=account.id, card="Visa …4242", problem="Your card was declined.")
            session.add(rule)
        set_alert(account.id, 5 * DOLLAR)
        put_out(app, model, account)

    assert told(client)[0][0] == "You have no credit yet."
    with app.app_context():
        credit(account.id, 4 * DOLLAR, source="operator", made_by="a test")
        adjust(account.id, -4 * DOLLAR, note="taken back", made_by="a test")
    [(title, text, url)] = told(client)
    assert (title, url) == ("Your balance is used up.", "/dashboard/billing")
    assert "answer 402" in text

    with app.app_context():
        credit(account.id, 4 * DOLLAR, source="operator", made_by="a test")
    [(title, text, url)] = told(client)
    assert (title, url) == ("Automatic top-ups are off.", "/dashboard/billing")
    assert text.startswith("Your card was declined.")
    with app.app_context(), transaction() as session:
        session.execute(sa.update(AutoTopUp).values(problem=None))

    assert told(client)[0][0] == "$4.00 left."  # the model is none of those that the account uses
    with app.app_context():
        add_record(account.id, key_id=key.id, model_id=model, charge_nanos=14 * DOLLAR)
    [(title, text, url)] = told(client)
    assert (title, url) == (f"{model} can&#39;t be reached now.", "/models")
    assert "503 and cost nothing" in text
    with app.app_context():
        number = open_incident("Answers are slow", "We look into it.", COMMAND, models=[model], effect="degraded")
    [(title, text, url)] = told(client)
    assert (title, url) == ("Answers are slow.", "/status")
    assert text.startswith("Since ")
    with app.app_context():
        post_update(number, "resolved", "It was a cable.", COMMAND)
        open_incident("Another model is slow", "We look into it.", COMMAND, models=["gpt-4o"])
    assert told(client)[0][0] == f"{model} can&#39;t be reached now."
    app.extensions["bridge_services"].health.learn(())

    assert told(client)[0][::2] == ("$4.00 left, for about 2 days.", "/dashboard/billing")
    with app.app_context():
        credit(account.id, 100 * DOLLAR, source="operator", made_by="a test")
    [(title, text, url)] = told(client)
    assert (title, url) == ("eval has used 88% of its budget:", f"/dashboard/keys/{key.id}")
    assert text == "$4.41 of $5.00 today. It starts again at 00:00 UTC."
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Budget).values(spent_nanos=0))

    assert told(client) == []


def test_a_low_balance_is_no_news_while_a_card_tops_it_up(app: Flask, client: FlaskClient, account: MadeAccount):
    with app.app_context():
        credit(account.id, 2 * DOLLAR, source="operator", made_by="a test")
        set_alert(account.id, 5 * DOLLAR)
        with transaction() as session:
            month = now_utc().date().replace(day=1)
            terms = {"amount_minor": 2000, "monthly_cap_minor": 10_000, "currency": "usd", "month": month}
            card = {"card": "Visa …4242", "payment_method": "pm_1"}
            session.add(AutoTopUp(account_id=account.id, enabled=True, **terms, **card))
    assert told(client) == []
    with app.app_context(), transaction() as session:
        session.execute(sa.update(AutoTopUp).values(month_minor=8001))  # the cap allows no more
    assert told(client)[0][0] == "$2.00 left."


def test_a_banner_costs_few_statements(app: Flask, client: FlaskClient, make: Factories):
    rich = make.make_account(100 * DOLLAR)
    sign_in(client, rich.email, rich.password)
    seen: list[str] = []
    with app.app_context():
        sa.event.listen(db.engine, "before_cursor_execute", lambda *found: seen.append(found[2]))
    client.get("/admin/nowhere")
    bare = len(seen)
    seen.clear()
    client.get("/dashboard/nowhere")
    assert len(seen) - bare <= OF_BANNERS


def test_the_sandbox_is_told_to_operators_alone(client: FlaskClient, make: Factories, account: MadeAccount, app: Flask):
    make.make_channel("", provider="sandbox", waits=False, api_key=None, models=None)
    assert "Sandbox:</b>" not in client.get("/dashboard/").text
    operator, browser = make.make_account(is_operator=True), app.test_client()
    sign_in(browser, operator.email, operator.password)
    assert "Sandbox:</b>" in browser.get("/admin/channels").text
    assert "Sandbox:</b>" not in browser.get("/dashboard/").text
