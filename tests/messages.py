"""Reads what a client of Messages gets, and compares it to the letter with what Anthropic's own API promises."""

import json
from typing import Any

COUNTS = (
    *("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    *("cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens"),
)
KINDS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
KNOWN = {"text", "thinking", "redacted_thinking", "tool_use"}


def list_events(data: bytes) -> list[dict[str, Any]]:
    """The events; each has its kind twice, and nothing stands between them."""
    frames = data.decode().split("\n\n")
    assert frames.pop() == ""
    events = []
    for frame in frames:
        first, second = frame.split("\n")
        event = json.loads(second.removeprefix("data: "))
        assert first == f"event: {event['type']}"
        events.append(event)
    return events


def read_message(data: bytes, *, ended: bool = True) -> dict[str, Any]:
    """The message that a stream says. Fails if the order of its events is broken: one beginning, blocks from 0 without
    holes, one of them open at a time, one end."""
    events = [event for event in list_events(data) if event["type"] != "ping"]
    if not ended:
        error = events.pop()
        assert error["type"] == "error"
    if not events and not ended:
        return {"content": [], "error": error}
    start, *rest = events
    assert start["type"] == "message_start"
    message: dict[str, Any] = start["message"]
    assert (message["content"], message["stop_reason"], message["stop_sequence"]) == ([], None, None)
    check_usage(message["usage"])
    if ended:
        *rest, last, stop = rest
        assert stop == {"type": "message_stop"}
        assert last["type"] == "message_delta"
        message |= last["delta"]
        message["usage"] |= last["usage"]
        check_usage(last["usage"])
        assert last["usage"]["cost"] >= 0
    else:
        message["error"] = error
    _read_blocks(message["content"], rest, ended)
    return message


def _read_blocks(content: list[Any], events: list[dict[str, Any]], ended: bool) -> None:
    block: dict[str, Any] | None = None
    signed, pieces = False, ""
    for event in events:
        if event["type"] == "content_block_start":
            assert block is None, "one block is open at a time"
            assert event["index"] == len(content)
            block, signed, pieces = dict(event["content_block"]), False, ""
            content.append(block)
            check_empty(block)
            continue
        assert block is not None
        assert event["index"] == len(content) - 1
        if event["type"] == "content_block_stop":
            if block["type"] == "tool_use":
                block["input"] = json.loads(pieces or "{}")
            block = None
            continue
        assert event["type"] == "content_block_delta"
        delta = event["delta"]
        assert not signed, "nothing follows the signature"
        if delta["type"] == "signature_delta":
            assert block["type"] == "thinking"
            signed, block["signature"] = True, delta["signature"]
        elif delta["type"] == "input_json_delta":
            assert block["type"] == "tool_use"
            pieces += delta["partial_json"]
        elif delta["type"] != "citations_delta":
            kind, field = KINDS[block["type"]]
            assert delta["type"] == kind
            block[field] += delta[field]
    assert block is None or (block["type"] == "tool_use" and not ended), "every block ends, but for a call that was cut"


def check_empty(block: dict[str, Any]) -> None:
    """How a block begins."""
    if block["type"] == "text":
        assert block["text"] == ""
    elif block["type"] == "thinking":
        assert (block["thinking"], block["signature"]) == ("", "")
    elif block["type"] == "tool_use":
        assert block["input"] == {}
        assert block["id"]
        assert block["name"]


def check_usage(usage: dict[str, Any]) -> None:
    """Every class of it is there, a whole number, 0 where there is none."""
    for name in COUNTS:
        outer, _, inner = name.partition(".")
        count = usage[outer][inner] if inner else usage[outer]
        assert type(count) is int
        assert count >= 0


def check_message(message: dict[str, Any]) -> None:
    """A whole message, or one that a stream said."""
    assert message["id"].startswith("msg_")
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["stop_reason"] in ("end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal")
    assert "stop_sequence" in message
    check_usage(message["usage"])
    assert message["usage"]["cost"] >= 0


def say(message: dict[str, Any]) -> str:
    """Its text."""
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def calls_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] == "tool_use"]


def thoughts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [block for block in message["content"] if block["type"] == "thinking"]
