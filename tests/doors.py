"""The doors that a conversation comes in by: what is asked at each, and what its client was told.

What is told is read here by hand, in one form for all: a promise that holds for one door is proved for the others by
the same test."""

import dataclasses
import json
from typing import Any, NamedTuple, Protocol

from tests import contract, messages, responses_contract

CAP = 1000  # where a request that needs one doesn't say any


class Counts(NamedTuple):
    """Tokens in OpenAI's meaning: the prompt with what was cached and written, the completion with reasoning."""

    prompt: int
    cached: int
    written: int
    completion: int
    reasoning: int


@dataclasses.dataclass
class Told:
    """What a client was told so far. `texts` are those of each choice, refusals too; `calls` are names and arguments.
    `end` is "done", "error", or "" for nothing that ends an answer; `finish` is why it ended and `error` how it broke,
    both in the door's own words. `cost` is in dollars, with the digits as they came."""

    texts: dict[int, str] = dataclasses.field(default_factory=dict)
    calls: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    places: dict[int, int] = dataclasses.field(default_factory=dict)  # of calls, by what their events are numbered by
    end: str = ""
    finish: str = ""
    finished: bool = False
    error: dict[str, Any] = dataclasses.field(default_factory=dict)
    counts: Counts | None = None
    cost: str = ""
    answer_id: str = ""

    @property
    def text(self) -> str:
        return "".join(self.texts.values())

    def add(self, text: str, index: int = 0) -> str:
        """A piece of a choice's text, which is given back."""
        self.texts[index] = self.texts.get(index, "") + text
        return text

    def add_arguments(self, text: str, place: int = -1) -> None:
        """More of a call's arguments, or of its input."""
        name, said = self.calls[place]
        self.calls[place] = (name, said + text)


class Door(Protocol):
    """One of them. Bodies and events are JSON, read by `read_json`."""

    name: str
    path: str
    id_prefix: str
    alive: bytes  # how a line begins that bridges a silence; a stream of Responses has one of them anyway

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        """A request's body."""
        ...

    def read(self, body: Any, told: Told) -> None:
        """A whole answer, or a refusal."""
        ...

    def hear(self, event: Any, told: Told) -> None:
        """The next event of a stream."""
        ...

    def check(self, data: bytes, told: Told) -> None:
        """A stream that has ended keeps all rules of this door."""
        ...

    def check_failure(self, told: Told, status: int, *, beyond_cap: bool = False) -> None:
        """The failure of an upstream, which is ours to mend, in this door's shape: a refusal of this status, or 200
        where it is a stream's end. `beyond_cap`: the stream went on beyond its cap."""
        ...


class Chat:
    name, path, id_prefix = "chat", "/v1/chat/completions", "chatcmpl-"
    alive = b": keep-alive"

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        if cap is not None:
            body["max_tokens"] = cap
        return {**body, "stream": True, "stream_options": {"include_usage": True}} if stream else body

    def read(self, body: Any, told: Told) -> None:
        if "error" in body:
            told.end, told.error = "error", body["error"]
            return
        for choice in body["choices"]:
            message = choice["message"]
            told.add((message["content"] or "") + (message.get("refusal") or ""), choice["index"])
            self._call(message, told)
            told.finish = choice["finish_reason"]
        told.end, told.finished = "done", True
        self._count(body, told)

    def hear(self, event: Any, told: Told) -> None:
        if event == "[DONE]":
            told.end = "done"
        elif "error" in event:
            told.end, told.error = "error", event["error"]
        else:
            self._hear_chunk(event, told)

    def _hear_chunk(self, event: Any, told: Told) -> None:
        for choice in event["choices"]:
            delta = choice["delta"]
            told.add((delta.get("content") or "") + (delta.get("refusal") or ""), choice["index"])
            self._call(delta, told)
            told.finish = choice["finish_reason"] or told.finish
        told.finished = bool(told.finish)
        if event.get("usage"):
            self._count(event, told)

    def _call(self, said: Any, told: Told) -> None:
        for piece in said.get("tool_calls") or ():
            named = piece.get("function") or piece["custom"]
            if "name" in named:
                told.calls.append((named["name"], ""))
            told.add_arguments(named.get("arguments", named.get("input")), piece.get("index", -1))

    def _count(self, value: Any, told: Told) -> None:
        usage, told.answer_id = value["usage"], value["id"]
        of_prompt, of_completion = usage["prompt_tokens_details"], usage["completion_tokens_details"]
        told.counts = Counts(
            usage["prompt_tokens"],
            of_prompt["cached_tokens"],
            of_prompt["cache_write_tokens"],
            usage["completion_tokens"],
            of_completion["reasoning_tokens"],
        )
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        told.cost = str(usage["cost"])

    def check(self, data: bytes, told: Told) -> None:
        frames = data.rpartition(b"data: ")[0] if told.end == "error" else data
        contract.read_stream(frames, done=told.end == "done")

    def check_failure(self, told: Told, status: int, *, beyond_cap: bool = False) -> None:
        assert (told.end, told.error["code"], told.error["param"]) == ("error", "upstream_error", None)
        assert status in (200, 503)


class Messages:
    name, path, id_prefix = "messages", "/v1/messages", "msg_"
    alive = b"event: ping"

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        body = {"model": model, "max_tokens": cap or CAP, "messages": [{"role": "user", "content": prompt}]}
        return {**body, "stream": True} if stream else body

    def read(self, body: Any, told: Told) -> None:
        if body["type"] == "error":
            told.end, told.error = "error", body["error"]
            assert body["request_id"].startswith("req_")
            return
        for block in body["content"]:
            if block["type"] == "text":
                told.add(block["text"])
            elif block["type"] == "tool_use":
                told.calls.append((block["name"], json.dumps(block["input"])))
        told.end, told.finished, told.finish = "done", True, body["stop_reason"]
        told.answer_id = body["id"]
        self._count(body["usage"], told)

    def hear(self, event: Any, told: Told) -> None:
        kind = event["type"]
        if kind == "message_start":
            told.answer_id = event["message"]["id"]
        elif kind == "content_block_start" and event["content_block"]["type"] == "tool_use":
            told.calls.append((event["content_block"]["name"], ""))
        elif kind == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            told.add_arguments(event["delta"]["partial_json"])
        elif kind == "content_block_delta":
            told.add(event["delta"].get("text", ""))
        elif kind == "message_delta":
            told.finish, told.finished = event["delta"]["stop_reason"], True
            self._count(event["usage"], told)
        elif kind == "message_stop":
            told.end = "done"
        elif kind == "error":
            told.end, told.error = "error", event["error"]

    def _count(self, usage: Any, told: Told) -> None:
        """Here the prompt stands beside what was cached and written."""
        cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
        told.counts = Counts(
            usage["input_tokens"] + cached + written,
            cached,
            written,
            usage["output_tokens"],
            usage["output_tokens_details"]["thinking_tokens"],
        )
        assert sum(usage["cache_creation"].values()) == written
        told.cost = str(usage["cost"])

    def check(self, data: bytes, told: Told) -> None:
        messages.read_message(data, ended=told.end == "done")

    def check_failure(self, told: Told, status: int, *, beyond_cap: bool = False) -> None:
        assert (told.end, told.error["type"]) == ("error", "api_error")
        assert set(told.error) == {"type", "message"}
        assert status in (200, 503)


class Responses:
    name, path, id_prefix = "responses", "/v1/responses", "resp_"
    alive = b"event: response.in_progress"

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "input": prompt}
        if cap is not None:
            body["max_output_tokens"] = cap
        return {**body, "stream": True} if stream else body

    def read(self, body: Any, told: Told) -> None:
        if "output" not in body:
            told.end, told.error = "error", body["error"]
            return
        for item in body["output"]:
            if item["type"] == "message":
                for part in item["content"]:
                    told.add(part.get("text", "") + part.get("refusal", ""))
            elif item["type"] in ("function_call", "custom_tool_call"):
                told.calls.append((item["name"], item.get("arguments", item.get("input"))))
        self._end(body, told)

    def hear(self, event: Any, told: Told) -> None:
        kind = event["type"]
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            told.add(event["delta"])
        elif kind == "response.output_item.added" and "call_id" in event["item"]:
            told.places[event["output_index"]] = len(told.calls)
            told.calls.append((event["item"]["name"], ""))
        elif kind in ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta"):
            told.add_arguments(event["delta"], told.places[event["output_index"]])
        elif kind in ("response.completed", "response.incomplete"):
            self._end(event["response"], told)
        elif kind == "response.failed":
            told.end, told.error = "error", event["response"]["error"]
        else:
            assert kind != "error"

    def _end(self, response: Any, told: Told) -> None:
        told.end, told.finished, told.answer_id = "done", True, response["id"]
        told.finish = (response["incomplete_details"] or {}).get("reason", "") or response["status"]
        usage = response["usage"]
        told.counts = Counts(
            usage["input_tokens"],
            usage["input_tokens_details"]["cached_tokens"],
            usage["input_tokens_details"]["cache_write_tokens"],
            usage["output_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"],
        )
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        told.cost = str(usage["cost"])

    def check(self, data: bytes, told: Told) -> None:
        kind = "failed" if told.end == "error" else "completed" if told.finish == "completed" else "incomplete"
        responses_contract.check_stream(data, end=f"response.{kind}")

    def check_failure(self, told: Told, status: int, *, beyond_cap: bool = False) -> None:
        """Before the first byte it is chat's shape. An answer beyond its cap would be so again."""
        assert told.end == "error"
        if status == 200:
            code = "invalid_prompt" if beyond_cap else "server_error"
            assert (told.error["code"], set(told.error)) == (code, {"code", "message"})
        else:
            assert (status, told.error["code"], told.error["param"]) == (503, "upstream_error", None)


class Completions:
    """No door of conversations: those who go by it ask for a text."""

    name, path, id_prefix = "completions", "/v1/completions", "cmpl-"
    alive = b": keep-alive"

    def ask(self, model: str, prompt: str, *, stream: bool, cap: int | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": cap or CAP}
        return {**body, "stream": True, "stream_options": {"include_usage": True}} if stream else body

    def read(self, body: Any, told: Told) -> None:
        if "error" in body:
            told.end, told.error = "error", body["error"]
            return
        self._hear_choices(body, told)
        told.end, told.finished = "done", True
        self._count(body, told)

    def hear(self, event: Any, told: Told) -> None:
        if event == "[DONE]":
            told.end = "done"
        elif "error" in event:
            told.end, told.error = "error", event["error"]
        else:
            self._hear_choices(event, told)
            told.finished = bool(told.finish)
            if event.get("usage"):
                self._count(event, told)

    def _hear_choices(self, value: Any, told: Told) -> None:
        assert value["object"] == "text_completion"
        for choice in value["choices"]:
            assert set(choice) == {"text", "index", "logprobs", "finish_reason"}
            told.add(choice["text"], choice["index"])
            told.finish = choice["finish_reason"] or told.finish

    def _count(self, value: Any, told: Told) -> None:
        usage, told.answer_id = value["usage"], value["id"]
        told.counts = Counts(usage["prompt_tokens"], 0, 0, usage["completion_tokens"], 0)
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        told.cost = str(usage["cost"])

    def check(self, data: bytes, told: Told) -> None:
        assert data.rstrip().endswith(b"data: [DONE]") is (told.end == "done")

    def check_failure(self, told: Told, status: int, *, beyond_cap: bool = False) -> None:
        assert (told.end, told.error["code"], told.error["param"]) == ("error", "upstream_error", None)
        assert status in (200, 503)


DOORS: dict[str, Door] = {door.name: door for door in (Chat(), Messages(), Responses())}
TEXT_DOORS: dict[str, Door] = {**DOORS, Completions.name: Completions()}  # where only a text is asked for


def read_json(data: bytes | str) -> Any:
    """A body or an event; numbers with a point keep their digits, as text."""
    return json.loads(data, parse_float=str)


def read_told(door: Door, data: bytes, *, stream: bool) -> Told:
    """A whole body, or a stream that has ended, which is then checked by all rules of the door."""
    told = Told()
    if not stream:
        door.read(read_json(data), told)
        return told
    for line in data.split(b"\n"):
        if line.startswith(b"data: "):
            assert not told.end, "nothing follows the end"
            text = line[6:]
            door.hear("[DONE]" if text == b"[DONE]" else read_json(text), told)
    door.check(data, told)
    return told
