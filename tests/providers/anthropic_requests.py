"""What the tests of Anthropic's dialect have in common: small chats, what is sent for them, answers and events."""

import json
from typing import Any

import pytest

from bridge.conversation.answer import Completion
from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.anthropic.stream import AnthropicReader
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from tests.chat_answers import body_of, chat_order
from tests.conversations import make_order

OPUS_5, OPUS_48, OPUS_46 = "claude-opus-5", "claude-opus-4-8", "claude-opus-4-6"
SONNET_45, SONNET_37, HAIKU_35 = "claude-sonnet-4-5", "claude-3-7-sonnet-20250219", "claude-3-5-haiku-20241022"
HI = [{"role": "user", "content": "Hi"}]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAE="
CACHE = {"cache_control": {"type": "ephemeral"}}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def write(model: str = SONNET_45, kept: dict[str, Any] | None = None, cap: int | None = None, **body: Any) -> Outgoing:
    return Anthropic().write_request(make_order({"model": "m", "messages": HI, **body}, model, cap, kept=kept or {}))


def sent(model: str = SONNET_45, kept: dict[str, Any] | None = None, cap: int | None = None, **body: Any) -> Any:
    return json.loads(write(model, kept, cap, **body).body)


def turns(*messages: dict[str, Any], model: str = SONNET_45, **more: Any) -> Any:
    return sent(model, messages=list(messages), **more)["messages"]


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def text(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": each} for each in texts]


def call(call_id: str = "call_1", name: str = "weather", arguments: str = '{"city": "Oslo"}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made: dict[str, Any], content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made), **more}


def result(call_id: str = "call_1", content: Any = "rain", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def refusal(model: str = SONNET_45, **body: Any) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        write(model, **body)
    assert caught.value.blame is Blame.REQUEST
    assert caught.value.message
    return caught.value


COUNTS = {"input_tokens": 10, "output_tokens": 5}


def answer(*content: dict[str, Any], outgoing: Outgoing | None = None, **more: Any) -> Completion:
    """What a whole answer becomes."""
    body = {"type": "message", "role": "assistant", "content": content, "stop_reason": "end_turn", "usage": COUNTS}
    return Anthropic().read_answer(json.dumps({**body, **more}).encode(), outgoing or write())


def message(completion: Completion) -> dict[str, Any]:
    found: dict[str, Any] = body_of(completion)["choices"][0]["message"]
    return found


def event(kind: str, **fields: Any) -> bytes:
    """As Anthropic writes it, without blanks."""
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"), ensure_ascii=False)
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data.encode())


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind, **fields})


def block(index: int, content: dict[str, Any], *deltas: bytes) -> bytes:
    """A block from its start to its stop."""
    start = event("content_block_start", index=index, content_block=content)
    return start + b"".join(deltas) + event("content_block_stop", index=index)


def text_block(index: int, *texts: str) -> bytes:
    return block(index, {"type": "text", "text": ""}, *(delta(index, "text_delta", text=each) for each in texts))


def tool_block(index: int, call_id: str, name: str, *pieces: str) -> bytes:
    begins = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
    return block(index, begins, *(delta(index, "input_json_delta", partial_json=piece) for piece in pieces))


START = event("message_start", message={"usage": {"input_tokens": 10, "output_tokens": 1}})
STOP = event("message_stop")


def ending(reason: str = "end_turn", **usage: int) -> bytes:
    return event("message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 5, **usage}) + STOP


def read(*events: bytes, outgoing: Outgoing | None = None, index: int = 0) -> tuple[list[dict[str, Any]], Any]:
    """What a client gets of a stream: the deltas and the last finish reason among them, and the reader."""
    order = chat_order("chatcmpl-ours", "public", 0, False, 2**20, index)
    reader: AnthropicReader = Anthropic().open_reader(outgoing or write(), order)
    frames = reader.feed(b"".join(events)).split(b"\n\n")
    assert frames.pop() == b""
    choices = [json.loads(frame.removeprefix(b"data: "))["choices"][0] for frame in frames]
    assert {choice["index"] for choice in choices} <= {index}
    return [choice["delta"] for choice in choices], reader


def join(deltas: list[dict[str, Any]], field: str = "content") -> str:
    return "".join(each.get(field) or "" for each in deltas)
