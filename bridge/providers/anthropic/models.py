"""Tells from a model's name what its generation of Claude takes. A name that we can't read counts as the newest.

The facts are from Anthropic's own list of models and their capabilities, and from what its API refuses. Thinking comes
in two kinds: with a budget of tokens (3.7 to 4.6), and adaptive (4.6 and later), which is steered by an effort."""

import functools
import re

from msgspec import Struct

NEWEST = (99, 0)
_FAMILY = re.compile(r"opus|sonnet|haiku|fable|mythos|instant", re.I)
# one or two numbers that are no date: 3-5, 4.8, 5, 2.1
_VERSION = re.compile(r"(?<![\d.])(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_DATE = re.compile(r"[-@]20\d{6}$|-latest$|-v\d+(:\d+)?$")


class Claude(Struct, frozen=True):
    """One model: `family` is "" and `version` the newest where its name doesn't tell; `name` is without date."""

    name: str
    family: str
    version: tuple[int, int]

    @property
    def takes_budget(self) -> bool:
        """Whether it thinks with a budget. That has to be asked for, and refuses a forced tool."""
        return (3, 7) <= self.version <= (4, 6)

    @property
    def takes_adaptive(self) -> bool:
        """Whether it takes adaptive thinking and `output_config.effort`. It then takes a forced tool too."""
        return self.version >= (4, 6)

    @property
    def thinks_by_default(self) -> bool:
        """Whether it thinks where nothing is said about it."""
        return self.version >= (5, 0)

    @property
    def thinking_off(self) -> str | None:
        """The `thinking.type` that turns off what is on by default; None where nothing does."""
        if self.family == "haiku" or (self.family in ("opus", "sonnet") and self.version < (5, 5)):
            return "disabled"
        return "between_tools" if self.family == "sonnet" else None

    @property
    def hides_thoughts(self) -> bool:
        """Whether it sends thoughts without their text unless asked for it."""
        return self.version >= (4, 7)

    @property
    def efforts(self) -> tuple[str, ...]:
        """The levels of `output_config.effort`, lowest first."""
        known = ("low", "medium", "high", "xhigh", "max")
        return known if self.version >= (4, 7) else tuple(effort for effort in known if effort != "xhigh")

    @property
    def takes_forced_tool(self) -> bool:
        """Whether it takes a `tool_choice` of any, or of one tool."""
        first = {"opus": (5, 5), "fable": (5, 1), "mythos": (5, 1), "": (5, 5)}
        return self.version < first.get(self.family, (100, 0))

    @property
    def takes_schema(self) -> bool:
        """Whether it takes `output_config.format`, and strict tools."""
        return self.version >= (4, 5) or (self.family == "opus" and self.version >= (4, 1))

    @property
    def takes_sampling(self) -> bool:
        """Whether it takes `temperature`, `top_p` and `top_k`. Later ones refuse whatever is not the default."""
        return self.version < (4, 7)

    @property
    def takes_one_sampling(self) -> bool:
        """Whether it takes only one of `temperature` and `top_p`."""
        return self.version >= (4, 1)

    @property
    def takes_prefill(self) -> bool:
        """Whether it goes on with its own words where a conversation ends with them."""
        return self.version < (4, 6)

    @property
    def takes_system_turns(self) -> bool:
        """Whether it takes messages of role system after a user's turn."""
        first = {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0)}
        return self.version >= first.get(self.family, (5, 5))


@functools.lru_cache(256)
def read_model(upstream_id: str) -> Claude:
    """The model that an id stands for: claude-opus-4-8, claude-3-5-haiku-20241022, anthropic/claude-sonnet-4.5."""
    name = _DATE.sub("", upstream_id.rpartition("/")[2])
    family, version = _FAMILY.search(name), _VERSION.search(name)
    if version is None or "claude" not in name.lower():
        return Claude(name, family.group().lower() if family else "", NEWEST)
    number = (int(version.group(1)), int(version.group(2) or 0))
    return Claude(name, family.group().lower() if family else "", number)
