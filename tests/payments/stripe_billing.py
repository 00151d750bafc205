"""Stripe Billing's side: prices, subscriptions and invoices in memory, and the API that answers for them, in the shapes
of its documentation."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gevent
import responses

from tests.payments.stripe_side import make_event, new_id

API = "https://api.stripe.com/v1"
DAY = 24 * 3600
MONTH = 30 * DAY
Found = dict[str, Any]


class StripeBilling:
    """What Stripe has. `old` lets it answer in the shapes of its API before 2025."""

    def __init__(self) -> None:
        self.prices: dict[str, Found] = {}
        self.pages: list[dict[str, str]] = []  # the forms of Checkout Sessions
        self.subscriptions: dict[str, Found] = {}
        self.invoices: dict[str, Found] = {}
        self.asked: list[str] = []
        self.old = False
        self.is_away = False

    # what people and time do

    def subscribe(self, started_at: int | None = None) -> Found:
        """The newest page is completed and its first fee paid. Returns the subscription."""
        form, now = self.pages[-1], started_at or int(time.time())
        subscription = {
            "id": new_id("sub"),
            "object": "subscription",
            "status": "active",
            "customer": form.get("customer") or new_id("cus"),
            "metadata": {"bridge_subscription": form["subscription_data[metadata][bridge_subscription]"]},
            "items": {"data": [{"id": new_id("si"), "price": self.prices[form["line_items[0][price]"]]}]},
            "cancel_at": None,
            "cancel_at_period_end": False,
            "ended_at": None,
        }
        self.subscriptions[subscription["id"]] = subscription
        self._begin_period(subscription, now)
        self.write_invoice(subscription, "subscription_create")
        return subscription

    def renew(self, subscription: Found, *, paid: bool = True, **fields: Any) -> Found:
        """The next month begins. Returns its invoice."""
        self._begin_period(subscription, subscription["_end"])
        subscription["status"] = "active" if paid else "past_due"
        return self.write_invoice(subscription, "subscription_cycle", paid=paid, **fields)

    def end(self, subscription: Found) -> None:
        subscription["status"], subscription["ended_at"] = "canceled", int(time.time())

    def pay(self, invoice: Found) -> None:
        """A fee that was due is paid after all."""
        invoice["status"], invoice["_paid"] = "paid", invoice["total"]
        self.subscriptions[invoice["_subscription"]]["status"] = "active"

    def write_invoice(self, subscription: Found, reason: str, *, paid: bool = True, **fields: Any) -> Found:
        price = subscription["items"]["data"][0]["price"]
        invoice = {
            "id": new_id("in"),
            "object": "invoice",
            "status": "paid" if paid else "open",
            "billing_reason": reason,
            "currency": price["currency"],
            "total": price["unit_amount"],
            "_paid": price["unit_amount"] if paid else 0,
            "_price": price["id"],
            "_period": (subscription["_start"], subscription["_end"]),
            "_intent": new_id("pi"),
            "_subscription": subscription["id"],
            **fields,
        }
        self.invoices[invoice["id"]] = invoice
        subscription["latest_invoice"] = invoice["id"]
        return invoice

    def _begin_period(self, subscription: Found, start: int) -> None:
        subscription["_start"], subscription["_end"] = start, start + MONTH

    # what is sent

    def newest(self) -> Found:
        return self.invoices[next(reversed(self.invoices))]

    def paid(self, invoice: Found | None = None) -> Found:
        return make_event("invoice.paid", self.show_invoice(invoice or self.newest()))

    def session(self, subscription: Found) -> Found:
        """The event of the completed page."""
        session = {"id": new_id("cs_test"), "object": "checkout.session", "mode": "subscription"}
        session |= {"subscription": subscription["id"], "metadata": subscription["metadata"], "payment_status": "paid"}
        return make_event("checkout.session.completed", session)

    def changed(self, subscription: Found, how: str = "updated") -> Found:
        return make_event(f"customer.subscription.{how}", self.show(subscription))

    # the API

    def show(self, subscription: Found) -> Found:
        shown = {name: value for name, value in subscription.items() if not name.startswith("_")}
        period = {"current_period_start": subscription["_start"], "current_period_end": subscription["_end"]}
        if self.old:
            return {**shown, **period}
        item = {**subscription["items"]["data"][0], **period}
        return {**shown, "items": {"object": "list", "data": [item]}}

    def show_invoice(self, invoice: Found) -> Found:
        shown = {name: value for name, value in invoice.items() if not name.startswith("_")}
        subscription = self.subscriptions[invoice["_subscription"]]
        shown |= {"amount_paid": invoice["_paid"], "customer": subscription["customer"]}
        start, end = invoice["_period"]
        line: Found = {"id": new_id("il"), "period": {"start": start, "end": end}}
        details = {"metadata": subscription["metadata"]}
        if self.old:
            line["price"] = {"id": invoice["_price"]}
            shown |= {"subscription": subscription["id"], "subscription_details": details}
            shown |= {"payment_intent": invoice["_intent"], "lines": {"data": [line]}}
            return shown
        line["pricing"] = {"type": "price_details", "price_details": {"price": invoice["_price"]}}
        details["subscription"] = subscription["id"]
        paid = {"status": "paid", "payment": {"type": "payment_intent", "payment_intent": invoice["_intent"]}}
        payments = [paid] if invoice["_paid"] and invoice["_intent"] else []
        shown["parent"] = {"type": "subscription_details", "subscription_details": details}
        return {**shown, "payments": {"object": "list", "data": payments}, "lines": {"data": [line]}}

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Answers the API as long as this lasts."""
        with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
            for method in ("GET", "POST", "DELETE"):
                mock.add_callback(method, re.compile(f"{API}/.*"), self._answer, content_type="application/json")
            yield

    def _answer(self, request: Any) -> tuple[int, dict[str, str], str]:
        gevent.sleep(0)  # lets other calls overtake this one
        url = urlsplit(request.url)
        path = url.path.removeprefix("/v1/").split("/")
        text = url.query or request.body or ""
        form = {name: values[0] for name, values in parse_qs(text if isinstance(text, str) else text.decode()).items()}
        self.asked.append(f"{request.method} {'/'.join(path)}")
        if self.is_away:
            return 500, {}, json.dumps({"error": {"type": "api_error", "message": "Down"}})
        found = self._find(request.method, path, form)
        gevent.sleep(0)
        if found is None:
            return 404, {}, json.dumps({"error": {"type": "invalid_request_error", "code": "resource_missing"}})
        return 200, {}, json.dumps(found)

    def _find(self, method: str, path: list[str], form: dict[str, str]) -> Found | None:
        match method, path:
            case "POST", ["prices"]:
                price = {"id": new_id("price"), "object": "price", "currency": form["currency"]}
                price |= {"unit_amount": int(form["unit_amount"]), "_interval": form["recurring[interval]"]}
                self.prices[price["id"]] = price
                return price
            case "POST", ["checkout", "sessions"]:
                if form["line_items[0][price]"] not in self.prices:
                    return None
                self.pages.append(form)
                return {"id": new_id("cs_test"), "url": f"https://checkout.stripe.com/c/pay/{len(self.pages)}"}
            case "POST", ["billing_portal", "sessions"]:
                return {"id": new_id("bps"), "url": f"https://billing.stripe.com/p/session/{form['customer']}"}
            case "GET", ["subscriptions", which]:
                return self.show(self.subscriptions[which]) if which in self.subscriptions else None
            case "POST", ["subscriptions", which]:
                return self._update(self.subscriptions[which], form)
            case "DELETE", ["subscriptions", which]:
                if self.subscriptions[which]["status"] == "canceled":
                    return None
                self.end(self.subscriptions[which])
                return self.show(self.subscriptions[which])
            case "GET", ["invoices", which]:
                return self.show_invoice(self.invoices[which]) if which in self.invoices else None
            case "GET", ["invoice_payments"]:
                intent = form["payment[payment_intent]"]
                found = [{"invoice": one["id"]} for one in self.invoices.values() if one["_intent"] == intent]
                return {"object": "list", "data": found, "has_more": False}
            case "GET", ["payment_intents", which]:
                paid = [one for one in self.invoices.values() if one["_intent"] == which]
                customer = self.subscriptions[paid[0]["_subscription"]]["customer"] if paid else None
                return {"id": which, "object": "payment_intent", "customer": customer, "metadata": {}}
        raise AssertionError((method, path))

    def _update(self, subscription: Found, form: dict[str, str]) -> Found:
        if (price := form.get("items[0][price]")) is not None:
            assert form["proration_behavior"] == "none"
            subscription["items"]["data"][0]["price"] = self.prices[price]
        if (ends := form.get("cancel_at_period_end")) is not None:
            subscription["cancel_at_period_end"] = ends.lower() == "true"
        return self.show(subscription)
