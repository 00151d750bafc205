"""Payments over real sockets: two workers get the same events, look at the same balances, and are killed in between."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
import requests
import sqlalchemy as sa

from bridge.db import db, now_utc, transaction
from bridge.ledger.ledger import find_balance
from bridge.payments.amounts import to_credit
from bridge.payments.check import check_payments
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import AutoTopUp, Payment
from tests.gateway import Gateway
from tests.payments.conftest import CENT, KEY
from tests.payments.stripe_server import StripeServer
from tests.payments.stripe_side import (
    PATH,
    SECRET,
    make_dispute,
    make_event,
    make_intent,
    make_refund,
    make_session,
    send_over_socket,
    sign,
)
from tests.upstream import PATIENCE_SECONDS

Start = Callable[..., Gateway]


@pytest.fixture
def stripe() -> Iterator[StripeServer]:
    server = StripeServer()
    yield server
    server.close()


@pytest.fixture
def start(start_gateway: Start, engine: str, redis_url: str, stripe: StripeServer) -> Start:
    """A gateway that takes payments: one worker on SQLite, two on PostgreSQL and Redis."""

    def start_one(**changes: Any) -> Gateway:
        more = {"web_concurrency": 2, "redis_url": redis_url} if engine == "postgresql" else {}
        secrets = {"stripe_secret_key": KEY, "stripe_webhook_secret": SECRET, "stripe_api_base": stripe.base}
        return start_gateway(engine, **{**more, **secrets, **changes})

    return start_one


def open_payment(gateway: Gateway, account: int, amount: int) -> str:
    payment_id = new_payment_id()
    with gateway.make.app.app_context(), transaction() as session:
        credit = to_credit(gateway.settings, amount)
        fields = {"kind": "checkout", "amount_minor": amount, "currency": "usd", "credit_nanos": credit}
        session.add(Payment(id=payment_id, account_id=account, **fields))
    return payment_id


def keep_card(gateway: Gateway, account: int, **fields: Any) -> None:
    values = {"enabled": True, "threshold_nanos": 500 * CENT, "amount_minor": 2000, "monthly_cap_minor": 10_000}
    card = {"customer": "cus_1", "payment_method": "pm_1", "card": "Visa …4242", "currency": "usd"}
    with gateway.make.app.app_context(), transaction() as session:
        session.add(AutoTopUp(account_id=account, **{**values, **card, **fields}))


def cents(gateway: Gateway, account: int) -> int:
    with gateway.make.app.app_context():
        found = find_balance(account).balance_nanos // CENT
        db.session.commit()
    return found


def check(gateway: Gateway) -> list[str]:
    with gateway.make.app.app_context():
        return [*gateway.make.check_ledger(), *check_payments()]


def wait_until(true: Callable[[], bool]) -> None:
    with gevent.Timeout(PATIENCE_SECONDS):
        while not true():
            gevent.sleep(0.02)


def test_all_the_news_of_many_payments_in_any_order_and_in_parallel_books_each_once(start: Start):
    gateway = start()
    account = gateway.make.make_account(0).id
    events = []
    for number in range(6):
        payment = open_payment(gateway, account, 1000 + number)
        session = make_session(payment, 1000 + number)
        intent = make_intent(payment, 1000 + number, id=session["payment_intent"])
        refund = make_refund(intent["id"], 100, metadata={"bridge_payment": payment})
        dispute = make_dispute(intent["id"], 50, "needs_response", metadata={"bridge_payment": payment})
        events += [
            make_event("charge.dispute.closed", {**dispute, "status": "won"}),
            make_event("refund.created", refund),
            make_event("checkout.session.completed", session),
            make_event("payment_intent.succeeded", intent),
            make_event("charge.dispute.created", dispute),
            make_event("refund.updated", refund),
        ] * 2
    calls = [gevent.spawn(send_over_socket, gateway.site_url, event) for event in events]
    statuses = [call.get() for call in calls]
    again = [event for event, status in zip(events, statuses, strict=True) if status >= 500]
    assert {send_over_socket(gateway.site_url, event) for event in again} <= {200}
    assert cents(gateway, account) == sum(1000 + number - 100 for number in range(6))
    assert check(gateway) == []


def test_each_worker_looks_and_each_card_is_charged_once(start: Start, stripe: StripeServer):
    gateway = start(auto_top_up_seconds=0.05)
    accounts = [gateway.make.make_account(100 * CENT).id for _ in range(8)]
    for account in accounts:
        keep_card(gateway, account)
    wait_until(lambda: all(cents(gateway, account) == 2100 for account in accounts))
    assert len(stripe.intents) == 8
    assert set(stripe.calls.values()) == {1}
    assert check(gateway) == []


def test_a_charge_whose_worker_was_killed_is_ended_by_another_with_the_same_key(start: Start, stripe: StripeServer):
    gateway = start(auto_top_up_seconds=0.05)
    account = gateway.make.make_account(0).id
    stripe.hold()
    keep_card(gateway, account)
    assert stripe.came.wait(PATIENCE_SECONDS)
    for worker in gateway.workers():  # whoever it was: the card is charged, and nobody has written it down
        os.kill(worker, signal.SIGKILL)
    assert cents(gateway, account) == 0
    stripe.let_go()
    with gateway.make.app.app_context(), transaction() as session:  # as if the claim's two minutes were over
        session.execute(sa.update(AutoTopUp).values(claimed_until=now_utc()))
    wait_until(lambda: cents(gateway, account) == 2000)
    assert len(stripe.intents) == 1
    assert check(gateway) == []


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_database_that_drops_the_connection_in_mid_booking_leaves_nothing_half_done(start: Start):
    gateway = start()
    account = gateway.make.make_account(100 * CENT).id
    payment = open_payment(gateway, account, 2000)
    event = make_event("checkout.session.completed", make_session(payment, 2000))
    waiting = sa.text(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with gateway.make.app.app_context(), db.engine.connect() as other:
        other.execute(sa.text("SELECT 1 FROM balances WHERE account_id = :id FOR UPDATE"), {"id": account})
        told = gevent.spawn(send_over_socket, gateway.site_url, event)  # the entry is written, the balance waits
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as watch:
            wait_until(lambda: watch.scalar(waiting) is not None)
            watch.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": watch.scalar(waiting)})
        assert told.get() == 503
        other.rollback()
    assert (cents(gateway, account), check(gateway)) == (100, [])
    assert send_over_socket(gateway.site_url, event) == 200
    assert cents(gateway, account) == 2100


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_body_that_does_not_say_its_length_is_read_no_further_than_64_kib(start: Start):
    gateway = start()
    body = json.dumps(make_event("customer.created", {"id": "x"}))
    padded = body + " " * (200 * 1024)

    def chunks(text: str) -> Iterator[bytes]:
        for at in range(0, len(text), 8192):
            yield text[at : at + 8192].encode()

    url = gateway.site_url + PATH
    assert requests.post(url, data=chunks(body), headers=sign(body), timeout=60).status_code == 200
    assert requests.post(url, data=chunks(padded), headers=sign(padded), timeout=60).status_code == 413
    assert requests.post(url, data=padded, headers=sign(padded), timeout=60).status_code == 413


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_log_of_payments_holds_no_secret_and_no_body(start: Start):
    gateway = start()
    account = gateway.make.make_account(0).id
    payment = open_payment(gateway, account, 1000)
    send_over_socket(gateway.site_url, make_event("checkout.session.completed", make_session(payment, 1000)))
    requests.post(gateway.site_url + PATH, data=b"{}", headers={"Stripe-Signature": "t=1,v1=00"}, timeout=60)
    assert {line["done"] for line in gateway.log_lines("webhook")} == {"credited"}
    assert len(gateway.log_lines("webhook_refused")) == 1
    assert KEY not in gateway.log()
    assert SECRET not in gateway.log()
    assert "client_reference_id" not in gateway.log()
