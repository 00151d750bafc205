"""A choice of a streamed chat completion: each thing that is said is one chunk, cut from templates of bytes."""

from collections.abc import Iterator, Mapping

import msgspec

from bridge.conversation.answer import REASONING, REFUSAL, TEXT, Call, Channel, Sealed, TokenCounter
from bridge.json_types import Json, JsonObject

FIELDS = {TEXT: b"content", REASONING: b"reasoning_content", REFUSAL: b"refusal"}
CUT_FIELDS = ("content", "reasoning_content", "refusal")  # a call that is cut is none
OLDER = ""  # the kind of a call of the older `functions`
_encode = msgspec.json.encode


class ChatChoice:
    """See ChoiceWriter. `before` is a chunk up to its delta, `end` what follows the choice."""

    __slots__ = ("_after", "_around", "_before", "_begun", "_end", "_kinds", "_text_after", "_text_before")

    def __init__(self, before: bytes, end: bytes):
        self._before = before
        self._end = b"}" + end
        self._after = b',"logprobs":null,"finish_reason":null' + self._end
        self._text_before, self._text_after = before + b'{"content":', b"}" + self._after
        self._begun = False
        self._kinds: list[str] = []  # of the calls
        self._around: dict[Channel, tuple[bytes, bytes, bytes]] = {}  # what stands around a text and between two

    def begin(self) -> bytes:
        """The role."""
        if self._begun:
            return b""
        self._begun = True
        return self._before + b'{"role":"assistant","content":"","refusal":null}' + self._after

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """`content`."""
        if logprobs is not None:
            return self._write({"content": text} if text else {}, logprobs)
        frame = self._text_before + _encode(text) + self._text_after
        return frame if self._begun else self.begin() + frame

    def reasoning(self, text: str) -> bytes:
        """`reasoning_content`."""
        return self._write({"reasoning_content": text})

    def refusal(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """`refusal`."""
        return self._write({"refusal": text}, logprobs)

    def call(self, call: Call) -> bytes:
        """A piece of `tool_calls`, or a `function_call`, which is the only one."""
        place = len(self._kinds)
        self._kinds.append(call.kind if call.id else OLDER)
        if not call.id:
            return self._write({"function_call": {"name": call.name, "arguments": call.arguments}})
        return self._write({"tool_calls": [{"index": place, **write_call(call)}]})

    def arguments(self, place: int, text: str) -> bytes:
        """Another piece of one."""
        kind = self._kinds[place]
        if kind == OLDER:
            return self._write({"function_call": {"arguments": text}})
        return self._write({"tool_calls": [{"index": place, kind: {_field(kind): text}}]})

    def call_extra(self, place: int, extra: JsonObject) -> bytes:
        """Its `extra_content`."""
        return self._write({"tool_calls": [{"index": place, "extra_content": extra}]})

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        """A chunk for each, between bytes that are found once."""
        before, between, after = self._around.get(channel) or self._surround(channel)
        return b"%b%b%b" % (before, between.join(encoded), after)

    def extras(self, values: Mapping[str, Json]) -> bytes:
        """By their names."""
        return self._write(dict(values))

    def seal(self, sealed: Sealed) -> bytes:
        """Nothing: chat's clients carry none of it, so we keep it."""
        return b""

    def finish(self, reason: str) -> bytes:
        """The chunk with the finish reason."""
        written = b'{},"logprobs":null,"finish_reason":' + _encode(reason)
        return self.begin() + self._before + written + self._end

    def _write(self, delta: JsonObject, logprobs: JsonObject | None = None) -> bytes:
        after = self._after
        if logprobs is not None:
            after = b',"logprobs":' + _encode(logprobs) + b',"finish_reason":null' + self._end
        frame = self._before + _encode(delta) + after
        return frame if self._begun else self.begin() + frame

    def _surround(self, channel: Channel) -> tuple[bytes, bytes, bytes]:
        if isinstance(channel, str):
            before, after = b'{"%b":"' % FIELDS[channel], b'"}'
        elif self._kinds[channel] == OLDER:
            before, after = b'{"function_call":{"arguments":"', b'"}}'
        else:
            kind = self._kinds[channel]
            names = (channel, kind.encode(), _field(kind).encode())
            before, after = b'{"tool_calls":[{"index":%d,"%b":{"%b":"' % names, b'"}}]}'
        before, after = self._before + before, after + self._after
        found = self._around[channel] = before, after + before, after
        return found


def write_call(call: Call) -> JsonObject:
    """A call as OpenAI writes it, whole or at its beginning."""
    function = {"name": call.name, _field(call.kind): call.arguments}
    written = {"id": call.id, "type": call.kind, call.kind: function}
    return {**written, "extra_content": call.extra} if call.extra else written


def _field(kind: str) -> str:
    return "input" if kind == "custom" else "arguments"


def cut_frames(frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
    """What of these chunks' texts is within so many tokens: the chunks up to there, the last one cut."""
    kept = []
    for frame in frames.split(b"\n\n"):
        if not frame:
            continue
        chunk = msgspec.json.decode(frame[6:])
        said = sum(counter.count_tokens("".join(_texts(choice["delta"]))) for choice in chunk["choices"])
        if said > most_tokens:
            if most_tokens and (cut := _cut_chunk(chunk, most_tokens, counter)):
                kept.append(b"data: " + _encode(cut))
            break
        most_tokens -= said
        kept.append(frame)
    return b"".join(frame + b"\n\n" for frame in kept)


def _texts(delta: JsonObject) -> Iterator[str]:
    yield from (delta[field] for field in CUT_FIELDS if delta.get(field))
    called = [call.get("function") or call.get("custom") for call in delta.get("tool_calls") or ()]
    for function in (*called, delta.get("function_call")):
        if function:
            yield from (function[name] for name in ("name", "arguments", "input") if function.get(name))


def _cut_chunk(chunk: JsonObject, most_tokens: int, counter: TokenCounter) -> JsonObject | None:
    """The chunk with its first text cut; None for a call's, which would be none."""
    for choice in chunk["choices"]:
        for field in CUT_FIELDS:
            if text := choice["delta"].get(field):
                only = {
                    "index": choice["index"],
                    "delta": {field: counter.cut_text(text, most_tokens)},
                    "finish_reason": None,
                }
                return {**chunk, "choices": [only]}
    return None
