"""What OpenAI's answers are made of: the fields that a client may see, and chunks decoded no further than we use them.

Servers of the dialect add fields of their own (hosts, costs, timings, filter results), which would tell who served an
answer: whatever is not OpenAI's own, or in general use beside it, stays here."""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

RUBBISH = (msgspec.MsgspecError, UnicodeError, RecursionError)
# `reasoning_content` is what clients know; `extra_content` carries Google's signatures.
MESSAGE_FIELDS: tuple[str, ...] = (
    "role",
    "content",
    "refusal",
    "reasoning_content",
    "tool_calls",
    "function_call",
    "annotations",
)
MESSAGE_FIELDS += ("audio", "extra_content")
SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority")
FINISH_REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")
# Other words for the same. DeepSeek's `insufficient_system_resource` cuts an answer short, as a cap does.
OTHER_REASONS = {
    "insufficient_system_resource": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}


ABSENT = Raw(b"")


class Function(Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct):
    id: str | None = None
    function: Function | None = None


class Delta(Struct, kw_only=True):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None


class Choice(Struct, kw_only=True):
    """One of a chunk that lacks what clients rely on, or has more than they may see. Moonshot counts here."""

    index: Any = None
    delta: Delta | None = None
    finish_reason: str | None = None
    usage: Any = None


class Chunk(Struct, kw_only=True):
    """What must at least be right about a chunk."""

    id: str | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Any = None
    error: Any = None


class SoundDelta(Struct, kw_only=True, forbid_unknown_fields=True):
    role: Raw = ABSENT
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    annotations: Raw = ABSENT
    audio: Raw = ABSENT


class SoundChoice(Struct, kw_only=True, forbid_unknown_fields=True):
    index: int
    delta: SoundDelta
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | None = None
    logprobs: Raw = ABSENT


class SoundChunk(Struct, kw_only=True, forbid_unknown_fields=True):
    """A chunk with all that clients rely on and nothing else: its bytes may go on as they are. OpenAI's own do."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[SoundChoice]
    usage: dict[str, Any] | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    system_fingerprint: Raw = ABSENT
    obfuscation: Raw = ABSENT
    error: None = None


_decode_sound_chunk = msgspec.json.Decoder(SoundChunk).decode
_decode_chunk = msgspec.json.Decoder(Chunk).decode


def decode_chunk(event: bytes) -> SoundChunk | Chunk:
    """The chunk; whatever stands in the place of its counts is read elsewhere. Raises what RUBBISH names."""
    try:
        return _decode_sound_chunk(event)
    except msgspec.ValidationError:
        return _decode_chunk(event)


def our_reason(reason: Any, called: bool = False) -> str:
    """A finish reason in OpenAI's words. What says nothing known is an end like any other, never none."""
    if reason in FINISH_REASONS and isinstance(reason, str):
        return reason
    known = OTHER_REASONS.get(reason.lower()) if isinstance(reason, str) else None
    return known or ("tool_calls" if called else "stop")


def pick_top(body: dict[str, Any]) -> dict[str, Any]:
    """What of an answer's own fields a client may see, beside `choices` and what the relay writes."""
    found: dict[str, Any] = {}
    created, tier = body.get("created"), body.get("service_tier")
    if type(created) is int:
        found["created"] = created
    if tier in SERVICE_TIERS:
        found["service_tier"] = tier
    fingerprint = body.get("system_fingerprint", 0)
    if fingerprint is None or type(fingerprint) is str:
        found["system_fingerprint"] = fingerprint
    return found


def pick_message(message: dict[str, Any], legacy: bool = False) -> dict[str, Any]:
    """A message or delta as clients know it: the model's thinking aloud by its usual name, nothing of the host's own.

    `legacy` clients speak the dialect of `functions`: the first tool call is their `function_call`."""
    picked = {field: message[field] for field in MESSAGE_FIELDS if field in message}
    thoughts = message.get("reasoning")
    if isinstance(thoughts, str) and not picked.get("reasoning_content"):
        picked["reasoning_content"] = thoughts
    calls = picked.get("tool_calls")
    if calls is not None and legacy:
        del picked["tool_calls"]
        for place, call in enumerate(calls):
            if isinstance(call, dict) and call.get("index", place) == 0 and isinstance(call.get("function"), dict):
                function = call["function"]
                picked["function_call"] = {name: function[name] for name in ("name", "arguments") if name in function}
    return picked
