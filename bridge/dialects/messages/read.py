"""A Messages body as a Conversation. It was checked by `check_request`."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from bridge.conversation.request import MESSAGES, Conversation, Format, Native, Thinking, Tool, ToolChoice
from bridge.conversation.turns import Call, Media, Part, Result, Text, Thoughts, Turn, Untold
from bridge.dialects.envelope import is_ours, open_value
from bridge.dialects.messages.request import TOOL_SEARCH
from bridge.json_types import Json, JsonObject

BILLING_LINE = "x-anthropic-billing-header:"  # Claude Code's, for Anthropic alone: it would spoil others' caches
# What Anthropic's own tools did: nobody else knows, so it is left out for others, call and result alike.
SERVERS_OWN = frozenset(
    {"server_tool_use", "mcp_tool_use", "mcp_tool_result", "compaction", "fallback", "tool_addition", "tool_removal"}
    | {f"{name}_tool_result" for name in ("web_search", "web_fetch", "tool_search", "advisor")}
    | {f"{name}_tool_result" for name in ("code_execution", "bash_code_execution", "text_editor_code_execution")}
)
TOOL_REFERENCE = "tool_reference"
_WITH_VALUES = frozenset(
    {"model", "messages", "system", "stream", "max_tokens", "stop_sequences", "tools", "tool_choice", "thinking"}
    | {"output_config", "output_format", "metadata", "service_tier", "speed", "inference_geo"}
)
_MODES = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}
_encode = msgspec.json.encode


class _Session(msgspec.Struct):
    session_id: str = ""


def read_conversation(body: JsonObject, account_id: int, betas: Sequence[str] = ()) -> Conversation:
    """The Conversation that this body is. `account_id` is whose envelopes are opened."""
    body = {field: value for field, value in body.items() if value is not None}
    reader = _Reader(account_id)
    turns = reader.read_turns(body)
    tools = [_read_tool(tool, f"tools.{place}") for place, tool in _list_tools(body)]
    choice, config = body.get("tool_choice"), body.get("output_config") or {}
    wanted = config.get("format") or body.get("output_format")
    who = (body.get("metadata") or {}).get("user_id")
    cap = body.get("max_tokens")
    return Conversation(
        endpoint=MESSAGES,
        model=body["model"],
        turns=turns,
        media=reader.media,
        has_calls=reader.has_calls,
        tools=tools,
        tool_choice=_read_tool_choice(choice) if choice else None,
        parallel_calls=False if choice and choice.get("disable_parallel_tool_use") else None,
        format=Format("json_schema", _define(wanted["schema"])) if wanted else None,
        effort=config.get("effort"),
        thinking=_read_thinking(body["thinking"]) if body.get("thinking") else None,
        output_cap_tokens=cap,
        sent_cap=("max_tokens", cap) if cap else None,
        stop=[text for text in body.get("stop_sequences") or () if text],
        stream=bool(body.get("stream")),
        wants_usage=True,
        options={**_read_options(body, who), **reader.left_out},
        carried=reader.carried,
        native=Native(MESSAGES, body, betas=tuple(betas)),
        session=_read_session(who),
    )


def _read_options(body: JsonObject, who: Json) -> JsonObject:
    options = {field: value for field, value in body.items() if field not in _WITH_VALUES}
    if isinstance(who, str) and who:
        options["user"] = who
    for place, tool in enumerate(body.get("tools") or ()):
        if _is_search(tool):  # all tools are sent at once instead
            options[f"tools.{place}"] = True
    return options


def _read_session(who: Json) -> str:
    """Claude Code's user_id is JSON that names its session or, in older versions, a text that ends with it."""
    if not isinstance(who, str):
        return ""
    if who.startswith("{"):
        try:
            return msgspec.json.decode(who, type=_Session).session_id
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return ""
    return who.rpartition("_session_")[2] if "_session_" in who else ""


class _Reader:
    """Reads the turns, and notes on its way what everybody asks of them."""

    def __init__(self, account_id: int):
        self._account_id = account_id
        self.media: list[Media] = []
        self.has_calls = False
        self.carried: JsonObject = {}
        self.left_out: JsonObject = {}  # by its place

    def read_turns(self, body: JsonObject) -> list[Turn]:
        turns = []
        if said := _read_system(body.get("system")):
            turns.append(Turn("system", said, "system", body["system"]))
        for number, message in enumerate(body["messages"]):
            place, content = f"messages.{number}", message["content"]
            if isinstance(content, str):
                parts: list[Part] = [Text(content)] if content else []
            else:
                parts = list(self._read_blocks(content, f"{place}.content"))
            if parts or message["role"] == "user":
                turns.append(Turn(message["role"], parts, place, message))
        return turns

    def _read_blocks(self, blocks: Iterable[JsonObject], place: str) -> Iterator[Part]:
        for number, block in enumerate(blocks):
            yield from self._read_block(block, f"{place}.{number}")

    def _read_block(self, block: JsonObject, place: str) -> Iterable[Part]:
        kind = block["type"]
        cache = block.get("cache_control")
        if kind in _PLAIN:
            return _PLAIN[kind](self, block, place)
        if kind in ("thinking", "redacted_thinking"):
            return [part] if (part := self._read_thoughts(block)) else []
        if kind == "tool_use":
            self.has_calls = True
            return [Call(block["id"], block["name"], _encode(block["input"]).decode(), place)]
        if kind == "tool_result":
            content = block.get("content")
            parts = [Text(content)] if isinstance(content, str) else self._read_inner(content or (), place)
            failed = bool(block.get("is_error"))
            return [Result(block["tool_use_id"], None, parts, place, cache, is_error=failed)]
        self._measure_within(block, place)
        if kind in SERVERS_OWN:
            self.left_out[place] = kind
            return []
        return [Untold(kind, place)]

    def _read_inner(self, blocks: Iterable[JsonObject], place: str) -> list[Text | Media]:
        """What a tool said: texts and media, and what only Anthropic knows as a text that names it."""
        parts: list[Text | Media] = []
        for part in self._read_blocks(blocks, f"{place}.content"):
            if isinstance(part, Text | Media):
                parts.append(part)
            elif isinstance(part, Untold):
                self.left_out[part.place] = part.kind
        if len(parts) > 1 and all(isinstance(part, Text) and part.cache is None for part in parts):
            return [Text("\n".join(part.text for part in parts if isinstance(part, Text)))]
        return parts

    def _read_text(self, block: JsonObject, place: str) -> Iterable[Part]:
        text = block["text"]
        return [Text(text, block.get("cache_control"))] if text.strip() else []

    def _read_image(self, block: JsonObject, place: str) -> Iterable[Part]:
        source, cache = block["source"], block.get("cache_control")
        return [self._note(_read_source("image", source, place, cache=cache))]

    def _read_document(self, block: JsonObject, place: str) -> Iterable[Part]:
        source, cache = block["source"], block.get("cache_control")
        title = _text(block.get("title"))
        if source["type"] in ("base64", "url"):
            about = _text(block.get("context"))
            before = [Text(about)] if about else []
            return [*before, self._note(_read_source("file", source, place, title, cache))]
        if source["type"] == "text":
            return [Text(_entitle(title, _text(block.get("context")), source["data"]), cache)]
        content = source["content"]
        if isinstance(content, str):
            return [Text(_entitle(title, _text(block.get("context")), content), cache)]
        inner = list(self._read_blocks(content, f"{place}.source.content"))
        return [Text(f"{title}:"), *inner] if title else inner

    def _read_search_result(self, block: JsonObject, place: str) -> Iterable[Part]:
        said = "\n".join(_text(part.get("text")) for part in block["content"])
        return [Text(_entitle(block["title"], block["source"], said), block.get("cache_control"))]

    def _read_reference(self, block: JsonObject, place: str) -> Iterable[Part]:
        """What the client's own search for tools has found."""
        return [Text(f"Loaded the tool {_text(block.get('tool_name'))}.")]

    def _read_thoughts(self, block: JsonObject) -> Thoughts | None:
        """Thoughts that carry an envelope of ours are what is inside; Anthropic's own stay as they are."""
        text, signature = block.get("thinking") or "", block.get("signature") or block.get("data") or ""
        if not is_ours(signature):
            return Thoughts(text, [block]) if signature else Thoughts(text) if text else None
        found = open_value(signature, self._account_id) or {}
        value, call_id = found.get("value"), found.get("call_id")
        if isinstance(call_id, str) and call_id and value is not None:
            self.carried[call_id] = value
        elif value is not None:
            return Thoughts(text, sealed=[value])
        return Thoughts(text) if text else None

    def _note(self, media: Media) -> Media:
        self.media.append(media)
        return media

    def _measure_within(self, value: Json, place: str) -> None:
        """Note the pictures and documents within a block of a kind that we don't know: they cost something too."""
        waiting = [value]
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                source, kind = node.get("source"), {"image": "image", "document": "file"}.get(str(node.get("type")))
                if kind and isinstance(source, dict) and (source.get("data") or source.get("url")):
                    self._note(_read_source(kind, source, place))
                waiting += node.values()
            elif isinstance(node, list):
                waiting += node


_PLAIN = {
    "text": _Reader._read_text,
    "image": _Reader._read_image,
    "document": _Reader._read_document,
    "search_result": _Reader._read_search_result,
    TOOL_REFERENCE: _Reader._read_reference,
}


def _read_source(kind: str, source: JsonObject, place: str, title: str = "", cache: Json = None) -> Media:
    if source.get("type") == "url":
        where = f"{place}.source.url"
        return Media(kind, place, where, _text(source.get("url")), name=title, cache=cache, linked=kind == "file")
    media_type, data = _text(source.get("media_type")), _text(source.get("data"))
    return Media(kind, place, f"{place}.source.data", data, media_type or "application/pdf", name=title, cache=cache)


def _entitle(title: str, about: str, text: str) -> str:
    """A text with what it is called and what it is about, as a document has them."""
    head = "\n".join(line for line in (title, about) if line)
    return f"{head}\n\n{text}" if head else text


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _read_system(system: Json) -> list[Part]:
    """The system's texts, without the line of Claude Code's that tells Anthropic whom to bill."""
    if isinstance(system, str):
        if system.startswith(BILLING_LINE):
            system = system.partition("\n")[2]
        return [Text(system)] if system.strip() else []
    texts = [(block["text"], block.get("cache_control")) for block in system or ()]
    if texts and texts[0][0].startswith(BILLING_LINE):
        texts[0] = texts[0][0].partition("\n")[2], texts[0][1]
    return [Text(text, cache) for text, cache in texts if text.strip()]


def _list_tools(body: JsonObject) -> list[tuple[int, JsonObject]]:
    """The tools that a model may know of, by their places: of deferred ones those that the conversation has loaded. All
    of them where Anthropic was to search, which nobody does then."""
    given: list[JsonObject] = body.get("tools") or []
    tools = [(place, tool) for place, tool in enumerate(given) if not _is_search(tool)]
    if len(tools) < len(given) or not any(tool.get("defer_loading") for tool in given):
        return tools
    loaded = _find_loaded(body)
    return [
        (place, tool) for place, tool in tools if not tool.get("defer_loading") or _text(tool.get("name")) in loaded
    ]


def _is_search(tool: JsonObject) -> bool:
    return str(tool.get("type") or "").startswith(TOOL_SEARCH)


def _find_loaded(body: JsonObject) -> set[str]:
    """The names of tools that a result or the system refers to, that were called, or that are to be called now."""
    found = {_text((body.get("tool_choice") or {}).get("name"))}
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "tool_use":
                found.add(block["name"])
            elif block["type"] == "tool_result" and isinstance(block.get("content"), list):
                found |= {
                    _text(part.get("tool_name")) for part in block["content"] if part.get("type") == TOOL_REFERENCE
                }
            elif block["type"] in ("tool_addition", "tool_removal") and isinstance(block.get("tool"), dict):
                name = _text(block["tool"].get("name"))
                (found.add if block["type"] == "tool_addition" else found.discard)(name)
    return found


def _read_tool(tool: JsonObject, place: str) -> Tool:
    """A client's tool. One of a type that Anthropic knows the schema of is for its own upstreams."""
    if tool.get("type") not in (None, "custom"):
        return Tool(_text(tool.get("name")), place, custom=tool, dialect=MESSAGES)
    description = tool.get("description")
    if examples := tool.get("input_examples"):
        shown = "\n".join(_encode(example).decode() for example in examples)
        description = "\n\n".join(filter(None, (description, f"Examples of its input:\n{shown}")))
    cache, strict = tool.get("cache_control"), bool(tool.get("strict"))
    return Tool(tool["name"], place, description, tool["input_schema"], strict, cache)


def _read_tool_choice(choice: JsonObject) -> ToolChoice:
    names = (choice["name"],) if choice["type"] == "tool" else ()
    return ToolChoice(_MODES[choice["type"]], names)


def _read_thinking(thinking: JsonObject) -> Thinking:
    kind = thinking["type"] if thinking["type"] in ("enabled", "disabled") else "adaptive"
    return Thinking(kind, thinking.get("budget_tokens"), thinking.get("display"))


def _define(schema: JsonObject) -> JsonObject:
    """The schema as OpenAI's definition of a format has it."""
    return {"name": "answer", "strict": True, "schema": schema}
