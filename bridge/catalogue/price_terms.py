"""What an account pays otherwise than the list: a markup on every model, and prices of single models, its own or its
group's. What is nearer to the account wins: its price of the model, its markup, its group's price of the model."""

import dataclasses
from collections.abc import Iterable, Mapping

from bridge.catalogue.prices import OwnRate, PriceVersion

OF_ACCOUNT, OF_GROUP = "account_model", "group_model"  # the rules of OwnRates, as receipts name them


@dataclasses.dataclass(frozen=True, slots=True)
class PriceTerms:
    """The terms of one account. Terms that are alike are equal, so that what is made of them can be shared."""

    markup_bps: int | None = None  # in hundredths of a percent, in place of the models' own
    own: frozenset[tuple[str, OwnRate]] = frozenset()
    _by_model: Mapping[str, OwnRate] = dataclasses.field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_model", dict(self.own))

    def price(self, model_id: str, version: PriceVersion) -> PriceVersion:
        """A model's price as the account pays it."""
        if self.own and (own := self._by_model.get(model_id)) is not None:
            return version.for_own(own)
        return version.for_account(self.markup_bps)


def make_terms(markup_bps: int | None, found: Iterable[tuple[str, OwnRate]]) -> PriceTerms:
    """The terms of an account with this markup, and with these prices of its own and of its group."""
    by_model: dict[str, OwnRate] = {}
    for model_id, own in found:
        if own.rule == OF_ACCOUNT or (markup_bps is None and model_id not in by_model):
            by_model[model_id] = own
    return PriceTerms(markup_bps, frozenset(by_model.items()))


LIST_PRICES = PriceTerms()
