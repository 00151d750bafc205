"""What a customer does with a plan: subscribe on Stripe's page, take another plan from the next period on, end it with
its period or keep it after all, and open Stripe's portal."""

import datetime
import functools

import sqlalchemy as sa

from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.languages import to_translate, translate
from bridge.payments import rows, subscribing
from bridge.payments.auto import find_rule
from bridge.payments.checkout import StripeMissing
from bridge.payments.plan_tables import Plan, Subscription
from bridge.payments.plans import find_offer, find_price
from bridge.payments.subscriptions import find_live, hear, new_subscription_id

WATCHED = datetime.timedelta(minutes=15)
NO_PLAN = to_translate("This account has no plan. Choose one first.")


def open_subscription(settings: Settings, account_id: int, code: str, *, email: str, return_url: str) -> str:
    """Store a subscription and open Stripe's page for it. Returns that page's address.

    Raises InvalidRequest for a plan that isn't sold, or where the account has one; AccountSuspended; StripeRefused and
    StripeAway."""
    plan = find_offer(settings, code)
    subscription = Subscription(
        id=new_subscription_id(), account_id=account_id, plan_id=plan.id, state="open", made_by=email
    )
    with transaction() as session:
        rows.require_active(session, account_id)
        if find_live(session, account_id) is not None:
            raise InvalidRequest(translate("This account has a plan. Change that one."), param="plan")
        session.add(subscription)
    customer = _find_customer(account_id)
    price = find_price(settings, plan)
    open_page = functools.partial(
        subscribing.open_page, settings, subscription.id, customer=customer, email=email, return_url=return_url
    )
    rows.release()
    try:
        return open_page(price)
    except StripeMissing:  # the price was made with another key, such as that for tests
        price = find_price(settings, plan, missing=price)
        rows.release()
        return open_page(price)


def _find_customer(account_id: int) -> str | None:
    """The account at Stripe, if it has one: of an earlier plan, or of the kept card."""
    query = sa.select(Subscription.customer).where(Subscription.account_id == account_id)
    query = query.where(Subscription.customer.is_not(None)).order_by(Subscription.id.desc()).limit(1)
    rule = find_rule(account_id)
    return db.session.scalar(query) or (rule.customer if rule else None)


def is_waiting(account_id: int, subscription_id: str) -> bool:
    """Whether Stripe has yet to say what became of a subscription that was begun a moment ago."""
    query = sa.select(Subscription.id).where(
        Subscription.id == subscription_id[:36],
        Subscription.account_id == account_id,
        Subscription.state == "open",
        Subscription.created_at > now_utc() - WATCHED,
    )
    return db.session.scalar(query) is not None


def change_plan(settings: Settings, account_id: int, code: str, actor: Actor) -> Plan:
    """Take another plan from the next period on; the running one stays as it was paid. The plan that one has means to
    keep it.

    Raises InvalidRequest, AccountSuspended, StripeRefused and StripeAway."""
    row = _require_live(account_id)
    plan = _find_other(settings, row, code)
    with transaction() as session:
        rows.require_active(session, account_id)
    if row.state != "active" or row.ends_at is not None:
        raise InvalidRequest(translate("A plan that ends, or whose fee is due, can't be changed."), param="plan")
    price, stripe_id = find_price(settings, plan), row.stripe_subscription or ""
    rows.release()
    standing = subscribing.find_standing(settings, stripe_id)
    if standing.price != price:
        subscribing.change_price(settings, stripe_id, standing.item or "", price)
    hear(settings, row.id, stripe_id)
    with transaction() as session:
        record_act(session, account_id, "plan_chosen", actor, f"{plan.name}, from the next period on")
    return plan


def _find_other(settings: Settings, row: Subscription, code: str) -> Plan:
    own = db.session.get_one(Plan, row.plan_id)
    plan = own if own.code == code else find_offer(settings, code)
    if plan.currency != own.currency:
        said = translate("This plan is paid in %(currency)s. End yours first.", currency=plan.currency.upper())
        raise InvalidRequest(said, param="plan")
    return plan


def set_ending(settings: Settings, account_id: int, actor: Actor, *, ends: bool) -> datetime.datetime | None:
    """Let the plan end with its period, or go on after all. Returns when it ends. Raises InvalidRequest, StripeRefused
    and StripeAway."""
    row = _require_live(account_id)
    stripe_id = row.stripe_subscription or ""
    rows.release()
    subscribing.end_with_period(settings, stripe_id, ends=ends)
    standing = hear(settings, row.id, stripe_id)
    with transaction() as session:
        until = f"{standing.ends_at:%Y-%m-%d %H:%M} UTC" if standing.ends_at else ""
        record_act(session, account_id, "plan_ending" if ends else "plan_kept", actor, until)
    return standing.ends_at


def open_portal(settings: Settings, account_id: int, return_url: str) -> str:
    """The address of Stripe's page for the account's cards and invoices. Raises InvalidRequest, StripeRefused and
    StripeAway."""
    customer = _require_live(account_id).customer
    if customer is None:
        raise InvalidRequest(translate(NO_PLAN))
    rows.release()
    return subscribing.open_portal(settings, customer, return_url)


def _require_live(account_id: int) -> Subscription:
    row = find_live(db.session(), account_id)
    if row is None:
        raise InvalidRequest(translate(NO_PLAN))
    return row
