"""A checked request, as the relay, the quote and the answers know it."""

import dataclasses
from typing import Any

import msgspec

from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.routing import ServedModel
from bridge.v1.chat_request import ChatRequest
from bridge.v1.meter import Measure


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A checked request: what was asked, of which model, and what it can cost at the most."""

    request: ChatRequest
    body: dict[str, Any]
    encoded_messages: msgspec.Raw  # written once, however many channels are tried: the bulk of a request
    model: ServedModel
    measure: Measure
    max_cost_nanos: int | None
    strict: bool
    calls: int = 1  # how many it takes at the most, where the choices are made by parallel calls
    markup_bps: int | None = None  # the account's own, instead of the model's

    @property
    def price(self) -> PriceVersion:
        """The one function for hold and charge: the model's price, as this account pays it."""
        assert self.model.price is not None
        return self.model.price.for_account(self.markup_bps)
