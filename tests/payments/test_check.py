"""The check finds every payment that the journal does not have, and every entry that no payment explains."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from bridge.config import Settings
from bridge.db import transaction
from bridge.payments.check import check_payments
from tests.payments.conftest import Till, open_till
from tests.payments.stripe_side import make_dispute, make_event, make_refund, make_session
from tests.rooms import close_rooms


@pytest.fixture
def damaged(settings: Settings, find_till: Callable[[str], Till]) -> Iterator[Till]:
    """A till of a database of its own, that a test may damage."""
    secrets = find_till("sqlite").settings
    till = open_till(
        dataclasses.replace(
            settings,
            stripe_secret_key=secrets.stripe_secret_key,
            stripe_webhook_secret=secrets.stripe_webhook_secret,
        )
    )
    yield till
    close_rooms(till.app)


def pay(till: Till) -> tuple[int, str]:
    account = till.open_account()
    payment = till.open_payment(account, 2000, bonus_nanos=1_000_000_000)
    session = make_session(payment, 2000)
    till.send(make_event("checkout.session.completed", session))
    till.send(make_event("refund.created", make_refund(session["payment_intent"], 500)))
    dispute = make_dispute(session["payment_intent"], 300, "won")
    till.send(make_event("charge.dispute.closed", dispute))
    return account, payment


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("SELECT 1", ""),
        ("DELETE FROM entries WHERE source = 'stripe'", "credits 20.00, entry that is missing says nothing"),
        ("UPDATE payments SET state = 'failed'", "payment that is missing credits nothing"),
        ("UPDATE payments SET credit_nanos = credit_nanos + 1", "credits 20.000000001, entry"),
        ("UPDATE entries SET amount_nanos = amount_nanos - 1 WHERE source = 'stripe'", "says 19.999999999"),
        ("UPDATE entries SET debit = credit, credit = debit WHERE source = 'stripe'", "credits 20.00, entry"),
        ("UPDATE payments SET payment_intent = payment_intent || 'x'", "payment that is missing"),
        ("UPDATE payments SET returned_nanos = 0", "were returned by 0.00, its entries by 5.00"),
        ("DELETE FROM entries WHERE source = 'stripe_refund'", "were returned by 5.00, its entries by 0.00"),
        ("DELETE FROM entries WHERE external_id LIKE '%reversed'", "were returned by 5.00, its entries by 8.00"),
        ("UPDATE payments SET returned_nanos = 20000000001", "returned 20.250000001, but was credited 21.00"),
        ("DELETE FROM entries WHERE source = 'bonus'", "gives a bonus of 1.00, entry that is missing says nothing"),
        ("UPDATE payments SET bonus_nanos = 0", "payment that is missing gives a bonus of nothing, entry"),
        ("UPDATE payments SET bonus_returned_nanos = 0", "its bonuses were returned by 0.00, its entries by 0.25"),
        ("UPDATE payments SET state = 'review'", "returned 5.25, but was never credited: closing it gives that back"),
        ("UPDATE payments SET problem = 'Paid again.'", "look at it at Stripe: Paid again."),
    ],
)
def test_the_check_names_what_is_off(damaged: Till, damage: str, complaint: str):
    account, _payment = pay(damaged)
    pay(damaged)
    with damaged.app.app_context():
        with transaction() as session:
            session.execute(sa.text(damage))
        found = check_payments()
    assert bool(found) == bool(complaint)
    assert all(line.startswith("account ") for line in found)
    if complaint:
        assert any(line.startswith(f"account {account}: ") and complaint in line for line in found), found


def test_an_entry_of_another_accounts_payment_is_named(damaged: Till):
    (first, _), (second, _) = pay(damaged), pay(damaged)
    with damaged.app.app_context():
        with transaction() as session:
            swap = "UPDATE entries SET account_id = :new WHERE account_id = :old AND source = 'stripe'"
            session.execute(sa.text(swap), {"new": second, "old": first})
        found = check_payments()
    assert [line.split(":")[0] for line in found] == [f"account {first}"]
