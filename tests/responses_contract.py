"""Compares a stream of Responses with what its clients insist on, event by event."""

import json
import re
from typing import Any

Event = dict[str, Any]
ITEM_ID = re.compile(r"(msg|rs|fc|ctc)_[A-Za-z0-9_-]{1,60}")
PREFIXES = {"message": "msg_", "reasoning": "rs_", "function_call": "fc_", "custom_tool_call": "ctc_"}
ENDS = ("response.completed", "response.incomplete", "response.failed")
ALWAYS = {
    *("id", "object", "created_at", "status", "background", "completed_at", "error", "incomplete_details"),
    *("instructions", "max_output_tokens", "max_tool_calls", "metadata", "model", "output", "parallel_tool_calls"),
    *("previous_response_id", "prompt_cache_key", "reasoning", "service_tier", "store", "temperature", "text"),
    *("tool_choice", "tools", "top_logprobs", "top_p", "truncation", "usage", "user"),
}


def read_events(data: bytes) -> list[Event]:
    """The events, each with its name on a line of its own and no other lines."""
    blocks = data.decode().split("\n\n")
    assert blocks.pop() == ""
    found = []
    for block in blocks:
        name, body, *more = block.split("\n")
        assert not more
        event = json.loads(body.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    return found


def check_stream(data: bytes, *, end: str = "response.completed") -> Event:
    """The whole answer that the stream's last event has. Fails if any event is not as it has to be."""
    events = read_events(data)
    assert [event["sequence_number"] for event in events] == list(range(len(events))), "numbers have a gap"
    assert events[0]["type"] == "response.created"
    assert events[1]["type"] == "response.in_progress"
    assert [event["type"] for event in events if event["type"] in ENDS] == [events[-1]["type"]] == [end]
    assert sum(event["type"] == "response.created" for event in events) == 1
    reader = _Items()
    for event in events[:-1]:
        if "response" in event:
            response = event["response"]
            assert response["status"] == "in_progress"
            assert (response["output"], response["usage"]) == ([], None)
            assert set(response) >= ALWAYS
            assert response["id"] == events[-1]["response"]["id"]
        else:
            reader.add(event)
    answer = events[-1]["response"]
    check_answer(answer, failed=end == "response.failed")
    if end != "response.failed":
        assert not reader.open, "an item was never done"
        assert answer["output"] == [item for _, item in sorted(reader.done.items())]
    return answer


def check_answer(answer: Event, *, failed: bool = False) -> None:
    """A whole answer has every field that OpenAI always sends, and every item what its kind has."""
    assert set(answer) >= ALWAYS
    assert answer["object"] == "response"
    assert answer["id"].startswith("resp_")
    assert answer["store"] is False
    assert answer["background"] is False
    assert type(answer["created_at"]) is int
    if failed:
        assert answer["status"] == "failed"
        assert set(answer["error"]) == {"code", "message"}
    else:
        usage = answer["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert type(usage["input_tokens_details"]["cached_tokens"]) is int
        assert type(usage["input_tokens_details"]["cache_write_tokens"]) is int
        assert type(usage["output_tokens_details"]["reasoning_tokens"]) is int
        assert (answer["status"] == "incomplete") is bool(answer["incomplete_details"])
    ids = [item["id"] for item in answer["output"]]
    assert len(set(ids)) == len(ids)
    for item in answer["output"]:
        check_item(item)


def check_item(item: Event) -> None:
    """An item has its prefix and its fields."""
    kind = item["type"]
    assert item["id"].startswith(PREFIXES[kind])
    assert ITEM_ID.fullmatch(item["id"])
    if kind != "reasoning":
        assert item["status"] in ("in_progress", "completed", "incomplete")
    if kind == "message":
        assert item["role"] == "assistant"
        for part in item["content"]:
            assert set(part) == ({"type", "refusal"} if part["type"] == "refusal" else TEXT_PART)
    elif kind == "reasoning":
        assert all(set(part) == {"type", "text"} for part in item["summary"])
    elif kind == "function_call":
        assert {"call_id", "name", "arguments"} <= set(item)
    else:
        assert {"call_id", "name", "input"} <= set(item)


TEXT_PART = {"type", "text", "annotations", "logprobs"}


class _Items:
    """Puts the items together from their deltas, and compares."""

    def __init__(self) -> None:
        self.open: dict[int, Event] = {}
        self.done: dict[int, Event] = {}
        self.said: dict[tuple[int, str, int], str] = {}
        self.parts: set[tuple[int, str, int]] = set()

    def add(self, event: Event) -> None:
        kind, index = event["type"].removeprefix("response."), event["output_index"]
        if kind == "output_item.added":
            assert index == len(self.open) + len(self.done), "indices have a hole"
            check_item(event["item"])
            self.open[index] = event["item"]
        elif kind == "output_item.done":
            self._end(index, event["item"])
        else:
            assert event["item_id"] == self.open[index]["id"], "an event of an item that isn't open"
            self._add_piece(kind, index, event)

    def _end(self, index: int, item: Event) -> None:
        begun = self.open.pop(index)
        assert begun["id"] == item["id"]
        check_item(item)
        assert not [place for place in self.parts if place[0] == index], "a part was never done"
        self.done[index] = item
        parts = item.get("content") or item.get("summary") or []
        texts = [part.get("text", part.get("refusal")) for part in parts]
        if item["type"] in ("function_call", "custom_tool_call"):
            texts = [item.get("arguments", item.get("input"))]
        said = [text for place, text in sorted(self.said.items()) if place[0] == index]
        assert [text for text in texts if text] == [text for text in said if text], "deltas say something else"

    def _add_piece(self, kind: str, index: int, event: Event) -> None:
        number = event.get("content_index", event.get("summary_index", 0))
        family = "summary" if "summary" in kind else "content" if "content_index" in event else "call"
        place = (index, family, number)
        if kind in ("content_part.added", "reasoning_summary_part.added"):
            assert place not in self.parts
            self.parts.add(place)
        elif kind in ("content_part.done", "reasoning_summary_part.done"):
            self.parts.remove(place)
            part = event["part"]
            assert part.get("text", part.get("refusal")) == self.said.get(place, "")
        elif kind.endswith(".delta"):
            assert family == "call" or place in self.parts
            assert event["delta"]
            self.said[place] = self.said.get(place, "") + event["delta"]
            if kind == "output_text.delta":
                assert event["logprobs"] == []
        elif kind.endswith(".done"):
            whole = [event[field] for field in ("text", "refusal", "arguments", "input") if field in event]
            assert whole == [self.said.get(place, "")]
        else:
            assert kind == "output_text.annotation.added"
            assert {"url", "title", "start_index", "end_index"} <= set(event["annotation"])
