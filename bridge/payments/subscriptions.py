"""Subscriptions as we know them: what Stripe says of one is heard here, and its plan's quotas given and taken.

Events and answers come twice and in any order. So no event is believed: each only has us ask Stripe how the
subscription stands, and an answer is kept only if nothing newer was heard since the question."""

import datetime

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge import versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.tables import Account
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import NotFound
from bridge.payments import subscribing
from bridge.payments.checkout import StripeAway
from bridge.payments.plan_tables import LIVE, Plan, Subscription
from bridge.payments.plans import find_by_price
from bridge.payments.rows import MADE_BY, release
from bridge.payments.subscribing import Standing
from bridge.telemetry import new_request_id

STATES = {
    "trialing": "active",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "past_due",
    "paused": "past_due",
    "canceled": "ended",
    "incomplete_expired": "ended",
}
FINAL = ("canceled", "incomplete_expired")
GRACE = datetime.timedelta(days=3)  # how long quotas outlast a fee that can't be charged
NEWS = datetime.timedelta(days=5)  # a page is open for a day, and Stripe sends an event for three
TRIES = 4
PLAIN = {"synchronize_session": False}
log = structlog.get_logger()


def new_subscription_id() -> str:
    """`sbs_` and a UUIDv7 in hex."""
    return "sbs_" + new_request_id()[4:]


def find_id(stripe_subscription: str, subscription_id: str | None) -> str | None:
    """Our subscription's id by Stripe's, otherwise by the metadata that came with it; None if it isn't ours."""
    query = sa.select(Subscription.id).where(Subscription.stripe_subscription == stripe_subscription)
    if (known := db.session.scalar(query)) is not None:
        return known
    return db.session.scalar(sa.select(Subscription.id).where(Subscription.id == (subscription_id or "")))


def may_be_ours(customer: str | None) -> bool:
    """Whether this customer at Stripe has, or may have begun, a subscription here: otherwise Stripe need not be asked
    about others' invoices."""
    unheard = Subscription.stripe_subscription.is_(None) & (Subscription.created_at > now_utc() - NEWS)
    query = sa.select(Subscription.id).where(unheard | (Subscription.customer == customer)).limit(1)
    found = db.session.scalar(query) is not None
    release()
    return found


def find_live(session: Session, account_id: int) -> Subscription | None:
    """The account's subscription that has begun and not ended, as the database has it now."""
    query = sa.select(Subscription).where(Subscription.account_id == account_id, Subscription.state.in_(LIVE))
    return session.scalars(query.execution_options(populate_existing=True)).one_or_none()


def lock_subscription(session: Session, subscription_id: str) -> Subscription:
    """The current row, locked with its account until the transaction ends: the account first, as merging does."""
    chosen = sa.select(Subscription.account_id).where(Subscription.id == subscription_id)
    while True:
        account_id = session.scalars(chosen).one()
        session.execute(sa.select(Account.id).where(Account.id == account_id).with_for_update(key_share=True)).all()
        row = session.get_one(Subscription, subscription_id, with_for_update=True, populate_existing=True)
        if row.account_id == account_id:  # otherwise it was moved to another account meanwhile
            return row


def hear(settings: Settings, subscription_id: str, stripe_subscription: str) -> Standing:
    """Ask Stripe how a subscription stands, and keep that. Raises StripeMissing, StripeRefused and StripeAway."""
    for _ in range(TRIES):
        version = db.session.scalar(sa.select(Subscription.version).where(Subscription.id == subscription_id))
        release()
        standing = subscribing.find_standing(settings, stripe_subscription)
        with transaction() as session:
            row = lock_subscription(session, subscription_id)
            if row.version == version:  # otherwise somebody heard something at least as new: ask again
                _keep(session, row, standing)
                return standing
    raise StripeAway("A subscription changes faster than it can be read.")


def _keep(session: Session, row: Subscription, standing: Standing) -> None:
    """Keep what Stripe answered, in the caller's transaction."""
    if row.stripe_subscription not in (None, standing.id):
        log.error("subscription_differs", id=row.id, known=row.stripe_subscription, heard=standing.id)
        return
    before, state = row.state, STATES.get(standing.status, row.state)
    if state in LIVE and not row.must_end:
        other = find_live(session, row.account_id)
        if other is not None and other.id != row.id:
            log.error("subscription_beside", id=row.id, account_id=row.account_id, other=other.id)
            row.must_end = True
    is_final = standing.status in FINAL
    row.version += 1
    row.stripe_subscription, row.customer = standing.id, standing.customer or row.customer
    row.period_start, row.period_end = standing.period_start, standing.period_end
    row.state = "ended" if row.must_end else state
    row.ends_at = standing.ends_at if is_final or not row.must_end else None
    priced = find_by_price(standing.price)
    row.next_plan_id = priced.id if priced is not None and priced.id != row.plan_id and row.state in LIVE else None
    session.flush()
    by, was_live, is_live = Actor(MADE_BY), before in LIVE, row.state in LIVE
    if was_live != is_live:
        what = "plan_started" if is_live else "plan_ended"
        record_act(session, row.account_id, what, by, session.get_one(Plan, row.plan_id).name)
        log.info(what, id=row.id, account_id=row.account_id, plan_id=row.plan_id)
    apply_quotas(session, row.account_id)


def apply_quotas(session: Session, account_id: int) -> None:
    """Give the account the quotas of its plan, or take them, in the caller's transaction. Every worker knows within a
    second."""
    row = find_live(session, account_id)
    plan = session.get(Plan, row.plan_id) if row is not None and _gives_quotas(row) else None
    values = {
        "plan_rpm": plan.rpm if plan else None,
        "plan_tpm": plan.tpm if plan else None,
        "plan_concurrency": plan.concurrency if plan else None,
        "plan_group": plan.group_name if plan else None,
    }
    differs = sa.or_(*(getattr(Account, name).is_distinct_from(value) for name, value in values.items()))
    changed = sa.update(Account).where(Account.id == account_id, differs).values(values).returning(Account.id)
    if session.execute(changed, execution_options=PLAIN).first() is not None:
        versions.bump(TOPIC)


def _gives_quotas(row: Subscription) -> bool:
    """Whether a live subscription's quotas hold: those of a period that isn't paid do for a while."""
    return row.state == "active" or (row.period_start is not None and row.period_start + GRACE > now_utc())


def note_period(session: Session, subscription_id: str, plan_id: int, start: datetime.datetime) -> None:
    """Note that a period is paid: from its start on the plan is the one that was paid for. An earlier period changes
    nothing."""
    row = lock_subscription(session, subscription_id)
    if row.paid_from is not None and row.paid_from >= start:
        return
    row.paid_from = start
    if row.plan_id != plan_id:
        before, after = session.get_one(Plan, row.plan_id).name, session.get_one(Plan, plan_id).name
        row.plan_id = plan_id
        record_act(session, row.account_id, "plan_switched", Actor(MADE_BY), f"{before} → {after}")
    if row.next_plan_id == plan_id:
        row.next_plan_id = None
    session.flush()
    apply_quotas(session, row.account_id)


def end_at_once(session: Session, row: Subscription, actor: Actor, why: str) -> None:
    """End a locked subscription here, in the caller's transaction; a worker ends it at Stripe. Nothing is paid back by
    this."""
    if row.must_end or (row.state == "ended" and row.ends_at is not None):
        return
    if row.state in LIVE:
        name = session.get_one(Plan, row.plan_id).name
        record_act(session, row.account_id, "plan_ended", actor, f"{name}: {why}")
    row.state, row.must_end, row.ends_at, row.next_plan_id = "ended", True, None, None
    row.version += 1  # an answer that is on its way is older than this
    session.flush()
    apply_quotas(session, row.account_id)


def end_plans(account_id: int, actor: Actor, why: str) -> None:
    """End the account's subscriptions, also one whose page at Stripe is still open."""
    query = sa.select(Subscription.id).where(Subscription.account_id == account_id, Subscription.state != "ended")
    for subscription_id in list(db.session.scalars(query)):
        end_plan(subscription_id, actor, why)


def end_plan(subscription_id: str, actor: Actor, why: str) -> None:
    """End a subscription at once, here and then at Stripe; one that has ended stays as it is. Raises NotFound."""
    if db.session.get(Subscription, subscription_id) is None:
        raise NotFound("There is no such subscription.")
    with transaction() as session:
        end_at_once(session, lock_subscription(session, subscription_id), actor, why)


def move_plans(session: Session, from_id: int, into_id: int, actor: Actor) -> None:
    """Move a merged account's subscriptions to the account that stays, in the caller's transaction, which has locked
    both; where that has a plan already, the other one ends."""
    has_one = find_live(session, into_id) is not None
    query = sa.select(Subscription).where(Subscription.account_id == from_id, Subscription.state != "ended")
    for row in list(session.scalars(query.with_for_update().execution_options(populate_existing=True))):
        if has_one and row.state in LIVE:
            end_at_once(session, row, actor, "the other account has a plan")
        row.account_id = into_id
        row.version += 1
    session.flush()
    for account_id in (from_id, into_id):
        apply_quotas(session, account_id)
