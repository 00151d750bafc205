"""Anthropic's whole answers: content blocks to OpenAI's message, and its counts to ours."""

from typing import Any

import msgspec
from msgspec import Struct

from bridge.providers.anthropic_errors import read_anthropic_error
from bridge.providers.anthropic_turns import PROVIDER, THOUGHTS
from bridge.providers.base import UNBELIEVABLE, AttemptFailed, Blame, Completion, Usage
from bridge.providers.fences import strip_fence
from bridge.providers.openai import clamp_usage
from bridge.providers.tool_schemas import restore_keys
from bridge.providers.translated import RUBBISH, ToolCall, new_call_id, write_completion

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
MAX_CITATIONS = 1000


class Reading(Struct, frozen=True):
    """What of the request the answer's reader has to know: whether functions are asked for in the old way, whether
    JSON may come in a fence, the tool whose input is the answer, and the client's names of renamed tools, and of the
    properties of each, by the tool's name there."""

    model: str = ""
    legacy: bool = False
    fenced: bool = False
    answer_tool: str = ""
    names: dict[str, str] = {}
    keys: dict[str, dict[str, str]] = {}

    def write_arguments(self, tool: str, arguments: str) -> str:
        """A call's arguments, as JSON text, with the client's own keys."""
        return restore_keys(arguments, self.keys[tool]) if tool in self.keys else arguments


class _CacheCreation(Struct):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class _OutputDetails(Struct):
    thinking_tokens: int | None = None


class Counts(Struct):
    """Counts so far. In a stream each that is there replaces the one before."""

    input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class Block(Struct):
    """A content block, whatever its type: whole, or the beginning of a streamed one."""

    type: str = ""
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    citations: Any = None


class _Answer(Struct):
    content: list[Block]
    stop_reason: str | None = None
    usage: Any = None


class _Kind(Struct):
    type: str = ""


_decode_answer = msgspec.json.Decoder(_Answer).decode
decode_kind = msgspec.json.Decoder(_Kind).decode


def read_anthropic_answer(data: bytes, reading: Reading) -> Completion:
    """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
    try:
        if decode_kind(data).type == "error":
            raise read_anthropic_error(200, {}, data)
        answer = _decode_answer(data)
    except RUBBISH:
        raise AttemptFailed(Blame.UPSTREAM, "the answer is no message") from None
    texts, thoughts, calls, annotations = [], [], [], []
    answered, length = None, 0
    for block in answer.content:
        if block.type == "text" and block.text:
            annotations += cite(block.citations, length, length + len(block.text))
            texts.append(block.text)
            length += len(block.text)
        elif block.type in THOUGHTS:
            thoughts.append(block)
        elif block.type == "tool_use" and reading.answer_tool and block.name == reading.answer_tool:
            answered = answered or reading.write_arguments(block.name, write_input(block.input))
        elif block.type == "tool_use":
            name = block.name or ""
            arguments = reading.write_arguments(name, write_input(block.input))
            calls.append(ToolCall(block.id or new_call_id(), reading.names.get(name, name), arguments))
    text = answered or "".join(texts)
    if reading.fenced:
        text = _unwrap(text)
    blocks = keep_thoughts(thoughts) if calls else []
    extra: dict[str, Any] = {"thinking_blocks": blocks} if blocks else {}
    if annotations and not (answered or reading.fenced):
        extra["annotations"] = annotations
    counts = read_counts(answer.usage)
    return write_completion(
        text,
        calls,
        finish_reason=say_why(answer.stop_reason, bool(calls)),
        usage=usage_of(counts) if counts else None,
        reasoning="".join(block.thinking or "" for block in thoughts),
        legacy=reading.legacy,
        kept=keep(reading, calls[0].id, blocks) if blocks else {},
        message_extra=extra,
    )


def _unwrap(text: str) -> str:
    """JSON without the fence around it; what is no JSON stays as the model wrote it."""
    stripped = strip_fence(text)
    try:
        msgspec.json.decode(stripped)
    except RUBBISH:
        return text
    return stripped


def write_input(value: Any) -> str:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else "{}"


def keep_thoughts(blocks: list[Block]) -> list[dict[str, Any]]:
    """The thoughts as Anthropic wants them back: unchanged, and only those that it signed."""
    kept: list[dict[str, Any]] = []
    for block in blocks:
        if block.type == "redacted_thinking" and block.data is not None:
            kept.append({"type": block.type, "data": block.data})
        elif block.type == "thinking" and block.signature:
            kept.append({"type": block.type, "thinking": block.thinking or "", "signature": block.signature})
    return kept


def keep(reading: Reading, call_id: str, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    return {call_id: {"provider": PROVIDER, "model": reading.model, "blocks": blocks}}


def say_why(stop_reason: str | None, called: bool) -> str:
    """OpenAI's word; for what we don't know, the plain end of an answer."""
    found = FINISH_REASONS.get(stop_reason or "", "stop")
    return "stop" if found == "tool_calls" and not called else found


def cite(citations: Any, start: int, end: int) -> list[dict[str, Any]]:
    """Citations of pages as OpenAI's annotations; those of documents have no equal there."""
    found: list[dict[str, Any]] = []
    for citation in citations[:MAX_CITATIONS] if isinstance(citations, list) else ():
        url = citation.get("url") if isinstance(citation, dict) else None
        if isinstance(url, str) and url:
            title = citation.get("title")
            cited: dict[str, Any] = {
                "url": url,
                "title": title if isinstance(title, str) else "",
                "start_index": start,
                "end_index": end,
            }
            found.append({"type": "url_citation", "url_citation": cited})
    return found


def read_counts(usage: Any) -> Counts | None:
    """The counts as they are written; for what are none, such as nobody believes."""
    try:
        return msgspec.convert(usage, Counts | None)
    except msgspec.ValidationError:
        return Counts(input_tokens=-1, output_tokens=-1)


def usage_of(counts: Counts) -> Usage | None:
    """In OpenAI's meaning: a prompt includes what was read from the cache and written to it."""
    if counts.input_tokens is None or counts.output_tokens is None:
        return None
    cached, created = counts.cache_read_input_tokens or 0, counts.cache_creation
    hour = (created.ephemeral_1h_input_tokens or 0) if created else 0
    written = counts.cache_creation_input_tokens
    if written is None:
        written = hour + ((created.ephemeral_5m_input_tokens or 0) if created else 0)
    details = counts.output_tokens_details
    thought = (details.thinking_tokens or 0) if details else 0
    if min(counts.input_tokens, cached, written) < 0:  # the prompt is the sum of these
        return UNBELIEVABLE
    prompt = counts.input_tokens + cached + written
    return clamp_usage(prompt, counts.output_tokens, cached, thought, written, hour)
