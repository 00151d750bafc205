"""What OpenAI's answers are made of: the fields that a client may see, and chunks decoded no further than we use them.

Servers of the dialect add fields of their own (hosts, costs, timings, filter results), which would tell who served an
answer: whatever is not OpenAI's own, or in general use beside it, stays here."""

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from bridge.json_types import JsonObject

RUBBISH = (msgspec.MsgspecError, UnicodeError, RecursionError)
SERVICE_TIERS = ("auto", "default", "flex", "scale", "priority")
ABSENT = Raw(b"")


class SoundFunction(Struct, gc=False):
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class SoundCall(Struct, kw_only=True, gc=False):
    """A piece of a call. Where it stands is for `Calls.takes` to judge."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: SoundFunction | UnsetType = UNSET
    custom: UnsetType = UNSET


class SoundDelta(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[SoundCall] | None = None
    function_call: Raw | None = None
    annotations: Raw = ABSENT
    audio: Raw = ABSENT


class SoundChoice(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    index: int
    delta: SoundDelta
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter", "function_call"] | None
    logprobs: Raw = ABSENT


class SoundChunk(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A chunk with all that clients rely on and nothing else: its bytes may go on as they are, if they may come next
    (see `Choice.takes`). OpenAI's own do."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[SoundChoice]
    usage: JsonObject | None = None
    service_tier: Literal["auto", "default", "flex", "scale", "priority"] | None = None
    system_fingerprint: Raw = ABSENT
    obfuscation: Raw = ABSENT
    error: None = None


_decode_sound_chunk = msgspec.json.Decoder(SoundChunk).decode


def decode_sound(event: bytes) -> SoundChunk | None:
    """The chunk; None for any other, and for what is none."""
    try:
        return _decode_sound_chunk(event)
    except RUBBISH:
        return None


def pick_top(body: JsonObject) -> JsonObject:
    """What of an answer's own fields a client may see, beside `choices` and what the relay writes."""
    found: JsonObject = {}
    created, tier = body.get("created"), body.get("service_tier")
    if type(created) is int:
        found["created"] = created
    if isinstance(tier, str) and tier in SERVICE_TIERS:
        found["service_tier"] = tier
    fingerprint = body.get("system_fingerprint", 0)
    if fingerprint is None or type(fingerprint) is str:
        found["system_fingerprint"] = fingerprint
    return found
