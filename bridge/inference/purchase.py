"""Handles the money of one request: the worst case is set aside, one settlement ends it, and a paid answer is kept.

It knows prices and the ledger, and no dialect."""

import copy
import time
from collections.abc import Callable

import msgspec

from bridge.catalogue.price_snapshot import snapshot_price
from bridge.conversation.usage import Usage, describe_counts
from bridge.errors import BridgeError, ServiceUnavailable
from bridge.inference.ask import Ask
from bridge.inference.attempts import Attempts
from bridge.inference.counts import Counted
from bridge.inference.plan import Offer
from bridge.inference.refusals import refuse_cost, refuse_stop, refuse_unpaid
from bridge.ledger.batch import LEFT_BY_CLIENT, HoldOrder, Mark, Settlement
from bridge.ledger.budgets import list_windows, name_scope
from bridge.ledger.idempotency import free_key, keep_answer, seal_answer
from bridge.metrics import SPOOLED
from bridge.money import take_share
from bridge.telemetry import created_at_of, log_request

NOTHING_USED = Usage(0, 0)


class Purchase:
    """The money side of one request. Whoever calls `settle` first decides; after that nothing changes any more."""

    def __init__(self, ask: Ask, attempts: Attempts):
        self._ask, self._attempts = ask, attempts
        self._services, self._caller, self._claim = ask.services, ask.caller, ask.claim
        self.created_at = created_at_of(ask.request_id)
        caller = self._caller
        self._budgets = list_windows(
            caller, ask.plan.labels.end_user, self.created_at, caller.account_spend_day_nanos, caller.member_budget
        )
        self.held_nanos = 0
        self.charge_nanos = 0
        self.settled = False
        self._record = Settlement(
            request_id=ask.request_id,
            created_at=self.created_at,
            endpoint=ask.plan.request.endpoint,
            model_asked=ask.plan.request.model,
            stream=bool(ask.plan.request.stream),
            end_user=ask.plan.labels.end_user,
            tags=ask.plan.labels.encoded_tags,
            stop_at_nanos=ask.plan.stop_at_nanos,
        )
        self._take_price(attempts.offer)

    def place_hold(self) -> None:
        """Set aside the most that this can cost, durably, before this returns. Raises InsufficientBalance,
        KeyBudgetExceeded, MaxCostExceeded, ServiceUnavailable."""
        caller, settings, plan = self._caller, self._services.settings, self._ask.plan
        if (offer := plan.find_unstoppable()) is not None:
            raise refuse_stop(offer, plan.stop_at_nanos or 0)
        amount, least_amount = plan.worst_case()
        if (most := plan.max_cost_nanos) is not None:
            if least_amount > most:
                raise refuse_cost(plan.offers, least_amount, most)
            amount = min(amount, most)
        order = HoldOrder(
            request_id=self._ask.request_id,
            account_id=caller.account_id,
            key_id=caller.key_id,
            amount_nanos=amount,
            least_nanos=least_amount,
            created_at=self.created_at,
            deadline_seconds=settings.total_timeout_seconds + settings.hold_grace_seconds,
            budgets=self._budgets,
            details=msgspec.json.encode(self._record).decode(),
        )
        result = self._services.writer.place_hold(order)
        if result.refused:
            raise refuse_unpaid(plan.offers, order, result, self._services.writer.read_funds(order))
        self._services.note_let_in(caller.key_id, self.created_at)
        self.held_nanos = result.held_nanos
        plan.fit_caps(result.held_nanos)

    def settle(
        self,
        outcome: str,
        counted: Counted | None,
        *,
        status: int,
        finish_reason: str | None = None,
        error_code: str | None = None,
        answer: Callable[[], bytes] | None = None,
        empty: bool = False,
    ) -> None:
        """End the hold, durably: a charge for what was counted; none for None or an `empty` answer. The first call is
        the one that counts.

        Where the database is away, the settlement is spooled, to be applied later, and the answer goes out. `answer` is
        what is given again under the same Idempotency-Key. It is kept first: a process that is killed in between leaves
        an answer that nobody paid for, instead of a charge that is made again."""
        if self.settled:
            return
        self.settled = True
        settlement = self._describe_course()
        settlement.outcome, settlement.status = outcome, status
        settlement.finish_reason, settlement.error_code = finish_reason, error_code
        used = 0
        if counted is not None:
            self._fill_in(settlement, *counted)
            used = counted[0].total_tokens
        if empty:
            settlement.state, settlement.price_nanos = "released", 0
        try:
            self._charge(settlement, answer)
        finally:  # also where this greenlet is ended meanwhile: then the sweeper settles
            self._ask.seat.leave(
                self._ask.seat.reserved_tokens if counted is None and outcome in LEFT_BY_CLIENT else used
            )
            self._attempts.leave(used)
        attempts, last = self._attempts.records, self._attempts.last
        provider = last.route.provider if last is not None else ""
        self._services.notes.finish(settlement, provider, self.charge_nanos, attempts)
        log_request(self._ask.request_id, settlement, self._caller, self.charge_nanos, len(attempts))

    def release(self, error: BridgeError) -> None:
        """The request ends in this error, before anything was delivered: nothing is charged."""
        self._attempts.drop(f"{error.status} {error.code}")
        self.settle("failed", None, status=error.status, error_code=error.code)

    def mark(self, delivered: Usage) -> Mark:
        """What the sweeper is to charge if this process dies now, after so much was delivered. It settles nothing."""
        settlement = copy.copy(self._describe_course())
        settlement.outcome, settlement.status = "worker_lost", 200
        self._fill_in(settlement, delivered, "estimate")
        return Mark(self._ask.request_id, msgspec.json.encode(settlement).decode())

    @property
    def keeps_answer(self) -> bool:
        """Whether it is kept once it is paid: there is an Idempotency-Key."""
        return self._claim is not None

    def free_key(self) -> None:
        """Free the Idempotency-Key, since nothing was paid: whoever asks under it again is served anew."""
        if self._claim is not None:
            with self._services.app.app_context():
                free_key(self._claim)

    def _charge(self, settlement: Settlement, answer: Callable[[], bytes] | None) -> None:
        expected = self.charge_nanos = min(settlement.price_nanos, self.held_nanos)
        sealed, kept = self._keep_answer(answer) if expected else ("", True)
        try:
            if not kept:  # both or none: a charge without its answer would be made again
                raise ServiceUnavailable("The ledger can't be reached.")
            self.charge_nanos = self._services.writer.settle(settlement).charge_nanos
        except ServiceUnavailable:
            SPOOLED.inc()
            if not self._services.spool.add(settlement, self._claim, sealed):
                self.charge_nanos = 0
                return  # the key stays taken: the ledger may still do what it was asked to
        if not self.charge_nanos:
            self.free_key()
        elif self.charge_nanos != expected:
            self._keep_answer(answer)  # which says what was charged

    def _keep_answer(self, answer: Callable[[], bytes] | None) -> tuple[str, bool]:
        """The answer, sealed, and whether it is kept; without an Idempotency-Key there is nothing to keep."""
        if self._claim is None or answer is None:
            return "", True
        sealed = seal_answer(answer())
        with self._services.app.app_context():
            return sealed, keep_answer(self._claim, sealed)

    def _take_price(self, offer: Offer) -> None:
        """From here on the request is this model's, at its price."""
        self._offer, record = offer, self._record
        record.model_id, record.price_id = offer.model.id, offer.price.id
        for name, value in snapshot_price(offer.price, NOTHING_USED, 1).items():
            setattr(record, name, value)

    def _describe_course(self) -> Settlement:
        """The settlement, with what has become of the request by now."""
        record, attempts, started = self._record, self._attempts, self._ask.started
        if attempts.offer is not self._offer:
            self._take_price(attempts.offer)
        if (last := attempts.last) is not None:
            record.channel_name, record.upstream_id = last.record.channel, last.record.upstream_id
            record.attempts = msgspec.json.encode(attempts.records).decode()
            if last.first_content_at is not None:
                record.first_content_ms = round((last.first_content_at - started) * 1000)
        if attempts.dropped or attempts.clamped:
            record.adapted = msgspec.json.encode({"dropped": attempts.dropped, "clamped": attempts.clamped}).decode()
        record.output_cap_tokens = self._offer.cap_tokens or 0
        record.total_ms = round((time.monotonic() - started) * 1000)
        return record

    def _fill_in(self, settlement: Settlement, usage: Usage, source: str) -> None:
        """What was used, and what it costs."""
        settlement.state, settlement.tokens_source = "captured", source
        settlement.prompt_tokens, settlement.cached_tokens = usage.prompt_tokens, usage.cached_tokens
        settlement.cache_write_tokens = usage.cache_write_tokens
        settlement.cache_write_hour_tokens = usage.cache_write_hour_tokens
        settlement.completion_tokens = usage.completion_tokens
        settlement.reasoning_tokens = usage.reasoning_tokens
        attempt = self._attempts.last
        assert attempt is not None  # else nobody has said anything
        price, calls = self._offer.price, attempt.calls
        budgets = [(window.period, window.start, name_scope(window)) for window in self._budgets or ()]
        for name, value in snapshot_price(price, usage, calls, budgets).items():
            setattr(settlement, name, value)
        settlement.price_nanos = price.charge(usage, calls)
        counted = usage
        if usage.altered is not None:
            counted = usage.altered.counted
            settlement.provider_counts = msgspec.json.encode(describe_counts(usage.altered.said)).decode()
            settlement.uncharged_tokens = max(0, counted.total_tokens - usage.total_tokens)
            settlement.uncharged_nanos = max(0, price.charge(counted, calls) - settlement.price_nanos)
        if not attempt.route.made_up:  # it takes what it counted
            settlement.cost_nanos = take_share(price.cost(counted, calls), attempt.route.cost_bps)
