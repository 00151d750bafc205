"""Plans: each invoice that is paid is credited once, to the cent, however its events come; quotas hold as long as the
plan does; and whatever ends an account ends what it is charged."""

import datetime
import random
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import sqlalchemy as sa

from bridge.accounts.customers import set_account_limits
from bridge.accounts.key_limits import find_account_limits
from bridge.accounts.tables import Account
from bridge.acts import Actor, list_acts
from bridge.db import db, now_utc, transaction
from bridge.errors import AccountSuspended, InvalidRequest
from bridge.mail.tables import Mail
from bridge.payments.leaving import delete_account
from bridge.payments.merging import merge_accounts
from bridge.payments.plan_tables import Plan, Subscription
from bridge.payments.plan_upkeep import keep_subscriptions
from bridge.payments.plans import Offer, change_sale, create_plan, list_plans
from bridge.payments.review import close_payment, link_payment, settle_payment
from bridge.payments.subscribe import change_plan, open_subscription, set_ending
from bridge.payments.tables import Payment
from tests.members import add_owner
from tests.payments.conftest import CENT, Till
from tests.payments.stripe_billing import DAY, MONTH, Found, StripeBilling
from tests.payments.stripe_side import make_charge, make_dispute, make_event, make_refund, new_id

DOLLAR = 100 * CENT
MEMBER = Actor("owner@example.com", "192.0.2.1")


@pytest.fixture
def stripe() -> Iterator[StripeBilling]:
    stripe = StripeBilling()
    with stripe.answering():
        yield stripe


@pytest.fixture
def till(till: Till) -> Iterator[Till]:
    """The till. What a test leaves would be at a Stripe that is gone."""
    yield till
    with till.app.app_context(), transaction() as session:
        left = sa.update(Subscription).where(Subscription.state != "ended")
        session.execute(left.values(state="ended", ends_at=now_utc(), must_end=False))
        past = now_utc() - datetime.timedelta(days=9)
        session.execute(sa.update(Subscription).values(ends_at=past, created_at=past))
        gone = dict.fromkeys(("plan_rpm", "plan_tpm", "plan_concurrency", "plan_group"))
        session.execute(sa.update(Account).values(gone))


def make_plan(till: Till, fee: int = 2000, credit: int = 2000, **fields: Any) -> Plan:
    """A plan of this fee and credit, in cents."""
    with till.app.app_context():
        return create_plan(till.settings, Offer(new_id("Plan"), fee, credit * CENT, **fields))


def open_page(till: Till, account: int, plan: Plan) -> str:
    with till.app.app_context():
        fields = {"email": "owner@example.com", "return_url": "https://gateway.example/dashboard/billing"}
        return open_subscription(till.settings, account, plan.code, **fields)


def subscribe(till: Till, stripe: StripeBilling, account: int, plan: Plan, at: int | None = None) -> Found:
    """Subscribe, and let Stripe tell of it."""
    open_page(till, account, plan)
    subscription = stripe.subscribe(at)
    for event in (stripe.session(subscription), stripe.paid()):
        assert till.send(event).status_code == 200
    return subscription


def find(till: Till, subscription: Found) -> Subscription:
    with till.app.app_context():
        query = sa.select(Subscription).where(Subscription.stripe_subscription == subscription["id"])
        return db.session.scalars(query).one()


def open_limited(till: Till) -> int:
    """An account that may send 60 requests a minute."""
    account = till.open_account()
    with till.app.app_context():
        set_account_limits(account, {"rpm": 60})
    return account


def limits(till: Till, account: int) -> tuple[int, str]:
    """The account's RPM and its group, as they are in effect."""
    with till.app.app_context():
        return find_account_limits(account)["rpm"], db.session.get_one(Account, account).group


def words(till: Till, account: int) -> list[str]:
    with till.app.app_context():
        return [act.what for act in list_acts(account) if act.what.startswith("plan_")][::-1]


def work(till: Till, after: float = 0) -> int:
    """Let a worker look, after so many seconds."""
    with till.app.app_context():
        with transaction() as session:
            earlier = now_utc() - datetime.timedelta(seconds=after)
            session.execute(sa.update(Subscription).values(asked_at=earlier))
        return keep_subscriptions(till.settings)


def test_a_fee_is_credited_once_by_whatever_events_and_in_any_order(till: Till, stripe: StripeBilling):
    plan, dice = make_plan(till, 2000, 2500), random.Random(7)
    for _ in range(6):
        account = till.open_account()
        open_page(till, account, plan)
        subscription = stripe.subscribe()
        events = [stripe.session(subscription), stripe.paid(), stripe.paid(), stripe.changed(subscription, "created")]
        dice.shuffle(events)
        for event in events:
            assert till.send(event).status_code == 200
        intent = stripe.newest()["_intent"]
        # what the fee is worth is paid, the rest is a gift
        assert till.entries(account) == [("stripe", intent, 2000), ("bonus", intent, 500)]
        assert find(till, subscription).state == "active"
        assert till.list_payments(account)[0].kind == "plan"


@pytest.mark.parametrize("old", [False, True])
def test_each_month_is_credited_in_either_shape_of_stripes_objects(till: Till, stripe: StripeBilling, old: bool):
    stripe.old = old
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till, 2000, 1500))
    for _ in range(2):
        assert till.send(stripe.paid(stripe.renew(subscription))).text == "credited"
    assert [cents for _, _, cents in till.entries(account)] == [1500] * 3
    row = find(till, subscription)
    assert row.paid_from == row.period_start
    assert row.period_end
    assert row.period_end.timestamp() == subscription["_end"]


def test_the_same_invoice_in_parallel_is_credited_once(till: Till, stripe: StripeBilling):
    account = till.open_account()
    open_page(till, account, make_plan(till))
    subscription = stripe.subscribe()
    events = [stripe.paid(), stripe.session(subscription), stripe.changed(subscription), stripe.paid()] * 2
    calls = [gevent.spawn(till.send, event) for event in events]
    answers = [call.get().status_code for call in calls]
    assert set(answers) <= {200, 503}
    for event, status in zip(events, answers, strict=True):
        if status == 503:  # Stripe sends it again
            assert till.send(event).status_code == 200
    assert till.entries(account) == [("stripe", stripe.newest()["_intent"], 2000)]
    assert find(till, subscription).state == "active"
    assert words(till, account) == ["plan_started"]


def test_an_old_event_never_undoes_what_is_known(till: Till, stripe: StripeBilling):
    account = open_limited(till)
    subscription = subscribe(till, stripe, account, make_plan(till, rpm=600))
    begun = stripe.changed(subscription, "created")
    stripe.end(subscription)
    till.send(stripe.changed(subscription, "deleted"))
    till.send(begun)
    assert find(till, subscription).state == "ended"
    assert limits(till, account)[0] == 60
    assert words(till, account) == ["plan_started", "plan_ended"]


def test_a_slow_answer_is_never_kept_over_a_newer_one(till: Till, stripe: StripeBilling):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till))
    show, slow = stripe.show, stripe.changed(subscription)
    held: list[bool] = []

    def show_late(found: Found) -> Found:
        shown = show(found)
        if not held:
            held.append(True)
            stripe.end(subscription)
            assert till.send(stripe.changed(subscription, "deleted")).text == "canceled"
        return shown

    stripe.show = show_late  # type: ignore[method-assign]
    assert till.send(slow).text == "canceled"
    assert find(till, subscription).state == "ended"


def test_quotas_come_with_the_plan_and_go_with_it(till: Till, stripe: StripeBilling):
    account = open_limited(till)
    plan = make_plan(till, 1000, 0, rpm=560, group_name="gold")
    subscription = subscribe(till, stripe, account, plan)
    assert limits(till, account) == (560, "gold")
    assert till.entries(account) == []  # the fee buys no credit, and is earned at once
    [payment] = till.list_payments(account)
    assert (payment.state, payment.credit_nanos, payment.amount_minor) == ("paid", 0, 1000)
    with till.app.app_context():  # a plan raises, and never lowers
        set_account_limits(account, {"rpm": 960})
    assert limits(till, account)[0] == 960
    with till.app.app_context():
        set_account_limits(account, {"rpm": 1})
    assert limits(till, account)[0] == 560
    stripe.end(subscription)
    till.send(stripe.changed(subscription, "deleted"))
    assert limits(till, account) == (1, "default")


def test_quotas_outlast_an_unpaid_fee_for_three_days_and_come_back(till: Till, stripe: StripeBilling):
    account = open_limited(till)
    began = int(datetime.datetime.now().timestamp()) - MONTH - DAY
    subscription = subscribe(till, stripe, account, make_plan(till, rpm=560), began)
    with till.app.app_context(), transaction() as session:
        add_owner(session, account)
    invoice = stripe.renew(subscription, paid=False)
    failed = make_event("invoice.payment_failed", stripe.show_invoice(invoice))
    assert [till.send(failed).text for _ in range(2)] == ["past_due"] * 2
    with till.app.app_context():
        mails = list(db.session.scalars(sa.select(Mail).where(Mail.once.startswith(f"plan-unpaid:{invoice['id']}"))))
    assert len(mails) == 1
    assert limits(till, account)[0] == 560
    subscription["_start"] -= 3 * DAY
    work(till, after=2 * 3600)
    assert limits(till, account)[0] == 60
    assert till.balance(account) == 2000
    subscription["_start"] += 3 * DAY
    stripe.pay(invoice)
    till.send(stripe.paid(invoice))
    assert (limits(till, account)[0], till.balance(account)) == (560, 4000)


def test_another_plan_begins_with_the_next_month_and_the_running_one_stays_as_paid(till: Till, stripe: StripeBilling):
    account = open_limited(till)
    small, large = make_plan(till, 1000, 1000, rpm=1000), make_plan(till, 5000, 6000, rpm=9000)
    subscription = subscribe(till, stripe, account, small)
    with till.app.app_context():
        change_plan(till.settings, account, large.code, MEMBER)
    row = find(till, subscription)
    assert (row.plan_id, row.next_plan_id, limits(till, account)[0]) == (small.id, large.id, 1000)
    first = stripe.newest()
    till.send(stripe.paid(stripe.renew(subscription)))
    row = find(till, subscription)
    assert (row.plan_id, row.next_plan_id, limits(till, account)[0]) == (large.id, None, 9000)
    assert till.balance(account) == 7000
    till.send(stripe.paid(first))  # an old invoice brings no old plan back
    assert find(till, subscription).plan_id == large.id
    assert words(till, account) == ["plan_started", "plan_chosen", "plan_switched"]


def test_one_thinks_better_of_another_plan_and_of_ending(till: Till, stripe: StripeBilling):
    account = till.open_account()
    small, large = make_plan(till, 1000, 1000), make_plan(till, 5000, 6000)
    subscription = subscribe(till, stripe, account, small)
    with till.app.app_context():
        change_plan(till.settings, account, large.code, MEMBER)
        change_plan(till.settings, account, small.code, MEMBER)
        assert find(till, subscription).next_plan_id is None
        ends_at = set_ending(till.settings, account, MEMBER, ends=True)
        assert ends_at
        assert ends_at.timestamp() == subscription["_end"]
        with pytest.raises(InvalidRequest, match="ends"):
            change_plan(till.settings, account, large.code, MEMBER)
        assert set_ending(till.settings, account, MEMBER, ends=False) is None
    assert find(till, subscription).state == "active"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"_paid": 500}, "$5.00 was paid, not $20.00."),
        ({"currency": "eur"}, "20.00 EUR was paid, not $20.00."),
        ({"billing_reason": "subscription_update"}, "is not the fee of a plan's month."),
        ({"billing_reason": "manual"}, "is not the fee of a plan's month."),
        ({"_price": "price_of_another"}, "is not the fee of a plan's month."),
        ({"_intent": None}, "was paid outside of Stripe."),
    ],
)
def test_what_is_not_a_months_fee_waits_for_an_operator(
    till: Till, stripe: StripeBilling, changes: dict[str, Any], problem: str
):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till))
    invoice = stripe.renew(subscription)
    invoice |= changes
    for _ in range(2):
        assert till.send(stripe.paid(invoice)).text == "review"
    assert till.balance(account) == 2000
    _, payment = till.list_payments(account)
    assert (payment.state, problem in str(payment.problem)) == ("review", True)
    assert any(payment.id in line for line in till.check())
    with till.app.app_context():
        assert close_payment(payment.id, reason="Refunded", made_by="a test")


def test_a_month_is_paid_for_once(till: Till, stripe: StripeBilling):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till))
    again = stripe.write_invoice(subscription, "subscription_cycle")
    assert till.send(stripe.paid(again)).text == "review"
    assert till.balance(account) == 2000
    with till.app.app_context():
        _, payment = till.list_payments(account)
        with pytest.raises(InvalidRequest, match="belongs to its invoice"):
            link_payment(till.settings, payment.id, "pi_other", reason="x", made_by="a test")


def test_an_operator_settles_what_was_paid_at_the_plans_rate(till: Till, stripe: StripeBilling, monkeypatch):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till, 2000, 1000))
    till.send(stripe.paid(stripe.renew(subscription, _paid=1000)))
    _, payment = till.list_payments(account)
    monkeypatch.setattr("bridge.payments.review._ask_stripe", lambda *_: None)
    with till.app.app_context():
        settle_payment(till.settings, payment.id, reason="Half a month, as agreed", made_by="a test")
    assert till.balance(account) == 1500


def test_what_costs_nothing_and_what_is_not_ours_is_left_alone(till: Till, stripe: StripeBilling):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till))
    assert till.send(stripe.paid(stripe.renew(subscription, _paid=0, total=0))).text == "free"
    subscription["metadata"], subscription["id"] = {}, new_id("sub")
    stripe.subscriptions[subscription["id"]] = subscription
    assert till.send(stripe.paid(stripe.write_invoice(subscription, "subscription_cycle"))).text == "ignored"
    assert till.send(stripe.changed(subscription)).text == "ignored"
    assert len(till.list_payments(account)) == 1


@pytest.mark.parametrize("first", [True, False], ids=["refund first", "invoice first"])
def test_a_refund_takes_credit_and_gift_back_in_any_order(till: Till, stripe: StripeBilling, first: bool):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till, 2000, 3000))
    invoice = stripe.renew(subscription)
    events = [stripe.paid(invoice), make_event("refund.created", make_refund(invoice["_intent"], 1000))]
    for event in events[::-1] if first else events:
        assert till.send(event).status_code == 200
    assert till.balance(account) == 3000 + 1500


def test_a_refund_of_a_fee_without_credit_takes_nothing(till: Till, stripe: StripeBilling):
    account = till.open_account()
    plan = make_plan(till, 1000, 0, rpm=600)
    subscribe(till, stripe, account, plan)
    till.send(make_event("refund.created", make_refund(stripe.newest()["_intent"], 400)))
    assert till.entries(account) == []
    [payment] = till.list_payments(account)
    assert payment.returned_minor == 400
    with till.app.app_context():
        [listed] = [one for one in list_plans() if one.plan.id == plan.id]
    assert (listed.subscribers, listed.paid_minor, listed.earned_nanos) == (1, 600, 6 * DOLLAR)


def test_a_dispute_takes_the_credit_back_and_ends_the_plan_here_and_at_stripe(till: Till, stripe: StripeBilling):
    account = open_limited(till)
    subscription = subscribe(till, stripe, account, make_plan(till, rpm=600))
    dispute = make_event("charge.dispute.created", make_dispute(stripe.newest()["_intent"], 2000, "needs_response"))
    assert [till.send(dispute).text for _ in range(2)] == ["disputed"] * 2
    assert (till.balance(account), find(till, subscription).state) == (0, "ended")
    assert limits(till, account)[0] == 60
    assert subscription["status"] == "active"
    work(till, after=120)
    assert subscription["status"] == "canceled"
    assert find(till, subscription).ends_at is not None
    assert work(till, after=120) == 0


def test_the_fee_of_a_charge_is_found_by_its_invoice(till: Till, stripe: StripeBilling, monkeypatch):
    account = till.open_account()
    subscribe(till, stripe, account, make_plan(till))
    intent = stripe.newest()["_intent"]
    monkeypatch.setattr("bridge.payments.checkout.list_refunds", lambda *_: [make_refund(intent, 500)])
    charge = make_charge("", intent, 2000, 500) | {"metadata": {}}
    assert till.send(make_event("charge.refunded", charge)).text == "refunded"
    assert till.balance(account) == 1500


def test_two_pages_that_are_both_paid_leave_one_plan(till: Till, stripe: StripeBilling):
    account, plan = till.open_account(), make_plan(till)
    open_page(till, account, plan)
    open_page(till, account, plan)
    second = stripe.subscribe()
    till.send(stripe.paid())
    stripe.pages.pop()
    first = stripe.subscribe()
    assert till.send(stripe.paid()).text == "review"
    assert (find(till, second).state, find(till, first).state) == ("active", "ended")
    assert till.balance(account) == 2000
    work(till, after=120)
    assert (second["status"], first["status"]) == ("active", "canceled")
    with till.app.app_context(), pytest.raises(InvalidRequest, match="has a plan"):
        open_page(till, account, plan)


def test_a_page_that_is_left_begins_nothing(till: Till, stripe: StripeBilling):
    account, plan = till.open_account(), make_plan(till)
    open_page(till, account, plan)
    session = {"mode": "subscription", "metadata": {"bridge_subscription": stripe.pages[-1]["client_reference_id"]}}
    assert till.send(make_event("checkout.session.expired", session)).text == "left"
    assert till.send(make_event("checkout.session.expired", session)).text == "ignored"
    assert stripe.pages[-1]["subscription_data[metadata][bridge_subscription]"]
    subscription = stripe.subscribe()  # it was paid after all
    till.send(stripe.paid())
    assert (find(till, subscription).state, till.balance(account)) == ("active", 2000)


def test_lost_events_are_made_up_for_by_a_worker(till: Till, stripe: StripeBilling):
    account = till.open_account()
    began = int(datetime.datetime.now().timestamp()) - MONTH - DAY // 2
    subscription = subscribe(till, stripe, account, make_plan(till), began)
    stripe.renew(subscription)
    assert work(till) == 0  # it was asked a moment ago
    stripe.is_away = True
    work(till, after=2 * 3600)
    assert till.balance(account) == 2000
    stripe.is_away = False
    work(till, after=2 * 3600)
    assert till.balance(account) == 4000
    assert work(till, after=2 * 3600) == 0


def test_while_stripe_is_away_the_event_is_sent_again(till: Till, stripe: StripeBilling):
    account = till.open_account()
    open_page(till, account, make_plan(till))
    stripe.subscribe()
    stripe.is_away = True
    assert till.send(stripe.paid()).status_code == 503
    assert till.list_payments(account) == []
    stripe.is_away = False
    assert till.send(stripe.paid()).text == "credited"


def test_a_deleted_account_is_charged_no_more(till: Till, stripe: StripeBilling):
    account = till.open_account()
    subscription = subscribe(till, stripe, account, make_plan(till, rpm=600))
    with till.app.app_context():
        delete_account(till.settings, account, MEMBER)
    assert find(till, subscription).state == "ended"
    work(till, after=120)
    assert subscription["status"] == "canceled"
    till.send(stripe.changed(subscription, "deleted"))
    late = stripe.write_invoice(subscription, "subscription_cycle", _period=(subscription["_end"], 0))
    assert till.send(stripe.paid(late)).text == "review"  # somebody has to pay it back
    with till.app.app_context():
        close_payment(till.list_payments(account)[-1].id, reason="Refunded", made_by="a test")


def test_a_page_that_was_open_at_the_deletion_begins_nothing(till: Till, stripe: StripeBilling):
    account = till.open_account()
    open_page(till, account, make_plan(till))
    with till.app.app_context():
        delete_account(till.settings, account, MEMBER)
    subscription = stripe.subscribe()
    assert till.send(stripe.paid()).text == "review"
    assert (find(till, subscription).state, till.balance(account)) == ("ended", 0)
    work(till, after=120)
    assert subscription["status"] == "canceled"
    with till.app.app_context():
        close_payment(till.list_payments(account)[-1].id, reason="Refunded", made_by="a test")


@pytest.mark.parametrize("both", [False, True])
def test_a_plan_moves_with_a_merged_account(till: Till, stripe: StripeBilling, both: bool):
    duplicate, stays = open_limited(till), open_limited(till)
    plan = make_plan(till, rpm=560)
    own = subscribe(till, stripe, stays, make_plan(till, rpm=9000)) if both else None
    subscription = subscribe(till, stripe, duplicate, plan)
    with till.app.app_context():
        merge_accounts(till.settings, duplicate, stays)
    work(till, after=120)
    if own is not None:
        assert (own["status"], subscription["status"]) == ("active", "canceled")
        assert limits(till, stays)[0] == 9000
        return
    assert limits(till, stays)[0] == 560
    assert limits(till, duplicate)[0] == 60
    till.send(stripe.paid(stripe.renew(subscription)))
    assert till.balance(stays) == 4000


def test_terms_are_fixed_and_only_the_sale_changes(till: Till, stripe: StripeBilling):
    account, plan = till.open_account(), make_plan(till, is_listed=False)
    subscription = subscribe(till, stripe, account, plan)  # by its link
    with till.app.app_context():
        change_sale(plan.id, description="", is_listed=True, sold_until=now_utc(), actor=MEMBER)
    with pytest.raises(InvalidRequest, match="isn't sold any more"):
        open_page(till, till.open_account(), plan)
    till.send(stripe.paid(stripe.renew(subscription)))
    assert till.balance(account) == 4000


def test_a_price_that_stripe_has_lost_is_made_anew(till: Till, stripe: StripeBilling):
    plan = make_plan(till)
    open_page(till, till.open_account(), plan)
    stripe.prices.clear()  # as with another key
    open_page(till, till.open_account(), plan)
    assert [price["_interval"] for price in stripe.prices.values()] == ["month"]
    subscription = stripe.subscribe()
    till.send(stripe.paid())
    assert find(till, subscription).state == "active"


def test_a_suspended_account_begins_no_plan(till: Till, stripe: StripeBilling):
    account, plan = till.open_account(), make_plan(till)
    with till.app.app_context(), transaction() as session:
        session.execute(sa.update(Account).where(Account.id == account).values(status="suspended"))
    with pytest.raises(AccountSuspended):
        open_page(till, account, plan)
    assert stripe.pages == []


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"fee_minor": 0}, "fee"),
        ({"fee_minor": 10**9}, "fee"),
        ({"credit_nanos": -1}, "credit"),
        ({"credit_nanos": 0}, "credit"),
        ({"rpm": -1}, "rpm"),
        ({"group_name": "no group"}, "group"),
        ({"name": ""}, "name"),
        ({"description": "x" * 301}, "description"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(till: Till, fields: dict[str, Any], param: str):
    offer = {"name": new_id("Plan"), "fee_minor": 2000, "credit_nanos": DOLLAR, **fields}
    with till.app.app_context(), pytest.raises(InvalidRequest) as error:
        create_plan(till.settings, Offer(**offer))
    assert error.value.param == param


def test_the_check_finds_what_does_not_fit(till: Till, stripe: StripeBilling):
    account, other = till.open_account(), till.open_account()
    began = int(datetime.datetime.now().timestamp()) - 3 * DAY
    subscription = subscribe(till, stripe, account, make_plan(till, 2000, 2500, rpm=600), began)
    row, [payment] = find(till, subscription), till.list_payments(account)

    def changed(table: Any, where: Any, **values: Any) -> list[str]:
        with till.app.app_context(), transaction() as session:
            session.execute(sa.update(table).where(where).values(values))
        ours = (f"account {account}:", f"account {other}:")
        return [line for line in till.check() if line.startswith(ours)]

    own = Payment.id == payment.id
    assert any("bought $24.00 of credit" in line for line in changed(Payment, own, bonus_nanos=4 * DOLLAR))
    assert changed(Payment, own, bonus_nanos=5 * DOLLAR) == []
    assert "no invoice of the month" in changed(Payment, own, period_start=None)[0]
    assert changed(Payment, own, period_start=row.period_start) == []
    assert "its quotas are not those of its plan" in changed(Account, Account.id == account, plan_rpm=9)[0]
    assert changed(Account, Account.id == account, plan_rpm=600) == []
    assert "its quotas are not those of no plan" in changed(Account, Account.id == other, plan_rpm=9)[0]
    assert changed(Account, Account.id == other, plan_rpm=None) == []
    assert "goes on" in changed(Account, Account.id == account, merged_into=other)[0]
    assert changed(Account, Account.id == account, merged_into=None) == []
