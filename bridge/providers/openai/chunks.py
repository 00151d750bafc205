"""What a stream's chunk of OpenAI's dialect holds."""

from typing import Protocol

import msgspec

from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.openai.shapes import ABSENT, SoundChoice, SoundDelta


class Server(Protocol):
    """What a reader of the dialect leaves to the provider whose answer it is."""

    name: str
    keeps_reasoning: bool

    def read_usage(self, usage: Json) -> Counts | None: ...

    def read_error(self, status: int, headers: dict[str, str], data: bytes) -> AttemptFailed: ...


def texts_of(delta: SoundDelta) -> list[str]:
    """Everything the model wrote in a sound delta."""
    said: list[Json] = [delta.content, delta.reasoning_content, delta.refusal]
    for call in delta.tool_calls or ():
        if not isinstance(call.function, msgspec.UnsetType):
            said += [call.function.name or None, call.function.arguments or None]
    return [text for text in said if text]


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


def choices_of(body: Json) -> list[JsonObject] | None:
    """A chunk's choices; None where it is no chunk."""
    choices = body.get("choices") if isinstance(body, dict) else None
    if choices is None:
        return [] if isinstance(body, dict) else None
    return choices if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices) else None


def may_be_named(body: JsonObject) -> bool:
    """Whether its names are texts, as far as it has any."""
    return all(body.get(field) is None or isinstance(body[field], str) for field in ("id", "model"))


def find_counts(body: JsonObject, choices: list[JsonObject]) -> Json:
    """The counts of a chunk, wherever they stand: beside its choices, in one (Moonshot), or in Groq's own field."""
    for place in (body, *choices, body.get("x_groq")):
        if isinstance(place, dict) and place.get("usage"):
            return place["usage"]
    return None


def no_chunk() -> AttemptFailed:
    return AttemptFailed(Blame.UPSTREAM, "the stream holds what is no chunk")
