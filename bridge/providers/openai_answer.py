"""A whole answer of OpenAI's dialect: what a client may see of it, as OpenAI's own types have it."""

import re
from typing import Any

import msgspec

from bridge.providers.base import AttemptFailed, Blame, Completion
from bridge.providers.finish_words import read_finish
from bridge.providers.odd_json import decode_any, mend_text, mend_texts
from bridge.providers.openai_choice import Choice, Json, Reading, said_of, says
from bridge.providers.openai_chunks import Dialect
from bridge.providers.openai_shapes import RUBBISH, pick_top

PLAIN = frozenset({"role", "content", "refusal", "annotations"})
_COMMENTS = re.compile(rb"(?:\s++|:[^\n]*+(?:\n|\Z))*+")


def read_body(data: bytes, mended: set[str] | None = None) -> Any:
    """The answer's JSON; `mended` learns if it was odd. Under load some providers send blank lines or comments before
    it, to keep the line open."""
    start = _COMMENTS.match(data)
    try:
        value, odd = decode_any(memoryview(data)[start.end() if start else 0 :])
    except RUBBISH:
        raise AttemptFailed(Blame.UPSTREAM, "the answer is not JSON") from None
    if odd and mended is not None:
        mended.add("JSON")
    return value


def read_completion(body: Json, dialect: Dialect, reading: Reading, mended: set[str]) -> Completion:
    """The answer in a decoded body. Raises AttemptFailed for what is none, and for what says that it failed."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
    if [choice.get("index") for choice in choices] != list(range(len(choices))):
        mended.add("index of a choice")
    written: list[Json] = []
    text: list[str] = []
    kept: dict[str, Any] = {}
    for place, choice in enumerate(choices):
        if choice.get("error"):
            raise dialect.read_error(200, {}, msgspec.json.encode({"error": choice["error"]}))
        index = _index_of(choices, place)
        message, reason = _read_plain(choice) or _read_message(choice, Choice(index, reading, mended))
        calls = message.get("tool_calls")
        if dialect.keeps_reasoning and calls and message.get("reasoning_content"):
            kept[calls[0]["id"]] = {"provider": dialect.name, "reasoning": message["reasoning_content"]}
        if not choice.get("finish_reason") and not says(message):
            raise AttemptFailed(Blame.UPSTREAM, "the answer has no content and no end")
        text += said_of(message)
        logprobs = choice.get("logprobs")
        written.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
    found = {**pick_top(body), "choices": written}
    if "JSON" in mended:
        found = mend_texts(found)
    usage = dialect.read_usage(body.get("usage") or choices[0].get("usage"))
    return Completion(found, usage, written[0]["finish_reason"], text, kept, mended)


def _index_of(choices: list[Json], place: int) -> int:
    """A choice's own index, if all of them have a different one within their number; else its place."""
    found = [choice["index"] for choice in choices if type(choice.get("index")) is int]
    return int(found[place]) if sorted(found) == list(range(len(choices))) else place


def _read_plain(choice: Json) -> tuple[Json, str] | None:
    """The message of a choice that is a text and no more, as nearly all are: there is nothing to mend."""
    theirs, reason = choice.get("message"), choice.get("finish_reason")
    if not isinstance(theirs, dict) or not theirs.keys() <= PLAIN or reason not in ("stop", "length"):
        return None
    content = theirs.get("content")
    if not isinstance(content, str) or not content or theirs.get("role") != "assistant" or theirs.get("refusal"):
        return None
    message: Json = {"role": "assistant", "content": mend_text(content), "refusal": None}
    if "annotations" in theirs:
        if theirs["annotations"] != []:
            return None
        message["annotations"] = []
    return message, str(reason)


def _read_message(choice: Json, state: Choice) -> tuple[Json, str]:
    """A choice's message, complete as OpenAI's own are, and why it ended."""
    theirs, word = choice.get("message"), choice.get("finish_reason")
    reason = read_finish(word) or "stop"
    if theirs is None and reason == "content_filter":  # Azure's have none then
        theirs = {}
    if not isinstance(theirs, dict):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has a choice without a message")
    if choice.get("text") and not says(theirs):
        raise AttemptFailed(Blame.UPSTREAM, "the answer is one of a text completion")
    if theirs and theirs.get("role", "absent") != "assistant":
        state.mended.add("role")
    state.told = True
    if reason != word:
        state.mended.add("finish reason")
    said = state.read({name: value for name, value in theirs.items() if name != "role"}, reason)
    calls = _join_calls(said.pop("tool_calls", []))
    message: Json = {"role": "assistant", "content": None, "refusal": None}
    message |= {field: value for field, value in said.items() if value not in (None, "") or field == "content"}
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None  # some say "" beside calls
    return message, state.agree(reason, word)


def _join_calls(pieces: list[Json]) -> list[Json]:
    """Each call whole, without the place that only a stream needs."""
    calls: dict[int, Json] = {}
    for piece in pieces:
        index = piece.pop("index")
        call = calls.setdefault(index, piece)
        if call is piece:
            continue
        for kind, field in (("function", "arguments"), ("custom", "input")):
            if kind in piece:
                call[kind][field] += piece[kind][field]
        if "extra_content" in piece:
            call["extra_content"] = piece["extra_content"]
    return list(calls.values())
