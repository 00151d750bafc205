"""Writes plain completions: bodies, and the chunks of a stream."""

from typing import ClassVar

import msgspec

from bridge.conversation.answer import Chunks, Completion, TokenCounter
from bridge.conversation.kinds import COMPLETIONS
from bridge.conversation.silence import Silence
from bridge.conversation.usage import Usage
from bridge.dialects import answer_id
from bridge.dialects.chat.writer import DONE, write_usage
from bridge.errors import BridgeError, error_body
from bridge.json_types import JsonObject

_encode = msgspec.json.encode


class CompletionChoice(Silence):
    """See ChoiceWriter: there are texts here, and ends."""

    def __init__(self, before: bytes, index: int, end: bytes):
        self._before, self._index, self._end = before, b',"index":%d,"logprobs":' % index, end

    def text(self, text: str, logprobs: JsonObject | None = None) -> bytes:
        """A piece of it."""
        return self._write(text, logprobs, b"null")

    def finish(self, reason: str) -> bytes:
        """The end, with no text."""
        return self._write("", None, _encode(reason))

    def _write(self, text: str, logprobs: JsonObject | None, reason: bytes) -> bytes:
        parts = self._before, _encode(text), self._index, _encode(logprobs), reason, self._end
        return b'%b[{"text":%b%b%b,"finish_reason":%b}]%b' % parts


class CompletionsWriter:
    """See AnswerWriter."""

    chunks: ClassVar[Chunks | None] = None

    def __init__(self, own_id: str, model: str, created: int, with_usage: bool):
        self._head: JsonObject = {"id": own_id, "object": "text_completion", "created": created, "model": model}
        self._with_usage = with_usage

    def choice(self, index: int) -> CompletionChoice:
        """What writes this choice's chunks."""
        before = b"data: " + _encode(self._head)[:-1] + b',"choices":'
        return CompletionChoice(before, index, b',"usage":null}\n\n' if self._with_usage else b"}\n\n")

    def tail(self, usage: Usage, cost: str) -> bytes:
        """The usage, if it was asked for, and the end mark."""
        if not self._with_usage:
            return DONE
        chunk = {**self._head, "choices": [], "usage": write_usage(usage, cost)}
        return b"data: " + _encode(chunk) + b"\n\n" + DONE

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        """The chunks of which all is within so many tokens, and what of the next one is."""
        kept = []
        for frame in frames.split(b"\n\n")[:-1]:
            chunk = msgspec.json.decode(frame[6:])
            text = chunk["choices"][0]["text"]
            said = counter.count_tokens(text)
            if said > most_tokens:
                if most_tokens and (short := counter.cut_text(text, most_tokens)):
                    chunk["choices"][0] |= {"text": short, "logprobs": None}
                    kept.append(b"data: " + _encode(chunk))
                break
            most_tokens -= said
            kept.append(frame)
        return b"".join(frame + b"\n\n" for frame in kept)

    def list_unwritten(self) -> tuple[str, ...]:
        """Nothing: all is written as it is told."""
        return ()

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        """The error as the stream's last frame: no end mark follows."""
        return b"data: " + error.body() + b"\n\n"

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        """The body."""
        choices = [
            {"text": each.text, "index": each.index, "logprobs": each.logprobs, "finish_reason": each.finish_reason}
            for each in completion.choices
        ]
        return _encode({**self._head, "choices": choices, "usage": write_usage(usage, cost)})


class Completions(msgspec.Struct, frozen=True):
    """The client of one request wants plain completions. `with_usage`: it asked for the counts at a stream's end."""

    keepalive: ClassVar[bytes] = b": keep-alive\n\n"
    reads_arguments: ClassVar[bool] = False
    with_usage: bool = False

    def open_writer(self, request_id: str, model: str, created: int) -> CompletionsWriter:
        """See Dialect."""
        return CompletionsWriter(answer_id(COMPLETIONS, request_id), model, created, self.with_usage)

    def opening(self, request_id: str) -> bytes:
        """See Dialect: a comment tells nothing."""
        return b""


def write_completions_error(error: BridgeError, request_id: str) -> tuple[int, bytes]:
    """See ErrorWriter. What a provider's side calls by chat's name is the prompt here."""
    if error.param != "messages":
        return error.status, error.body()
    return error.status, error_body(error.message.replace("messages", "prompt", 1), error.type, error.code, "prompt")
