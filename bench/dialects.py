"""The mock upstream's answers in each provider's own bytes: events and bodies as the real ones send them."""

import base64
import dataclasses
import json
import struct
from collections.abc import Callable
from typing import Any

TEXT = "The capital of France is Paris, which has been the seat of its government for most of a thousand years."
PROMPT_TOKENS, WHOLE_TOKENS = 24, 22
INPUTS, DIMENSIONS = 8, 1536  # of embeddings
PICTURE_BYTES, PICTURE_TOKENS = 1_500_000, 4160  # a PNG of 1024 x 1024


@dataclasses.dataclass(frozen=True)
class Dialect:
    """A whole answer's body, and a stream's events: those before the text, the one for the nth word, and those after
    the last word."""

    whole: dict[str, Any]
    first: tuple[bytes, ...]
    word: Callable[[int], bytes]
    last: Callable[[int], tuple[bytes, ...]]


def write_embeddings() -> dict[str, Any]:
    """OpenAI's answer to so many inputs, as base64."""
    vectors = [
        struct.pack(f"<{DIMENSIONS}f", *(1 / (place + at) for at in range(1, DIMENSIONS + 1)))
        for place in range(INPUTS)
    ]
    data = [
        {"object": "embedding", "index": place, "embedding": base64.b64encode(vector).decode()}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
    return {"object": "list", "data": data, "model": "text-embedding-3-small", "usage": usage}


def write_picture() -> dict[str, Any]:
    """OpenAI's answer of one picture."""
    said = {"background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024"}
    usage = {
        "input_tokens": PROMPT_TOKENS,
        "input_tokens_details": {"text_tokens": PROMPT_TOKENS, "image_tokens": 0},
        "output_tokens": PICTURE_TOKENS,
        "total_tokens": PROMPT_TOKENS + PICTURE_TOKENS,
    }
    picture = base64.b64encode(bytes(range(256)) * (PICTURE_BYTES // 256)).decode()
    return {"created": 1760000000, **said, "data": [{"b64_json": picture}], "usage": usage}


def word(number: int) -> str:
    """The nth word of every stream. The load generator knows the words, and checks that each arrived, in order."""
    return f" word{number % 100:02}"


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _openai() -> Dialect:
    def head(kind: str) -> dict[str, Any]:
        id_ = "chatcmpl-CbKq0mJ5tPnV3xWz7yA1dE9fH2iL"
        return {"id": id_, "object": kind, "created": 1760000000, "model": "bench-openai"}

    tail = {"service_tier": "default", "system_fingerprint": "fp_6f2eabb9a5"}

    def event(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        chunk = {**head("chat.completion.chunk"), **tail, "choices": choices, "usage": usage}
        return b"data: " + _json(chunk) + b"\n\n"

    def delta(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return event([{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}])

    def count(completion: int) -> dict[str, Any]:
        total = PROMPT_TOKENS + completion
        return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": completion, "total_tokens": total}

    message: dict[str, Any] = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    details = {
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    choices = [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}]
    usage = {**count(WHOLE_TOKENS), **details}
    return Dialect(
        {**head("chat.completion"), "choices": choices, "usage": usage, **tail},
        (delta({"role": "assistant", "content": "", "refusal": None}),),
        lambda number: delta({"content": word(number)}),
        lambda words: (delta({}, "stop"), event([], count(words)), b"data: [DONE]\n\n"),
    )


def _anthropic() -> Dialect:
    head = {"id": "msg_01Qx7bWn4vR2kTzY9cJ5dLgH", "type": "message", "role": "assistant", "model": "bench-anthropic"}

    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: ".encode() + _json({"type": kind, **fields}) + b"\n\n"

    def count(output: int) -> dict[str, Any]:
        cache = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
        return {"input_tokens": PROMPT_TOKENS, **cache, "output_tokens": output}

    written = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    tier = {"cache_creation": written, "service_tier": "standard"}
    start: dict[str, Any] = {
        **head,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**count(1), **tier},
    }
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    return Dialect(
        {**head, "content": [{"type": "text", "text": TEXT}], **ended, "usage": {**count(WHOLE_TOKENS), **tier}},
        (
            event("message_start", message=start),
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            event("ping"),
        ),
        lambda number: event("content_block_delta", index=0, delta={"type": "text_delta", "text": word(number)}),
        lambda words: (
            event("content_block_stop", index=0),
            event("message_delta", delta=ended, usage=count(words)),
            event("message_stop"),
        ),
    )


def _gemini() -> Dialect:
    """Its lines end in CR and LF, and each chunk carries the counts so far."""

    def answer(text: str, tokens: int, **ended: Any) -> dict[str, Any]:
        usage = {
            "promptTokenCount": PROMPT_TOKENS,
            "candidatesTokenCount": tokens,
            "totalTokenCount": PROMPT_TOKENS + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": PROMPT_TOKENS}],
        }
        content = {"parts": [{"text": text}], "role": "model"}
        return {
            "candidates": [{"content": content, **ended, "index": 0}],
            "usageMetadata": usage,
            "modelVersion": "bench-gemini",
            "responseId": "q3cNaYv5F9mPxN8P2Ke7iQE",
        }

    def event(*arguments: Any, **ended: Any) -> bytes:
        return b"data: " + _json(answer(*arguments, **ended)) + b"\r\n\r\n"

    return Dialect(
        answer(TEXT, WHOLE_TOKENS, finishReason="STOP"),
        (),
        lambda number: event(word(number), number + 1),
        lambda words: (event("", words, finishReason="STOP"),),
    )


def _responses() -> Dialect:
    """OpenAI's Responses, each event with its number, without the padding that hides a text's length, as chat's here
    have none. What is complete is said again."""
    item_id = "msg_68f1c2a7d4e88195b03c6f9e1a2d7b40"
    text_part: dict[str, Any] = {"item_id": item_id, "output_index": 0, "content_index": 0}
    opening = 4  # events before the first word

    def event(number: int, kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: ".encode() + _json({"type": kind, "sequence_number": number, **fields}) + b"\n\n"

    def part(text: str) -> dict[str, Any]:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def item(status: str, *parts: dict[str, Any]) -> dict[str, Any]:
        return {"id": item_id, "type": "message", "status": status, "content": list(parts), "role": "assistant"}

    def count(output: int) -> dict[str, Any]:
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        total = PROMPT_TOKENS + output
        return {"input_tokens": PROMPT_TOKENS, "output_tokens": output, "total_tokens": total, **details}

    def answer(status: str, usage: dict[str, Any] | None, *output: dict[str, Any]) -> dict[str, Any]:
        head = {"id": "resp_68f1c2a6c0a48195a9d1f3b7e5c2d8f0", "object": "response", "created_at": 1760000000}
        rest = {"error": None, "incomplete_details": None, "model": "bench-responses", "store": False}
        return {**head, "status": status, **rest, "output": list(output), "usage": usage}

    def last(words: int) -> tuple[bytes, ...]:
        text, number = "".join(map(word, range(words))), opening + words
        done = item("completed", part(text))
        return (
            event(number, "response.output_text.done", **text_part, text=text, logprobs=[]),
            event(number + 1, "response.content_part.done", **text_part, part=part(text)),
            event(number + 2, "response.output_item.done", output_index=0, item=done),
            event(number + 3, "response.completed", response=answer("completed", count(words), done)),
        )

    begun = answer("in_progress", None)
    return Dialect(
        answer("completed", count(WHOLE_TOKENS), item("completed", part(TEXT))),
        (
            event(0, "response.created", response=begun),
            event(1, "response.in_progress", response=begun),
            event(2, "response.output_item.added", output_index=0, item=item("in_progress")),
            event(3, "response.content_part.added", **text_part, part=part("")),
        ),
        lambda number: event(
            opening + number, "response.output_text.delta", **text_part, delta=word(number), logprobs=[]
        ),
        last,
    )


DIALECTS = {"openai": _openai(), "anthropic": _anthropic(), "gemini": _gemini(), "responses": _responses()}
