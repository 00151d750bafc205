"""The counts of an answer of OpenAI's dialect, wherever its many servers put them."""

from typing import Annotated

import msgspec

from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.tally import Tally

PROMPT, COMPLETION = ("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")
PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details")
# DeepSeek's, Moonshot's, and those of hosts that have it from Anthropic.
CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens", "cache_read_tokens")
CACHED_IN_DETAILS = ("cached_tokens", "cache_read_tokens", "cache_read_input_tokens")
WRITTEN = ("cache_creation_input_tokens", "cache_write_tokens", "cache_creation_tokens")
# Where all stands in its usual place, nothing has to be looked for in others.
USUAL = {PROMPT[0], COMPLETION[0], PROMPT_DETAILS[0], COMPLETION_DETAILS[0], "total_tokens"}
MOST_BELIEVED = 2**31  # of a total
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_BELIEVED)]


class _PromptDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    cached_tokens: Count = 0
    audio_tokens: Count = 0
    image_tokens: Count = 0
    text_tokens: Json = None


class _CompletionDetails(msgspec.Struct, gc=False):
    reasoning_tokens: Count = 0
    audio_tokens: Count = 0


class _Usual(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """Counts as OpenAI itself writes them."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


_NO_PROMPT_DETAILS, _NO_COMPLETION_DETAILS = _PromptDetails(), _CompletionDetails()


def read_openai_usage(usage: Json) -> Counts | None:
    """What it says, class by class; None where it says nothing.

    What the total has more than its parts is output: reasoning that stands apart. Zero is a value."""
    if not usage:
        return None
    try:
        usual = msgspec.convert(usage, _Usual)
    except msgspec.ValidationError:
        return _read_any(usage)
    if usual.total_tokens != usual.prompt_tokens + usual.completion_tokens:
        return _read_any(usage)
    of_prompt = usual.prompt_tokens_details or _NO_PROMPT_DETAILS
    of_completion = usual.completion_tokens_details or _NO_COMPLETION_DETAILS
    return Counts(
        usual.prompt_tokens,
        usual.completion_tokens,
        of_prompt.cached_tokens,
        of_completion.reasoning_tokens,
        audio_tokens=of_prompt.audio_tokens,
        audio_output_tokens=of_completion.audio_tokens,
        image_tokens=of_prompt.image_tokens,
    )


def _read_any(usage: Json) -> Counts | None:
    """The same, wherever the counts stand and whatever is among them."""
    if not isinstance(usage, dict):
        return Counts(odd=True)
    tally = Tally()
    of_prompt, of_completion = _details(usage, PROMPT_DETAILS), _details(usage, COMPLETION_DETAILS)
    elsewhere = None if usage.keys() <= USUAL else usage
    cached = tally.part(of_prompt, *CACHED_IN_DETAILS) or tally.part(elsewhere, *CACHED)
    written = tally.part(of_prompt, *WRITTEN) or tally.part(elsewhere, *WRITTEN)
    reasoning = tally.part(of_completion, "reasoning_tokens") or tally.part(elsewhere, "reasoning_tokens")
    cached_audio = tally.part(_details(of_prompt, ("cached_tokens_details",)), "audio_tokens")
    prompt, completion = _find_wholes(usage, tally, max(0, cached) + max(0, written), reasoning)
    if prompt is None and completion is None and not tally.odd:
        return None
    return Counts(
        prompt,
        completion,
        cached,
        reasoning,
        written,
        audio_tokens=max(0, tally.part(of_prompt, "audio_tokens") - cached_audio),
        cached_audio_tokens=cached_audio,
        audio_output_tokens=tally.part(of_completion, "audio_tokens"),
        image_tokens=tally.part(of_prompt, "image_tokens"),
        odd=tally.odd,
    )


def _details(places: Json, names: tuple[str, ...]) -> Json:
    """The first of these objects that is there; None for one of zeros, which says no more."""
    if isinstance(places, dict):
        for name in names:
            if found := places.get(name):
                return found if not isinstance(found, dict) or any(found.values()) else None
    return None


def _find_wholes(usage: JsonObject, tally: Tally, cache: int, reasoning: int) -> tuple[int | None, int | None]:
    """Prompt and completion, with what the total says beyond them, or instead of one of them. `cache`: tokens read from
    a cache or written to one."""
    prompt, completion = tally.first(usage, *PROMPT), tally.first(usage, *COMPLETION)
    total = tally.read(usage.get("total_tokens"))
    if total is not None and not 0 < total <= MOST_BELIEVED:
        total = None
    if prompt is None or completion is None:
        if total is not None and prompt is not None and 0 <= prompt < total:
            return prompt, total - prompt
        if total is not None and completion is not None and 0 <= completion < total:
            return total - completion, completion
        return prompt, completion
    if prompt < 0 or completion < 0:
        return prompt, completion
    more = 0 if total is None else total - prompt - completion
    apart = _counts_cache_apart(usage) if total is None else more == cache != reasoning
    if cache and apart:  # Anthropic's meaning: the prompt is what came from no cache
        return prompt + cache, completion
    return prompt, completion + max(0, more)


def _counts_cache_apart(usage: JsonObject) -> bool:
    """Whether all names are Anthropic's, and so their meaning too."""
    return "prompt_tokens" not in usage and ("cache_read_input_tokens" in usage or WRITTEN[0] in usage)
