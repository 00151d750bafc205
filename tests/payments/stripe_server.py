"""Stripe's API on a loopback socket, for gateways in processes of their own: what it does with idempotency keys,
Checkout Sessions and PaymentIntents, as its documentation says."""

import json
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

from gevent.event import Event
from gevent.pywsgi import WSGIServer

from tests.payments.stripe_side import make_intent, new_id
from tests.upstream import PATIENCE_SECONDS


class StripeServer:
    """A fake of Stripe. Each payment intent that it made is a card that was charged. `hold()` keeps answers back until
    `let_go()`."""

    def __init__(self) -> None:
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()
        self._answers: dict[str, dict[str, Any]] = {}
        self._gate = Event()
        self._gate.set()
        self.calls: Counter[str] = Counter()  # by idempotency key
        self.came = Event()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def intents(self) -> list[dict[str, Any]]:
        """Those made, in order."""
        return [answer for answer in self._answers.values() if answer["object"] == "payment_intent"]

    def hold(self) -> None:
        self._gate.clear()

    def let_go(self) -> None:
        self._gate.set()

    def close(self) -> None:
        self.let_go()
        self._server.stop(timeout=1)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        form = {name: values[0] for name, values in parse_qs(environ["wsgi.input"].read().decode()).items()}
        key = environ["HTTP_IDEMPOTENCY_KEY"]
        self.calls[key] += 1
        if key not in self._answers:
            self._answers[key] = self._make(environ["PATH_INFO"], form)
        self.came.set()
        self._gate.wait(PATIENCE_SECONDS)
        start_response("200 OK", [("Content-Type", "application/json"), ("Request-Id", new_id("req"))])
        return [json.dumps(self._answers[key]).encode()]

    def _make(self, path: str, form: dict[str, str]) -> dict[str, Any]:
        if path == "/v1/checkout/sessions":
            session = new_id("cs_test")
            url = f"https://checkout.stripe.com/c/pay/{session}"
            return {"id": session, "object": "checkout.session", "url": url, "form": form}
        assert path == "/v1/payment_intents"
        return make_intent(form["metadata[bridge_payment]"], int(form["amount"]), currency=form["currency"])
