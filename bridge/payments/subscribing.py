"""Subscriptions at Stripe as we use them: prices, the page to subscribe on, the portal, and what Stripe knows of a
subscription and its invoices. Nothing here knows the database."""

import dataclasses
import datetime
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bridge.config import Settings
from bridge.payments.checkout import StripeMissing, StripeRefused, open_client, translated
from bridge.payments.stripe_objects import Found, read_amount, read_currency, read_id

if TYPE_CHECKING:
    from stripe.params.checkout import SessionCreateParams

METADATA_KEY = "bridge_subscription"  # carries our subscription's id
OF_PERIODS = ("subscription_create", "subscription_cycle")  # why an invoice was written that pays for a period


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """A subscription as Stripe has it now. `ends_at` is set if it will end, or has."""

    id: str
    subscription_id: str | None
    status: str
    customer: str | None
    item: str | None
    price: str | None
    period_start: datetime.datetime | None
    period_end: datetime.datetime | None
    ends_at: datetime.datetime | None
    latest_invoice: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice of a subscription as Stripe has it now. `amount_minor` is what was paid; None: nothing."""

    id: str
    subscription: str
    subscription_id: str | None
    is_paid: bool
    is_of_period: bool
    price: str | None
    period_start: datetime.datetime | None
    amount_minor: int | None
    currency: str
    payment_intent: str | None


def make_price(settings: Settings, name: str, fee_minor: int, currency: str) -> str:
    """Make a product and its monthly price at Stripe; returns the price's id. Raises StripeRefused and StripeAway."""
    with translated():
        price = open_client(settings).v1.prices.create(
            {
                "currency": currency,
                "unit_amount": fee_minor,
                "recurring": {"interval": "month"},
                "product_data": {"name": name},
            }
        )
    return price.id


def open_page(
    settings: Settings, subscription_id: str, price: str, *, customer: str | None, email: str, return_url: str
) -> str:
    """The address of a Stripe page on which this subscription begins. Raises StripeMissing if the price is not there,
    StripeRefused and StripeAway."""
    metadata = {METADATA_KEY: subscription_id}
    fields: SessionCreateParams = {
        "mode": "subscription",
        "line_items": [{"quantity": 1, "price": price}],
        "client_reference_id": subscription_id,
        "metadata": metadata,
        "subscription_data": {"metadata": metadata},
        "adaptive_pricing": {"enabled": False},  # otherwise the customer could pay in another currency
        "success_url": f"{return_url}?started={subscription_id}#plan",
        "cancel_url": f"{return_url}#plan",
    }
    if customer:
        fields["customer"] = customer
    else:
        fields["customer_email"] = email
    with translated():
        session = open_client(settings).v1.checkout.sessions.create(
            fields, {"idempotency_key": f"bridge-plan-{subscription_id}-{price}"}
        )
    if not session.url:
        raise StripeRefused("Stripe gave no page to subscribe on.")
    return session.url


def open_portal(settings: Settings, customer: str, return_url: str) -> str:
    """The address of Stripe's page for a customer's cards and invoices. Raises StripeRefused and StripeAway."""
    with translated():
        session = open_client(settings).v1.billing_portal.sessions.create(
            {"customer": customer, "return_url": return_url}
        )
    return session.url


def find_standing(settings: Settings, subscription: str) -> Standing:
    """What Stripe knows of a subscription. Raises StripeMissing, StripeRefused and StripeAway."""
    with translated():
        found = open_client(settings).v1.subscriptions.retrieve(subscription).to_dict()
    item = _first(found.get("items"))
    # with an older version of Stripe's API the subscription itself has these
    start, end = (_read_moment(item.get(name) or found.get(name)) for name in _PERIOD)
    ends_at = _read_moment(found.get("ended_at")) or _read_moment(found.get("cancel_at"))
    if ends_at is None and found.get("cancel_at_period_end"):
        ends_at = end
    return Standing(
        id=str(found["id"]),
        subscription_id=read_subscription_id(found),
        status=str(found.get("status")),
        customer=read_id(found, "customer"),
        item=read_id(item, "id"),
        price=read_id(item, "price"),
        period_start=start,
        period_end=end,
        ends_at=ends_at,
        latest_invoice=read_id(found, "latest_invoice"),
    )


_PERIOD = ("current_period_start", "current_period_end")


def change_price(settings: Settings, subscription: str, item: str, price: str) -> None:
    """Let a subscription cost another price from its next period on. Raises StripeMissing, StripeRefused and
    StripeAway."""
    with translated():
        open_client(settings).v1.subscriptions.update(
            subscription, {"items": [{"id": item, "price": price}], "proration_behavior": "none"}
        )


def end_with_period(settings: Settings, subscription: str, *, ends: bool) -> None:
    """Let a subscription end with its period, or go on after all. Raises StripeMissing, StripeRefused and
    StripeAway."""
    with translated():
        open_client(settings).v1.subscriptions.update(subscription, {"cancel_at_period_end": ends})


def end_now(settings: Settings, subscription: str) -> None:
    """End a subscription at once: nothing is charged any more, nor paid back. One that has ended is fine. Raises
    StripeRefused and StripeAway."""
    with suppress(StripeMissing), translated():
        open_client(settings).v1.subscriptions.cancel(subscription)


def find_invoice(settings: Settings, invoice: str) -> Invoice | None:
    """What Stripe knows of an invoice; None for one that is no subscription's. Raises StripeMissing, StripeRefused and
    StripeAway."""
    with translated():
        found = open_client(settings).v1.invoices.retrieve(invoice, {"expand": ["payments"]}).to_dict()
    # with an older version of Stripe's API the invoice itself has these
    details = _child(_child(found.get("parent")).get("subscription_details") or found.get("subscription_details"))
    subscription = read_id(details, "subscription") or read_id(found, "subscription")
    if subscription is None:
        return None
    line = _first(found.get("lines"), last=True)
    price = read_id(_child(_child(line.get("pricing")).get("price_details")), "price") or read_id(line, "price")
    return Invoice(
        id=str(found["id"]),
        subscription=subscription,
        subscription_id=read_subscription_id(details),
        is_paid=found.get("status") == "paid",
        is_of_period=found.get("billing_reason") in OF_PERIODS,
        price=price,
        period_start=_read_moment(_child(line.get("period")).get("start")),
        amount_minor=read_amount(found, "amount_paid"),
        currency=read_currency(found),
        payment_intent=_find_intent(found),
    )


def find_invoice_of(settings: Settings, payment_intent: str) -> str | None:
    """The invoice that a payment intent paid; None if it paid none. Raises StripeRefused and StripeAway."""
    with translated():
        found = open_client(settings).v1.invoice_payments.list(
            {"payment": {"type": "payment_intent", "payment_intent": payment_intent}}
        )
    return read_id(_first(found.to_dict()), "invoice")


def read_subscription_id(found: Found) -> str | None:
    """Our subscription's id in any of Stripe's objects that carries it."""
    value = _child(found.get("metadata")).get(METADATA_KEY)
    return value if isinstance(value, str) and len(value) <= 36 else None


def _find_intent(invoice: Found) -> str | None:
    """The payment intent that paid an invoice."""
    listed = _child(invoice.get("payments")).get("data")
    for one in listed if isinstance(listed, list) else []:
        intent = read_id(_child(_child(one).get("payment")), "payment_intent")
        if intent is not None and one.get("status") == "paid":
            return intent
    return read_id(invoice, "payment_intent")


def _first(found: Any, *, last: bool = False) -> Found:
    """The first object of one of Stripe's lists; {} if there is none."""
    listed = _child(found).get("data")
    return _child(listed[-1 if last else 0]) if isinstance(listed, list) and listed else {}


def _child(value: Any) -> Found:
    return value if isinstance(value, dict) else {}


def _read_moment(value: Any) -> datetime.datetime | None:
    return datetime.datetime.fromtimestamp(value, datetime.UTC) if type(value) is int and value > 0 else None
