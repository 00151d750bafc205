"""What tokens cost. One function for hold and charge: exact sums of tokens × price, rounded up once."""

import dataclasses

from bridge.money import round_up
from bridge.providers.base import Usage


@dataclasses.dataclass(frozen=True, slots=True)
class PriceVersion:
    """One version of a model's price, in nano-dollars per million tokens; `id` is its row."""

    id: int
    input_nanos_per_mtok: int
    cached_nanos_per_mtok: int
    output_nanos_per_mtok: int

    def cost(self, usage: Usage) -> int:
        """What this usage costs, in nano-dollars. Cached tokens are part of the prompt, reasoning of the completion."""
        fresh = usage.prompt_tokens - usage.cached_tokens
        return round_up(
            fresh * self.input_nanos_per_mtok
            + usage.cached_tokens * self.cached_nanos_per_mtok
            + usage.completion_tokens * self.output_nanos_per_mtok
        )

    def worst_cost(self, prompt_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost, whatever the provider's cache does."""
        dearest = max(self.input_nanos_per_mtok, self.cached_nanos_per_mtok)
        return round_up(prompt_tokens * dearest + output_tokens * self.output_nanos_per_mtok)

    def affordable_output_tokens(self, amount_nanos: int, prompt_tokens: int) -> int:
        """The most output tokens that `amount_nanos` pays for beside this prompt."""
        dearest = max(self.input_nanos_per_mtok, self.cached_nanos_per_mtok)
        left = amount_nanos * 1_000_000 - prompt_tokens * dearest
        if left < 0:
            return 0
        return left // self.output_nanos_per_mtok if self.output_nanos_per_mtok else 2**31
