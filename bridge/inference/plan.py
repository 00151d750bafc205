"""A checked request, as the relay, the quote and the answers know it: what was asked, and of which models."""

from typing import Any

import msgspec

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import ServedModel
from bridge.conversation.labels import NO_LABELS, Labels
from bridge.conversation.request import Request
from bridge.inference.estimate import count_prompt
from bridge.inference.meter import BYTES_PER_TOKEN, LEAST_OUTPUT_TOKENS, TEMPLATE_TOKENS, Measure
from bridge.providers import PROVIDERS
from bridge.providers.token_scale import find_scale

MOST_TOKENS_OF_FOUR_BYTES = 3  # of a long text, be it digits; a short one may have a token for each byte
MOST_COUNTED_BYTES = 1024 * 1024


class Offer(msgspec.Struct):
    """A model that may serve the request, under the name it was asked for by, at the price that this account pays: one
    function for hold and charge. `calls`: how many it takes at the most, where the choices are made by parallel calls.
    `cap_tokens` is what each choice may write at the most, once `fit_cap` has found it; `clamped` names it then where
    it is below what was asked for."""

    name: str
    model: ServedModel
    price: PriceVersion
    measure: Measure
    request: Request
    calls: int = 1
    cap_tokens: int | None = None
    clamped: tuple[str, ...] = ()
    stop_at_nanos: int | None = None
    stopped: bool = False
    choices: int = 0  # how many answers the client wants, as its request says
    _counted: int | None = None
    _most_nanos: int | None = None  # that it can cost, once somebody asked

    def __post_init__(self) -> None:
        self.choices = self.request.choices

    @property
    def most_cap_tokens(self) -> int:
        """The largest cap that may be asked for, whatever it costs."""
        return self._caps_asked_for()[0]

    @property
    def cap_to_send(self) -> int | None:
        """The cap that goes upstream in place of the client's; None where its own goes, as it is."""
        sent = self.request.sent_cap
        return None if sent is not None and sent[1] <= (self.cap_tokens or 0) else self.cap_tokens

    def worst_case(self) -> tuple[int, int]:
        """The most that this model can cost, in nano-dollars, and the least that has to be set aside for it: less
        where the client gave no cap."""
        cap, least = self._caps()
        most = self._most_nanos = self._price(cap)
        return most, most if least == cap else self._price(least)

    def fit_cap(self, held_nanos: int) -> None:
        """The client's cap or, where it gave none, the most that the model may write, as far as the hold pays for it.
        Named where that is less than the client's, or than the model's own maximum."""
        cap, least = self._caps()
        if least < cap:
            most = self._price(cap) if self._most_nanos is None else self._most_nanos
            cap = cap if held_nanos >= most else max(least, self.largest_cap(held_nanos))
        self.cap_tokens = cap
        if self.measure.fixed:
            return
        self.stopped = self.stop_at_nanos is not None and cap == self.stop_cap()
        field, asked = self.request.sent_cap or ("max_tokens", self.model.max_output_tokens)
        self.clamped = (f"{field}={cap}",) if 0 < cap < asked else ()

    def lengthen_prompt(self, more_bytes: int) -> None:
        """So many bytes more go out with the prompt to this model's channels."""
        self.measure = self.measure.with_more(more_bytes, self.model.context_tokens)
        self._counted = None

    def largest_cap(self, amount_nanos: int) -> int:
        """The largest cap that so much pays for, within the model's own; 0 or less where there is none."""
        prompt, predicted, reach = self._reach()
        affordable = self.price.affordable_output_tokens(amount_nanos, prompt, **reach)
        return min((affordable - predicted) // self.choices, self._most_tokens())

    def stop_cap(self) -> int:
        """What each choice may write until all of it costs what it is to stop at; below 1 where the prompt alone costs
        that. The prompt is counted, since its bytes would end an answer far too soon."""
        assert self.stop_at_nanos is not None
        prompt, predicted, reach = self._reach()
        counted = self._count_prompt() + self.model.added_tokens + self.measure.instruction_tokens
        prompt = min(prompt, counted * self.calls)
        affordable = self.price.affordable_output_tokens(self.stop_at_nanos, prompt, **reach)
        return (affordable - predicted) // self.choices

    @property
    def least_to_stop(self) -> int:
        """The tokens below which an answer can't be stopped."""
        return (self.measure.cap_tokens or 0) if self.measure.fixed else 1

    def _caps(self) -> tuple[int, int]:
        """What each choice may write at the most, and the least that is worth asking for."""
        if self.cap_tokens is not None:
            return self.cap_tokens, self.cap_tokens
        most, least = self._caps_asked_for()
        if self.stop_at_nanos is not None and most and not self.measure.fixed:
            most = max(1, min(most, self.stop_cap()))
        return most, min(least, most)

    def _caps_asked_for(self) -> tuple[int, int]:
        """The same, as the request and the model have them."""
        own, most = self.measure.cap_tokens, self.model.max_output_tokens
        if own == 0:
            return 0, 0
        if own is not None and self.measure.fixed:
            return own, own
        if own is None:
            most = self._most_tokens()
            return most, min(LEAST_OUTPUT_TOKENS, most)
        if most >= self.model.context_tokens:  # all that is known of it is its window
            own = min(own, self._most_tokens())
        return own, own

    def _most_tokens(self) -> int:
        """The model's own maximum, or less where the window leaves less beside the prompt: providers refuse what is
        longer together. The prompt is counted only where its bytes don't tell enough: that takes time."""
        most, window, measure = self.model.max_output_tokens, self.model.context_tokens, self.measure
        bound = measure.longest_tokens or measure.most_prompt_tokens
        left = window - bound
        if left >= min(most, window // 2):
            return min(most, left)
        if window - bound * MOST_TOKENS_OF_FOUR_BYTES // 4 >= most:
            return most
        room = left if measure.longest_tokens else window - self._count_prompt()
        return max(min(LEAST_OUTPUT_TOKENS, most), min(most, max(left, room)))

    def _count_prompt(self) -> int:
        """How long the prompt is, rather too long than too short; counted once."""
        if self._counted is None:
            measure, routes = self.measure, self.model.routes
            if not routes or measure.most_prompt_tokens > MOST_COUNTED_BYTES:
                return measure.most_prompt_tokens // BYTES_PER_TOKEN
            scale = find_scale(PROVIDERS[routes[0].provider].token_scales, routes[0].upstream_id)
            counted = count_prompt(self.request, scale)
            self._counted = counted + counted // 16 + TEMPLATE_TOKENS + measure.media_tokens + measure.kept_bytes
        return self._counted

    def _price(self, cap: int) -> int:
        prompt, predicted, reach = self._reach()
        return self.price.worst_charge(prompt, cap * self.choices + predicted, **reach)

    def _reach(self) -> tuple[int, int, dict[str, Any]]:
        """Tokens of the prompt in all calls, tokens predicted, and what the price depends on beside them."""
        measure = self.measure
        return (
            measure.prompt_bound_tokens * self.calls,
            measure.predicted_tokens,
            {**measure.reach, "calls": self.calls},
        )


class Plan(msgspec.Struct, frozen=True):
    """A checked request. `offers` are the models that may serve it, in the order of the client's wish."""

    request: Request
    offers: tuple[Offer, ...]
    max_cost_nanos: int | None
    strict: bool
    labels: Labels = NO_LABELS
    stop_at_nanos: int | None = None

    @property
    def reserved_tokens(self) -> int:
        """What the limits count until it is answered."""
        return max(offer.measure.reserved_tokens for offer in self.offers)

    def worst_case(self) -> tuple[int, int]:
        """The most that this request can cost, in nano-dollars, and the least that has to be set aside for it: the
        dearest model's. After `recall_reasoning`, which makes the prompt longer."""
        cases = [offer.worst_case() for offer in self.offers]
        return max(most for most, _ in cases), max(least for _, least in cases)

    def find_unstoppable(self) -> Offer | None:
        """An offer that costs what the client wants it to stop at before it has said anything."""
        if self.stop_at_nanos is None:
            return None
        return next((offer for offer in self.offers if offer.stop_cap() < offer.least_to_stop), None)

    def fit_caps(self, held_nanos: int) -> None:
        """Find each model's cap: the client's, or what the hold pays for."""
        for offer in self.offers:
            offer.fit_cap(held_nanos)
