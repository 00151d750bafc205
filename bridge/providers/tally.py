"""Reads counts out of an upstream's JSON, however they are written, and keeps parts within their wholes."""

from bridge.conversation.usage import PARTS, Counts, Usage
from bridge.json_types import Json

MOST_READ = 2**53  # what is above it counts nothing, and not every client can read it


class Tally:
    """Takes one number after the other. `odd` is set once something was given that is no count."""

    def __init__(self) -> None:
        self.odd = False

    def read(self, value: Json) -> int | None:
        """The number, below zero too; 10.0 is 10. None where there is none."""
        if type(value) is int and -MOST_READ <= value <= MOST_READ:
            return value
        if value is None:
            return None
        if type(value) is float and value.is_integer() and abs(value) <= MOST_READ:
            return int(value)
        self.odd = True
        return None

    def first(self, places: Json, *names: str) -> int | None:
        """The first of these fields that holds a number."""
        if not isinstance(places, dict):
            self.odd = self.odd or bool(places)
            return None
        for name in names:
            if (found := self.read(places.get(name))) is not None:
                return found
        return None

    def part(self, places: Json, *names: str) -> int:
        """The same of a part of something: the first that is more than 0, and 0 where there is none."""
        if not places:
            return 0
        if not isinstance(places, dict):
            self.odd = True
            return 0
        below = 0
        for name in names:
            value = places.get(name)
            if value and (number := self.read(value)):
                if number > 0:
                    return number
                below = below or number
        return below


def usage_of(counts: Counts | None) -> Usage | None:
    """The counts as a usage; None where one of the wholes is missing or none."""
    if counts is None or counts.prompt_tokens is None or counts.completion_tokens is None:
        return None
    prompt, completion = counts.prompt_tokens, counts.completion_tokens
    if min(prompt, completion) < 0:
        return None
    return fit_parts(Usage(prompt, completion, **{name: getattr(counts, name) for name in PARTS}), prompt, completion)


def fit_parts(usage: Usage, prompt: int, completion: int) -> Usage:
    """The same with these wholes. Parts keep their share of a whole that has become smaller, so that a token costs what
    it cost; what was cached is rounded up, for it is the cheaper. None is larger than its whole."""

    def share(part: int, before: int, after: int, up: bool = False) -> int:
        part = min(max(0, part), before)
        return part if after >= before else -(-part * after // before) if up else part * after // before

    def of_prompt(part: int, up: bool = False) -> int:
        return share(part, usage.prompt_tokens, prompt, up)

    cached = of_prompt(usage.cached_tokens, up=True)
    written = min(of_prompt(usage.cache_write_tokens), prompt - cached)
    fresh = prompt - cached - written
    audio = min(of_prompt(usage.audio_tokens), fresh)
    reasoning = share(usage.reasoning_tokens, usage.completion_tokens, completion)
    spoken = share(usage.audio_output_tokens, usage.completion_tokens, completion)
    drawn = share(usage.image_output_tokens, usage.completion_tokens, completion)
    return Usage(
        prompt,
        completion,
        cached,
        reasoning,
        written,
        min(of_prompt(usage.cache_write_hour_tokens), written),
        audio,
        min(of_prompt(usage.cached_audio_tokens), cached),
        min(spoken, completion - reasoning),
        min(of_prompt(usage.image_tokens), fresh - audio),
        min(drawn, completion - reasoning - min(spoken, completion - reasoning)),
        usage.pictures,
        usage.low_pictures,
        usage.medium_pictures,
    )
