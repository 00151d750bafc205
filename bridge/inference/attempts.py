"""Makes the attempts of one request. Each attempt is one call to one channel, and ends itself as succeeded, failed or
dropped."""

import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from bridge.catalogue.upstreams import hide_key, hide_key_in
from bridge.conversation.answer import NOTHING_KEPT
from bridge.conversation.kinds import CHAT
from bridge.conversation.usage import Usage
from bridge.errors import BridgeError, InvalidRequest, UpstreamError
from bridge.inference.ask import Ask
from bridge.inference.choices import calls_of, keeps_reasoning
from bridge.inference.drill import find_drill
from bridge.inference.estimate import count_answer
from bridge.inference.failover import Choice, Failover
from bridge.inference.meter import count_mentions
from bridge.inference.plan import Offer
from bridge.inference.upstream import Upstream
from bridge.json_types import Json
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing, Provider, Remedy, Translator
from bridge.providers.token_scale import find_scale
from bridge.providers.wire.http import Timeouts
from bridge.reasoning.reasoning import recall_reasoning
from bridge.turns import by_size

# how upstreams name the id that their support asks for
REFERENCES = ("x-request-id", "request-id", "apim-request-id", "msh-request-id")
_REFERENCE = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_NO_HEADER_TEXT = re.compile(r"[^\x20-\x7e]")  # names that a client chose; the server looks at no header of ours again
SLACK_SECONDS = 0.25  # what the limits of single phases, which say more, come earlier by
MOST_NAMED = 64  # fields in a header: proxies refuse an answer whose headers are long


class AttemptRecord(msgspec.Struct):
    """One attempt, as the receipt shows it."""

    channel: str
    upstream_id: str
    started_ms: int
    took_ms: int = 0
    outcome: str = ""  # none while it is under way
    reference: str | UnsetType = UNSET  # the upstream's own id of the request, for operators alone; see receipt.py


class Attempts:
    """Iterates over one attempt after the other, until one has succeeded or no channel is left to ask."""

    def __init__(self, ask: Ask):
        self._ask = ask
        self._failover = Failover(
            ask.services, ask.plan, ask.caller.account_id, ask.request_id, ask.deadline, find_drill(ask)
        )
        self.last: Attempt | None = None
        self.offer: Offer = ask.plan.offers[0]  # the model of the last attempt, or the one that was asked for
        self.records: list[AttemptRecord] = []
        self.dropped: list[str] = []  # fields that the last provider to be asked does not take
        self.clamped: list[str] = []  # and those that it takes with another value
        self._recalled: Mapping[str, Json] = NOTHING_KEPT

    def __iter__(self) -> "Iterator[Attempt]":
        while (choice := self._failover.choose()) is not None:
            self.last = attempt = Attempt(self._ask, self._failover, choice)
            self.offer = attempt.offer
            self.records.append(attempt.record)
            self._ask.seat.count_attempt()
            yield attempt

    def explain(self) -> BridgeError:
        """The error that the client gets when no attempt is left."""
        return self._failover.explain()

    def drop(self, outcome: str) -> None:
        """Give up the attempt under way, if there is one: nobody waits for it any more."""
        if self.last is not None:
            self.last.dropped(outcome)

    def leave(self, used_tokens: int) -> None:
        """The request has ended, with so many tokens. Nothing of its last channel stays taken. May be called again."""
        self._failover.leave(used_tokens)

    def list_choices(self) -> list[Choice]:
        """List what would be tried if each attempt failed."""
        return self._failover.list_choices()

    def suppose(self, choice: Choice) -> "Attempt":
        """The attempt that this would be. Nobody is asked, and nothing is taken."""
        return Attempt(self._ask, self._failover, choice)

    def recall_reasoning(self) -> None:
        """Find the reasoning that we keep behind the conversation's tool calls, and count it to the prompt that it goes
        out with. Called once, before the hold."""
        ask, plan = self._ask, self._ask.plan
        find_wire = ask.services.lessons.find_wire
        wanting = [offer for offer in plan.offers if keeps_reasoning(offer.model, find_wire)]
        if not wanting:
            return
        if plan.request.has_calls:
            with ask.services.app.app_context():
                recalled = recall_reasoning(ask.caller.account_id, plan.request.turns)
            self._recalled = {**recalled, **plan.request.carried}
        if self._recalled:
            times = count_mentions(plan.request.turns)  # with each call of that id it goes out anew
            more = sum(len(msgspec.json.encode(kept)) * times[call_id] for call_id, kept in self._recalled.items())
            for offer in wanting:
                offer.lengthen_prompt(more)

    def write(self, attempt: "Attempt") -> Outgoing:
        """The request in the words of the attempt's provider. Raises AttemptFailed for what it can't take at all, and
        InvalidRequest in strict mode where it isn't taken whole."""
        plan, offer, route, provider = self._ask.plan, attempt.offer, attempt.route, attempt.provider
        wire, lessons = attempt.wire, self._ask.services.lessons
        order = Order(
            plan.request,
            route.upstream_id,
            offer.cap_to_send,
            self._recalled if provider.wants_reasoning(route.upstream_id, wire) else NOTHING_KEPT,
            route.pass_fields,
            attempt.calls > 1,
            wire,
            attempt.without | lessons.find_without(route),
            offer.model.context_tokens,
        )
        outgoing = by_size(self._ask.seat.body_bytes, attempt.translator.write_request, order)
        attempt.path = outgoing.path
        # of this attempt alone: what another provider didn't take is no matter any more
        self.dropped = [*outgoing.dropped[:MOST_NAMED]]
        self.clamped = [*offer.clamped, *outgoing.clamped][:MOST_NAMED]
        if plan.strict and (changed := [*self.dropped, *self.clamped[len(offer.clamped) if offer.stopped else 0 :]]):
            names = ", ".join(changed)
            raise InvalidRequest(
                f"Not taken as sent: {names}. Leave it out, or drop x-bridge-strict.",
                param=names.partition(",")[0].partition("=")[0],
                code="unsupported_parameter",
            )
        return outgoing

    def adapted_headers(self) -> list[tuple[str, str]]:
        """How the answer came about, for its headers."""
        found = []
        if self.dropped:
            found.append(("x-bridge-dropped", _NO_HEADER_TEXT.sub("?", ", ".join(self.dropped))))
        if self.clamped:
            found.append(("x-bridge-clamped", _NO_HEADER_TEXT.sub("?", ", ".join(self.clamped))))
        found.append(("x-bridge-attempts", str(len(self.records))))
        return found


class Attempt:
    """One call to one channel, or several where the provider gives one choice a call. It knows nothing of the other
    attempts: references in a circle would keep the request in memory."""

    __slots__ = (
        "_failover",
        "_ask",
        "calls",
        "delivered",
        "first_content_at",
        "_remedies",
        "offer",
        "path",
        "provider",
        "record",
        "route",
        "sent",
        "translator",
        "wire",
        "without",
    )

    def __init__(self, ask: Ask, failover: Failover, choice: Choice):
        self._ask, self._failover = ask, failover
        self.offer, self.route = offer, route = choice
        self.provider: Provider = PROVIDERS[route.provider]
        kind = offer.request.kind
        self.translator: Translator = self.provider if kind == CHAT else self.provider.translators[kind]
        self.wire = ask.services.lessons.find_wire(route)
        self.calls = calls_of(route, offer.request, self.wire)
        if self.calls > offer.calls:  # the hold covers fewer prompts: what was learned is for the next request
            self.wire = route.wire
            self.calls = calls_of(route, offer.request, route.wire)
        self.without: frozenset[str] = frozenset()
        self.path = ""  # where it was sent last
        self._remedies: list[Remedy] = []
        self.record = AttemptRecord(route.channel_name, route.upstream_id, self._passed_ms())
        self.first_content_at: float | None = None
        self.delivered = False
        self.sent = True  # as far as is known

    # how it goes

    def timeouts(self) -> Timeouts:
        """The socket's own deadlines, within what is left of the whole. A whole answer has to be there by `until`."""
        settings, model, request = self._ask.services.settings, self.offer.model, self.offer.request
        now = time.monotonic()
        left = max(0.001, self._ask.deadline - now)
        patience = model.first_content_timeout_seconds or (
            settings.first_content_timeout_seconds
            if request.stream and not model.thinks and not request.begins_late
            else settings.answer_timeout_seconds
        )
        idle = patience if request.begins_late else settings.idle_timeout_seconds
        return Timeouts(
            min(settings.connect_timeout_seconds, left),
            min(patience, left),
            min(idle, left),
            math.inf if request.stream else min(self.deadline, now + patience + SLACK_SECONDS),
        )

    @property
    def deadline(self) -> float:
        """When the whole request has to have ended, monotonic."""
        return self._ask.deadline

    def upstream(self) -> Upstream:
        """The channel's connections."""
        return self._ask.services.upstream(self.route)

    def answered(self, headers: Mapping[str, str]) -> None:
        """The upstream's headers have come: note its own id of the request, if it gives one."""
        for name in REFERENCES:
            if name in headers:
                if _REFERENCE.fullmatch(headers[name]):
                    self.record.reference = headers[name]
                return

    def heard(self, now: float) -> None:
        """A first content has come: from now on the client's words go to no other channel."""
        self.first_content_at = now
        self._failover.heard()
        self._ask.seat.drop_body()

    def deliver(self) -> None:
        """The client gets the first bytes now: from here on there is no failover."""
        self.delivered = True

    def never_sent(self) -> None:
        """Whether it was given up before its upstream had got a byte of it."""
        self.sent = False

    # how it ends

    def succeeded(self) -> None:
        """It was answered to the end."""
        self._end("200")
        seconds = whole_seconds = self.record.took_ms / 1000
        if self.first_content_at is not None:
            seconds = self.first_content_at - self._ask.started - self.record.started_ms / 1000
        self._failover.succeeded(max(0.0, seconds), whole_seconds)

    def failed(self, failure: AttemptFailed) -> None:
        """It failed, and another channel may be asked. Raises InvalidRequest where the fault is the request's own, for
        nobody will take it; and UpstreamError where something was delivered, for it is too late."""
        failure.let_go()
        hide_key(failure, self.route)
        self._end(failure.reason)
        if self.record.reference:  # whatever quotes a key in a text may do so in a header
            self.record.reference = hide_key_in(self.record.reference, self.route)
        if failure.said:
            self._ask.services.attempt_errors.note(
                self._ask.caller.account_id, self.request_id, self._failover.attempts, failure.status, failure.said
            )
        self._failover.failed(failure)
        if self.delivered:
            raise UpstreamError(failure.message or "The provider broke off its answer.")
        if failure.blame is Blame.REQUEST:
            raise InvalidRequest(failure.message, param=failure.param, code=failure.code)

    def may_go_on(self, failure: AttemptFailed) -> bool:
        """Whether the same channel takes the request in another way, which this attempt then goes on with: only before
        a first content, and each way once. What lasts is remembered for the model's later requests."""
        remedy = failure.remedy
        if remedy is None or self.delivered or self.first_content_at is not None or remedy in self._remedies:
            return False
        if remedy.path not in ("", self.path) or (remedy.wire and self.route.wire):  # which an operator has chosen
            return False
        if remedy.lasts:
            self._ask.services.lessons.learn(self.route, remedy)
        if remedy.wire and calls_of(self.route, self.offer.request, remedy.wire) > self.calls:
            return False
        self._remedies.append(remedy)
        self.wire = remedy.wire or self.wire
        if remedy.without:
            self.without |= {remedy.without}
        return True

    @property
    def under_way(self) -> bool:
        return not self.record.outcome

    def dropped(self, outcome: str) -> None:
        """End it, if it is still under way: nobody waits for it any more."""
        if self.under_way:
            self._end(outcome)

    def _end(self, outcome: str) -> None:
        self.record.took_ms = self._passed_ms() - self.record.started_ms
        self.record.outcome = outcome

    def _passed_ms(self) -> int:
        """Since the request came in."""
        return round((time.monotonic() - self._ask.started) * 1000)

    # what of it is counted

    @property
    def request_id(self) -> str:
        return self._ask.request_id

    def most_output_tokens(self) -> int:
        """What all choices together may write."""
        return (self.offer.cap_tokens or 0) * self.offer.choices + self.offer.measure.predicted_tokens

    def count_delivered(self, text: Sequence[str], ended: bool = True) -> Usage:
        """Our own count of the prompt and of what was said, on the scale of the model that said it."""
        scale = find_scale(self.provider.token_scales, self.route.upstream_id)
        most = self.offer.measure.prompt_bound_tokens
        return count_answer(text, self.offer.request, most, scale, self.calls, ended)
