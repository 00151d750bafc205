"""Stripe's side: events as its documentation shows them, signed by its own library."""

import itertools
import json
import os
import time
from typing import Any

import requests
from flask.testing import FlaskClient
from stripe import WebhookSignature
from werkzeug.test import TestResponse

SECRET = "whsec_" + "t" * 32
PATH = "/webhooks/stripe"
_numbers = itertools.count(1)


def new_id(prefix: str) -> str:
    """An id that no other test has."""
    return f"{prefix}_{os.getpid()}x{next(_numbers)}"


def make_event(type_: str, found: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The envelope around an object."""
    return {
        "id": new_id("evt"),
        "object": "event",
        "api_version": "2026-10-28.endive",
        "created": int(time.time()),
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": type_,
        "data": {"object": found},
        **fields,
    }


def make_session(payment_id: str, amount: int, **fields: Any) -> dict[str, Any]:
    """A Checkout Session that was paid."""
    return {
        "id": new_id("cs_test"),
        "object": "checkout.session",
        "amount_subtotal": amount,
        "amount_total": amount,
        "client_reference_id": payment_id,
        "currency": "usd",
        "customer": None,
        "livemode": False,
        "metadata": {"bridge_payment": payment_id},
        "mode": "payment",
        "payment_intent": new_id("pi"),
        "payment_status": "paid",
        "status": "complete",
        **fields,
    }


def make_intent(payment_id: str, amount: int, **fields: Any) -> dict[str, Any]:
    """A PaymentIntent that succeeded."""
    return {
        "id": new_id("pi"),
        "object": "payment_intent",
        "amount": amount,
        "amount_received": amount,
        "currency": "usd",
        "customer": "cus_1",
        "last_payment_error": None,
        "metadata": {"bridge_payment": payment_id},
        "payment_method": "pm_1",
        "status": "succeeded",
        **fields,
    }


def make_refund(intent: str, amount: int, **fields: Any) -> dict[str, Any]:
    """A Refund."""
    return {
        "id": new_id("re"),
        "object": "refund",
        "amount": amount,
        "charge": "ch_1",
        "currency": "usd",
        "metadata": {},
        "payment_intent": intent,
        "reason": None,
        "status": "succeeded",
        **fields,
    }


def make_charge(payment_id: str, intent: str, amount: int, refunded: int) -> dict[str, Any]:
    """A Charge of which some was refunded; its refunds are not in it."""
    return {
        "id": new_id("ch"),
        "object": "charge",
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": refunded,
        "currency": "usd",
        "metadata": {"bridge_payment": payment_id},
        "paid": True,
        "payment_intent": intent,
        "refunded": refunded == amount,
        "status": "succeeded",
    }


def make_dispute(intent: str, amount: int, status: str, **fields: Any) -> dict[str, Any]:
    """A Dispute."""
    return {
        "id": new_id("du"),
        "object": "dispute",
        "amount": amount,
        "charge": "ch_1",
        "currency": "usd",
        "metadata": {},
        "payment_intent": intent,
        "reason": "fraudulent",
        "status": status,
        **fields,
    }


def sign(body: str, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers that Stripe sends with these bytes."""
    header = WebhookSignature.generate_signature_header(body, secret, int(at or time.time()))
    return {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}


def send(client: FlaskClient, event: dict[str, Any]) -> TestResponse:
    """Deliver it as Stripe would."""
    body = json.dumps(event, indent=2)
    return client.post(PATH, data=body, headers=sign(body))


def send_over_socket(site_url: str, event: dict[str, Any]) -> int:
    """The same to a running gateway; the status."""
    body = json.dumps(event)
    return requests.post(f"{site_url}{PATH}", data=body, headers=sign(body), timeout=60).status_code
