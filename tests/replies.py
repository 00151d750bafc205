"""Answers of a provider, described once and written in each provider's own bytes: whole, and as a stream's events.

The bytes are written by hand, from the providers' documentation and observed answers, so our own code doesn't write
what it reads."""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

PIECE_CHARACTERS = 7  # of texts and arguments that come in pieces


@dataclasses.dataclass(frozen=True)
class Call:
    """A tool call; Gemini's older models give it no id."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Reply:
    """One answer. Counts in OpenAI's meaning: the prompt with what was cached and written, the completion with
    reasoning. `signature` belongs to the thoughts (Anthropic) or to the first call (Gemini)."""

    text: str = ""
    thought: str = ""
    signature: str = ""
    calls: tuple[Call, ...] = ()
    finish: str = ""  # stop, or tool_calls where there are calls
    prompt_tokens: int = 40
    cached_tokens: int = 8
    completion_tokens: int = 21
    reasoning_tokens: int = 0

    @property
    def finish_reason(self) -> str:
        return self.finish or ("tool_calls" if self.calls else "stop")


def write_whole(provider: str, reply: Reply) -> bytes:
    """The body of a whole answer."""
    body = {"anthropic": _anthropic, "gemini": _gemini}.get(provider, lambda reply: _openai(provider, reply))(reply)
    return json.dumps(body).encode()


def write_stream(provider: str, reply: Reply) -> bytes:
    """The whole body of a stream."""
    if provider == "anthropic":
        return b"".join(
            f"event: {kind}\ndata: {json.dumps(event)}   \n\n".encode() for kind, event in _anthropic_events(reply)
        )
    if provider == "gemini":
        return b"".join(f"data: {json.dumps(chunk)}\r\n\r\n".encode() for chunk in _gemini_chunks(reply))
    chunks = b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in _openai_chunks(provider, reply))
    return (b": keep-alive\n\n" if provider == "deepseek" else b"") + chunks + b"data: [DONE]\n\n"


def cut(text: str) -> list[str]:
    """The text in small pieces."""
    return [text[at : at + PIECE_CHARACTERS] for at in range(0, len(text), PIECE_CHARACTERS)]


def cut_in_arguments(stream: bytes) -> bytes:
    """The stream until the middle of a call's arguments."""
    places = [found.start() for found in re.finditer(rb'"(?:arguments|partial_json)": "', stream)]
    return stream[: places[len(places) // 2]]


# Anthropic

ANTHROPIC_STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def _anthropic_blocks(reply: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if reply.thought or reply.signature:
        blocks.append({"type": "thinking", "thinking": reply.thought, "signature": reply.signature})
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    return blocks + [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in reply.calls
    ]


def _anthropic_usage(reply: Reply) -> dict[str, Any]:
    usage = {
        "input_tokens": reply.prompt_tokens - reply.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
        "output_tokens": reply.completion_tokens,
        "service_tier": "standard",
    }
    return usage | ({"output_tokens_details": {"thinking_tokens": reply.reasoning_tokens}} if reply.thought else {})


def _anthropic(reply: Reply) -> dict[str, Any]:
    return {
        "id": "msg_01RepLay",
        "type": "message",
        "role": "assistant",
        "model": "claude-as-asked-20260101",
        "content": _anthropic_blocks(reply),
        "stop_reason": ANTHROPIC_STOPS[reply.finish_reason],
        "stop_sequence": None,
        "usage": _anthropic_usage(reply),
    }


def _anthropic_events(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    def event(kind: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        return kind, {"type": kind, **fields}

    whole = _anthropic(reply)
    started = {**whole["usage"], "output_tokens": 1}
    yield event("message_start", message={**whole, "content": [], "stop_reason": None, "usage": started})
    for index, block in enumerate(whole["content"]):
        deltas: list[dict[str, Any]]
        if block["type"] == "thinking":
            empty = {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        elif block["type"] == "text":
            empty = {"text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in cut(block["text"])]
        else:
            empty = {"input": {}}
            pieces = ["", *cut(json.dumps(block["input"]) if block["input"] else "")]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        yield event("content_block_start", index=index, content_block={**block, **empty})
        if not index:
            yield event("ping")
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    ended = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage=whole["usage"])
    yield event("message_stop")


# Gemini

GEMINI_STOPS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}


def _gemini_parts(reply: Reply, pieces: bool = False) -> list[dict[str, Any]]:
    thoughts = [{"text": text, "thought": True} for text in (cut(reply.thought) if pieces else [reply.thought]) if text]
    parts: list[dict[str, Any]] = [*thoughts]
    parts += [{"text": text} for text in (cut(reply.text) if pieces else [reply.text]) if text]
    for place, call in enumerate(reply.calls):
        function = {"name": call.name, "args": call.arguments, **({"id": call.id} if call.id else {})}
        signed = {"thoughtSignature": reply.signature} if reply.signature and not place else {}
        parts.append({"functionCall": function, **signed})
    if reply.signature and not reply.calls:
        parts.append({"text": "", "thoughtSignature": reply.signature})
    return parts


def _gemini_answer(parts: list[dict[str, Any]], usage: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    content = {"role": "model", **({"parts": parts} if parts else {})}
    found = {"candidates": [{"content": content, "index": 0, **candidate}], "usageMetadata": usage}
    return found | {"modelVersion": "gemini-as-asked", "responseId": "kdJ2aOr3RepLay"}


def _gemini_usage(reply: Reply) -> dict[str, Any]:
    spoken = reply.completion_tokens - reply.reasoning_tokens
    usage = {"promptTokenCount": reply.prompt_tokens, "candidatesTokenCount": spoken}
    usage |= {"cachedContentTokenCount": reply.cached_tokens} if reply.cached_tokens else {}
    usage |= {"thoughtsTokenCount": reply.reasoning_tokens} if reply.reasoning_tokens else {}
    return usage | {"totalTokenCount": reply.prompt_tokens + reply.completion_tokens}


def _gemini(reply: Reply) -> dict[str, Any]:
    return _gemini_answer(_gemini_parts(reply), _gemini_usage(reply), finishReason=GEMINI_STOPS[reply.finish_reason])


def _gemini_chunks(reply: Reply) -> Iterator[dict[str, Any]]:
    """The end stands apart from what was said last; counts grow."""
    usage = _gemini_usage(reply)
    for number, part in enumerate(_gemini_parts(reply, pieces=True)):
        yield _gemini_answer([part], {**usage, "candidatesTokenCount": number})
    yield _gemini_answer([{"text": ""}], usage, finishReason=GEMINI_STOPS[reply.finish_reason])


# OpenAI's dialect, as OpenAI, DeepSeek and Moonshot speak it


def _openai_usage(provider: str, reply: Reply) -> dict[str, Any]:
    total = reply.prompt_tokens + reply.completion_tokens
    usage: dict[str, Any] = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
    usage["total_tokens"] = total
    if provider == "moonshot":
        return usage | {"cached_tokens": reply.cached_tokens}
    usage["prompt_tokens_details"] = {"cached_tokens": reply.cached_tokens}
    usage["completion_tokens_details"] = {"reasoning_tokens": reply.reasoning_tokens}
    if provider == "deepseek":
        usage["prompt_cache_hit_tokens"] = reply.cached_tokens
        usage["prompt_cache_miss_tokens"] = reply.prompt_tokens - reply.cached_tokens
    return usage


def _openai_head(kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-RepLay", "object": kind, "created": 1_750_000_000, "model": "as-asked-2026"}


def _openai_call(index: int, call: Call, streamed: bool = False) -> dict[str, Any]:
    arguments = "" if streamed else json.dumps(call.arguments)
    function = {"name": call.name, "arguments": arguments}
    return {"index": index, "id": call.id, "type": "function", "function": function}


def _openai(provider: str, reply: Reply) -> dict[str, Any]:
    empty = "" if provider == "deepseek" else None
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or (empty if reply.calls else "")}
    if reply.thought:
        message["reasoning_content"] = reply.thought
    if reply.calls:
        message["tool_calls"] = [_openai_call(index, call) for index, call in enumerate(reply.calls)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish_reason}
    return {**_openai_head("chat.completion"), "choices": [choice], "usage": _openai_usage(provider, reply)}


def _openai_chunks(provider: str, reply: Reply) -> Iterator[dict[str, Any]]:
    def chunk(delta: dict[str, Any], finish: str | None = None, **choice: Any) -> dict[str, Any]:
        found = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **choice}
        return {**_openai_head("chat.completion.chunk"), "choices": [found]}

    thinks = {"reasoning_content": ""} if reply.thought else {}
    yield chunk({"role": "assistant", "content": None if thinks else "", **thinks})
    for piece in cut(reply.thought):
        yield chunk({"content": None, "reasoning_content": piece})
    for piece in cut(reply.text):
        yield chunk({"content": piece})
    for index, call in enumerate(reply.calls):
        yield chunk({"tool_calls": [_openai_call(index, call, streamed=True)]})
        for piece in cut(json.dumps(call.arguments)):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    usage = _openai_usage(provider, reply)
    if provider == "moonshot":
        yield chunk({}, reply.finish_reason, usage=usage)
    elif provider == "deepseek":
        yield {**chunk({"content": ""}, reply.finish_reason), "usage": usage}
    else:
        yield chunk({}, reply.finish_reason)
        yield {**_openai_head("chat.completion.chunk"), "choices": [], "usage": usage}
