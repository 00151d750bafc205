"""Stripe as we use it; only this file imports its library. Nothing here knows the database. What it has of
subscriptions is in `subscribing.py`.

The library is loaded when it is needed: it takes 20 MB in every worker, and many gateways don't use Stripe."""

import calendar
import dataclasses
import datetime
import functools
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from bridge.config import Settings

if TYPE_CHECKING:
    import stripe
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsPaymentIntentData

TOLERANCE_SECONDS = 300
TIMEOUT_SECONDS = (5, 25)  # to connect, and between two bytes, while a page waits
METADATA_KEY = "bridge_payment"  # carries our payment's id through all of Stripe's objects
MAX_PROBLEM_LENGTH = 300
NOT_FOUND = 404
PAYMENT_ID = re.compile(r"[\x21-\x7e]{1,36}")  # other ids come too, in any form
IN_USE = 409  # another call with the same idempotency key is running
logging.getLogger("stripe").setLevel(logging.WARNING)  # otherwise every call logs two lines


class BadSignature(Exception):
    """The bytes are not from Stripe, or were sent too long ago."""


class StripeAway(Exception):
    """Stripe gave no usable answer, so the call may or may not have been carried out. Repeat it with the same
    idempotency key."""


class StripeRefused(Exception):
    """Stripe refused, and would refuse again; the message may be shown to the account's owner."""


class StripeMissing(StripeRefused):
    """Our key can't see the object: it is another account's, a connected account's, or deleted test data."""


class CardDeclined(StripeRefused):
    """The bank refused, or wants the card's owner to confirm."""


@dataclasses.dataclass(frozen=True)
class Event:
    """An event at Stripe, with its object as it was then."""

    id: str
    type: str
    livemode: bool
    object: dict[str, Any]
    account: str | None = None  # the connected account, if it concerns one


@dataclasses.dataclass(frozen=True)
class PaymentRequest:
    """A payment as we request it from Stripe."""

    payment_id: str
    amount_minor: int
    currency: str
    customer: str | None = None


@dataclasses.dataclass(frozen=True)
class Card:
    """A card kept at Stripe; `label` is how its owner recognises it, `until` its last good day, where that is known."""

    customer: str
    payment_method: str
    label: str
    until: datetime.date | None = None


def load_library() -> None:
    """Load Stripe's library now, so that no request waits for it."""
    import stripe  # noqa: F401


@functools.lru_cache(maxsize=4)
def _open_client(secret_key: str, api_base: str) -> "stripe.StripeClient":
    import stripe

    return stripe.StripeClient(
        secret_key,
        base_addresses={"api": api_base} if api_base else None,
        http_client=stripe.RequestsClient(timeout=TIMEOUT_SECONDS),
        max_network_retries=1,
    )


def open_client(settings: Settings) -> "stripe.StripeClient":
    """Stripe's client with our key, one for each."""
    return _open_client(settings.stripe_secret_key, settings.stripe_api_base)


@contextmanager
def translated() -> Iterator[None]:
    """Translate Stripe's errors into ours. An error about our key or our request is logged by the caller and never
    shown, since it may name the key."""
    import stripe

    try:
        yield
    except stripe.CardError as error:
        raise CardDeclined((error.user_message or "The card was declined.")[:MAX_PROBLEM_LENGTH]) from error
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise StripeAway(type(error).__name__) from error
    except (stripe.InvalidRequestError, stripe.IdempotencyError) as error:
        if error.http_status == IN_USE:
            raise StripeAway(type(error).__name__) from error
        if error.http_status == NOT_FOUND or error.code == "resource_missing":
            raise StripeMissing("Stripe refused this payment.") from error
        raise StripeRefused("Stripe refused this payment.") from error
    except stripe.StripeError as error:  # 5xx, or a key that is wrong or lacks rights: an operator can fix that
        raise StripeAway(type(error).__name__) from error


def read_event(settings: Settings, body: bytes, signature: str) -> Event:
    """The event in a webhook's raw body, if its signature and age are right. Raises BadSignature."""
    import stripe

    try:
        stripe.WebhookSignature.verify_header(body, signature, settings.stripe_webhook_secret, TOLERANCE_SECONDS)
        sent_at = next(int(part[2:]) for part in signature.split(",") if part.startswith("t="))
        if sent_at > time.time() + TOLERANCE_SECONDS:  # the library only checks for old ones
            raise BadSignature
        event = json.loads(body)
        # a "thin" event has no object of its own, and none of them is about payments
        found = {} if event.get("object") == "v2.core.event" else event["data"]["object"]
        if not isinstance(found, dict):
            raise BadSignature
        account = event.get("account")
        connected = str(account) if account else None
        return Event(str(event["id"]), str(event["type"]), bool(event["livemode"]), found, connected)
    except (
        stripe.SignatureVerificationError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        StopIteration,
        RecursionError,
    ):  # TypeError: the signature isn't ASCII; AttributeError: the body isn't an object
        raise BadSignature from None


def concerns_us(settings: Settings, event: Event) -> bool:
    """Whether an event concerns this gateway. A test event doesn't concern a gateway with a live key, nor the reverse.
    What happens on a connected account doesn't either, since its owner writes the metadata there."""
    if event.account is not None:
        return False
    live_key = settings.stripe_secret_key.startswith(("sk_live_", "rk_live_"))
    test_key = settings.stripe_secret_key.startswith(("sk_test_", "rk_test_"))
    return not (live_key and not event.livemode) and not (test_key and event.livemode)


def open_checkout(settings: Settings, request: PaymentRequest, *, email: str, keeps_card: bool, return_url: str) -> str:
    """The address of a Stripe page on which this payment is made. Raises StripeAway and StripeRefused."""
    metadata = {METADATA_KEY: request.payment_id}
    intent: SessionCreateParamsPaymentIntentData = {"metadata": metadata, "description": settings.receipt_product}
    fields: SessionCreateParams = {
        "mode": "payment",
        "submit_type": "pay",
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": request.currency,
                    "unit_amount": request.amount_minor,
                    "product_data": {"name": settings.receipt_product},
                },
            }
        ],
        "client_reference_id": request.payment_id,
        "metadata": metadata,
        "payment_intent_data": intent,
        "adaptive_pricing": {"enabled": False},  # otherwise the customer could pay in another currency
        "success_url": return_url,
        "cancel_url": f"{return_url}?left=1",
    }
    if request.customer:
        fields["customer"] = request.customer
    else:
        fields["customer_email"] = email
    if keeps_card:
        intent["setup_future_usage"] = "off_session"
        fields["allowed_payment_method_types"] = ["card"]
        if not request.customer:
            fields["customer_creation"] = "always"
    with translated():
        session = open_client(settings).v1.checkout.sessions.create(
            fields,
            {"idempotency_key": f"bridge-checkout-{request.payment_id}"},
        )
    if not session.url:
        raise StripeRefused("Stripe gave no page to pay on.")
    return session.url


def charge_card(settings: Settings, request: PaymentRequest, payment_method: str) -> dict[str, Any]:
    """Charge a kept card without its owner; returns the payment intent as Stripe has it then. The same payment is
    charged once, however often this is called. Raises CardDeclined, StripeRefused and StripeAway."""
    with translated():
        intent = open_client(settings).v1.payment_intents.create(
            {
                "amount": request.amount_minor,
                "currency": request.currency,
                "customer": request.customer or "",
                "payment_method": payment_method,
                "allowed_payment_method_types": ["card"],
                "off_session": True,
                "confirm": True,
                "description": settings.receipt_product,
                "metadata": {METADATA_KEY: request.payment_id},
            },
            {"idempotency_key": f"bridge-auto-{request.payment_id}"},
        )
    return intent.to_dict()


def find_card(settings: Settings, payment_intent: str) -> Card | None:
    """The card that a payment left with Stripe; None if it left none."""
    with translated():
        intent = (
            open_client(settings).v1.payment_intents.retrieve(payment_intent, {"expand": ["payment_method"]}).to_dict()
        )
    method, customer = intent.get("payment_method"), intent.get("customer")
    if not isinstance(method, dict) or not method.get("customer") or not customer or not method.get("card"):
        return None
    brand, last_four = str(method["card"].get("brand") or "card"), str(method["card"].get("last4") or "")
    label = f"{brand.capitalize()[:40]} …{last_four[:4]}"
    return Card(str(customer), str(method["id"]), label, _read_expiry(method["card"]))


def _read_expiry(card: dict[str, Any]) -> datetime.date | None:
    """The last day of the month that is printed on it."""
    year, month = card.get("exp_year"), card.get("exp_month")
    if type(year) is not int or type(month) is not int:
        return None
    try:
        return datetime.date(year, month, calendar.monthrange(year, month)[1])
    except ValueError:  # no such month or year
        return None


def detach_card(settings: Settings, payment_method: str) -> None:
    """Make Stripe forget a kept card, so that nobody can charge it. A card that is gone already is fine. Raises
    StripeAway."""
    with suppress(StripeRefused), translated():
        open_client(settings).v1.payment_methods.detach(payment_method)


@dataclasses.dataclass(frozen=True)
class Intent:
    """A payment intent as Stripe has it now. `charge` is set if some of it went back."""

    id: str
    payment_id: str | None
    status: str
    amount_minor: int
    currency: str
    charge: str | None


def find_intent(settings: Settings, payment_intent: str) -> Intent:
    """What Stripe knows about a payment. Raises StripeMissing, StripeRefused and StripeAway."""
    with translated():
        found = (
            open_client(settings).v1.payment_intents.retrieve(payment_intent, {"expand": ["latest_charge"]}).to_dict()
        )
    charge = found.get("latest_charge")
    returned = isinstance(charge, dict) and charge.get("amount_refunded")
    return Intent(
        str(found["id"]),
        read_payment_id(found),
        str(found.get("status")),
        int(found.get("amount_received") or 0),
        str(found.get("currency")).lower(),
        str(charge["id"]) if isinstance(charge, dict) and returned else None,
    )


def find_payer(settings: Settings, payment_intent: str) -> tuple[str | None, str | None]:
    """Our payment's id, asked of Stripe (None for a payment that isn't a top-up of ours), and its customer there."""
    with translated():
        intent = open_client(settings).v1.payment_intents.retrieve(payment_intent).to_dict()
    customer = intent.get("customer")
    return read_payment_id(intent), str(customer) if customer else None


def list_refunds(settings: Settings, charge: str) -> list[dict[str, Any]]:
    """All refunds of a charge, as they are now."""
    with translated():
        found = open_client(settings).v1.refunds.list({"charge": charge, "limit": 100})
        return [refund.to_dict() for refund in found.auto_paging_iter()]


def read_payment_id(found: dict[str, Any]) -> str | None:
    """Our payment's id in any of Stripe's objects that carries it."""
    metadata = found.get("metadata")
    value = metadata.get(METADATA_KEY) if isinstance(metadata, dict) else None
    return value if isinstance(value, str) and PAYMENT_ID.fullmatch(value) else None
