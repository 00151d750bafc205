"""A whole answer of OpenAI's dialect: what a client may see of it, as OpenAI's own types have it."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from bridge.providers.base import NOTHING_KEPT, UNBELIEVABLE, AttemptFailed, Blame, Completion, Usage
from bridge.providers.openai_shapes import RUBBISH, UsageStruct, our_reason, pick_message, pick_top
from bridge.providers.openai_stream import Dialect
from bridge.providers.tool_names import restore_names
from bridge.providers.translated import new_call_id

COUNTS = UsageStruct | None
_COMMENTS = re.compile(rb"(?:\s++|:[^\n]*+(?:\n|\Z))*+")
OTHER_FIELDS = ("annotations", "audio", "function_call", "extra_content")


def read_body(data: bytes) -> Any:
    """The answer's JSON. Under load some providers send blank lines or comments before it, to keep the line open."""
    start = _COMMENTS.match(data)
    try:
        return msgspec.json.decode(memoryview(data)[start.end() if start else 0 :])
    except RUBBISH:
        raise AttemptFailed(Blame.UPSTREAM, "the answer is not JSON") from None


def read_completion(
    body: dict[str, Any], dialect: Dialect, legacy: bool, names: Mapping[str, str] = NOTHING_KEPT
) -> Completion:
    """The answer in a decoded body. Raises AttemptFailed for what is none. `legacy` and `names`: see OpenAIReader."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        raise AttemptFailed(Blame.UPSTREAM, "the answer has no choices")
    written: list[dict[str, Any]] = []
    text: list[str] = []
    kept: dict[str, Any] = {}
    for place, choice in enumerate(choices):
        theirs = choice.get("message", {})  # a filtered choice of Azure's has none
        if not isinstance(theirs, dict):
            raise AttemptFailed(Blame.UPSTREAM, "the answer has a choice without a message")
        message = _write_message(theirs)
        calls = message.get("tool_calls")
        if dialect.keeps_reasoning and calls and message.get("reasoning_content"):
            kept[calls[0]["id"]] = {"provider": dialect.name, "reasoning": message["reasoning_content"]}
        reason = our_reason(choice.get("finish_reason"), bool(calls))
        if names:
            restore_names(message, names)
        if legacy and calls:
            message, reason = pick_message(message, legacy=True), reason.replace("tool_calls", "function_call")
        text += _said(message)
        written.append(
            {
                "index": choice["index"] if type(choice.get("index")) is int else place,
                "message": message,
                "logprobs": choice.get("logprobs"),
                "finish_reason": reason,
            }
        )
    found = {**pick_top(body), "choices": written}
    return Completion(found, _read_usage(body, choices, dialect), written[0]["finish_reason"], text, kept)


def _read_usage(body: dict[str, Any], choices: list[dict[str, Any]], dialect: Dialect) -> Usage | None:
    """The counts at the top, or in the first choice; what is no count is not believed."""
    try:
        return dialect.read_usage(msgspec.convert(body.get("usage") or choices[0].get("usage"), COUNTS))
    except msgspec.ValidationError:
        return UNBELIEVABLE


def _write_message(theirs: dict[str, Any]) -> dict[str, Any]:
    content, refusal, calls = theirs.get("content"), theirs.get("refusal"), theirs.get("tool_calls")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": content if isinstance(content, str) else _text_of(content),
        "refusal": refusal if isinstance(refusal, str) else None,
    }
    thoughts = theirs.get("reasoning_content") or theirs.get("reasoning")
    if thoughts and isinstance(thoughts, str):
        message["reasoning_content"] = thoughts
    if isinstance(calls, list) and (found := [_write_call(call) for call in calls if isinstance(call, dict)]):
        message["tool_calls"] = found
        message["content"] = message["content"] or None  # some say "" beside calls
    for field in OTHER_FIELDS:
        if field in theirs and isinstance(theirs[field], dict | list):
            message[field] = theirs[field]
    return message


def _text_of(content: Any) -> str | None:
    """The texts of a server that answers in parts."""
    if not isinstance(content, list):
        return None
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in parts if isinstance(text, str))


def _write_call(call: dict[str, Any]) -> dict[str, Any]:
    call_id, function = call.get("id"), call.get("function")
    written: dict[str, Any] = {"id": call_id if isinstance(call_id, str) and call_id else new_call_id()}
    if isinstance(function, dict):
        name, arguments = function.get("name"), function.get("arguments")
        if not isinstance(arguments, str):  # some send the object itself
            arguments = "" if arguments is None else msgspec.json.encode(arguments).decode()
        function = {"name": name if isinstance(name, str) else "", "arguments": arguments}
        written |= {"type": "function", "function": function}
    else:
        written |= {field: call[field] for field in ("type", "custom") if field in call}
    if call.get("extra_content"):
        written["extra_content"] = call["extra_content"]
    return written


def _said(message: dict[str, Any]) -> list[str]:
    """Everything the model wrote in a message, for our own count."""
    said = [message["content"], message["refusal"], message.get("reasoning_content")]
    if "tool_calls" in message or "function_call" in message:
        functions = [call.get("function") for call in message.get("tool_calls") or ()]
        for function in [*functions, message.get("function_call")]:
            if isinstance(function, dict):
                said += [function.get("name"), function.get("arguments")]
    return [text for text in said if isinstance(text, str) and text]
