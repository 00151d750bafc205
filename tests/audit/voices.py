"""The dialects that the audit's upstream speaks: how each begins an answer, says a word, counts, ends and fails."""

import json
from typing import Any, NamedTuple, Protocol

from tests.audit.said import Scale
from tests.upstream import Received, chunk, framed

Usage = tuple[Any, Any]  # what an upstream claims of prompt and completion
OVERLOADED = {"message": "overloaded", "type": "server_error", "code": None}


class Asked(NamedTuple):
    """What an upstream reads of a request."""

    prompt: str
    cap: int
    choices: int
    streams: bool


class Voice(Protocol):
    """One dialect. `scale` is how the gateway counts an answer of it that comes without counts; `first_tokens` is what
    it counts of a stream that it has only begun."""

    name: str
    scale: Scale
    first_tokens: int

    def read(self, request: Received) -> Asked: ...

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        """A whole answer of these choices."""
        ...

    def begin(self, choices: int, usage: Usage | None) -> bytes:
        """A stream's first events. `usage` is what it will claim of the prompt."""
        ...

    def say(self, index: int, text: str, usage: Usage | None) -> bytes:
        """A word. `usage` is what it claims so far."""
        ...

    def end(self, texts: list[str], usage: Usage | None) -> bytes:
        """Why each choice ended, and the counts."""
        ...

    def close(self) -> bytes:
        """The mark behind them, if the dialect has one."""
        ...

    def fail(self) -> bytes:
        """An error within the stream."""
        ...


def event(value: dict[str, Any]) -> bytes:
    """An event with its name."""
    data = f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


class OpenAI:
    name, scale, first_tokens = "openai", Scale(100, 8, 1), 0

    def read(self, request: Received) -> Asked:
        body = request.json
        cap = body.get("max_completion_tokens") or body["max_tokens"]
        return Asked(_text_of(body["messages"][-1]["content"]), cap, body.get("n") or 1, bool(body.get("stream")))

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        choices = [
            {"index": index, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for index, text in enumerate(texts)
        ]
        head = {"id": "chatcmpl-upstream", "object": "chat.completion", "created": 1, "model": "upstream"}
        return {**head, "choices": choices, **({"usage": self._count(usage)} if usage else {})}

    def begin(self, choices: int, usage: Usage | None) -> bytes:
        return b"".join(self._chunk(index, {"role": "assistant", "content": ""}) for index in range(choices))

    def say(self, index: int, text: str, usage: Usage | None) -> bytes:
        return self._chunk(index, {"content": text})

    def end(self, texts: list[str], usage: Usage | None) -> bytes:
        ends = b"".join(self._chunk(index, {}, "stop") for index in range(len(texts)))
        return ends + (framed(chunk(choices=[], usage=self._count(usage))) if usage else b"")

    def close(self) -> bytes:
        return framed("[DONE]")

    def fail(self) -> bytes:
        return framed({"error": OVERLOADED})

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return framed(chunk(choices=[{"index": index, "delta": delta, "finish_reason": finish_reason}]))

    def _count(self, usage: Usage) -> dict[str, Any]:
        return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": 0}


class Texts(OpenAI):
    """The same dialect's plain completions: nothing stands around a prompt."""

    name, scale = "texts", Scale(100, 0, 1)

    def read(self, request: Received) -> Asked:
        body = request.json
        return Asked(body["prompt"], body["max_tokens"], body.get("n") or 1, bool(body.get("stream")))

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        choices = [{"index": index, "text": text, "finish_reason": "stop"} for index, text in enumerate(texts)]
        return {**super().whole(texts, usage), "object": "text_completion", "choices": choices}

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "text": delta.get("content", ""), "finish_reason": finish_reason}
        return framed(chunk(choices=[choice]))


class Responses:
    name, scale, first_tokens = "responses", Scale(100, 8, 1), 0

    def read(self, request: Received) -> Asked:
        body = request.json
        text = _text_of(body["input"] if isinstance(body["input"], str) else body["input"][-1]["content"])
        return Asked(text, body["max_output_tokens"], 1, bool(body.get("stream")))

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        head = {"id": "resp_upstream", "object": "response", "created_at": 1, "status": "completed", "error": None}
        more = {"incomplete_details": None, "model": "upstream", "output": [self._message(text) for text in texts]}
        counts = {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": 0} if usage else None
        return {**head, **more, "usage": counts}

    def begin(self, choices: int, usage: Usage | None) -> bytes:
        opening = {**self.whole([], None), "status": "in_progress"}
        kinds = ("response.created", "response.in_progress")
        opened = b"".join(event({"type": kind, "response": opening}) for kind in kinds)
        item = {**self._message(""), "status": "in_progress", "content": []}
        begun = event({"type": "response.output_item.added", "output_index": 0, "item": item})
        return opened + begun + self._piece("content_part.added", part=self._part(""))

    def say(self, index: int, text: str, usage: Usage | None) -> bytes:
        return self._piece("output_text.delta", delta=text, logprobs=[])

    def end(self, texts: list[str], usage: Usage | None) -> bytes:
        done = self._piece("output_text.done", text=texts[0], logprobs=[])
        done += self._piece("content_part.done", part=self._part(texts[0]))
        item = self._message(texts[0])
        done += event({"type": "response.output_item.done", "output_index": 0, "item": item})
        return done + event({"type": "response.completed", "response": self.whole(texts, usage)})

    def close(self) -> bytes:
        return b""

    def fail(self) -> bytes:
        failed = {
            **self.whole([], None),
            "status": "failed",
            "error": {"code": "server_error", "message": "overloaded"},
        }
        return event({"type": "response.failed", "response": failed})

    def _piece(self, kind: str, **more: Any) -> bytes:
        at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        return event({"type": f"response.{kind}", **at, **more})

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _message(self, text: str) -> dict[str, Any]:
        head = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        return {**head, "content": [self._part(text)]}


class Anthropic:
    name, scale, first_tokens = "anthropic", Scale(130, 40, 8), 1

    def read(self, request: Received) -> Asked:
        body = request.json
        return Asked(_text_of(body["messages"][-1]["content"]), body["max_tokens"], 1, bool(body.get("stream")))

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        head = {"id": "msg_upstream", "type": "message", "role": "assistant", "model": "upstream"}
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        counts = {"usage": {"input_tokens": usage[0], "output_tokens": usage[1]}} if usage else {}
        return {**head, "content": [{"type": "text", "text": text} for text in texts], **ended, **counts}

    def begin(self, choices: int, usage: Usage | None) -> bytes:
        message = {**self.whole([], (usage[0], self.first_tokens) if usage else None), "stop_reason": None}
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return event({"type": "message_start", "message": message}) + event(block)

    def say(self, index: int, text: str, usage: Usage | None) -> bytes:
        return event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})

    def end(self, texts: list[str], usage: Usage | None) -> bytes:
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        counts = {"usage": {"output_tokens": usage[1]}} if usage else {}
        closed = event({"type": "content_block_stop", "index": 0})
        return closed + event({"type": "message_delta", "delta": ended, **counts})

    def close(self) -> bytes:
        return event({"type": "message_stop"})

    def fail(self) -> bytes:
        return event({"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}})


class Gemini:
    name, scale, first_tokens = "gemini", Scale(110, 8, 6), 0

    def read(self, request: Received) -> Asked:
        body = request.json
        text = _text_of(body["contents"][-1]["parts"])
        return Asked(text, body["generationConfig"]["maxOutputTokens"], 1, "streamGenerateContent" in request.path)

    def whole(self, texts: list[str], usage: Usage | None) -> dict[str, Any]:
        return self._answer("".join(texts), usage, finishReason="STOP")

    def begin(self, choices: int, usage: Usage | None) -> bytes:
        return b""

    def say(self, index: int, text: str, usage: Usage | None) -> bytes:
        return framed(self._answer(text, usage))

    def end(self, texts: list[str], usage: Usage | None) -> bytes:
        return framed(self._answer("", usage, finishReason="STOP"))

    def close(self) -> bytes:
        return b""

    def fail(self) -> bytes:
        return framed({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})

    def _answer(self, text: str, usage: Usage | None, **candidate: Any) -> dict[str, Any]:
        counts = {"promptTokenCount": usage[0], "candidatesTokenCount": usage[1]} if usage else {}
        content = {"role": "model", "parts": [{"text": text}]}
        found: dict[str, Any] = {"candidates": [{"content": content, "index": 0, **candidate}]}
        return found | ({"usageMetadata": counts} if usage else {})


def _text_of(content: Any) -> str:
    """A prompt's text, whether it stands alone or in a part."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
