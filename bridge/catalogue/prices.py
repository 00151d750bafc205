"""What a request costs. One function for hold and charge: exact sums of tokens × price, rounded up once.

A prompt's length chooses the tier, and the whole request costs what that tier says, as providers do it. A markup makes
unit prices dearer, each rounded up to a whole nano-dollar per million tokens: what is shown is what is multiplied."""

import dataclasses

from bridge.catalogue.rates import PRICE_CLASSES, Rates
from bridge.money import round_up
from bridge.providers.base import Usage

__all__ = ["PRICE_CLASSES", "PriceVersion"]


@dataclasses.dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of a model's price; `id` is its row. `listed` are its tiers before a markup, the lowest first,
    `costs` what the provider takes, `markup_bps` hundredths of a percent and `markup_rule` whose they are ("model",
    "account", or "" for none). `names` is what `frozen.py` remembers."""

    id: int
    listed: tuple[Rates, ...]
    costs: tuple[Rates, ...]
    markup_bps: int = 0
    markup_rule: str = ""
    tiers: tuple[Rates, ...] = dataclasses.field(init=False)
    names: dict[int, dict[str, int]] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    _by_account: dict[int, "PriceVersion"] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(rates.marked_up(self.markup_bps) for rates in self.listed))

    @property
    def base(self) -> Rates:
        """The tier of ordinary prompts."""
        return self.tiers[0]

    def for_account(self, markup_bps: int | None) -> "PriceVersion":
        """The same version for an account: with its own markup, which replaces the model's, or as it is."""
        if markup_bps is None:
            return self
        found = self._by_account.get(markup_bps)
        if found is None:
            found = PriceVersion(self.id, self.listed, self.costs, markup_bps, "account")
            self._by_account[markup_bps] = found
        return found

    def tier(self, prompt_tokens: int, calls: int = 1) -> Rates:
        """The unit prices that a request of this prompt pays, where so many calls have read it."""
        return _find_tier(self.tiers, prompt_tokens, calls)

    def charge(self, usage: Usage, calls: int = 1) -> int:
        """What the customer pays for this usage, in nano-dollars. Cached and cache-written tokens, sound and pictures
        are parts of the prompt, those of an hour of the written ones, and reasoning is a part of the completion."""
        return round_up(self.tier(usage.prompt_tokens, calls).sum(usage, calls))

    def cost(self, usage: Usage, calls: int = 1) -> int:
        """What the provider takes for it, by what we believe of its prices, in nano-dollars."""
        return round_up(_find_tier(self.costs, usage.prompt_tokens, calls).sum(usage, calls))

    def worst_charge(
        self,
        prompt_tokens: int,
        output_tokens: int,
        *,
        calls: int = 1,
        hour_writes: bool = True,
        sound: bool = True,
        speech: bool = True,
    ) -> int:
        """The most that so many tokens can cost, whatever the provider's cache does and whichever tier the prompt turns
        out to reach. `hour_writes`, `sound`, `speech`: whether the request can have it write something for an hour, or
        has it hear or say something."""
        return max(
            round_up(
                prompt * rates.dearest_input(hour_writes, sound)
                + output_tokens * rates.dearest_output(speech)
                + calls * rates.request * 1_000_000
            )
            for rates, prompt in self._reachable(prompt_tokens, calls)
        )

    def affordable_output_tokens(
        self,
        amount_nanos: int,
        prompt_tokens: int,
        *,
        calls: int = 1,
        hour_writes: bool = True,
        sound: bool = True,
        speech: bool = True,
    ) -> int:
        """The most output tokens that `amount_nanos` pays for beside this prompt, in whichever tier that ends."""
        found = []
        for rates, prompt in self._reachable(prompt_tokens, calls):
            left = (amount_nanos - calls * rates.request) * 1_000_000
            left -= prompt * rates.dearest_input(hour_writes, sound)
            if left < 0:
                return 0
            if dearest := rates.dearest_output(speech):
                found.append(left // dearest)
        return min(found, default=2**31)

    def _reachable(self, prompt_tokens: int, calls: int) -> list[tuple[Rates, int]]:
        """The tiers that a prompt of at most so many tokens can end in, each with the most tokens it has there."""
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
    """Whether a prompt is longer than the tier's threshold; of several calls each has read its part."""
    return prompt_tokens > rates.above_tokens * calls
