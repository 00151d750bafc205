"""What a chat body says, in plain values that no dialect owns: turns of parts, tools, the answer's format, thinking.

For the providers that have a dialect of their own. The body was checked by v1.chat_request; what that check leaves open
is refused here, with the field's name."""

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from bridge.providers.base import refuse
from bridge.providers.request_fields import MAX_DROPPED, show_field

# What means the same as leaving it out: not worth a word when a provider has no equal for it.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "function_call": ("auto",),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"], []),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "stream_options": ({},),
    "top_logprobs": (0,),
    "top_p": (1,),
    "verbosity": ("medium",),
}
MAX_URL_HEAD = 1024  # characters of a data URL before its data: looking for them in all of it would take seconds
_DATA_URL = re.compile(r"data:([\w.+/-]*)((?:;[^;,]*)*),", re.I)
_SAME_TYPE = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "audio/mpeg": "audio/mp3",
    "audio/x-wav": "audio/wav",
}
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)


class Text(Struct, frozen=True):
    """`cache` is the `cache_control` that the client put on the part, as it stands in the body."""

    text: str
    cache: Any = None


class Media(Struct, frozen=True):
    """A picture, sound or document: base64 `data` of `media_type`, or the `url` where the provider is to fetch it."""

    kind: str  # image, audio, file
    place: str  # messages[1].content[0]
    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    cache: Any = None


class Call(Struct, frozen=True):
    """A tool call that the model made earlier. `extra` is its `extra_content`, in which Google's clients carry
    signatures. A `legacy` one (`function_call`) may have no result, and its result no call."""

    id: str
    name: str
    arguments: dict[str, Any]
    place: str
    extra: Any = None
    legacy: bool = False


class Result(Struct, frozen=True):
    """What the client's tool said to a call; `name` is the call's, where no earlier turn made it the message's own."""

    call_id: str
    name: str
    parts: list[Any]  # Text and Media
    place: str
    cache: Any = None
    legacy: bool = False


class Thoughts(Struct, frozen=True):
    """Reasoning given back by the client: as text, or as the blocks (`thinking_blocks`) that a provider signed."""

    text: str
    blocks: list[Any]


class Turn(Struct):
    """Consecutive messages of one side: "system", "user" (tool results too) or "assistant". `place` is the first's."""

    role: str
    parts: list[Any]
    place: str


class Tool(Struct, frozen=True):
    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool
    place: str
    cache: Any = None


class ToolChoice(Struct, frozen=True):
    """`mode` is auto, none or required; `names` limits it to these tools, all of them where there are none."""

    mode: str
    names: tuple[str, ...] = ()


class Thinking(Struct, frozen=True):
    """How much the model is to think: `on` False turns it off; `effort` and `budget_tokens` are what was asked for."""

    on: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None


def read_turns(body: dict[str, Any]) -> list[Turn]:
    """The conversation, neighbours of one side merged, legacy function messages as tool calls and results.

    Raises AttemptFailed (the client's 400) for media that can't be read."""
    turns: list[Turn] = []
    names: dict[str, str] = {}  # of calls, by id
    legacy_ids: dict[str, str] = {}  # the last legacy call of each name
    for i, message in enumerate(body["messages"]):
        place, role = f"messages[{i}]", message["role"]
        if role in ("system", "developer"):
            turns.append(
                Turn("system", list(_read_parts(message.get("content"), place, message.get("cache_control"))), place)
            )
            continue
        if role == "assistant":
            parts = list(_read_assistant(message, place, names, legacy_ids))
        elif role == "user":
            parts = list(_read_parts(message["content"], place, message.get("cache_control")))
        else:
            parts = [_read_result(message, place, names, legacy_ids)]
        side = "assistant" if role == "assistant" else "user"
        if turns and turns[-1].role == side:
            turns[-1].parts += parts
        else:
            turns.append(Turn(side, parts, place))
    return turns


def _read_parts(content: Any, place: str, text_cache: Any = None) -> Iterator[Any]:
    """`text_cache` is the message's own mark: some put it there where the content is one text."""
    if isinstance(content, str):
        yield Text(content, text_cache)
        return
    for j, part in enumerate(content or ()):
        here, kind, cache = f"{place}.content[{j}]", part["type"], part.get("cache_control")
        if kind == "text":
            yield Text(part["text"], cache)
        elif kind == "refusal":
            yield Text(part["refusal"], cache)
        elif kind == "image_url":
            yield _read_image(part["image_url"]["url"], here, cache)
        elif kind == "input_audio":
            yield _read_audio(part["input_audio"], here, cache)
        else:
            yield _read_file(part["file"], here, cache)


def _read_assistant(
    message: dict[str, Any], place: str, names: dict[str, str], legacy_ids: dict[str, str]
) -> Iterator[Any]:
    thoughts, blocks = message.get("reasoning_content"), message.get("thinking_blocks")
    if thoughts or isinstance(blocks, list):
        yield Thoughts(thoughts or "", blocks if isinstance(blocks, list) else [])
    yield from _read_parts(message.get("content"), place)
    for j, call in enumerate(message.get("tool_calls") or ()):
        here, function = f"{place}.tool_calls[{j}]", call.get("function")
        if not function:
            raise refuse(here, f"{here}: this model takes calls of functions only.", "unsupported_parameter")
        names[call["id"]] = function["name"]
        arguments = read_arguments(function["arguments"])
        yield Call(call["id"], function["name"], arguments, here, call.get("extra_content"))
    legacy = message.get("function_call")
    if legacy:
        call_id = f"call_{len(names)}_{len(legacy_ids)}"
        names[call_id], legacy_ids[legacy["name"]] = legacy["name"], call_id
        yield Call(call_id, legacy["name"], read_arguments(legacy["arguments"]), f"{place}.function_call", legacy=True)


def _read_result(message: dict[str, Any], place: str, names: dict[str, str], legacy_ids: dict[str, str]) -> Result:
    if message["role"] == "function":
        name, said = message["name"], [Text(message.get("content") or "")]
        return Result(legacy_ids.get(name, f"call_{name}"), name, said, place, legacy=True)
    call_id = message["tool_call_id"]
    parts = list(_read_parts(message["content"], place))
    named = message.get("name")  # no field of OpenAI's, but of many a client's
    name = names.get(call_id) or (named if isinstance(named, str) else "")
    return Result(call_id, name, parts, place, message.get("cache_control"))


def read_arguments(text: str) -> dict[str, Any]:
    """A call's arguments as the object they are. What a length limit cut in two is none, and reads as no arguments:
    the conversation has to be able to go on."""
    try:
        arguments = msgspec.json.decode(text or "{}")
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _read_image(url: str, place: str, cache: Any) -> Media:
    if url[:5].lower() == "data:":
        media_type, data = _read_data_url(url, f"{place}.image_url.url")
        return Media("image", place, _sniff(data) or media_type, data, cache=cache)
    if url[:8].lower() == "https://" or url[:7].lower() == "http://":
        return Media("image", place, url=url, cache=cache)
    raise _bad_image(f"{place}.image_url.url", "is neither a data URL nor an http(s) URL")


def _read_audio(audio: dict[str, Any], place: str, cache: Any) -> Media:
    data, kind = audio.get("data"), audio.get("format")
    if not isinstance(data, str) or not data or not isinstance(kind, str) or not kind.isalnum():
        raise refuse(f"{place}.input_audio", f"{place}.input_audio needs `data` (base64) and `format` (wav or mp3).")
    return Media("audio", place, f"audio/{kind.lower()}", data, cache=cache)


def _read_file(file: dict[str, Any], place: str, cache: Any) -> Media:
    data, name = file.get("file_data"), file.get("filename")
    if not isinstance(data, str) or not data:
        raise refuse(
            f"{place}.file", f"{place}.file needs `file_data`, a base64 data URL: this model can't read stored files."
        )
    media_type = "application/pdf"
    if data[:5].lower() == "data:":
        media_type, data = _read_data_url(data, f"{place}.file.file_data", "file_data")
    return Media("file", place, media_type, data, name=name if isinstance(name, str) else "", cache=cache)


def _read_data_url(url: str, place: str, what: str = "image") -> tuple[str, str]:
    found = _DATA_URL.match(url, 0, MAX_URL_HEAD)
    if not found or ";base64" not in found.group(2).lower():
        raise (
            _bad_image(place, f"is no base64 data URL ({what})")
            if what == "image"
            else refuse(place, f"{place} is no base64 data URL.")
        )
    media_type = found.group(1).lower()
    return _SAME_TYPE.get(media_type, media_type), url[found.end() :].strip()


def _sniff(data: str) -> str:
    """The type that the first bytes tell: providers refuse a picture whose stated type is another; OpenAI doesn't."""
    try:
        head = base64.b64decode(data[:24])
    except (binascii.Error, ValueError):
        return ""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for signature, media_type in _SIGNATURES if head.startswith(signature)), "")


def _bad_image(place: str, why: str) -> Exception:
    return refuse(place, f"{place} {why}. Send the picture as data:image/png;base64,….", "invalid_image")


def read_tools(body: dict[str, Any]) -> list[Tool]:
    """Tools and legacy functions alike. Raises AttemptFailed for custom tools: only OpenAI's own models have them."""
    tools = []
    for i, tool in enumerate(body.get("tools") or ()):
        function, place = tool.get("function"), f"tools[{i}]"
        if not function:
            raise refuse(place, f"{place}: this model takes function tools only.", "unsupported_parameter")
        tools.append(_read_tool(function, place, tool.get("cache_control")))
    if not tools:
        tools = [_read_tool(function, f"functions[{i}]") for i, function in enumerate(body.get("functions") or ())]
    return tools


def _read_tool(function: dict[str, Any], place: str, cache: Any = None) -> Tool:
    return Tool(
        function["name"],
        function.get("description"),
        function.get("parameters"),
        bool(function.get("strict")),
        place,
        cache,
    )


def is_legacy(body: dict[str, Any]) -> bool:
    """Whether the client speaks the dialect of `functions`, and expects `function_call` in the answer."""
    return bool(body.get("functions")) and not body.get("tools")


def read_tool_choice(body: dict[str, Any]) -> ToolChoice | None:
    """None where the client said nothing. Raises AttemptFailed for what means nothing."""
    param = "function_call" if is_legacy(body) else "tool_choice"
    choice = body.get(param)
    if choice is None:
        return None
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if isinstance(choice, dict):
        if param == "function_call" or choice.get("type") == "function":
            function = choice if param == "function_call" else choice.get("function")
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(name, str):
                return ToolChoice("required", (name,))
        allowed = choice.get("allowed_tools")
        if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
            names = _read_allowed_names(allowed.get("tools"))
            if names and allowed.get("mode", "auto") in ("auto", "required"):
                return ToolChoice(allowed.get("mode", "auto"), names)
    raise refuse(
        param, f"{param} must be auto, none, required, a function's name as OpenAI writes it, or allowed_tools."
    )


def _read_allowed_names(tools: Any) -> tuple[str, ...]:
    names = []
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            names.append(name)
    return tuple(names)


def read_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that the answer has to follow, or None. Raises AttemptFailed for a format without one."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") != "json_schema":
        return None
    schema = (wanted.get("json_schema") or {}).get("schema")
    if not isinstance(schema, dict):
        param = "response_format.json_schema.schema"
        raise refuse(param, f"{param} is required: a JSON schema.", "missing_required_parameter")
    return schema


def wants_json(body: dict[str, Any]) -> bool:
    """Whether any JSON object will do (`json_object`)."""
    return (body.get("response_format") or {}).get("type") == "json_object"


def read_stop(body: dict[str, Any]) -> list[str]:
    """The stop sequences, empty ones left out."""
    stop = body.get("stop")
    return [text for text in ([stop] if isinstance(stop, str) else stop or ()) if text]


def read_cap(body: dict[str, Any], output_cap: int | None) -> int | None:
    """The output cap that goes out: ours where there is one, else the client's own (of two the newer name counts)."""
    return output_cap or body.get("max_completion_tokens") or body.get("max_tokens")


def read_thinking(body: dict[str, Any]) -> Thinking:
    """`reasoning_effort`, or `thinking` ({type, budget_tokens}) as Anthropic, DeepSeek and Moonshot call it.

    Raises AttemptFailed for a `thinking` that is none of theirs."""
    effort, thinking = body.get("reasoning_effort"), body.get("thinking")
    if thinking is None:
        return Thinking(False, "none") if effort == "none" else Thinking(None, effort or None)
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if kind not in ("enabled", "disabled", "adaptive") or not (budget is None or (type(budget) is int and budget > 0)):
        raise refuse("thinking", 'thinking must be {"type": "enabled", "budget_tokens": 2048}, or of type "disabled".')
    if kind == "disabled":
        return Thinking(False)
    return Thinking(True, None if effort == "none" else effort, budget)


def list_dropped(body: dict[str, Any], taken: frozenset[str]) -> list[str]:
    """The fields of the body that say something and that the provider has no equal for, in the body's order: as many
    as a header may hold."""
    dropped = [
        show_field(field)
        for field, value in body.items()
        if field not in taken and value is not None and value not in NEUTRAL.get(field, ())
    ]
    return dropped[:MAX_DROPPED]
