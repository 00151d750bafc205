"""A chat body as a Conversation. It was checked as a ChatRequest; what that check leaves open stays open here, and is
refused by the providers that can't take it."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from bridge.conversation.request import CHAT, Conversation, Format, Native, Thinking, Tool, ToolChoice
from bridge.conversation.turns import Call, Media, Part, Result, Text, Thoughts, Turn
from bridge.json_types import Json, JsonObject

_WITH_VALUES = frozenset(
    {"model", "models", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "stop"}
    | {"tools", "tool_choice", "functions", "function_call", "parallel_tool_calls", "response_format"}
    | {"reasoning_effort", "thinking"}
)
_WORDS = ("text", "refusal")
_MODES = ("auto", "none", "required")


def read_conversation(body: JsonObject, encoded_messages: msgspec.Raw | None = None) -> Conversation:
    """The Conversation that this body is, in one pass over it that looks for media and calls; its turns are read when
    somebody asks for them. `encoded_messages` is `body["messages"]` as the client's own JSON."""
    get, messages = body.get, body["messages"]
    media, has_calls = _look_for_media(messages)
    newer, older = get("max_completion_tokens"), get("max_tokens")
    stop, stream_options = get("stop"), get("stream_options")
    tools, wanted, thinking = get("tools"), get("response_format"), get("thinking")
    offered = _read_tools(tools or (), get("functions") or ()) if tools or "functions" in body else []
    legacy = bool(offered) and offered[0].legacy
    chosen = "tool_choice" in body or legacy
    return Conversation(
        endpoint=CHAT,
        model=body["model"],
        turns=Messages(messages),
        media=media,
        has_calls=has_calls,
        tools=offered,
        tool_choice=_read_tool_choice(body, legacy) if chosen else None,
        parallel_calls=get("parallel_tool_calls"),
        format=Format(wanted["type"], wanted.get("json_schema")) if wanted else None,
        effort=get("reasoning_effort"),
        thinking=None if thinking is None else _read_thinking(thinking),
        output_cap_tokens=max(newer or 0, older or 0) or None,
        sent_cap=("max_completion_tokens", newer) if newer else ("max_tokens", older) if older else None,
        choices=get("n") or 1,
        stop=[text for text in ([stop] if isinstance(stop, str) else stop) if text] if stop else (),
        stream=bool(get("stream")),
        wants_usage=bool(stream_options and stream_options.get("include_usage")),
        options={field: value for field, value in body.items() if field not in _WITH_VALUES},
        native=Native(CHAT, body, encoded_messages),
    )


class Messages(Struct, gc=False):
    """The turns of a chat body, each read when somebody first gets to it, and kept."""

    messages: list[JsonObject]
    turns: list[Turn] = []  # a new one each time: msgspec sees to it

    def __len__(self) -> int:
        return len(self.messages)

    def __contains__(self, turn: object) -> bool:
        return any(turn == each for each in self)

    def __iter__(self) -> Iterator[Turn]:
        return iter(self.turns) if len(self.turns) == len(self.messages) else self._read_on()

    def _read_on(self) -> Iterator[Turn]:
        turns = self.turns
        for place, message in enumerate(self.messages):
            if place == len(turns):
                turns.append(read_turn(message, f"messages[{place}]"))
            yield turns[place]


def read_turn(message: JsonObject, place: str) -> Turn:
    """One message as a turn."""
    role, content = message["role"], message.get("content")
    if role == "assistant":
        return Turn(role, _read_assistant(message, content, place), place, message)
    if role == "tool":
        named = message.get("name")  # no field of OpenAI's, but of many a client's
        parts = _read_parts(content, place)
        name = named if isinstance(named, str) else None
        result = Result(message["tool_call_id"], name, parts, place, message.get("cache_control"))
        return Turn("user", [result], place, message)
    if role == "function":
        said = [Text(content or "")]
        return Turn("user", [Result("", message["name"], said, place, legacy=True)], place, message)
    parts = _read_parts(content, place, message.get("cache_control"))
    return Turn("user" if role == "user" else "system", parts, place, message)


def _read_parts(content: str | list[JsonObject] | None, place: str, text_cache: object = None) -> list[Text | Media]:
    """`text_cache` is the message's own mark: some put it there where the content is one text."""
    if isinstance(content, str):
        return [Text(content, text_cache)]
    return [_read_part(part, f"{place}.content[{j}]") for j, part in enumerate(content or ())]


def _read_part(part: JsonObject, place: str) -> Text | Media:
    kind = part["type"]
    if kind == "text":
        return Text(part["text"], part.get("cache_control"))
    if kind == "refusal":
        return Text(part["refusal"], part.get("cache_control"), refusal=True)
    return _read_media(part, place)


def _read_assistant(message: JsonObject, content: str | list[JsonObject] | None, place: str) -> list[Part]:
    parts: list[Part] = []
    thoughts, blocks = message.get("reasoning_content"), message.get("thinking_blocks")
    if thoughts or isinstance(blocks, list):
        parts.append(Thoughts(thoughts or "", blocks if isinstance(blocks, list) else []))
    if content is not None:
        parts += _read_parts(content, place)
    if calls := message.get("tool_calls"):
        parts += [_read_call(call, f"{place}.tool_calls[{j}]") for j, call in enumerate(calls)]
    if legacy := message.get("function_call"):
        parts.append(Call("", legacy["name"], legacy["arguments"], f"{place}.function_call", legacy=True))
    return parts


def _read_call(call: JsonObject, place: str) -> Call:
    function = call.get("function")
    if function:
        return Call(call["id"], function["name"], function["arguments"], place, call.get("extra_content"))
    custom = call.get("custom")
    name = custom.get("name") if isinstance(custom, dict) else None
    return Call(call["id"], name if isinstance(name, str) else "", "", place, custom=call)


def _look_for_media(messages: list[JsonObject]) -> tuple[list[Media], bool]:
    """The pictures, sounds and files of the messages, and whether there are calls."""
    media: list[Media] = []
    has_calls = False
    for place, message in enumerate(messages):
        content = message.get("content")
        if type(content) is list:
            for j, part in enumerate(content):
                if part["type"] not in _WORDS:
                    media.append(_read_media(part, f"messages[{place}].content[{j}]"))
        if message["role"] == "assistant" and (message.get("tool_calls") or message.get("function_call")):
            has_calls = True
    return media, has_calls


def _read_media(part: JsonObject, place: str) -> Media:
    kind, cache = part["type"], part.get("cache_control")
    if kind == "image_url":
        image = part["image_url"]
        detail = image.get("detail")
        return Media("image", place, f"{place}.image_url.url", image["url"], detail=detail, cache=cache)
    if kind == "input_audio":
        sound = part["input_audio"]
        data, sound_format = _text(sound.get("data")), _text(sound.get("format"))
        return Media("audio", place, f"{place}.input_audio", data, sound_format=sound_format, cache=cache)
    file = part["file"]
    stored = "file_id" in file
    source, name = _text(file.get("file_data")), _text(file.get("filename"))
    where = f"{place}.file.{'file_id' if stored else 'file_data'}"
    return Media("file", place, where, source, name=name, stored=stored, cache=cache)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _read_tools(tools: Sequence[JsonObject], functions: Sequence[JsonObject]) -> list[Tool]:
    """Tools, and behind them legacy functions."""
    offered = []
    for i, tool in enumerate(tools):
        function, place = tool.get("function"), f"tools[{i}]"
        if function:
            offered.append(_read_tool(function, place, tool.get("cache_control")))
        else:
            custom = tool.get("custom")
            name = custom.get("name") if isinstance(custom, dict) else None
            offered.append(Tool(name if isinstance(name, str) else "", place, custom=tool))
    for i, function in enumerate(functions):
        offered.append(_read_tool(function, f"functions[{i}]", legacy=True))
    return offered


def _read_tool(function: JsonObject, place: str, cache: object = None, *, legacy: bool = False) -> Tool:
    return Tool(
        function["name"],
        place,
        function.get("description"),
        function.get("parameters"),
        bool(function.get("strict")),
        cache,
        legacy,
    )


def _read_tool_choice(body: JsonObject, legacy: bool) -> ToolChoice | None:
    """None where the client said nothing."""
    place = "function_call" if legacy else "tool_choice"
    choice = body.get(place)
    if choice is None:
        return None
    today = body.get("tool_choice")
    listed = isinstance(today, dict) and "allowed_tools" in today
    if choice in _MODES:
        return ToolChoice(choice, (), listed, place)
    if isinstance(choice, dict):
        if legacy or choice.get("type") == "function":
            function = choice if legacy else choice.get("function")
            name = function.get("name") if isinstance(function, dict) else None
            if isinstance(name, str):
                return ToolChoice("required", (name,), listed, place)
        allowed = choice.get("allowed_tools")
        if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
            names = _read_allowed_names(allowed.get("tools"))
            if names and allowed.get("mode", "auto") in ("auto", "required"):
                return ToolChoice(allowed.get("mode", "auto"), names, listed, place)
    return ToolChoice("", place=place)


def _read_allowed_names(tools: object) -> tuple[str, ...]:
    names = []
    for tool in tools if isinstance(tools, list) else ():
        function = tool.get("function") if isinstance(tool, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if isinstance(name, str):
            names.append(name)
    return tuple(names)


def _read_thinking(thinking: object) -> Thinking:
    """`thinking` ({type, budget_tokens}) as Anthropic, DeepSeek and Moonshot call it."""
    if not isinstance(thinking, dict):
        return Thinking("")
    kind: Json = thinking.get("type")
    budget = thinking.get("budget_tokens")
    known = kind in ("enabled", "disabled", "adaptive") and (budget is None or (type(budget) is int and budget > 0))
    return Thinking(kind, budget, thinking.get("display")) if known else Thinking("")
