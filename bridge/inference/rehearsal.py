"""Sends one request with a fault in its way through the gateway's own API, in this process, and shows operators what
its client sees, hears and pays. The charge is real, and is given back."""

import collections
import dataclasses
import datetime
import time
from collections.abc import Callable, Generator
from typing import Any

import gevent
import msgspec
from flask import Flask, current_app
from gevent.queue import Empty, Queue
from werkzeug.test import EnvironBuilder

from bridge.accounts.customers import Customer, find_customer
from bridge.accounts.emails import find_member
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key, revoke_key
from bridge.accounts.memberships import find_main_account
from bridge.acts import Actor
from bridge.config import Settings
from bridge.db import db, now_utc
from bridge.errors import InvalidRequest, NotFound
from bridge.inference.drill import DRILL
from bridge.languages import translate
from bridge.ledger import charge_rules
from bridge.ledger.ledger import BalanceView, find_balance
from bridge.ledger.refunds import refund_request
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import find_request
from bridge.providers.faults import FAULTS

CHAT = "/v1/chat/completions"
PROMPT = "Count from one to ten."
OUTPUT_TOKENS = 128
KEY_NAME = "Fault drill"
SHOWN_HEADERS = ("content-type", "retry-after", "x-should-retry", "x-request-id")
SHOWN_CHARACTERS = 600
FIRST_SHOWN, LAST_SHOWN = 40, 3
TICK_SECONDS = 5.0  # a page that shows this as it runs has to say something, or a proxy ends it


@dataclasses.dataclass(frozen=True, slots=True)
class Heard:
    """A piece of the answer as its client got it, or (`skipped`) how many were left out here."""

    at_ms: int
    text: str
    skipped: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it. `record` is None where the gateway refused before it held anything."""

    record: UsageRecord | None
    attempts: list[dict[str, Any]]
    rule: str
    before: BalanceView
    after: BalanceView
    given_back_nanos: int


class Drill:
    """One drill. Iterate `run()` for what is heard, as it comes (None: a moment of silence); then ask `outcome()`."""

    def __init__(self, customer: Customer, model: str, fault: str, *, stream: bool, with_channels: bool, made_by: str):
        """Raises InvalidRequest for a fault that there isn't."""
        if fault not in FAULTS:
            raise InvalidRequest(f"The faults are {', '.join(FAULTS)}.", param="fault")
        self.customer, self.model, self.fault = customer, model, fault
        self.stream, self.with_channels = stream, with_channels
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.took_ms = 0
        self._made_by = made_by
        self._app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        self._started = 0.0
        self._pieces: Queue[bytes | None] = Queue()
        self._before = find_balance(customer.account_id)
        self._given_back_nanos = 0

    def run(self) -> Generator[Heard | None, None, None]:
        """Send it. Whoever stops listening hangs up, as a client does."""
        settings: Settings = current_app.config["BRIDGE"]
        account_id = self.customer.account_id
        lifetime = datetime.timedelta(seconds=settings.total_timeout_seconds + settings.hold_grace_seconds)
        terms = KeyTerms(name=KEY_NAME, expires_at=now_utc() + lifetime)
        issued = issue_key(account_id, terms, is_drill=True, actor=Actor(self._made_by))
        key_id = issued.key.id
        db.session.remove()  # no connection is held while an upstream is waited for
        self._started = time.monotonic()
        asking = gevent.spawn(self._ask, issued.secret)
        try:
            yield from self._listen()
        finally:
            asking.kill()  # which hangs up, if there still is an answer
            self.took_ms = self._passed_ms()
            revoke_key(account_id, key_id, wait=False)
            self._give_back()

    def shown_headers(self) -> list[tuple[str, str]]:
        """Those that say something of the answer."""
        found = [(name.lower(), value) for name, value in self.headers]
        return [(name, value) for name, value in found if name in SHOWN_HEADERS or name.startswith("x-bridge-")]

    def outcome(self) -> Outcome:
        """What it came to, once `run()` has ended."""
        record = self._find_record()
        attempts = msgspec.json.decode(record.attempts) if record and record.attempts else []
        after = find_balance(self.customer.account_id)
        return Outcome(record, attempts, find_rule(record), self._before, after, self._given_back_nanos)

    def _ask(self, secret: str) -> None:
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": PROMPT}],
            "max_tokens": OUTPUT_TOKENS,
            "stream": self.stream,
        }
        environ: dict[Any, Any] = EnvironBuilder(
            path=CHAT, method="POST", json=body, headers=[("Authorization", f"Bearer {secret}")]
        ).get_environ()
        environ["REMOTE_ADDR"] = "127.0.0.1"
        environ[DRILL] = (self.fault, self.with_channels)

        def start(status: str, headers: list[tuple[str, str]], _failure: object = None) -> Callable[[bytes], None]:
            self.status, self.headers = int(status.split(" ", 1)[0]), headers
            return lambda piece: self._pieces.put(piece)  # as WSGI has it; the gateway never writes this way

        try:
            answer: Any = self._app.wsgi_app(environ, start)
            try:
                for piece in answer:
                    self._pieces.put(piece)
            finally:
                if hasattr(answer, "close"):
                    answer.close()
        finally:
            self._pieces.put(None)

    def _listen(self) -> Generator[Heard | None, None, None]:
        last: collections.deque[Heard] = collections.deque(maxlen=LAST_SHOWN)
        count, said_at = 0, self._started
        while True:
            try:
                piece = self._pieces.get(timeout=TICK_SECONDS)
            except Empty:
                yield None
                continue
            if piece is None:
                break
            for text in filter(None, piece.decode(errors="replace").split("\n\n")):
                heard, count = Heard(self._passed_ms(), text[:SHOWN_CHARACTERS]), count + 1
                if count <= FIRST_SHOWN:
                    yield heard
                else:
                    last.append(heard)
            if count > FIRST_SHOWN and time.monotonic() - said_at > TICK_SECONDS:
                said_at = time.monotonic()
                yield None
        if count - FIRST_SHOWN > LAST_SHOWN:
            yield Heard(last[0].at_ms, "", skipped=count - FIRST_SHOWN - LAST_SHOWN)
        yield from last

    def _passed_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)

    def _find_record(self) -> UsageRecord | None:
        request_id = next((value for name, value in self.headers if name.lower() == "x-request-id"), "")
        try:
            return find_request(self.customer.account_id, request_id)
        except NotFound:
            return None

    def _give_back(self) -> None:
        record = self._find_record()
        if record is None or not record.charge_nanos:
            return
        # as a refund, of which a request has one: whoever reads the receipt can't give it back once more
        reason = f"Fault drill: the charge of …{record.request_id[-8:]} is given back"
        charge, account_id = record.charge_nanos, self.customer.account_id
        refund_request(record.request_id, reason=reason, made_by=self._made_by, account_id=account_id)
        self._given_back_nanos = charge


def find_payer(name: str) -> Customer:
    """The account of this id or of the member with this address. Raises NotFound."""
    text = name.strip()
    if text.isascii() and text.isdigit() and len(text) < 19:
        return find_customer(int(text))
    return find_customer(find_main_account(find_member(text)))


def find_rule(record: UsageRecord | None) -> str:
    """The rule by which it was charged, in words."""
    if record is None:
        return translate("Refused before anything was held: nothing is charged.")
    rule = charge_rules.find_rule(record)
    return f"{translate(rule.happened)} {translate(rule.paid)}"
