"""What readers of OpenAI's Responses make of bytes, for the tests."""

import random
from collections.abc import Iterable
from typing import Any

from bridge.conversation.answer import Choice, Chunks, Sealed
from bridge.conversation.gathering import Gathered
from bridge.conversation.request import RESPONSES
from bridge.providers import PROVIDERS
from bridge.providers.base import Outgoing, StreamOrder, StreamReader
from bridge.providers.responses.request import Reading

OPENAI = PROVIDERS["openai"]
SENT = Outgoing("/responses", b"{}", reading=Reading())
NATIVE = Outgoing("/responses", b"{}", reading=Reading(native=True))
LIMIT = 2**22


class OfResponses(Gathered):
    """A listener whose client speaks Responses: sound events may go on to it."""

    def __init__(self, carries: bool = True):
        super().__init__()
        seal = seal_openly if carries else None
        self.chunks = Chunks("resp_ours", "public", 1, True, dialect=RESPONSES, seal=seal)


def seal_openly(sealed: Sealed) -> str:
    return f"sealed {sealed.value['encrypted_content']}"


def gather(pieces: Iterable[bytes], outgoing: Outgoing = SENT) -> tuple[Choice, StreamReader]:
    """The choice that a stream says, and its reader."""
    listener = Gathered()
    reader = OPENAI.open_reader(outgoing, StreamOrder(listener, LIMIT))
    for piece in pieces:
        assert reader.feed(piece) == b""
    assert reader.end() == b""
    [choice] = listener.end()
    return choice, reader


def cut(data: bytes, how: str) -> list[bytes]:
    if how == "whole":
        return [data]
    if how == "byte by byte":
        return [data[place : place + 1] for place in range(len(data))]
    draw = random.Random(how)
    places = [0, *sorted(draw.randrange(len(data)) for _ in range(60)), len(data)]
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


def written(choice: Choice) -> list[Any]:
    """All that a choice says."""
    calls = [(call.id, call.name, call.arguments, call.kind) for call in choice.calls]
    sealed = [one.value for one in choice.sealed]
    texts = [choice.text, choice.reasoning, choice.refusal or ""]
    return [*texts, calls, choice.finish_reason, choice.extras, choice.logprobs, sealed]
