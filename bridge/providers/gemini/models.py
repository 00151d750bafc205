"""What the generations of Gemini take, told by the model's id. A name that says no version counts as the newest."""

import functools
import re

from bridge.json_types import JsonObject
from bridge.providers.asked import Effort, effort_of
from bridge.providers.base import refuse

Version = tuple[int, int]
NEWEST: Version = (99, 0)
_VERSION = re.compile(r"\bgemini-(?:live-)?(\d{1,2})(?:\.(\d{1,2}))?(?=-|$)")
# What Google itself makes of an effort for the models that take a number of tokens.
EFFORT_TOKENS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
BUDGET = "thinking.budget_tokens"  # as what is fitted is named, whatever asked for it
DYNAMIC = -1  # the model decides how much it thinks


@functools.lru_cache(256)
def read_version(upstream_id: str) -> Version:
    """The generation, as (2, 5)."""
    found = _VERSION.search(upstream_id)
    return (int(found.group(1)), int(found.group(2) or 0)) if found else NEWEST


def takes_candidates(version: Version) -> bool:
    """Whether one call may give several answers; later ones refuse it."""
    return version < (3, 0)


def takes_penalties(version: Version) -> bool:
    """Whether presence and frequency may be penalised; later ones refuse it."""
    return version < (2, 5)


def takes_logprobs(version: Version) -> bool:
    return version < (2, 5)


def takes_json_beside_tools(version: Version) -> bool:
    """Whether a format of the answer may be given together with functions."""
    return version >= (3, 0)


def fetches_urls(version: Version) -> bool:
    """Whether it reads a picture from any public address."""
    return version >= (2, 5)


def wants_signatures(version: Version) -> bool:
    """Whether it refuses its own function calls without the signature that came with them."""
    return version >= (3, 0)


def thinks(upstream_id: str) -> bool:
    version = read_version(upstream_id)
    return version >= (2, 5) and "-tts" not in upstream_id and not (version < (3, 0) and "-image" in upstream_id)


def list_levels(upstream_id: str) -> tuple[str, ...]:
    """The thinking levels that a model of the third generation or later knows, least first."""
    version = read_version(upstream_id)
    if "pro" in upstream_id:
        return ("low", "high") if version == (3, 0) else ("low", "medium", "high")
    return ("minimal", "low", "medium", "high") if version < (3, 7) else ("low", "medium", "high")


def budget_range(upstream_id: str) -> tuple[int, int]:
    """The least (besides none) and the most tokens of thought that a model of generation 2.5 takes."""
    if "pro" in upstream_id:
        return 128, 32_768
    return (512, 24_576) if "lite" in upstream_id else (1, 24_576)


def write_thinking(thinking: Effort, field: str, upstream_id: str, cap: int | None) -> tuple[JsonObject, list[str]]:
    """`thinkingConfig` for what the client asked by `field` (reasoning_effort or thinking), {} where it asked nothing,
    and what of it had to be brought within the model's range. Only for models that think; raises AttemptFailed.

    Thoughts are shown where they were asked for."""
    if thinking.effort is not None and thinking.effort not in EFFORTS:
        raise refuse("reasoning_effort", f"reasoning_effort must be one of {', '.join(EFFORTS)}.")
    if thinking.on is None and thinking.effort is None:
        return {}, []
    if read_version(upstream_id) >= (3, 0):
        return _write_level(thinking, field, upstream_id)
    return _write_budget(thinking, upstream_id, cap)


def _write_level(thinking: Effort, field: str, upstream_id: str) -> tuple[JsonObject, list[str]]:
    wanted, levels = thinking.effort, list_levels(upstream_id)
    if thinking.on is False:
        wanted = "none"
    elif wanted is None and thinking.budget_tokens is not None:  # a number of tokens is a level here
        wanted = effort_of(thinking.budget_tokens)
    if wanted is None:
        return {"includeThoughts": True}, []
    # the next higher one that the model knows, as Google's own OpenAI layer does; none of these can be turned off
    level = next((name for name in levels if EFFORTS.index(name) >= EFFORTS.index(wanted)), levels[-1])
    clamped = [] if level == thinking.effort else [f"{field}={level}"]
    return {"thinkingLevel": level, **({} if wanted == "none" else {"includeThoughts": True})}, clamped


def _write_budget(thinking: Effort, upstream_id: str, cap: int | None) -> tuple[JsonObject, list[str]]:
    least, most = budget_range(upstream_id)
    off = {"thinkingBudget": 0 if "pro" not in upstream_id else least}
    if thinking.on is False:
        return off, [f"{BUDGET}={least}"] if off["thinkingBudget"] else []
    wanted = thinking.budget_tokens
    if wanted is None:
        if thinking.effort is None:
            return {"includeThoughts": True, **({"thinkingBudget": DYNAMIC} if "lite" in upstream_id else {})}, []
        wanted = EFFORT_TOKENS[thinking.effort]
    # thoughts count as output: a quarter of the cap is left to answer with
    budget = min(max(wanted, least), most, cap - max(1, cap // 4) if cap is not None else most)
    if budget < least:
        return off, [f"{BUDGET}={off['thinkingBudget']}"]
    return {"includeThoughts": True, "thinkingBudget": budget}, [] if budget == wanted else [f"{BUDGET}={budget}"]
