"""Plans: made, offered and taken out of sale by operators, with a price at Stripe that is made when first needed."""

import dataclasses
import datetime
import secrets
from collections.abc import Iterator

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError

from bridge.accounts.key_rules import check_limit
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.config import Settings
from bridge.db import GROUP_NAME, db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import to_translate, translate
from bridge.money import NANOS_PER_DOLLAR, format_dollars
from bridge.payments import subscribing
from bridge.payments.amounts import format_amount, to_credit
from bridge.payments.plan_tables import LIVE, Plan, Subscription
from bridge.payments.rows import release
from bridge.payments.tables import Payment

MAX_NAME, MAX_DESCRIPTION = 60, 300
LEAST_MINOR, MOST_MINOR = 100, 1_000_000  # a fee, in cents
MOST_CREDIT_NANOS = 100_000 * NANOS_PER_DOLLAR
PAGE_SIZE = 50
LIMIT_OF_PLAN = to_translate("Give a whole number, 0 for no limit, or nothing for the account's own.")
# what a plan's limit is called, and what is said where it has none
QUOTAS = {
    "rpm": (to_translate("%(limit)s requests a minute"), to_translate("No limit of requests a minute")),
    "tpm": (to_translate("%(limit)s tokens a minute"), to_translate("No limit of tokens a minute")),
    "concurrency": (to_translate("%(limit)s requests at once"), to_translate("No limit of requests at once")),
}
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Offer:
    """What an operator sells: the fee in cents of the gateway's currency, and what it buys each month."""

    name: str
    fee_minor: int
    credit_nanos: int = 0
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    group_name: str | None = None
    description: str = ""
    is_listed: bool = True
    sold_until: datetime.datetime | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ListedPlan:
    """A plan with how many have it, how many of them owe a fee, and what its fees of this month came to: cents of its
    currency, the credit that they bought, and what was given beyond their worth. What went back is left out."""

    plan: Plan
    subscribers: int
    past_due: int
    paid_minor: int
    credit_nanos: int
    bonus_nanos: int

    @property
    def earned_nanos(self) -> int:
        """What the fees were worth beyond the credit that they bought."""
        return self.paid_minor * self.plan.worth_nanos // self.plan.fee_minor - self.credit_nanos


def is_on_sale(plan: Plan) -> bool:
    """Whether somebody may still subscribe."""
    return plan.sold_until is None or plan.sold_until > now_utc()


def describe_gains(plan: Plan, *, for_operators: bool = False) -> list[str]:
    """What a plan buys, a line each: `$20.00 of credit each month`, `600 requests a minute`. Only operators know groups
    by their names."""
    return [translate(text, **values) for text, values in _list_gains(plan, for_operators=for_operators)]


def _list_gains(plan: Plan, *, for_operators: bool) -> Iterator[tuple[str, dict[str, object]]]:
    """The texts in English, each with its values."""
    if plan.credit_nanos:
        yield to_translate("%(amount)s of credit each month"), {"amount": f"${format_dollars(plan.credit_nanos, 2)}"}
    for name, (limited, unlimited) in QUOTAS.items():
        if (limit := getattr(plan, name)) is not None:
            yield (limited, {"limit": f"{limit:,}"}) if limit else (unlimited, {})
    if plan.group_name and for_operators:
        yield to_translate("Channels and prices of group %(group)s"), {"group": plan.group_name}
    elif plan.group_name:
        yield to_translate("Prices of its own"), {}


def create_plan(settings: Settings, offer: Offer, actor: Actor = COMMAND) -> Plan:
    """Make a plan. Raises InvalidRequest naming the field."""
    check_offer(settings, offer)
    plan = Plan(
        code=secrets.token_hex(6),
        name=offer.name,
        description=offer.description,
        fee_minor=offer.fee_minor,
        currency=settings.top_up_currency,
        worth_nanos=to_credit(settings, offer.fee_minor),
        credit_nanos=offer.credit_nanos,
        rpm=offer.rpm,
        tpm=offer.tpm,
        concurrency=offer.concurrency,
        group_name=offer.group_name,
        is_listed=offer.is_listed,
        sold_until=offer.sold_until,
        made_by=actor.by,
    )
    try:
        with transaction() as session:
            session.add(plan)
            fee = format_amount(plan.fee_minor, plan.currency)
            record_act(session, None, "plan_added", actor, f"{plan.name}, {fee} a month: {_join_gains(plan)}")
    except IntegrityError:
        if db.session.scalar(sa.select(Plan.id).where(Plan.name == offer.name)) is None:
            raise
        raise InvalidRequest(translate("There is a plan of this name. Give another."), param="name") from None
    return plan


def _join_gains(plan: Plan) -> str:
    return ", ".join(text % values for text, values in _list_gains(plan, for_operators=True))


def check_offer(settings: Settings, offer: Offer) -> None:
    """Raise InvalidRequest naming the field of a plan that can't be made."""
    if not 0 < len(offer.name) <= MAX_NAME:
        raise InvalidRequest(translate("Give a name of at most %(most)s characters.", most=MAX_NAME), param="name")
    if not LEAST_MINOR <= offer.fee_minor <= MOST_MINOR:
        least, most = (format_amount(minor, settings.top_up_currency) for minor in (LEAST_MINOR, MOST_MINOR))
        raise InvalidRequest(translate("Give a fee of %(least)s to %(most)s.", least=least, most=most), param="fee")
    if not 0 <= offer.credit_nanos <= MOST_CREDIT_NANOS:
        raise InvalidRequest(
            translate("Give dollars of credit each month, at most 100,000, or nothing for none."), param="credit"
        )
    for name in QUOTAS:
        check_limit(name, getattr(offer, name), LIMIT_OF_PLAN)
    if offer.group_name is not None and not GROUP_NAME.fullmatch(offer.group_name):
        raise InvalidRequest(
            translate("A group is letters, digits, dots, hyphens and underscores, up to 64."), param="group"
        )
    quotas = (*(getattr(offer, name) for name in QUOTAS), offer.group_name)
    if not offer.credit_nanos and all(quota is None for quota in quotas):
        raise InvalidRequest(translate("Say what the fee buys: credit, a limit or a group."), param="credit")
    _check_sale(offer.description, offer.sold_until)


def _check_sale(description: str, sold_until: datetime.datetime | None) -> None:
    if len(description) > MAX_DESCRIPTION:
        raise InvalidRequest(
            translate("A description has at most %(most)s characters.", most=MAX_DESCRIPTION), param="description"
        )
    if sold_until is not None and sold_until.year > now_utc().year + 100:
        raise InvalidRequest(translate("Give a date of this century, or nothing."), param="sold_until")


def change_sale(
    plan_id: int,
    *,
    description: str,
    is_listed: bool,
    sold_until: datetime.datetime | None,
    actor: Actor = COMMAND,
) -> Plan:
    """Change how a plan is sold. Those who have it keep it, and pay on, whatever this says. Raises NotFound and
    InvalidRequest."""
    _check_sale(description, sold_until)
    with transaction() as session:
        plan = session.get(Plan, plan_id, with_for_update=True, populate_existing=True)
        if plan is None:
            raise NotFound(translate("There is no such plan."))
        before = (plan.description, plan.is_listed, plan.sold_until)
        plan.description, plan.is_listed, plan.sold_until = description, is_listed, sold_until
        changes = zip(
            ("description", "listed", "sold until"), before, (description, is_listed, sold_until), strict=True
        )
        detail = "; ".join(write_change(name, _show(old), _show(new)) for name, old, new in changes if old != new)
        record_act(session, None, "plan_changed", actor, f"{plan.name}; {detail or 'nothing'}")
    return plan


def _show(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime.datetime) else value or None


def find_plan(plan_id: int) -> Plan:
    """One plan. Raises NotFound."""
    plan = db.session.get(Plan, plan_id)
    if plan is None:
        raise NotFound(translate("There is no such plan."))
    return plan


def list_plans() -> list[ListedPlan]:
    """All plans, the newest first, with this month's figures."""
    month = now_utc().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    live = sa.select(Subscription.plan_id, sa.func.count().label("live"))
    owing = sa.func.sum(sa.case((Subscription.state == "past_due", 1), else_=0)).label("owing")
    held = live.add_columns(owing).where(Subscription.state.in_(LIVE)).group_by(Subscription.plan_id).subquery()
    kept = Payment.amount_minor - Payment.returned_minor  # returns may overlap, and come to more than the fee
    sums = (
        sa.case((kept > 0, kept), else_=0),
        Payment.credit_nanos - Payment.returned_nanos,
        Payment.bonus_nanos - Payment.bonus_returned_nanos,
    )
    fees = (
        sa.select(Payment.plan_id, *(sa.func.sum(one).label(f"sum{number}") for number, one in enumerate(sums)))
        .where(Payment.state == "paid", Payment.paid_at >= month, Payment.kind == "plan")
        .group_by(Payment.plan_id)
        .subquery()
    )
    query = sa.select(Plan, held.c.live, held.c.owing, *(fees.c[f"sum{number}"] for number in range(len(sums))))
    query = query.outerjoin(held, held.c.plan_id == Plan.id).outerjoin(fees, fees.c.plan_id == Plan.id)
    rows = db.session.execute(query.order_by(Plan.id.desc()))
    return [ListedPlan(plan, *(int(figure or 0) for figure in figures)) for plan, *figures in rows]


def list_subscriptions(
    plan_id: int, *, only: str = "", before_id: str = "", limit: int = PAGE_SIZE
) -> list[Subscription]:
    """The subscriptions to a plan that have begun, the newest first, of those older than `before_id`; or that with the
    id `only`, as long as it goes on."""
    query = sa.select(Subscription).where(Subscription.plan_id == plan_id)
    if only:
        query = query.where(Subscription.id == only, Subscription.state.in_(LIVE))
    else:
        query = query.where(Subscription.state.in_((*LIVE, "ended")))
    if before_id:
        query = query.where(Subscription.id < before_id)
    return list(db.session.scalars(query.order_by(Subscription.id.desc()).limit(limit)))


def list_offers(settings: Settings, code: str = "") -> list[Plan]:
    """The plans that a customer may subscribe to, by their fees: the listed ones, and the one with this code."""
    query = sa.select(Plan).where(
        Plan.is_listed | (Plan.code == code),
        Plan.currency == settings.top_up_currency,
        Plan.sold_until.is_(None) | (Plan.sold_until > now_utc()),
    )
    return list(db.session.scalars(query.order_by(Plan.fee_minor, Plan.id)))


def find_offer(settings: Settings, code: str) -> Plan:
    """The plan with this code, if it is on sale, listed or not. Raises InvalidRequest."""
    plan = next((plan for plan in list_offers(settings, code) if plan.code == code), None)
    if plan is None:
        raise InvalidRequest(translate("This plan isn't sold any more. Choose another."), param="plan")
    return plan


def find_price(settings: Settings, plan: Plan, *, missing: str | None = None) -> str:
    """The plan's price at Stripe, made if there is none or Stripe has lost it (`missing`). Of two that are made at
    once, one is kept. Raises StripeRefused and StripeAway."""
    if plan.stripe_price is not None and plan.stripe_price != missing:
        return plan.stripe_price
    release()
    made = subscribing.make_price(settings, plan.name, plan.fee_minor, plan.currency)
    with transaction() as session:
        is_free = Plan.stripe_price.is_(None) | (Plan.stripe_price == missing)
        session.execute(sa.update(Plan).where(Plan.id == plan.id, is_free).values(stripe_price=made))
        session.refresh(plan)
    log.info("plan_price_made", plan_id=plan.id, price=plan.stripe_price)
    return plan.stripe_price or made


def find_by_price(price: str | None) -> Plan | None:
    """The plan that costs this price at Stripe."""
    return db.session.scalars(sa.select(Plan).where(Plan.stripe_price == price)).first() if price else None
