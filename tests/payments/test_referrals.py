"""Who joins by a customer's link and pays brings both of them credit: once, up to the cap, and taken back when the
payment goes back wholly, in whatever order Stripe tells."""

import dataclasses
import itertools
from typing import Any

import pytest

from bridge.accounts.tables import Account
from bridge.acts import COMMAND
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.payments.referral_tables import Referral
from bridge.payments.referrals import find_referral_figures, make_referral_code, record_referral
from bridge.settings_rules import find_problem
from tests.members import add_owner
from tests.payments.conftest import CENT, Till
from tests.payments.stripe_side import make_event, make_refund, make_session, new_id


@pytest.fixture
def settings(till: Till, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The till's, with $5 for each side and $8 in all."""
    settings = dataclasses.replace(till.settings, referral_credit="5", referral_cap="8")
    monkeypatch.setitem(till.app.config, "BRIDGE", settings)
    return settings


def join(till: Till, settings: Settings, referrer: int, email: str = "") -> tuple[int, bool]:
    """A newcomer by the referrer's link, and whether that counts."""
    newcomer = till.open_account()
    with till.app.app_context():
        code = make_referral_code(referrer)
        assert make_referral_code(referrer) == code
        with transaction() as session:
            member = add_owner(session, newcomer, email)
        return newcomer, record_referral(settings, member, code, COMMAND)


def pay(till: Till, account: int, cents: int = 2000) -> tuple[str, str]:
    """A payment and its intent."""
    payment, intent = till.open_payment(account, cents), new_id("pi")
    till.send(make_event("checkout.session.completed", make_session(payment, cents, payment_intent=intent)))
    return payment, intent


def test_both_sides_are_credited_with_the_first_payment_alone(till: Till, settings: Settings):
    referrer = till.open_account()
    newcomer, counts = join(till, settings, referrer)
    assert (counts, till.entries(referrer)) == (True, [])
    _, intent = pay(till, newcomer)
    pay(till, newcomer)
    assert till.entries(newcomer)[:2] == [("stripe", intent, 2000), ("referral", f"{intent}:newcomer", 500)]
    assert till.balance(newcomer) == 4500
    assert till.entries(referrer) == [("referral", f"{intent}:referrer", 500)]


def test_a_referrer_earns_no_more_than_the_cap(till: Till, settings: Settings):
    referrer = till.open_account()
    for sum_cents in (500, 800, 800):
        newcomer, _ = join(till, settings, referrer)
        pay(till, newcomer)
        assert (till.balance(referrer), till.balance(newcomer)) == (sum_cents, 2500)
    with till.app.app_context():
        figures = find_referral_figures(referrer)
    assert (figures.joined, figures.paid, figures.earned_nanos) == (3, 3, 800 * CENT)


@pytest.mark.parametrize(("cents", "fails", "left"), [(2000, False, 0), (1999, False, 1), (2000, True, 2000)])
def test_only_a_whole_return_takes_it_back_in_any_order(
    till: Till, settings: Settings, cents: int, fails: bool, left: int
):
    for order in itertools.permutations(range(3)):
        referrer = till.open_account()
        newcomer, _ = join(till, settings, referrer)
        payment, intent = till.open_payment(newcomer, 2000), new_id("pi")
        refund: dict[str, Any] = make_refund(intent, cents, metadata={"bridge_payment": payment})
        end = ("refund.failed", refund | {"status": "failed"}) if fails else ("refund.updated", refund)
        events = [
            make_event("checkout.session.completed", make_session(payment, 2000, payment_intent=intent)),
            make_event("refund.created", refund),
            make_event(*end),
        ]
        for number in (*order, *order):
            till.send(events[number])
        kept = 0 if left == 0 else 500
        assert (till.balance(newcomer), till.balance(referrer)) == (left + kept, kept), order


def test_nobody_refers_themselves(till: Till, settings: Settings):
    referrer = till.open_account()
    name = new_id("me")
    join(till, settings, till.open_account())
    with till.app.app_context(), transaction() as session:
        add_owner(session, referrer, f"{name}@example.com")
    newcomer, counts = join(till, settings, referrer, f"{name}+2@example.com")
    pay(till, newcomer)
    assert (counts, till.balance(newcomer), till.entries(referrer)) == (False, 2000, [])
    merged, counts = join(till, settings, referrer)
    with till.app.app_context(), transaction():
        db.session.get_one(Account, merged).merged_into = referrer
    pay(till, merged)
    assert (counts, till.balance(merged), till.entries(referrer)) == (True, 2000, [])


def test_the_check_finds_what_does_not_fit(till: Till, settings: Settings):
    referrer = till.open_account()
    newcomer, _ = join(till, settings, referrer)
    _, intent = pay(till, newcomer)
    for is_taken_back in (True, False):
        with till.app.app_context(), transaction() as session:
            session.get_one(Referral, newcomer).is_taken_back = is_taken_back
        found = [line for line in till.check() if "referral" in line]
        assert any(intent in line for line in found) is is_taken_back
        assert any(f"account {referrer}: " in line for line in found) is is_taken_back


def test_wrong_amounts_are_refused_at_the_start():
    for wrong in ("-1", "x"):
        assert find_problem("referral_credit", wrong)
        assert find_problem("referral_cap", wrong)
    assert find_problem("referral_credit", "") is None
