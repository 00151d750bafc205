"""What answers of OpenAI's dialect say, to whoever listens in another one: values instead of their JSON."""

import msgspec

from bridge.conversation.answer import REASONING, TEXT, Call, Channel, Choice, ChoiceWriter, Listener
from bridge.json_types import Json, JsonObject
from bridge.providers.openai.shapes import SoundChunk

EXTRAS = ("annotations", "images", "audio", "thinking_blocks", "extra_content")
CHANNELS: dict[str, Channel] = {"content": TEXT, "reasoning_content": REASONING}
OLDER = -1  # the place of a `function_call` among those that the server numbers


class Saying:
    """What a stream's reader found, told to a listener."""

    __slots__ = ("_listener", "_places", "_writers", "created")

    def __init__(self, listener: Listener):
        self._listener = listener
        self._writers: dict[int, ChoiceWriter] = {}
        self._places: dict[int, dict[int, int]] = {}  # of each choice: where its calls stand among those that were said
        self.created = 0  # which nobody is told

    def sound(self, event: bytes, chunk: SoundChunk) -> bytes:
        """A chunk as OpenAI itself sends it: one choice."""
        choice = chunk.choices[0]
        theirs = choice.delta
        delta: JsonObject = {
            "role": theirs.role is not msgspec.UNSET,
            "content": theirs.content,
            "refusal": theirs.refusal,
            "reasoning_content": theirs.reasoning_content,
            "tool_calls": msgspec.to_builtins(theirs.tool_calls),
            "annotations": _read(theirs.annotations),
            "audio": _read(theirs.audio),
        }
        return self._say(choice.index, delta, _read(choice.logprobs), choice.finish_reason)

    def mended(self, body: JsonObject, choices: list[JsonObject]) -> bytes:
        """Choices as OpenAI would have written them."""
        said = [
            self._say(choice["index"], choice["delta"], choice.get("logprobs"), choice["finish_reason"])
            for choice in choices
        ]
        return b"".join(said)

    def find_channel(self, index: int, field: str, call: int | None) -> tuple[ChoiceWriter, Channel]:
        """Who was told a text of this choice's, and as what; of arguments, those of the call at that place."""
        channel = CHANNELS.get(field)
        if channel is None:
            channel = self._places[index][OLDER if call is None else call]
        return self._writers[index], channel

    def _say(self, index: int, delta: JsonObject, logprobs: Json, reason: str | None) -> bytes:
        writer = self._writers.get(index) or self._open(index)
        said = [writer.begin()] if delta.get("role") else []
        if text := delta.get("reasoning_content"):
            said.append(writer.reasoning(text))
        if text := delta.get("content"):
            said.append(writer.text(text, logprobs))
        if text := delta.get("refusal"):
            said.append(writer.refusal(text, logprobs))
        if logprobs and not delta.get("content") and not text:
            said.append(writer.text("", logprobs))
        said += [self._say_call(writer, self._places[index], piece) for piece in delta.get("tool_calls") or ()]
        if function := delta.get("function_call"):
            said.append(self._say_call(writer, self._places[index], {"index": OLDER, "function": function}))
        if extras := {field: delta[field] for field in EXTRAS if delta.get(field)}:
            said.append(writer.extras(extras))
        if reason:
            said.append(writer.finish(reason))
        return b"".join(said)

    def _open(self, index: int) -> ChoiceWriter:
        self._places[index] = {}
        writer = self._writers[index] = self._listener.choice(index)
        return writer

    def _say_call(self, writer: ChoiceWriter, places: dict[int, int], piece: JsonObject) -> bytes:
        """A piece of a call: its beginning, where it was not said before."""
        place = places.get(piece["index"])
        if place is None:
            places[piece["index"]] = len(places)
            return writer.call(_call_of(piece))
        inner = piece.get("function") or piece.get("custom") or {}
        text = inner.get("arguments") or inner.get("input")
        said = writer.arguments(place, text) if text else b""
        return said + writer.call_extra(place, piece["extra_content"]) if piece.get("extra_content") else said


def choice_of(written: JsonObject) -> Choice:
    """A whole choice as OpenAI would have written it, in plain values beside that."""
    message: JsonObject = written["message"]
    calls = [_call_of(call) for call in message.get("tool_calls") or ()]
    if function := message.get("function_call"):
        calls.append(_call_of({"function": function}))
    return Choice(
        written["finish_reason"],
        message["content"] or "",
        message.get("reasoning_content") or "",
        message["refusal"],
        calls,
        written["logprobs"],
        {field: message[field] for field in EXTRAS if message.get(field)},
        written["index"],
        written,
    )


def _call_of(call: JsonObject) -> Call:
    kind = "custom" if "custom" in call else "function"
    inner = call[kind]
    arguments = inner.get("input" if kind == "custom" else "arguments", "")
    return Call(call.get("id", ""), inner.get("name", ""), arguments, kind, call.get("extra_content"))


def _read(raw: msgspec.Raw) -> Json:
    """What was not decoded until now; None where nothing is."""
    return msgspec.json.decode(raw) if bytes(raw) else None
