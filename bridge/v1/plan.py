"""A checked request, as the relay, the quote and the answers know it: what was asked, and of which models."""

import dataclasses
from typing import Any

import msgspec

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import ServedModel
from bridge.v1.chat_request import ChatRequest
from bridge.v1.meter import LEAST_OUTPUT_TOKENS, Measure


@dataclasses.dataclass(slots=True)
class Offer:
    """A model that may serve the request, under the name it was asked for by, at the price that this account pays: one
    function for hold and charge. `cap_tokens` is what each choice may write at the most: the client's own cap, or what
    `fit_cap` finds; `calls` how many it takes at the most, where the choices are made by parallel calls."""

    name: str
    model: ServedModel
    price: PriceVersion
    measure: Measure
    choices: int = 1
    calls: int = 1
    cap_tokens: int | None = dataclasses.field(init=False)
    clamped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.cap_tokens = self.measure.cap_tokens

    def worst_case(self) -> tuple[int, int]:
        """The most that this model can cost, in nano-dollars, and the least that has to be set aside for it: less
        where the client gave no cap."""
        cap, least = self._caps()
        return self._price(cap), self._price(least)

    def fit_cap(self, held_nanos: int) -> None:
        """Where the client gave no cap, the model's own, or what of it the hold pays for: named then."""
        if self.cap_tokens is not None:
            return
        cap, least = self._caps()
        self.cap_tokens = cap
        if held_nanos < self._price(cap):
            prompt, predicted, reach = self._reach()
            affordable = self.price.affordable_output_tokens(held_nanos, prompt, **reach)
            self.cap_tokens = max(least, min(cap, (affordable - predicted) // self.choices))
            self.clamped = (f"max_tokens={self.cap_tokens}",)

    def _caps(self) -> tuple[int, int]:
        """What each choice may write at the most, and the least that is worth asking for."""
        cap = self.cap_tokens or self.model.default_output_tokens
        return cap, self.cap_tokens or min(LEAST_OUTPUT_TOKENS, cap)

    def _price(self, cap: int) -> int:
        prompt, predicted, reach = self._reach()
        return self.price.worst_charge(prompt, cap * self.choices + predicted, **reach)

    def _reach(self) -> tuple[int, int, dict[str, Any]]:
        """Tokens of the prompt in all calls, tokens predicted, and what the price depends on beside them."""
        measure = self.measure
        return (
            measure.prompt_bound_tokens * self.calls,
            measure.predicted_tokens,
            measure.reach | {"calls": self.calls},
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A checked request. `offers` are the models that may serve it, in the order of the client's wish."""

    request: ChatRequest
    body: dict[str, Any]
    encoded_messages: msgspec.Raw  # as the client wrote them: the bulk of a request
    offers: tuple[Offer, ...]
    max_cost_nanos: int | None
    strict: bool

    @property
    def reserved_tokens(self) -> int:
        """What the limits count until it is answered."""
        return max(offer.measure.reserved_tokens for offer in self.offers)
