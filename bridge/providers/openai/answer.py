"""A whole answer of OpenAI's dialect: what a client may see of it, as OpenAI's own types have it."""

import re

import msgspec

from bridge.conversation.answer import Completion
from bridge.json_types import Json, JsonObject
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.finish_words import read_finish
from bridge.providers.odd_json import decode_any, mend_texts
from bridge.providers.openai.choice import Choice, Reading, said_of, says
from bridge.providers.openai.chunks import Server
from bridge.providers.openai.saying import choice_of
from bridge.providers.openai.shapes import RUBBISH, pick_top

PLAIN = frozenset({"role", "content", "refusal", "annotations", "reasoning_content", "tool_calls"})
_CALL, _FUNCTION = {"id", "type", "function"}, {"name", "arguments"}
_COMMENTS = re.compile(rb"(?:\s++|:[^\r\n]*+(?:[\r\n]|\Z))*+")


def read_body(data: bytes, mended: set[str] | None = None) -> Json:
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


def read_completion(body: JsonObject, server: Server, reading: Reading, mended: set[str]) -> Completion:
    """The answer in a decoded body. Raises AttemptFailed for what is none, and for what says that it failed."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
    indices = _read_indices(choices, mended)
    written: list[JsonObject] = []
    text: list[str] = []
    kept: JsonObject = {}
    for index, choice in zip(indices, choices, strict=True):
        if choice.get("error"):
            raise server.read_error(200, {}, msgspec.json.encode({"error": choice["error"]}))
        plain = _read_plain(choice, reading) if "JSON" not in mended else None
        message, reason = plain or _read_message(choice, Choice(index, reading, mended))
        calls = message.get("tool_calls")
        if server.keeps_reasoning and calls and message.get("reasoning_content"):
            kept[calls[0]["id"]] = {"provider": server.name, "reasoning": message["reasoning_content"]}
        if not choice.get("finish_reason") and not says(message):
            raise AttemptFailed(Blame.UPSTREAM, "the answer has no content and no end")
        text += said_of(message)
        logprobs = choice.get("logprobs")
        written.append({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
    top = pick_top(body)
    if "JSON" in mended:
        written, top = mend_texts(written), mend_texts(top)
    usage = server.read_usage(body.get("usage") or choices[0].get("usage"))
    found = [choice_of(choice) for choice in written]
    return Completion(found, usage, found[0].finish_reason, text, kept, mended, top)


def _read_indices(choices: list[JsonObject], mended: set[str]) -> list[int]:
    """The choices' own indices, if each has a different one within their number; else their places."""
    places = list(range(len(choices)))
    found = [choice.get("index") for choice in choices]
    if found == places:
        return places
    mended.add("index of a choice")
    whole = [index for index in found if type(index) is int]
    return whole if sorted(whole) == places else places


def _read_plain(choice: JsonObject, reading: Reading) -> tuple[JsonObject, str] | None:
    """The message of a choice with text, thoughts and calls as OpenAI itself writes them, as nearly all are: there is
    nothing to mend. None for any other."""
    theirs, reason = choice.get("message"), choice.get("finish_reason")
    if not isinstance(theirs, dict) or not theirs.keys() <= PLAIN or theirs.get("role") != "assistant":
        return None
    content, thoughts, calls = theirs.get("content"), theirs.get("reasoning_content"), theirs.get("tool_calls")
    if theirs.get("refusal") or theirs.get("annotations", []) != [] or not isinstance(thoughts, str | None):
        return None
    if calls is not None:
        calls = (
            _read_plain_calls(calls, reading) if reason == "tool_calls" and isinstance(content, str | None) else None
        )
        if not calls:
            return None
        content = content or None  # some say "" beside calls
    elif reason not in ("stop", "length") or not isinstance(content, str) or not content:
        return None
    message: JsonObject = {"role": "assistant", "content": content, "refusal": None}
    if thoughts:
        message["reasoning_content"] = thoughts
    if "annotations" in theirs:
        message["annotations"] = []
    if calls:
        message["tool_calls"] = calls
    return message, str(reason)


def _read_plain_calls(pieces: Json, reading: Reading) -> list[JsonObject] | None:
    """Calls of functions, each with an id of its own, a name and arguments; None where anything else is among them."""
    calls, ids = [], set()
    for piece in pieces if isinstance(pieces, list) and not reading.legacy else ():
        if not isinstance(piece, dict) or piece.keys() != _CALL or piece["type"] != "function":
            return None
        call_id, function = piece["id"], piece["function"]
        if not isinstance(function, dict) or function.keys() != _FUNCTION or not isinstance(call_id, str):
            return None
        name, arguments = function["name"], function["arguments"]
        if not isinstance(name, str) or not isinstance(arguments, str):
            return None
        if not (call_id and name and arguments) or arguments.isspace() or call_id in ids:
            return None
        ids.add(call_id)
        named = {"name": reading.names.get(name, name), "arguments": arguments}
        calls.append({"id": call_id, "type": "function", "function": named})
    return calls


def _read_message(choice: JsonObject, state: Choice) -> tuple[JsonObject, str]:
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
    state.told, state.calls.numbered = True, False
    if reason != word:
        state.mended.add("finish reason")
    said = state.read({name: value for name, value in theirs.items() if name != "role"}, reason)
    calls = _join_calls(said.pop("tool_calls", []))
    message: JsonObject = {"role": "assistant", "content": None, "refusal": None}
    message |= {field: value for field, value in said.items() if value not in (None, "") or field == "content"}
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None  # some say "" beside calls
    return message, state.agree(reason, word)


def _join_calls(pieces: list[JsonObject]) -> list[JsonObject]:
    """Each call whole, without the place that only a stream needs."""
    calls: dict[int, JsonObject] = {}
    texts: dict[tuple[int, str, str], list[str]] = {}
    for piece in pieces:
        index = piece.pop("index")
        call = calls.setdefault(index, piece)
        for kind, field in (("function", "arguments"), ("custom", "input")):
            if kind in piece:
                texts.setdefault((index, kind, field), []).append(piece[kind][field])
        if "extra_content" in piece:
            call["extra_content"] = piece["extra_content"]
    for (index, kind, field), said in texts.items():
        calls[index][kind][field] = "".join(said)
    return list(calls.values())
