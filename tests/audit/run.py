"""One audit from its first request to its report."""

import collections
import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable

import gevent
import sqlalchemy as sa
from gevent.pool import Pool

from bridge.catalogue.model_editing import check_rates, enter_price, set_openai_wire
from bridge.db import db
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.spool import REDIS_LIST
from bridge.ledger.tables import Balance, Entry, Hold, UsageRecord
from tests.audit.chaos import Chaos
from tests.audit.clients import IMAGES, OF_ONE_DOOR, SERVED_BY, Got, KeyRing, Wish, ask, make_wish
from tests.audit.reconcile import Findings, reconcile
from tests.audit.said import INPUT_PRICE, OUTPUT_PRICE, WINDOW_TOKENS
from tests.audit.upstream import Plays
from tests.factories import DOLLAR, MadeAccount
from tests.gateway import Gateway
from tests.replay import BASES
from tests.upstream import ScriptedUpstream

RICH, POOR = 4, 3  # accounts
POOR_NANOS = 30_000_000  # three cents: a few hundred short answers
# Short, so that an audit sees deadlines pass; the grace is longer than any outage, as it is in production.
TIMES = {"total_timeout_seconds": 8, "hold_grace_seconds": 8, "cooldown_seconds": 0.2, "open_stream_after_seconds": 1}
RESOLVE_SECONDS = 60
CONFLICT = 409


@dataclasses.dataclass(frozen=True)
class Plan:
    """The extent of an audit. It ends after a number of requests or seconds; a fault comes after every `strike_after`
    requests, or every `strike_every` seconds."""

    seed: int
    clients: int
    requests: int | None = None
    seconds: float | None = None
    strike_after: int | None = None
    strike_every: float = 5.0
    keys_each: int = 30


@dataclasses.dataclass
class Report:
    """What happened, and what is left behind."""

    plan: Plan
    requests: int
    replays: int
    chaos: Chaos
    findings: Findings
    plays: collections.Counter[str]
    open_holds: int
    overspend_nanos: int
    seconds: float

    @property
    def clean(self) -> bool:
        return not (self.findings.differences or self.open_holds or self.overspend_nanos)


class Audit:
    """The clients of one audit and what they got."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream, plan: Plan, chaos: Chaos):
        self.gateway, self.plan, self.chaos = gateway, plan, chaos
        self.plays = Plays(plan.seed)
        upstream.plays(self.plays)  # type: ignore[arg-type]
        make = gateway.make
        self.models = {name: self._make_model(name, upstream, providers) for name, providers in SERVED_BY.items()}
        with make.app.app_context():
            set_openai_wire(self.models["responses"], "responses")
        make.wait_for_gateway()
        self.accounts = [make.make_account(1000 * DOLLAR) for _ in range(RICH)]
        self.accounts += [make.make_account(POOR_NANOS) for _ in range(POOR)]
        self.keys = KeyRing(gateway, self.accounts, plan.keys_each, lambda: chaos.away)
        self.results: list[Got] = []
        self._numbers = itertools.count()
        self._begun = 0
        self._stopping = False

    def _make_model(self, name: str, upstream: ScriptedUpstream, providers: Iterable[tuple[str, str]]) -> str:
        """A model with a channel for each of these providers, all of which this upstream plays."""
        make = self.gateway.make
        model = make.make_model(
            input_price=INPUT_PRICE,
            output_price=OUTPUT_PRICE,
            context_tokens=WINDOW_TOKENS,
            max_output_tokens=4096,
            kinds=[name if name in OF_ONE_DOOR else "chat"],
        )
        if name == IMAGES:  # what is drawn costs what a text's answer does elsewhere
            rates = {"input": INPUT_PRICE, "output": OUTPUT_PRICE, "image_output": OUTPUT_PRICE}
            with make.app.app_context():
                enter_price(model, [check_rates(rates)])
        for provider, called in providers:
            base_url = upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
            make.make_channel(base_url, provider=provider, models={model: called}, waits=False)
        return model

    def run(self) -> Report:
        """Run the audit. Raises only if the audit itself can't go on."""
        started = time.monotonic()
        clients = Pool(self.plan.clients)
        for _ in range(self.plan.clients):
            clients.spawn(self._be_a_client)
        strikes = gevent.spawn(self._strike)
        with gevent.Timeout(self.plan.seconds, False):
            clients.join()
        self._stopping = True
        strikes.join()
        clients.join(raise_error=True)
        strikes.get()
        self._wait_until_resolved()
        return self._report(time.monotonic() - started)

    def _be_a_client(self) -> None:
        while not self._stopping:
            number = next(self._numbers)
            if self.plan.requests is not None and number >= self.plan.requests:
                return
            wish = make_wish(self.plan.seed, number, len(self.accounts))
            if not wish.idempotency_key:
                self._ask(wish)
                continue
            # twice at once, and again until there is an answer: also after a worker that died with the first
            gevent.joinall([gevent.spawn(self._ask, wish) for _ in range(2)], raise_error=True)
            patient = dataclasses.replace(wish, leaves_after_seconds=None, leaves_after_words=None)
            while self._ask(patient).status == CONFLICT and not self._stopping:
                gevent.sleep(1)

    def _ask(self, wish: Wish) -> Got:
        self._begun += 1
        key = self.keys.take(wish.account)
        got = ask(self.gateway.settings.port, self.models[wish.upstream], key.secret, Got(wish, key.id))
        while got.ended == "refused" and not self._stopping:  # nobody listens: a restart
            gevent.sleep(0.1)
            got = ask(self.gateway.settings.port, self.models[wish.upstream], key.secret, Got(wish, key.id))
        self.results.append(got)
        self.keys.give_back(wish.account, key, got)
        return got

    def _strike(self) -> None:
        try:
            self._strike_on()
        finally:
            self._stopping = True  # nobody waits for a gateway that a failed strike has left dead

    def _strike_on(self) -> None:
        done = 0
        while not self._stopping:
            if self.plan.strike_after is None:
                gevent.sleep(self.plan.strike_every)
            elif self._begun < (done + 1) * self.plan.strike_after:
                gevent.sleep(0.02)
                continue
            done += 1
            if not self._stopping:
                self.chaos.strike()

    def _wait_until_resolved(self) -> None:
        """Wait until holds have ended, at the latest by their deadline, and spools are applied; nothing here helps that
        along."""
        _wait(lambda: not (self._look(_count_holds) or self._spooled()), RESOLVE_SECONDS)

    def _spooled(self) -> int:
        settings = self.gateway.settings
        waiting = len(list((settings.data_path / "spool").glob("*.jsonl")))
        if settings.redis_url:
            import redis

            with redis.Redis.from_url(settings.redis_url) as client:
                waiting += int(client.llen(self.gateway.redis_key(REDIS_LIST)))  # type: ignore[arg-type]
        return waiting

    def _look(self, what: Callable[[], object]) -> object:
        with self.gateway.make.app.app_context():
            return what()

    def _report(self, seconds: float) -> Report:
        with self.gateway.make.app.app_context():
            rows = list(db.session.scalars(sa.select(UsageRecord)))
            open_holds = _count_holds()
            findings = reconcile(self.results, rows, self.plays.book, self.chaos.kills)
            overspend = sum(self._check_account(account, rows, findings) for account in self.accounts)
        findings.differences += [f"ledger check: {line}" for line in self.gateway.make.check_ledger()]
        plays = collections.Counter(served.play for attempts in self.plays.book.values() for served in attempts)
        replays = sum(got.replayed for got in self.results)
        return Report(
            self.plan, len(self.results), replays, self.chaos, findings, plays, open_holds, overspend, seconds
        )

    def _check_account(self, account: MadeAccount, rows: list[UsageRecord], findings: Findings) -> int:
        """By how much it was charged more than it had."""
        balance = db.session.get(Balance, account.id)
        assert balance is not None
        sign = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
        credits = db.session.scalar(sa.select(sa.func.sum(sign)).where(Entry.account_id == account.id)) or 0
        charges = sum(row.charge_nanos for row in rows if row.account_id == account.id)
        if balance.balance_nanos != credits - charges:
            findings.differences.append(f"account {account.id}: {balance.balance_nanos} is not {credits} - {charges}")
        if balance.balance_nanos < 0 or balance.held_nanos:
            findings.differences.append(
                f"account {account.id}: balance {balance.balance_nanos}, held {balance.held_nanos}"
            )
        return max(0, int(charges - credits))


def _count_holds() -> int:
    return db.session.scalar(sa.select(sa.func.count()).select_from(Hold)) or 0


def _wait(until: Callable[[], bool], seconds: float) -> None:
    with gevent.Timeout(seconds, False):
        while True:
            with contextlib.suppress(sa.exc.OperationalError):
                if until():
                    return
            gevent.sleep(0.2)
