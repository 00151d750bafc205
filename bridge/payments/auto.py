"""Automatic top-ups: a kept card is charged when the balance is low, once however many workers look, up to a monthly
cap.

A rule's amounts are in the currency in which they were set, and charged in no other. The bounds of a payment are
checked again at each charge."""

import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.languages import to_translate, translate
from bridge.ledger.tables import Balance
from bridge.payments import booking, checkout, rows
from bridge.payments.amounts import (
    NANOS_PER_MINOR,
    describe_bounds,
    format_amount,
    is_within_bounds,
    tell_bounds,
    to_bonus,
    to_credit,
)
from bridge.payments.checkout import Card, PaymentRequest, StripeAway, StripeRefused
from bridge.payments.tables import OPEN_STATES, AutoTopUp, Payment

# Longer than a charge can take. The claim stays after a charge too: a worker that looked before the credit was
# committed still sees the low balance, and must not act on it.
CLAIM_SECONDS = 120
FORGOTTEN_SECONDS = 23 * 3600  # Stripe remembers an idempotency key for a day
log = structlog.get_logger()


def find_rule(account_id: int) -> AutoTopUp | None:
    return db.session.get(AutoTopUp, account_id)


def keep_card(settings: Settings, payment: Payment, card: Card) -> None:
    """Make this the card that automatic top-ups charge. A payment sets its card only once: if its event comes again
    much later, the account may have another card, or want none. The earlier card is detached at Stripe, if Stripe
    answers."""
    account_id = payment.account_id
    with transaction() as session:
        left = sa.update(Payment).where(Payment.id == payment.id, Payment.keeps_card).values(keeps_card=False)
        left = left.returning(Payment.id).execution_options(synchronize_session=False)
        if session.execute(left).one_or_none() is None:
            return
        rule = session.get(AutoTopUp, account_id, with_for_update=True, populate_existing=True)
        if rule is None:
            rule = AutoTopUp(account_id=account_id)
            session.add(rule)
        former = rule.payment_method if rule.payment_method != card.payment_method else None
        rule.customer, rule.payment_method = card.customer, card.payment_method
        rule.card, rule.card_until = card.label, card.until
    if former is not None:
        _detach(settings, account_id, former)


def set_rule(
    settings: Settings, account_id: int, *, threshold_nanos: int, amount_minor: int, monthly_cap_minor: int
) -> None:
    """Switch the rule on, with amounts in the current currency. Raises InvalidRequest if there is no card, the amount
    is out of bounds, or the cap is below it."""
    if threshold_nanos < 0:
        raise InvalidRequest(translate("Give the dollars below which to top up."), param="threshold")
    if not is_within_bounds(settings, amount_minor):
        raise InvalidRequest(tell_bounds(settings), param="auto_amount")
    if monthly_cap_minor < amount_minor:
        raise InvalidRequest(translate("The cap must allow one top-up at least."), param="cap")
    with transaction() as session:
        rows.require_active(session, account_id)
        rule = session.get(AutoTopUp, account_id, with_for_update=True, populate_existing=True)
        if rule is None or rule.card is None:
            raise InvalidRequest(translate("There is no card yet: keep one at your next top-up."), param="enabled")
        if rule.currency != settings.top_up_currency:
            rule.currency, rule.month = settings.top_up_currency, now_utc().date().replace(day=1)
            rule.month_minor = _sum_charged(account_id, rule.currency, rule.month)
        rule.enabled, rule.threshold_nanos = True, threshold_nanos
        rule.amount_minor, rule.monthly_cap_minor, rule.problem = amount_minor, monthly_cap_minor, None


def switch_rule_off(account_id: int) -> None:
    """Switch the rule off, as the customer asked. Its amounts stay, in the currency in which they were set."""
    with transaction() as session:
        session.execute(
            sa.update(AutoTopUp)
            .where(AutoTopUp.account_id == account_id)
            .values(enabled=False, problem=None)
            .execution_options(synchronize_session=False)
        )


def _sum_charged(account_id: int, currency: str, month: datetime.date) -> int:
    """What automatic top-ups have charged, or are charging, in a currency since the month began."""
    start = datetime.datetime(month.year, month.month, 1, tzinfo=datetime.UTC)
    query = sa.select(sa.func.coalesce(sa.func.sum(Payment.amount_minor), 0)).where(
        Payment.account_id == account_id,
        Payment.kind == "auto",
        Payment.currency == currency,
        Payment.created_at >= start,
        Payment.state.not_in(("failed", "expired")),
    )
    return int(db.session.scalar(query) or 0)


def forget_card(account_id: int) -> None:
    """Stop automatic top-ups and forget the card. A worker detaches it at Stripe, so no page waits for that."""
    with transaction() as session:
        drop_card(session, account_id)


def drop_card(session: Session, account_id: int) -> None:
    """The same in the caller's transaction."""
    session.execute(
        sa.update(AutoTopUp)
        .where(AutoTopUp.account_id == account_id)
        .values(enabled=False, card=None, card_until=None, problem=None)
        .execution_options(synchronize_session=False)
    )


def top_up_due(settings: Settings) -> int:
    """Finish charges that a worker left, and charge cards where the balance is low. Returns how many charges this call
    made."""
    if not settings.top_ups_open:
        return 0
    _switch_unfit_off(settings)
    done = 0
    for account_id in _list_candidates():
        payment = _resume(settings, account_id) or _claim(settings, account_id)
        if payment is not None:
            _charge(settings, payment)
            done += 1
    rows.release()
    return done


def detach_forgotten(settings: Settings) -> None:
    """Detach at Stripe the cards that were forgotten here. If Stripe doesn't answer, the next run tries again."""
    if not settings.top_ups_open:
        return
    forgotten = AutoTopUp.card.is_(None) & AutoTopUp.payment_method.is_not(None)
    found = db.session.execute(sa.select(AutoTopUp.account_id, AutoTopUp.payment_method).where(forgotten)).all()
    rows.release()
    for account_id, payment_method in found:
        if not _detach(settings, account_id, payment_method or ""):
            continue
        with transaction() as session:
            session.execute(
                sa.update(AutoTopUp)
                .where(AutoTopUp.account_id == account_id, AutoTopUp.payment_method == payment_method, forgotten)
                .values(payment_method=None)
                .execution_options(synchronize_session=False)
            )


def _detach(settings: Settings, account_id: int, payment_method: str) -> bool:
    try:
        checkout.detach_card(settings, payment_method)
    except StripeAway as error:
        log.warning("card_not_detached", account_id=account_id, payment_method=payment_method, error=str(error))
        return False
    log.info("card_detached", account_id=account_id, payment_method=payment_method)
    return True


def _fits(settings: Settings) -> sa.ColumnElement[bool]:
    """Whether the current settings allow the rule's charges: its currency, its amount and its cap."""
    smallest, largest = settings.top_up_bounds
    return (
        (AutoTopUp.currency == settings.top_up_currency)
        & (AutoTopUp.amount_minor >= -(-smallest // NANOS_PER_MINOR))
        & (AutoTopUp.amount_minor <= largest // NANOS_PER_MINOR)
        & (AutoTopUp.monthly_cap_minor >= AutoTopUp.amount_minor)
    )


def _switch_unfit_off(settings: Settings) -> None:
    """Switch off the rules that the current settings don't allow, each with a mail that says why."""
    query = sa.select(AutoTopUp).where(AutoTopUp.enabled, ~_fits(settings)).order_by(AutoTopUp.account_id)
    unfit = [(rule.account_id, _explain_unfit(settings, rule)) for rule in db.session.scalars(query)]
    rows.release()
    for account_id, problem in unfit:
        with transaction() as session:
            rule = session.get(AutoTopUp, account_id, with_for_update=True, populate_existing=True)
            if rule is None or _explain_unfit(settings, rule) != problem:  # it was changed since we looked
                continue
            if rows.switch_off(session, account_id, problem, rows.new_payment_id()):
                log.warning("auto_top_up_off", account_id=account_id, error=problem)


def _explain_unfit(settings: Settings, rule: AutoTopUp) -> str:
    amount = format_amount(rule.amount_minor, rule.currency) if rule.currency else "an amount of another currency"
    if rule.currency != settings.top_up_currency:
        return f"You are charged in {settings.top_up_currency.upper()} now, and the top-up was set to {amount}."
    if not is_within_bounds(settings, rule.amount_minor):
        return f"A top-up is {describe_bounds(settings)} now, and it was set to {amount}."
    if rule.monthly_cap_minor < rule.amount_minor:
        return to_translate("The cap does not allow one top-up.")
    return ""


def _is_low() -> sa.ColumnElement[bool]:
    available = sa.select(Balance.balance_nanos - Balance.held_nanos).where(Balance.account_id == AutoTopUp.account_id)
    return sa.func.coalesce(available.scalar_subquery(), 0) < AutoTopUp.threshold_nanos


def _is_free(now: datetime.datetime) -> sa.ColumnElement[bool]:
    return AutoTopUp.claimed_until.is_(None) | (AutoTopUp.claimed_until < now)


def _runs() -> sa.Select[str]:
    running = sa.select(Payment.id).where(Payment.account_id == AutoTopUp.account_id, Payment.kind == "auto")
    return running.where(Payment.state.in_(OPEN_STATES)).correlate(AutoTopUp)


def _list_candidates() -> list[int]:
    """The accounts whose balance is low, or whose last charge has no known end; read without a lock."""
    undone = _runs().where(Payment.state == "open").exists()
    query = sa.select(AutoTopUp.account_id).where(_is_free(now_utc()), undone | (AutoTopUp.enabled & _is_low()))
    found = list(db.session.scalars(query.order_by(AutoTopUp.account_id)))
    rows.release()
    return found


def _resume(settings: Settings, account_id: int) -> Payment | None:
    """Take over a charge that was begun and never ended: repeated with its own key, Stripe says what became of it.
    Stripe is not asked if it might charge only now and may no longer do so: too late, under other settings, or while
    the account is suspended."""
    now = now_utc()
    with transaction() as session:
        undone = sa.select(Payment).where(Payment.account_id == account_id, Payment.kind == "auto")
        payment = session.scalars(undone.where(Payment.state == "open")).one_or_none()
        if payment is None or not _take(account_id, now, AutoTopUp.account_id == account_id):
            return None
        allowed = session.scalar(sa.select(rows.may_be_charged()).where(AutoTopUp.account_id == account_id))
    fresh = now - payment.created_at < datetime.timedelta(seconds=FORGOTTEN_SECONDS)
    fits = payment.currency == settings.top_up_currency and is_within_bounds(settings, payment.amount_minor)
    if fresh and fits and allowed:
        return payment
    said = to_translate("What became of the last charge is not known.")
    booking.record_failed(payment.id, "failed", said)
    return None


def _take(account_id: int, now: datetime.datetime, *conditions: Any, **more: object) -> bool:
    """Claim the account in one conditional statement, in the caller's transaction. Returns whether this call did."""
    until = now + datetime.timedelta(seconds=CLAIM_SECONDS)
    claim = sa.update(AutoTopUp).where(AutoTopUp.account_id == account_id, _is_free(now), *conditions)
    claim = claim.values(claimed_until=until, **more).returning(AutoTopUp.account_id)
    result = db.session.execute(claim.execution_options(synchronize_session=False))
    return result.one_or_none() is not None


def _claim(settings: Settings, account_id: int) -> Payment | None:
    """Claim the right to charge once. Returns the payment for it; None if there is nothing to charge, or no longer."""
    now = now_utc()
    month = now.date().replace(day=1)
    spent = sa.case((AutoTopUp.month == month, AutoTopUp.month_minor), else_=0)
    try:
        with transaction() as session:
            if not _take(
                account_id,
                now,
                AutoTopUp.enabled,
                _is_low(),
                _fits(settings),
                spent + AutoTopUp.amount_minor <= AutoTopUp.monthly_cap_minor,
                rows.may_be_charged(),
                ~_runs().exists(),
                month=month,
                month_minor=spent + AutoTopUp.amount_minor,
            ):
                return None
            rule = session.get_one(AutoTopUp, account_id, populate_existing=True)
            credit_nanos = to_credit(settings, rule.amount_minor)
            payment = Payment(
                id=rows.new_payment_id(),
                account_id=account_id,
                kind="auto",
                state="open",
                amount_minor=rule.amount_minor,
                currency=rule.currency,
                credit_nanos=credit_nanos,
                bonus_nanos=to_bonus(settings, rule.amount_minor, credit_nanos),
                customer=rule.customer,
                payment_method=rule.payment_method,
                made_by="automatic top-up",
                created_at=now,
            )
            session.add(payment)
    except IntegrityError:  # an index allows one running charge per account: another worker has it
        return None
    return payment


def _charge(settings: Settings, payment: Payment) -> None:
    """Charge the card, and book the result. Without an answer the payment stays open, and the next run asks again."""
    request = PaymentRequest(payment.id, payment.amount_minor, payment.currency, payment.customer)
    rows.release()
    try:
        intent = checkout.charge_card(settings, request, payment.payment_method or "")
    except StripeAway as error:
        log.warning("auto_top_up_waits", payment_id=payment.id, error=str(error))
        return
    except StripeRefused as error:
        booking.record_failed(payment.id, "failed", str(error))
        log.warning("auto_top_up_off", payment_id=payment.id, account_id=payment.account_id, error=str(error))
        return
    status = intent.get("status")
    if status == "succeeded":
        amount, currency = int(intent.get("amount_received") or 0) or None, str(intent.get("currency")).lower()
        booking.settle(payment.id, payment_intent=str(intent["id"]), amount_minor=amount, currency=currency)
    elif status == "processing":
        booking.record_pending(payment.id, str(intent["id"]))
    else:
        booking.record_failed(payment.id, "failed", to_translate("The bank wants the card's owner there."))
