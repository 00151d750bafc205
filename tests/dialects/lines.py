"""A second dialect, so small that it can be seen at once: each thing that is said is a line of text.

It shows that nothing but a dialect's own folder knows how requests are read and answers are written. A line of an
answer begins with its choice's number; texts are as JSON has them, without its quotes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from bridge.conversation import turns as said_before
from bridge.conversation.answer import (
    REASONING,
    REFUSAL,
    TEXT,
    Call,
    Channel,
    Chunks,
    Completion,
    Json,
    Sealed,
    TokenCounter,
    say_choice,
)
from bridge.conversation.request import CHAT, Conversation, Tool
from bridge.conversation.turns import Result, Text, Turn
from bridge.conversation.usage import Usage
from bridge.errors import BridgeError

WORDS = {TEXT: "text", REASONING: "thinking", REFUSAL: "refusal"}
Said = dict[str, Any]


def escape(text: str) -> str:
    return msgspec.json.encode(text)[1:-1].decode()


class LinesChoice:
    """See ChoiceWriter."""

    def __init__(self, index: int):
        self._index = index
        self._calls = 0

    def _line(self, *words: str) -> bytes:
        return " ".join((str(self._index), *words)).encode() + b"\n"

    def begin(self) -> bytes:
        return b""

    def text(self, text: str, logprobs: Json | None = None) -> bytes:
        said = self._line("text:", escape(text)) if text else b""
        return said + self._line("logprobs", msgspec.json.encode(logprobs).decode()) if logprobs else said

    def reasoning(self, text: str) -> bytes:
        return self._line("thinking:", escape(text))

    def refusal(self, text: str, logprobs: Json | None = None) -> bytes:
        return self._line("refusal:", escape(text))

    def call(self, call: Call) -> bytes:
        self._calls += 1
        extra = self.call_extra(self._calls - 1, call.extra) if call.extra else b""
        return self._line("call", call.id or "function", escape(call.name), escape(call.arguments)) + extra

    def arguments(self, place: int, text: str) -> bytes:
        return self._line("more", str(place), escape(text))

    def call_extra(self, place: int, extra: Json) -> bytes:
        return self._line("extra_content", msgspec.json.encode(extra).decode())

    def pieces(self, channel: Channel, encoded: list[bytes], said: list[str]) -> bytes:
        word = f"more {channel}" if isinstance(channel, int) else f"{WORDS[channel]}:"
        return b"".join(self._line(word, one.decode()) for one in encoded)

    def extras(self, values: Mapping[str, Any]) -> bytes:
        return b"".join(self._line(name, msgspec.json.encode(value).decode()) for name, value in values.items())

    def seal(self, sealed: Sealed) -> bytes:
        return b""

    def finish(self, reason: str) -> bytes:
        return self._line("end", reason)


class LinesWriter:
    """See AnswerWriter."""

    chunks: Chunks | None = None

    def __init__(self, head: bytes = b""):
        self._head = head

    def choice(self, index: int) -> LinesChoice:
        return LinesChoice(index)

    def tail(self, usage: Usage, cost: str) -> bytes:
        return f"usage {usage.prompt_tokens} {usage.completion_tokens} {cost}\n".encode()

    def cut(self, frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
        kept = []
        for line in frames.decode().splitlines():
            beginning, is_text, escaped = line.partition(" text: ")
            said = counter.count_tokens(unescape(escaped)) if is_text else 0
            if said > most_tokens:
                kept.append(f"{beginning} text: {escape(counter.cut_text(unescape(escaped), most_tokens))}\n")
                break
            kept.append(line + "\n")
            most_tokens -= said
        return "".join(kept).encode()

    def list_unwritten(self) -> tuple[str, ...]:
        return ()

    def error(self, error: BridgeError, usage: Usage | None = None, cost: str = "") -> bytes:
        return f"error {error.code}\n".encode()

    def whole(self, completion: Completion, usage: Usage, cost: str) -> bytes:
        said = [say_choice(LinesChoice(choice.index), choice) for choice in completion.choices]
        return self._head + b"".join(said) + self.tail(usage, cost)


class Lines:
    """See Dialect."""

    keepalive: ClassVar[bytes] = b"\n"
    reads_arguments: ClassVar[bool] = False

    def open_writer(self, request_id: str, model: str, created: int) -> LinesWriter:
        return LinesWriter(f"lines-{request_id[4:]} {model}\n".encode())


def read_request(data: bytes) -> Conversation:
    """A request: `model` and its name, `stream`, `most` and a number of tokens, `tool` and its name; and the turns, a
    role and a text each. A tool was `called ID NAME ARGUMENTS`, and then there is its `result ID TEXT`."""
    fields: dict[str, Any] = {"endpoint": CHAT, "options": {}}
    turns: list[Turn] = []
    tools: list[Tool] = []
    for number, line in enumerate(data.decode().splitlines()):
        word, _, rest = line.partition(" ")
        place = f"line {number}"
        if word in ("system:", "user:", "assistant:"):
            turns.append(Turn(word[:-1], [Text(unescape(rest))], place))
        elif word == "called":
            call_id, name, arguments = rest.split(" ", 2)
            turns.append(Turn("assistant", [said_before.Call(call_id, name, arguments, place)], place))
        elif word == "result":
            call_id, _, text = rest.partition(" ")
            turns.append(Turn("user", [Result(call_id, None, [Text(unescape(text))], place)], place))
        elif word == "tool":
            tools.append(Tool(rest, place, parameters={"type": "object", "properties": {}}))
        elif word == "most":
            fields |= {"output_cap_tokens": int(rest), "sent_cap": ("most", int(rest))}
        else:
            fields[word] = rest or True
    has_calls = any(isinstance(part, said_before.Call) for turn in turns for part in turn.parts)
    return Conversation(**fields, turns=turns, tools=tools, has_calls=has_calls)


def read_lines(data: bytes) -> list[Said]:
    """What each choice of an answer says, as `tests.contract` has it, and beside that what has no place there. Lines
    that are no choice's are passed over."""
    found: dict[int, Said] = {}
    for line in data.decode().split("\n"):
        index, _, rest = line.partition(" ")
        if not index.isdecimal():
            continue
        empty: Said = {"text": "", "thoughts": "", "refusal": "", "images": [], "calls": [], "finish": None}
        said = found.setdefault(int(index), empty)
        word, _, value = rest.partition(" ")
        if word in ("text:", "thinking:", "refusal:"):
            name = {"text:": "text", "thinking:": "thoughts", "refusal:": "refusal"}[word]
            said[name] += unescape(value)
        elif word == "call":
            call_id, name, arguments = value.split(" ", 2)
            said["calls"].append({"id": call_id, "name": unescape(name), "arguments": unescape(arguments)})
        elif word == "more":
            place, _, arguments = value.partition(" ")
            said["calls"][int(place)]["arguments"] += unescape(arguments)
        elif word == "images":
            said["images"] += msgspec.json.decode(value)
        elif word == "end":
            assert said["finish"] is None
            said["finish"] = value
    return [found[index] for index in sorted(found)]


def unescape(text: str) -> str:
    return msgspec.json.decode(f'"{text}"', type=str)
