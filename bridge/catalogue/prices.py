"""What tokens cost. One function for hold and charge: exact sums of tokens × price, rounded up once."""

import dataclasses

from bridge.money import round_up
from bridge.providers.base import Usage

# The classes of tokens that have prices of their own, as columns name them: `input_nanos_per_mtok` and so on.
PRICE_CLASSES = ("input", "cached", "cache_write", "cache_write_hour", "output")


@dataclasses.dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of a model's price, in nano-dollars per million tokens; `id` is its row. What a provider writes to
    its cache may cost more than other input, and more again if it is to be kept for an hour."""

    id: int
    input_nanos_per_mtok: int
    cached_nanos_per_mtok: int
    cache_write_nanos_per_mtok: int
    cache_write_hour_nanos_per_mtok: int
    output_nanos_per_mtok: int

    def cost(self, usage: Usage) -> int:
        """What this usage costs, in nano-dollars. Cached and cache-written tokens are parts of the prompt, those of an
        hour of the written ones, and reasoning is a part of the completion."""
        fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
        written = usage.cache_write_tokens - usage.cache_write_hour_tokens
        return round_up(
            fresh * self.input_nanos_per_mtok
            + usage.cached_tokens * self.cached_nanos_per_mtok
            + written * self.cache_write_nanos_per_mtok
            + usage.cache_write_hour_tokens * self.cache_write_hour_nanos_per_mtok
            + usage.completion_tokens * self.output_nanos_per_mtok
        )

    def worst_cost(self, prompt_tokens: int, output_tokens: int, *, hour_writes: bool = True) -> int:
        """The most that so many tokens can cost, whatever the provider's cache does. `hour_writes`: whether the request
        can have it write something for an hour."""
        return round_up(prompt_tokens * self._dearest_input(hour_writes) + output_tokens * self.output_nanos_per_mtok)

    def affordable_output_tokens(self, amount_nanos: int, prompt_tokens: int, *, hour_writes: bool = True) -> int:
        """The most output tokens that `amount_nanos` pays for beside this prompt."""
        left = amount_nanos * 1_000_000 - prompt_tokens * self._dearest_input(hour_writes)
        if left < 0:
            return 0
        return left // self.output_nanos_per_mtok if self.output_nanos_per_mtok else 2**31

    def _dearest_input(self, hour_writes: bool) -> int:
        dearest = max(self.input_nanos_per_mtok, self.cached_nanos_per_mtok, self.cache_write_nanos_per_mtok)
        return max(dearest, self.cache_write_hour_nanos_per_mtok) if hour_writes else dearest
