"""Answers of OpenAI's Responses as an upstream gives them, whole and as a stream's events.

They are written by hand, after recorded ones, so that our own code doesn't write what it reads."""

import itertools
import json
from collections.abc import Iterable
from typing import Any

from tests.upstream import STREAM_HEAD, Received, Scenario, Step, whole

PIECE_CHARACTERS = 7
USAGE = {
    "input_tokens": 40,
    "input_tokens_details": {"cached_tokens": 8},
    "output_tokens": 21,
    "output_tokens_details": {"reasoning_tokens": 9},
    "total_tokens": 61,
}
Item = dict[str, Any]


def message(text: str, annotations: list[Any] | None = None, number: int = 1) -> Item:
    part = {"type": "output_text", "annotations": annotations or [], "logprobs": [], "text": text}
    return {"id": f"msg_{number}", "type": "message", "status": "completed", "content": [part], "role": "assistant"}


def refusal(text: str) -> Item:
    return {**message(""), "content": [{"type": "refusal", "refusal": text}]}


def thought(number: int, *summary: str) -> Item:
    """Reasoning, encrypted as far as a test can be."""
    parts = [{"type": "summary_text", "text": text} for text in summary]
    return {"id": f"rs_{number}", "type": "reasoning", "encrypted_content": f"secret {number}", "summary": parts}


def call(call_id: str, name: str, arguments: str) -> Item:
    found = {"id": f"fc_{call_id}", "type": "function_call", "status": "completed", "call_id": call_id, "name": name}
    return {**found, "arguments": arguments}


def custom_call(call_id: str, name: str, given: str) -> Item:
    found = {"id": f"ctc_{call_id}", "type": "custom_tool_call", "status": "completed", "call_id": call_id}
    return {**found, "name": name, "input": given}


# what OpenAI always says of a response beside what it answers
SETTINGS: dict[str, Any] = {
    "background": False,
    "completed_at": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "service_tier": "default",
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def response(*items: Item, **more: Any) -> dict[str, Any]:
    head = {"id": "resp_theirs", "object": "response", "created_at": 1_790_000_000, "status": "completed"}
    rest = {"error": None, "incomplete_details": None, "model": "theirs-2026"}
    return {**head, **rest, **SETTINGS, "output": list(items), "usage": USAGE, **more}


def list_events(*items: Item, **more: Any) -> list[dict[str, Any]]:
    """The events of a whole stream, numbered."""
    last = response(*items, **more)
    opening = {**last, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": opening},
        {"type": "response.in_progress", "response": opening},
    ]
    for index, item in enumerate(items):
        begun = {name: type(value)() if name in GROWING else value for name, value in item.items()}
        events.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        events += [{**event, "item_id": item["id"], "output_index": index} for event in _list_pieces(item)]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    events.append({"type": f"response.{last['status']}", "response": last})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


GROWING = ("content", "summary", "arguments", "input")


def _list_pieces(item: Item) -> Iterable[dict[str, Any]]:
    if item["type"] == "reasoning":
        for place, part in enumerate(item["summary"]):
            at = {"summary_index": place}
            empty = {**part, "text": ""}
            yield {"type": "response.reasoning_summary_part.added", **at, "part": empty}
            for piece in cut(part["text"]):
                yield {"type": "response.reasoning_summary_text.delta", **at, "delta": piece, "obfuscation": "xY"}
            yield {"type": "response.reasoning_summary_text.done", **at, "text": part["text"]}
            yield {"type": "response.reasoning_summary_part.done", **at, "part": part}
    elif item["type"] == "message":
        for place, part in enumerate(item["content"]):
            yield from _list_pieces_of_part(part, {"content_index": place})
    else:
        kind, field = KINDS[item["type"]]
        for piece in cut(item[field]):
            yield {"type": f"response.{kind}.delta", "delta": piece, "obfuscation": "q"}
        yield {"type": f"response.{kind}.done", field: item[field]}


KINDS = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}


def _list_pieces_of_part(part: dict[str, Any], at: dict[str, int]) -> Iterable[dict[str, Any]]:
    kind, field = ("refusal", "refusal") if part["type"] == "refusal" else ("output_text", "text")
    more = {} if kind == "refusal" else {"logprobs": []}
    yield {"type": "response.content_part.added", **at, "part": {**part, field: ""}}
    for piece in cut(part[field]):
        yield {"type": f"response.{kind}.delta", **at, "delta": piece, **more}
    yield {"type": f"response.{kind}.done", **at, field: part[field], **more}
    yield {"type": "response.content_part.done", **at, "part": part}


def cut(text: str) -> list[str]:
    return [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]


def encode(events: Iterable[dict[str, Any]], line_end: str = "\n") -> bytes:
    lines = [f"event: {event['type']}{line_end}data: {json.dumps(event)}{line_end}{line_end}" for event in events]
    return "".join(lines).encode()


def answers(*items: Item, **more: Any) -> Scenario:
    """Plays this answer, whole or streamed as the request wants it."""

    def play(request: Received) -> list[Step]:
        if not request.streams:
            return [whole(json.dumps(response(*items, **more)).encode())]
        return [STREAM_HEAD, *map(framed, list_events(*items, **more)), b"0\r\n\r\n"]

    return play


def begins(count: int, *items: Item, then: str) -> Scenario:
    """The first events of a stream, then the upstream's end, whatever that is."""
    return lambda _request: [STREAM_HEAD, *map(framed, itertools.islice(list_events(*items), count)), then]


def framed(event: dict[str, Any]) -> bytes:
    data = encode([event])
    return b"%x\r\n%b\r\n" % (len(data), data)


def refuses(status: int, message: str, code: str | None = None, param: str | None = None) -> Scenario:
    """OpenAI's error, with the field that it names."""
    error = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}}
    return lambda _request: [whole(json.dumps(error).encode(), status)]
