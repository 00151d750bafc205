"""Compares a client's stream or whole answer with what api.md promises, to the letter."""

import json
from typing import Any

# text, thoughts, refusal, images, calls (id, name, arguments; of a custom one, input) and finish of one choice
Said = dict[str, Any]
FIELDS = {"function": "arguments", "custom": "input"}  # what a call of each kind is given


def read_stream(data: bytes, *, usage: bool | None = None, done: bool = True) -> list[Said]:
    """What each choice of a stream says. Fails if the contract is broken. `usage`: whether it was requested; None isn't
    checked. `done`: this is the whole stream, not only a reader's part of it."""
    events = data.decode().split("\n\n")
    assert events.pop() == ""
    assert all(event.startswith(("data: ", ":")) and "\n" not in event for event in events)
    lines = [event.removeprefix("data: ") for event in events if event.startswith("data: ")]
    if done:
        assert lines.pop() == "[DONE]"
    chunks = [json.loads(line, parse_constant=_no_json) for line in lines]
    assert len({(one["id"], one["object"], one["created"], one["model"]) for one in chunks}) <= 1
    assert all(one["object"] == "chat.completion.chunk" and type(one["created"]) is int for one in chunks)
    if usage is not None:
        assert all("usage" in one if usage else not one.get("usage") for one in chunks)
        assert [one["choices"] == [] for one in chunks] == [False] * (len(chunks) - usage) + [True] * usage
    found: dict[int, _Choice] = {}
    for one in chunks:
        for choice in one["choices"]:
            assert set(choice) <= {"index", "delta", "logprobs", "finish_reason"}
            found.setdefault(choice["index"], _Choice()).add(choice)
    assert sorted(found) == list(range(len(found)))
    return [found[index].end() for index in sorted(found)]


def read_answer(body: dict[str, Any]) -> list[Said]:
    """What each choice of a whole answer says."""
    assert [choice["index"] for choice in body["choices"]] == list(range(len(body["choices"])))
    found = []
    for choice in body["choices"]:
        message = choice["message"]
        assert message["role"] == "assistant"
        assert {"content", "refusal"} <= set(message)
        calls = message.get("tool_calls")
        assert calls is None or calls
        reader = _Choice()
        pieces = [{**call, "index": place} for place, call in enumerate(calls or ())]
        delta = {**message, "tool_calls": pieces} if calls else message
        reader.add({"delta": delta, "finish_reason": choice["finish_reason"]})
        found.append(reader.end())
    return found


class _Choice:
    def __init__(self) -> None:
        self.said: Said = {"text": "", "thoughts": "", "refusal": "", "images": [], "calls": [], "finish": None}
        self.told = False

    def add(self, choice: dict[str, Any]) -> None:
        delta = choice["delta"]
        assert ("role" in delta) is not self.told, "the role comes first, and once"
        assert delta.get("role", "assistant") == "assistant"
        self.told = True
        for field, name in (("content", "text"), ("reasoning_content", "thoughts"), ("refusal", "refusal")):
            assert delta.get(field) is None or isinstance(delta[field], str)
            self.said[name] += delta.get(field) or ""
        self.said["images"] += delta.get("images", [])
        if isinstance(delta.get("function_call"), dict):
            piece = delta["function_call"]
            self._add_call({**piece, "id": "function" if not self.said["calls"] else None})
        for piece in delta.get("tool_calls") or ():
            self._add_piece(piece)
        reason = choice["finish_reason"]
        if reason is not None:
            assert self.said["finish"] is None, "one end"
            assert reason in ("stop", "length", "tool_calls", "content_filter", "function_call")
            self.said["finish"] = reason

    def _add_piece(self, piece: dict[str, Any]) -> None:
        calls = self.said["calls"]
        if piece["index"] == len(calls):
            assert piece["id"]
            assert isinstance(piece["id"], str)
            assert piece["id"] not in [call["id"] for call in calls]
            assert piece["type"] in FIELDS
            named = piece[piece["type"]]
            assert isinstance(named["name"], str)
            assert isinstance(named[FIELDS[piece["type"]]], str)
            calls.append({"id": piece["id"], **named})
            return
        assert 0 <= piece["index"] < len(calls)
        assert "id" not in piece
        [kind] = set(piece) & set(FIELDS)
        assert "name" not in piece[kind]
        calls[piece["index"]][FIELDS[kind]] += piece[kind][FIELDS[kind]]

    def _add_call(self, piece: dict[str, Any]) -> None:
        if piece.pop("id"):
            self.said["calls"].append({"id": "function", "name": piece["name"], "arguments": piece["arguments"]})
        else:
            assert "name" not in piece
            self.said["calls"][0]["arguments"] += piece["arguments"]

    def end(self) -> Said:
        if self.said["finish"] not in ("length", "content_filter", None):
            for call in self.said["calls"]:
                json.loads(call.get("arguments", "{}"))
        return self.said


def _no_json(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")
