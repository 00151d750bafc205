"""What a request costs. Hold and charge use one function: exact sums of tokens × price, rounded up once.

A prompt's length chooses the tier, and the whole request is charged at that tier, as providers do. A markup raises unit
prices, each rounded up to a whole nano-dollar per million tokens, so the prices that are shown are those that are
multiplied."""

import dataclasses
from collections.abc import Sequence

from bridge.catalogue.rates import PRICE_CLASSES, Rates
from bridge.conversation.usage import Usage
from bridge.money import round_up

__all__ = ["PRICE_CLASSES", "PriceVersion"]
Columns = tuple[dict[str, int], dict[str, int]]  # rates with a column each, and the others by class


@dataclasses.dataclass(frozen=True, slots=True)
class OwnRate:
    """What one account or group pays for a model: the list price with this markup, or these rates whatever the prompt's
    length. `rule` says whose it is, see price_terms.py."""

    rule: str
    markup_bps: int | None = None
    rates: Rates | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of a model's price; `id` is its row. `listed` are its tiers before markup, the lowest first. `costs`
    is what the provider charges. `markup_bps` is in hundredths of a percent, and `markup_rule` says whose it is
    ("model", "account", those of price_terms.py, or "" for none). `columns` is what `price_snapshot.py` remembers."""

    id: int
    listed: tuple[Rates, ...]
    costs: tuple[Rates, ...]
    markup_bps: int = 0
    markup_rule: str = ""
    tiers: tuple[Rates, ...] = dataclasses.field(init=False)
    columns: dict[int, Columns] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _by_account: dict[int | OwnRate, "PriceVersion"] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(rates.marked_up(self.markup_bps) for rates in self.listed))

    @property
    def base(self) -> Rates:
        """The tier of ordinary prompts."""
        return self.tiers[0]

    def for_account(self, markup_bps: int | None) -> "PriceVersion":
        """This version for an account: with the account's own markup in place of the model's, or unchanged if it has
        none."""
        if markup_bps is None:
            return self
        found = self._by_account.get(markup_bps)
        if found is None:
            found = PriceVersion(self.id, self.listed, self.costs, markup_bps, "account")
            self._by_account[markup_bps] = found
        return found

    def for_own(self, own: OwnRate) -> "PriceVersion":
        """This version for whom this is the price."""
        found = self._by_account.get(own)
        if found is None:
            listed = self.listed if own.rates is None else (own.rates,)
            found = PriceVersion(self.id, listed, self.costs, own.markup_bps or 0, own.rule)
            self._by_account[own] = found
        return found

    def tier(self, prompt_tokens: int, calls: int = 1) -> Rates:
        """The unit prices for a prompt of this length, which this many calls have read in total."""
        tiers = self.tiers
        return tiers[0] if len(tiers) == 1 else _find_tier(tiers, prompt_tokens, calls)

    def charge(self, usage: Usage, calls: int = 1) -> int:
        """What the customer pays for this usage, in nano-dollars. Cached tokens, cache writes, audio and images are
        parts of the prompt; writes for an hour are a part of the writes; reasoning is a part of the completion."""
        return round_up(self.tier(usage.prompt_tokens, calls).sum(usage, calls))

    def cost(self, usage: Usage, calls: int = 1) -> int:
        """What the provider charges for this usage, in nano-dollars, as far as we know its prices."""
        return round_up(_find_tier(self.costs, usage.prompt_tokens, calls).sum(usage, calls))

    def cost_rates(self, prompt_tokens: int, calls: int = 1) -> Rates:
        """The provider's unit prices for a prompt of this length."""
        return _find_tier(self.costs, prompt_tokens, calls)

    def worst_charge(
        self,
        prompt_tokens: int,
        output_tokens: int,
        *,
        calls: int = 1,
        hour_writes: bool = True,
        sound: bool = True,
        speech: bool = True,
        pictures: Sequence[str] = (),
    ) -> int:
        """The most that these tokens can cost, whatever the provider's cache does and whichever tier the prompt
        reaches. `hour_writes`, `sound`, `speech`: whether the request can have the provider write a cache for an hour,
        hear audio, or speak. `pictures`: the qualities of
        those that it draws."""
        most = 0
        for rates, prompt in self._reachable(prompt_tokens, calls):
            output = (
                output_tokens * rates.dearest_output(speech)
                + (calls * rates.request + sum(map(rates.dearest_picture, pictures))) * 1_000_000
            )
            most = max(most, prompt * rates.dearest_input(hour_writes, sound) + output)
        return round_up(most)

    def affordable_output_tokens(
        self,
        amount_nanos: int,
        prompt_tokens: int,
        *,
        calls: int = 1,
        hour_writes: bool = True,
        sound: bool = True,
        speech: bool = True,
        pictures: Sequence[str] = (),
    ) -> int:
        """The most output tokens that `amount_nanos` pays for beside this prompt, in whichever tier it ends."""
        found = []
        for rates, prompt in self._reachable(prompt_tokens, calls):
            left = (amount_nanos - calls * rates.request - sum(map(rates.dearest_picture, pictures))) * 1_000_000
            left -= prompt * rates.dearest_input(hour_writes, sound)
            if left < 0:
                return 0
            if dearest := rates.dearest_output(speech):
                found.append(left // dearest)
        return min(found, default=2**31)

    def _reachable(self, prompt_tokens: int, calls: int) -> list[tuple[Rates, int]]:
        """The tiers that a prompt of at most this many tokens can end in, each with the most tokens that it has
        there."""
        if len(self.tiers) == 1:
            return [(self.tiers[0], prompt_tokens)]
        found = []
        for place, rates in enumerate(self.tiers):
            if place and not _reaches(rates, prompt_tokens, calls):
                break
            ends = self.tiers[place + 1].above_tokens * calls if place + 1 < len(self.tiers) else prompt_tokens
            found.append((rates, min(prompt_tokens, ends)))
        return found


def _find_tier(tiers: tuple[Rates, ...], prompt_tokens: int, calls: int) -> Rates:
    for rates in reversed(tiers[1:]):
        if _reaches(rates, prompt_tokens, calls):
            return rates
    return tiers[0]


def _reaches(rates: Rates, prompt_tokens: int, calls: int) -> bool:
    """Whether a prompt is longer than the tier's threshold. Each of several calls has read its part of the prompt."""
    return prompt_tokens > rates.above_tokens * calls
