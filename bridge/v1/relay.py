"""One inference, from the hold to the capture: sets the worst case aside, tries the channels, settles once.

A whole answer is in `whole.py`, a stream in `stream.py`; both share this class. The order is always the same: the hold
is committed before an upstream is called, the settlement before the end of the answer goes out."""

import copy
import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from bridge.catalogue.frozen import freeze
from bridge.catalogue.routing import Route
from bridge.catalogue.rules import SANDBOX
from bridge.errors import BridgeError, InvalidRequest, ServiceUnavailable
from bridge.ledger.batch import LEFT_BY_CLIENT, HoldOrder, Mark, Settlement
from bridge.ledger.budgets import period_start
from bridge.ledger.idempotency import Claim, free_key, keep_answer, seal_answer
from bridge.money import take_share
from bridge.providers import PROVIDERS
from bridge.providers.base import NOTHING_KEPT, AttemptFailed, Blame, ChatOrder, Counts, Outgoing, Usage
from bridge.providers.http import Timeouts
from bridge.providers.token_scale import find_scale
from bridge.reasoning.reasoning import keep_reasoning, recall_reasoning
from bridge.telemetry import answer_id, created_at_of, log_request
from bridge.v1.choices import calls_of, keeps_reasoning
from bridge.v1.counts import describe_counts, find_delivered
from bridge.v1.drill import find_drill
from bridge.v1.estimate import count_answer
from bridge.v1.failover import Failover
from bridge.v1.meter import count_mentions
from bridge.v1.plan import Offer, Plan
from bridge.v1.refusals import refuse_cost, refuse_unpaid
from bridge.v1.visit import Visit

log = structlog.get_logger()
NOTHING_USED = Usage(0, 0)
_NO_HEADER_TEXT = re.compile(r"[^\x20-\x7e]")  # names that a client chose; the server looks at no header of ours again
MOST_NAMED = 64  # fields in a header: proxies refuse an answer whose headers are long


@dataclasses.dataclass(slots=True)
class Attempt:
    """One call to one channel, for the receipt."""

    channel: str
    upstream_id: str
    started_ms: int
    took_ms: int = 0
    outcome: str = ""


class Relay:
    """The state of one inference. Whoever calls `settle` first decides; after that nothing changes any more."""

    def __init__(self, visit: Visit, plan: Plan, claim: Claim | None = None):
        self.visit = visit
        self.plan = plan
        self.claim = claim
        self.services = visit.services
        assert visit.caller is not None
        self.caller = visit.caller
        self.deadline = visit.started + self.services.settings.total_timeout_seconds
        self.answer_id = answer_id(visit.request_id)
        self.created_at = created_at_of(visit.request_id)
        self.attempts: list[Attempt] = []
        self.route: Route | None = None  # of the attempt under way
        self.offer: Offer = plan.offers[0]  # the model of that attempt
        self.failover = Failover(
            self.services, plan, self.caller.account_id, visit.request_id, self.deadline, find_drill(visit)
        )
        self.calls = 1  # of the attempt under way: several where each gives one choice
        budget = self.caller.budget_nanos
        self._budget_start = None if budget is None else period_start(self.caller.budget_period, self.created_at)
        self._recalled: Mapping[str, Any] = NOTHING_KEPT
        self.dropped: list[str] = []
        self.clamped: list[str] = []
        self.settled = False
        self.held_nanos = 0
        self.charge_nanos = 0
        self.first_content_at: float | None = None
        self._record = Settlement(
            request_id=visit.request_id,
            created_at=self.created_at,
            model_asked=plan.request.model,
            stream=bool(plan.request.stream),
        )
        self._take_offer(self.offer)

    # the money

    def place_hold(self) -> None:
        """Set aside the most that this can cost. Raises InsufficientBalance, KeyBudgetExceeded, MaxCostExceeded,
        ServiceUnavailable."""
        caller, settings = self.caller, self.services.settings
        self.recall_reasoning()
        amount, least_amount = self.worst_case()
        if (most := self.plan.max_cost_nanos) is not None:
            if least_amount > most:
                raise refuse_cost(self.plan.offers, least_amount, most)
            amount = min(amount, most)
        order = HoldOrder(
            request_id=self.visit.request_id,
            account_id=caller.account_id,
            key_id=caller.key_id,
            amount_nanos=amount,
            least_nanos=least_amount,
            created_at=self.created_at,
            deadline_seconds=settings.total_timeout_seconds + settings.hold_grace_seconds,
            budget_nanos=caller.budget_nanos,
            budget_start=self._budget_start,
            details=msgspec.json.encode(self._record).decode(),
        )
        result = self.services.writer.place_hold(order)
        if result.refused:
            raise refuse_unpaid(self.plan.offers, order, result, self.services.writer.look(order))
        self.fit_caps(result.held_nanos)

    def worst_case(self) -> tuple[int, int]:
        """The most that this request can cost, in nano-dollars, and the least that has to be set aside for it: the
        dearest model's. After `recall_reasoning`, which makes the prompt longer."""
        cases = [offer.worst_case() for offer in self.plan.offers]
        return max(most for most, _ in cases), max(least for _, least in cases)

    def fit_caps(self, held_nanos: int) -> None:
        """Find each model's cap: the client's, or what the hold pays for."""
        self.held_nanos = held_nanos
        for offer in self.plan.offers:
            offer.fit_cap(held_nanos)

    def _take_offer(self, offer: Offer) -> None:
        """From here on the request is this model's, at its price."""
        self.offer, record = offer, self._record
        record.model_id, record.price_id = offer.model.id, offer.price.id
        for name, value in freeze(offer.price, NOTHING_USED, 1).items():
            setattr(record, name, value)

    def settle(
        self,
        outcome: str,
        usage: Usage | None,
        *,
        source: str,
        status: int,
        finish_reason: str | None = None,
        error_code: str | None = None,
        answer: Callable[[], bytes] | None = None,
        empty: bool = False,
    ) -> None:
        """End the hold, durably: a charge for this usage; none for None or an `empty` answer. The first call counts.

        Where the database is away, the settlement is spooled, to be applied later, and the answer goes out. `answer` is
        what is given again under the same Idempotency-Key. It is kept first: a process that is killed in between leaves
        an answer that nobody paid for, instead of a charge that is made again."""
        if self.settled:
            return
        self.settled = True
        settlement = self._describe_course()
        settlement.outcome, settlement.status = outcome, status
        settlement.finish_reason, settlement.error_code = finish_reason, error_code
        used = self.visit.reserved_tokens
        if usage is not None:
            self._fill_in(settlement, usage, source)
            used = usage.total_tokens
        elif outcome not in LEFT_BY_CLIENT:
            used = 0
        if empty:
            settlement.state, settlement.price_nanos = "released", 0
        try:
            self._charge(settlement, answer)
        finally:  # also where this greenlet is ended meanwhile: then the sweeper settles
            self.visit.leave(used)
            self.failover.leave(0 if usage is None else used)
        log_request(self.visit.request_id, settlement, self.caller, self.charge_nanos, len(self.attempts))

    def _charge(self, settlement: Settlement, answer: Callable[[], bytes] | None) -> None:
        expected = self.charge_nanos = min(settlement.price_nanos, self.held_nanos)
        sealed, kept = self._keep_answer(answer) if expected else ("", True)
        try:
            if not kept:  # both or none: a charge without its answer would be made again
                raise ServiceUnavailable("The ledger can't be reached.")
            self.charge_nanos = self.services.writer.settle(settlement).charge_nanos
        except ServiceUnavailable:
            self.charge_nanos = expected if self.services.spool.add(settlement, self.claim, sealed) else 0
        if not self.charge_nanos:
            self.free_key()
        elif self.charge_nanos != expected:
            self._keep_answer(answer)  # which says what was charged

    def _fill_in(self, settlement: Settlement, usage: Usage, source: str) -> None:
        settlement.state, settlement.tokens_source = "captured", source
        settlement.prompt_tokens, settlement.cached_tokens = usage.prompt_tokens, usage.cached_tokens
        settlement.cache_write_tokens = usage.cache_write_tokens
        settlement.cache_write_hour_tokens = usage.cache_write_hour_tokens
        settlement.completion_tokens = usage.completion_tokens
        settlement.reasoning_tokens = usage.reasoning_tokens
        price, route = self.offer.price, self.route
        for name, value in freeze(price, usage, self.calls, self._budget_start).items():
            setattr(settlement, name, value)
        settlement.price_nanos = price.charge(usage, self.calls)
        counted = usage
        if usage.altered is not None:
            counted = usage.altered.counted
            settlement.provider_counts = msgspec.json.encode(describe_counts(usage.altered.said)).decode()
            settlement.uncharged_tokens = max(0, counted.total_tokens - usage.total_tokens)
            settlement.uncharged_nanos = max(0, price.charge(counted, self.calls) - settlement.price_nanos)
        if route is not None and route.provider != SANDBOX:  # it takes what it counted
            settlement.cost_nanos = take_share(price.cost(counted, self.calls), route.cost_bps)

    def mark(self, counted: Counts | None, completion_tokens: int) -> Mark:
        """What the sweeper is to charge if this process dies now, after so many tokens were delivered. It settles
        nothing. `counted`: of the prompt, with what of it came from a cache, and so is cheaper."""
        delivered = find_delivered(self, counted, completion_tokens)
        settlement = copy.copy(self._describe_course())
        settlement.outcome, settlement.status = "worker_lost", 200
        self._fill_in(settlement, delivered, "estimate")
        return Mark(self.visit.request_id, msgspec.json.encode(settlement).decode())

    def _describe_course(self) -> Settlement:
        """The settlement, with what has become of the request by now."""
        record = self._record
        if self.attempts:
            record.channel_name, record.upstream_id = self.attempts[-1].channel, self.attempts[-1].upstream_id
            record.attempts = msgspec.json.encode(self.attempts).decode()
        if self.dropped or self.clamped:
            record.adapted = msgspec.json.encode({"dropped": self.dropped, "clamped": self.clamped}).decode()
        if self.first_content_at is not None:
            record.first_content_ms = round((self.first_content_at - self.visit.started) * 1000)
        record.output_cap_tokens = self.offer.cap_tokens or 0
        record.total_ms = round((time.monotonic() - self.visit.started) * 1000)
        return record

    def most_output_tokens(self) -> int:
        """What all choices together may write."""
        return (self.offer.cap_tokens or 0) * self.offer.choices + self.offer.measure.predicted_tokens

    def count_delivered(self, text: Sequence[str], ended: bool = True) -> Usage:
        """Our own count of the prompt and of what was said, on the scale of the model that said it."""
        assert self.route is not None
        scale = find_scale(PROVIDERS[self.route.provider].token_scales, self.route.upstream_id)
        most = self.offer.measure.prompt_bound_tokens
        return count_answer(text, self.plan.request, most, scale, self.calls, ended)

    # the channels

    def routes(self) -> Iterator[Route]:
        """The channels to ask, one after the other, until one has answered or none is left."""
        while (choice := self.failover.choose()) is not None:
            offer, self.route = choice
            if offer is not self.offer:
                self._take_offer(offer)
            started_ms = round((time.monotonic() - self.visit.started) * 1000)
            self.attempts.append(Attempt(self.route.channel_name, self.route.upstream_id, started_ms))
            self.visit.attempts = len(self.attempts)
            yield self.route

    def time_left(self) -> float:
        return self.deadline - time.monotonic()

    def write(self, route: Route) -> Outgoing:
        """The request in the provider's words. Raises InvalidRequest in strict mode where it isn't taken whole."""
        cap = self.offer.cap_to_send
        body, provider = self.plan.body, PROVIDERS[route.provider]
        self.calls = calls_of(route.provider, body, self.offer.choices, route.upstream_id)
        if self.calls > 1:
            body = {field: value for field, value in body.items() if field != "n"}
        kept = self._recalled if provider.keeps_reasoning else NOTHING_KEPT
        order = ChatOrder(body, route.upstream_id, cap, self.plan.encoded_messages, kept, route.pass_fields)
        outgoing = provider.write_chat(order)
        # of this attempt alone: what another provider didn't take is no matter any more
        self.dropped = [*outgoing.dropped[:MOST_NAMED]]
        self.clamped = [*self.offer.clamped, *outgoing.clamped][:MOST_NAMED]
        if self.plan.strict and (self.dropped or self.clamped):
            names = ", ".join([*self.dropped, *self.clamped])
            raise InvalidRequest(
                f"Not taken as sent: {names}. Leave it out, or drop x-bridge-strict.",
                param=names.partition(",")[0].partition("=")[0],
                code="unsupported_parameter",
            )
        return outgoing

    def recall_reasoning(self) -> None:
        """Find what we keep of the reasoning behind the conversation's tool calls, and count it to the prompt: it goes
        out with it. Once, before the hold."""
        plan = self.plan
        wanting = [offer for offer in plan.offers if keeps_reasoning(offer.model)]
        if not wanting:
            return
        if any(getattr(message, "tool_calls", None) for message in plan.request.messages):
            with self.services.app.app_context():
                self._recalled = recall_reasoning(self.caller.account_id, plan.body["messages"])
        if self._recalled:
            times = count_mentions(plan.request.messages)  # with each call of that id it goes out anew
            more = sum(len(msgspec.json.encode(kept)) * times[call_id] for call_id, kept in self._recalled.items())
            for offer in wanting:
                offer.measure = offer.measure.with_more(more, offer.model.context_tokens)

    def keep_reasoning(self, kept: Mapping[str, Any]) -> None:
        """Keep what the provider wants back with the results of these calls, before the client can answer them."""
        if kept:
            with self.services.app.app_context():
                keep_reasoning(self.caller.account_id, kept, self.plan.body["messages"])

    def timeouts(self) -> Timeouts:
        """The socket's own deadlines for the next attempt, within what is left of the whole."""
        settings, left = self.services.settings, max(0.001, self.time_left())
        patience = self.offer.model.first_content_timeout_seconds or (
            settings.first_content_timeout_seconds
            if self.plan.request.stream and not self.offer.model.thinks
            else settings.answer_timeout_seconds
        )
        return Timeouts(
            min(settings.connect_timeout_seconds, left), min(patience, left), min(settings.idle_timeout_seconds, left)
        )

    def answered(self) -> None:
        """The attempt under way was answered to its end."""
        self.end_attempt("200")
        attempt = self.attempts[-1]
        seconds = attempt.took_ms / 1000
        if self.first_content_at is not None:
            seconds = self.first_content_at - self.visit.started - attempt.started_ms / 1000
        self.failover.succeeded(max(0.0, seconds))

    def failed(self, failure: AttemptFailed) -> None:
        """The attempt under way failed. Raises InvalidRequest when the fault is the request's own: nobody will take
        it."""
        self.broke_off(failure)
        if failure.blame is Blame.REQUEST:
            raise InvalidRequest(failure.message, param=failure.param, code=failure.code)

    def broke_off(self, failure: AttemptFailed) -> None:
        """The same, after something was delivered."""
        self.end_attempt(failure.reason)
        self.failover.failed(failure)

    def end_attempt(self, outcome: str) -> None:
        attempt = self.attempts[-1]
        attempt.took_ms = round((time.monotonic() - self.visit.started) * 1000) - attempt.started_ms
        attempt.outcome = outcome

    def refused(self, error: BridgeError) -> None:
        """The request ends in this error, before anything was delivered: nothing is charged."""
        if self.attempts and not self.attempts[-1].outcome:
            self.end_attempt(f"{error.status} {error.code}")
        self.settle("failed", None, source="none", status=error.status, error_code=error.code)

    def _keep_answer(self, answer: Callable[[], bytes] | None) -> tuple[str, bool]:
        """The answer, sealed, and whether it is kept; without an Idempotency-Key there is nothing to keep."""
        if self.claim is None or answer is None:
            return "", True
        sealed = seal_answer(answer())
        with self.services.app.app_context():
            return sealed, keep_answer(self.claim, sealed)

    def free_key(self) -> None:
        """Nothing was paid: whoever asks under the same Idempotency-Key is served anew."""
        if self.claim is not None:
            with self.services.app.app_context():
                free_key(self.claim)

    def adapted_headers(self) -> list[tuple[str, str]]:
        found = []
        if self.dropped:
            found.append(("x-bridge-dropped", _NO_HEADER_TEXT.sub("?", ", ".join(self.dropped))))
        if self.clamped:
            found.append(("x-bridge-clamped", _NO_HEADER_TEXT.sub("?", ", ".join(self.clamped))))
        found.append(("x-bridge-attempts", str(len(self.attempts))))
        return found
