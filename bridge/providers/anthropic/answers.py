"""Reads Anthropic's whole answers: what their content blocks say, and its counts in our meaning."""

import msgspec
from msgspec import Struct

from bridge.conversation.answer import Call, Choice, Completion, NativeAnswer, Sealed
from bridge.conversation.request import MESSAGES
from bridge.conversation.usage import Counts
from bridge.json_types import Json, JsonObject
from bridge.providers.anthropic.errors import read_anthropic_error
from bridge.providers.anthropic.turns import PROVIDER, THOUGHTS
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.blame.errors import find_refusal
from bridge.providers.fences import strip_fence
from bridge.providers.finish_words import read_foreign_finish
from bridge.providers.odd_json import RUBBISH, mend_texts
from bridge.providers.tally import Tally
from bridge.providers.tool_schemas import restore_keys
from bridge.providers.translated import decode_or_mend, own_id, texts_of, with_older_call, write_arguments

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}
MAX_CITATIONS = 1000


class Reading(Struct, frozen=True):
    """What the answer's reader has to know of the request: whether functions are asked for in the old way, whether JSON
    may come in a fence, the tool whose input is the answer, and the client's names of renamed tools and of their
    properties, by the tool's name there."""

    model: str = ""
    legacy: bool = False
    fenced: bool = False
    answer_tool: str = ""
    names: dict[str, str] = {}
    keys: dict[str, dict[str, str]] = {}
    native: bool = False  # the client wrote the request in this dialect

    def write_arguments(self, tool: str, arguments: str) -> str:
        """A call's arguments, as JSON text, with the client's own keys."""
        return restore_keys(arguments, self.keys[tool]) if tool in self.keys else arguments


class Block(Struct):
    """A content block, whatever its type: whole, or the beginning of a streamed one."""

    type: str = ""
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Json = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    citations: Json = None


class _Answer(Struct):
    content: list[Block]
    stop_reason: Json = None
    usage: Json = None


class _Kind(Struct):
    type: str = ""


_decode_answer = msgspec.json.Decoder(_Answer).decode
decode_kind = msgspec.json.Decoder(_Kind).decode


def read_anthropic_answer(data: bytes, reading: Reading) -> Completion:  # noqa: C901 - a branch for each kind of block
    """A whole answer. Raises AttemptFailed for what is none, or an error inside a 200."""
    mended: set[str] = set()
    try:
        if decode_or_mend(data, decode_kind, _Kind, set()).type == "error":
            raise read_anthropic_error(200, {}, data)
        answer = decode_or_mend(data, _decode_answer, _Answer, mended)
        if mended:
            answer = msgspec.convert(mend_texts(msgspec.to_builtins(answer)), _Answer)
    except RUBBISH:
        raise find_refusal(data) or AttemptFailed(Blame.UPSTREAM, "the answer is no message") from None
    texts, thoughts, calls, annotations = [], [], [], []
    answered, length, ids = None, 0, set[str]()
    for block in answer.content:
        if block.type == "text" and block.text:
            annotations += cite(block.citations, length, length + len(block.text))
            texts.append(block.text)
            length += len(block.text)
        elif block.type in THOUGHTS:
            thoughts.append(block)
        elif block.type == "tool_use" and reading.answer_tool and block.name == reading.answer_tool:
            answered = answered or reading.write_arguments(block.name, write_arguments(block.input, mended))
        elif block.type == "tool_use":
            name = block.name or ""
            arguments = reading.write_arguments(name, write_arguments(block.input, mended))
            calls.append(Call(own_id(block.id, ids), reading.names.get(name, name), arguments))
    text = answered or "".join(texts)
    if reading.fenced:
        text = _unwrap(text)
    signed = keep_thoughts(thoughts)
    blocks = signed if calls else []
    extra: JsonObject = {"thinking_blocks": blocks} if blocks else {}
    if annotations and not (answered or reading.fenced):
        extra["annotations"] = annotations
    choice = Choice(
        say_why(answer.stop_reason, bool(calls), bool(text or calls or thoughts)),
        text,
        "".join(block.thinking or "" for block in thoughts),
        calls=calls,
        extras=extra,
        sealed=[seal(reading, signed)] if signed else [],
    )
    said = texts_of(choice)
    if reading.legacy:
        choice = with_older_call(choice)
    kept = keep(reading, calls[0].id, blocks) if blocks and not reading.native else {}
    completion = Completion([choice], read_counts(answer.usage), choice.finish_reason, said, kept, mended)
    if reading.native and not mended:
        completion.native = NativeAnswer(MESSAGES, msgspec.json.decode(data))
    return completion


def _unwrap(text: str) -> str:
    """JSON without the fence around it; what is no JSON stays as the model wrote it."""
    stripped = strip_fence(text)
    try:
        msgspec.json.decode(stripped)
    except RUBBISH:
        return text
    return stripped


def keep_thoughts(blocks: list[Block]) -> list[JsonObject]:
    """The thoughts as Anthropic wants them back: unchanged, and only those that it signed."""
    kept: list[JsonObject] = []
    for block in blocks:
        if block.type == "redacted_thinking" and block.data is not None:
            kept.append({"type": block.type, "data": block.data})
        elif block.type == "thinking" and block.signature:
            kept.append({"type": block.type, "thinking": block.thinking or "", "signature": block.signature})
    return kept


def keep(reading: Reading, call_id: str, blocks: list[JsonObject]) -> JsonObject:
    return {call_id: seal(reading, blocks).value}


def seal(reading: Reading, blocks: list[JsonObject]) -> Sealed:
    """Thoughts as this model wants them back, and no other."""
    return Sealed({"provider": PROVIDER, "model": reading.model, "blocks": blocks}, dialect=MESSAGES, blocks=blocks)


def say_why(stop_reason: Json, called: bool, said: bool = True) -> str:
    """Why the answer ended, in OpenAI's word. Raises AttemptFailed for a word that we don't know, and for none where
    nothing was `said` either."""
    if not stop_reason and not said:
        raise AttemptFailed(Blame.UPSTREAM, "the answer has no content and no end")
    found = read_foreign_finish(stop_reason or ("tool_use" if called else "end_turn"), FINISH_REASONS)
    if found in ("stop", "tool_calls"):  # whoever called has not just stopped, whatever some proxies say
        return "tool_calls" if called else "stop"
    return found


def cite(citations: Json, start: int, end: int) -> list[JsonObject]:
    """Citations of pages as OpenAI's annotations. Those of documents have no equal there."""
    found: list[JsonObject] = []
    for citation in citations[:MAX_CITATIONS] if isinstance(citations, list) else ():
        url = citation.get("url") if isinstance(citation, dict) else None
        if isinstance(url, str) and url:
            title = citation.get("title")
            cited: JsonObject = {
                "url": url,
                "title": title if isinstance(title, str) else "",
                "start_index": start,
                "end_index": end,
            }
            found.append({"type": "url_citation", "url_citation": cited})
    return found


def read_counts(usage: Json) -> Counts | None:
    """The counts in OpenAI's meaning: a prompt includes what was read from the cache and written to it. None where
    nothing is said."""
    if not usage:
        return None
    if not isinstance(usage, dict):
        return Counts(odd=True)
    tally = Tally()
    cached, created = tally.part(usage, "cache_read_input_tokens"), usage.get("cache_creation")
    hour = tally.part(created, "ephemeral_1h_input_tokens")
    written = tally.first(usage, "cache_creation_input_tokens")
    if written is None:
        written = hour + tally.part(created, "ephemeral_5m_input_tokens")
    prompt, output = tally.first(usage, "input_tokens"), tally.first(usage, "output_tokens")
    thought = tally.part(usage.get("output_tokens_details"), "thinking_tokens")
    if prompt is not None:  # a part below zero makes a sum that is none
        prompt = min(prompt, cached, written) if min(prompt, cached, written) < 0 else prompt + cached + written
    if prompt is None and output is None and not tally.odd:
        return None
    # of a stream's later counts the split may be an earlier one's
    return Counts(prompt, output, cached, thought, written, min(hour, max(0, written)), odd=tally.odd)
