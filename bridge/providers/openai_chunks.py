"""What a stream's chunk of OpenAI's dialect holds, and its bytes with our names in place of the upstream's."""

from typing import Any, Protocol

import msgspec

from bridge.providers.base import AttemptFailed, Blame, Counts
from bridge.providers.openai_choice import Json
from bridge.providers.openai_shapes import ABSENT, SoundChoice, SoundDelta

Replacements = tuple[tuple[bytes, bytes], ...]


class Dialect(Protocol):
    """What the reader leaves to the provider whose stream it is."""

    name: str
    keeps_reasoning: bool

    def read_usage(self, usage: Any) -> Counts | None: ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed: ...


def texts_of(delta: SoundDelta) -> list[str]:
    """Everything the model wrote in a sound delta."""
    said: list[Any] = [delta.content, delta.reasoning_content, delta.refusal]
    for call in delta.tool_calls or ():
        if not isinstance(call.function, msgspec.UnsetType):
            said += [call.function.name or None, call.function.arguments or None]
    return [text for text in said if text]


def find_replacements(event: bytes, ours: tuple[tuple[str, str, str], ...]) -> Replacements:
    """What to replace by what; nothing where the names can't be told from the rest by their bytes. `ours`: for each
    field the upstream's name and ours."""
    found = []
    for field, old, new in ours:
        value = msgspec.json.encode(old)
        for pattern in (f'"{field}":', f'"{field}": '):
            if old and event.count(pattern.encode() + value) == 1:
                found.append((pattern.encode() + value, pattern.encode() + msgspec.json.encode(new)))
                break
        else:
            return ()
    return tuple(found)


def replace_names(event: bytes, replacements: Replacements, include_usage: bool) -> bytes | None:
    """The event's bytes with our names, and with `usage` or without; None where that takes writing it anew."""
    no_usage = b'"usage":null' in event
    # a line break would break the frame
    if not replacements or b"\n" in event or (not no_usage and b'"usage"' in event):
        return None
    for old, new in replacements:
        if old not in event:
            return None
        event = event.replace(old, new, 1)
    if include_usage:
        return event if no_usage else event[:-1] + b',"usage":null}'
    return event.replace(b',"usage":null', b"", 1) if no_usage else event


def only_text(choice: SoundChoice) -> tuple[str, str] | None:
    """The one text of a delta that has nothing else, and where it stands."""
    delta, calls = choice.delta, choice.delta.tool_calls
    if choice.finish_reason is not None or type(delta.role) is str or delta.refusal or delta.audio is not ABSENT:
        return None
    if calls:
        function = calls[0].function
        if type(calls[0].id) is str or delta.content or delta.reasoning_content or function is msgspec.UNSET:
            return None
        return ("arguments", function.arguments) if isinstance(function.arguments, str) else None
    if delta.content:
        return None if delta.reasoning_content else ("content", delta.content)
    return ("reasoning_content", delta.reasoning_content) if delta.reasoning_content else None


def choices_of(body: Any) -> list[Json] | None:
    """A chunk's choices; None where it is no chunk."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if choices is None:
        return [] if isinstance(body, dict) else None
    return choices if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices) else None


def may_be_named(body: Json) -> bool:
    """Whether its names are texts, as far as it has any."""
    return all(body.get(field) is None or isinstance(body[field], str) for field in ("id", "model"))


def find_counts(body: Json, choices: list[Json]) -> Any:
    """The counts of a chunk, wherever they stand: beside its choices, in one (Moonshot), or in Groq's own field."""
    for place in (body, *choices, body.get("x_groq")):
        if isinstance(place, dict) and place.get("usage"):
            return place["usage"]
    return None


def no_chunk() -> AttemptFailed:
    return AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk")
