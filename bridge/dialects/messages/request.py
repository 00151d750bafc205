"""The body of a Messages request: what is checked before it goes anywhere, and refused in Anthropic's words, the field
first."""

import re
from collections.abc import Iterator, Set
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject

AtLeastOne = Annotated[int, Meta(ge=1, le=2**31)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
T = TypeVar("T")


class InputMessage(Struct):
    """One turn. `system` may come in the middle: newer clients send it so."""

    role: Literal["user", "assistant", "system"]
    content: str | list[JsonObject]


class MessagesRequest(Struct, kw_only=True):
    """Anthropic's request for a message, as far as we check it. Further fields of its own are dropped and named."""

    model: Name
    messages: Annotated[list[InputMessage], Meta(max_length=100_000)]
    max_tokens: AtLeastOne | None = None
    system: str | list[JsonObject] | None = None
    stream: bool | None = None
    temperature: Share | None = None
    top_p: Share | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    stop_sequences: list[str] | None = None
    tools: list[JsonObject] | None = None
    tool_choice: JsonObject | None = None
    thinking: JsonObject | None = None
    output_config: JsonObject | None = None
    output_format: JsonObject | None = None
    metadata: JsonObject | None = None
    cache_control: JsonObject | None = None
    context_management: JsonObject | None = None
    service_tier: str | None = None


class TextBlock(Struct):
    text: str


class MediaBlock(Struct):
    source: JsonObject


class SearchResultBlock(Struct):
    source: str
    title: str
    content: list[JsonObject]


class ToolReferenceBlock(Struct):
    tool_name: str


class ThinkingBlock(Struct):
    thinking: str
    signature: str = ""


class RedactedThinkingBlock(Struct):
    data: str


class ToolUseBlock(Struct):
    id: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    input: JsonObject


class ToolResultBlock(Struct):
    tool_use_id: Annotated[str, Meta(min_length=1)]
    content: str | list[JsonObject] | None = None
    is_error: bool | None = None


class ClientTool(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    input_schema: JsonObject
    description: str | None = None
    strict: bool | None = None
    input_examples: list[JsonObject] | None = None
    cache_control: JsonObject | None = None


class _Source(Struct):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""
    content: str | list[JsonObject] = ""


class MessagesToolChoice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessagesThinking(Struct):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1024)] | None = None
    display: str | None = None


class MessagesFormat(Struct):
    type: Literal["json_schema"]
    schema: JsonObject


class MessagesOutputConfig(Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    format: MessagesFormat | None = None


class MessagesMetadata(Struct):
    user_id: Annotated[str, Meta(max_length=4096)] | None = None


BLOCKS: dict[str, type[Struct]] = {
    "text": TextBlock,
    "image": MediaBlock,
    "document": MediaBlock,
    "search_result": SearchResultBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedThinkingBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
    "tool_reference": ToolReferenceBlock,
}
SOURCES = {
    "image": {"base64": ("media_type", "data"), "url": ("url",)},
    "document": {"base64": ("media_type", "data"), "url": ("url",), "text": ("data",), "content": ("content",)},
}
ONLY_OF = {"assistant": ("thinking", "redacted_thinking", "tool_use"), "user": ("tool_result",)}
TYPED_CLIENT_TOOLS = ("bash_", "text_editor_", "memory_", "computer_", "browser_toolset_")
TOOL_SEARCH = "tool_search_tool_"
# Fields that choose a host, a bill or stored state elsewhere.
ELSEWHERE = ("container", "mcp_servers", "thread", "fallbacks", "billing_policy", "user_profile_id", "workspace_id")
EMPTY: tuple[Json, ...] = (None, "", [], {})
# What bears a price of its own, and the values of it that bear none.
FREE_OF_CHARGE: dict[str, tuple[str, ...]] = {
    "service_tier": ("auto", "standard_only"),
    "speed": ("standard",),
    "inference_geo": ("global", "not_available"),
}
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_FIELD = re.compile(r"missing required field `([^`]*)`")
_GOT = re.compile(r"Expected `([^`]*)`, got `[^`]*`")
_INPUTS = {
    "str": "Input should be a valid string",
    "int": "Input should be a valid integer",
    "bool": "Input should be a valid boolean",
    "float": "Input should be a valid number",
    "array": "Input should be a valid list",
    "object": "Input should be an object",
}


def check_request(body: JsonObject, *, counting: bool = False, interleaved: bool = False) -> MessagesRequest:
    """The request in its types. Where tokens are only counted, no cap is wanted; where thoughts are `interleaved` with
    calls, the budget may be above the cap. Raises InvalidRequest."""
    refuse_elsewhere(body)
    request = convert({field: value for field, value in body.items() if value is not None}, MessagesRequest, "")
    if request.max_tokens is None and not counting:
        raise wrong("max_tokens", "Field required", "missing_required_parameter")
    if not request.messages:
        raise wrong("messages", "at least one message is required")
    for field, block in list_blocks(request):
        _check_block(block, field)
    _check_tools(request)
    _check_settings(request, interleaved)
    if request.cache_control is not None:
        _check_cache(request.cache_control)
    _check_pairs(request.messages)
    return request


def _check_cache(control: JsonObject) -> None:
    """The mark that keeps the whole prompt in the cache. Raises InvalidRequest."""
    if control.get("type") != "ephemeral":
        raise wrong("cache_control.type", "Input should be 'ephemeral'")
    if control.get("ttl") not in (None, "5m", "1h"):
        raise wrong("cache_control.ttl", "Input should be '5m' or '1h'")


def wrong(field: str, message: str, code: str = "invalid_value") -> InvalidRequest:
    """What is wrong with a field, as Anthropic says it."""
    return InvalidRequest(f"{field}: {message}", param=field, code=code)


def convert(value: Json, type_: type[T], place: str) -> T:
    """The value in its type. Raises InvalidRequest whose `param` is Anthropic's path: `messages.1.content.0`."""
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise _explain(str(error), place) from None


def _explain(text: str, place: str) -> InvalidRequest:
    path = _PATH.search(text)
    inner = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", path.group(1)) if path else ""
    field = ".".join(part for part in (place, inner.strip(".")) if part)
    if missing := _FIELD.search(text):
        return wrong(".".join(filter(None, (field, missing.group(1)))), "Field required", "missing_required_parameter")
    message = _PATH.sub("", text)
    if got := _GOT.search(message):
        kinds = [_INPUTS[kind.strip()] for kind in got.group(1).split("|") if kind.strip() in _INPUTS]
        return wrong(field or "body", kinds[0] if kinds else message.replace("`", ""), "invalid_type")
    return wrong(field or "body", message.replace("`", ""))


def refuse_elsewhere(body: JsonObject) -> None:
    """Raises InvalidRequest for what would choose a host, a bill or stored state, and for what bears a price that the
    catalogue has none for."""
    for field in ELSEWHERE:
        if body.get(field) not in EMPTY:
            raise wrong(field, "Not offered here: nothing is kept, and nobody else is billed.", "unsupported_parameter")
    for field, free in FREE_OF_CHARGE.items():
        if body.get(field) is not None and body[field] not in free:
            message = f"Only {' and '.join(free)} are offered." if len(free) > 1 else f"Only {free[0]} is offered."
            raise wrong(field, message, "unsupported_parameter")


def list_blocks(request: MessagesRequest) -> Iterator[tuple[str, JsonObject]]:
    """Each block of the turns and its place, and whether its side may say it. Raises InvalidRequest."""
    for number, message in enumerate(request.messages):
        if isinstance(message.content, str):
            continue
        for place, block in enumerate(message.content):
            field = f"messages.{number}.content.{place}"
            kind = block.get("type")
            if message.role == "system" and kind in BLOCKS and kind != "text":
                raise wrong(f"{field}.type", f"`{kind}` blocks can't be in `system` messages")
            for role, kinds in ONLY_OF.items():
                if kind in kinds and message.role != role:
                    raise wrong(field, f"`{kind}` blocks can only be in `{role}` messages")
            yield field, block


def _check_block(block: JsonObject, field: str) -> None:
    kind = block.get("type")
    if not isinstance(kind, str):
        raise wrong(f"{field}.type", "Field required", "missing_required_parameter")
    if kind in BLOCKS:
        convert({name: value for name, value in block.items() if value is not None}, BLOCKS[kind], field)
    else:
        _refuse_stored(block, field)
    if kind in SOURCES:
        _check_source(block, kind, field)
    elif kind in ("tool_result", "search_result") and isinstance(block.get("content"), list):
        for place, inner in enumerate(block["content"]):
            _check_block(inner, f"{field}.content.{place}")


def _check_source(block: JsonObject, kind: str, field: str) -> None:
    source = convert(block["source"], _Source, f"{field}.source")
    if source.type == "file":
        raise wrong(f"{field}.source", "Files are not kept here: send the file itself, as base64.")
    wanted = SOURCES[kind].get(source.type)
    if wanted is None:
        known = ", ".join(f"'{name}'" for name in SOURCES[kind])
        raise wrong(f"{field}.source.type", f"Input tag '{source.type[:40]}' does not match any of {known}")
    for name in wanted:
        if not block["source"].get(name):
            raise wrong(f"{field}.source.{name}", "Field required", "missing_required_parameter")
    if source.type == "content" and isinstance(source.content, list):
        for place, inner in enumerate(source.content):
            _check_block(inner, f"{field}.source.content.{place}")


def _refuse_stored(value: Json, field: str) -> None:
    """Raises InvalidRequest for a file that is kept elsewhere, wherever it is named in a block of a kind that we don't
    know: it would be one of the operator's."""
    waiting = [value]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "file_id" in node:
                raise wrong(field, "Files are not kept here: send the file itself, as base64.")
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _check_tools(request: MessagesRequest) -> None:
    names = set()
    for place, tool in enumerate(request.tools or ()):
        kind = "custom" if tool.get("type") is None else tool["type"]
        if not isinstance(kind, str):
            raise wrong(f"tools.{place}.type", "Input should be a valid string", "invalid_type")
        if kind == "custom":
            given = {field: value for field, value in tool.items() if value is not None}
            convert(given, ClientTool, f"tools.{place}.custom" if "type" in tool else f"tools.{place}")
        elif not kind.startswith((*TYPED_CLIENT_TOOLS, TOOL_SEARCH)):
            message = f"Tools of the type '{kind[:60]}' run elsewhere and are billed apart: they are not offered."
            raise wrong(f"tools.{place}.type", message, "unsupported_parameter")
        if tool.get("name") in names:
            raise wrong("tools", "Tool names must be unique")
        names.add(tool.get("name"))
    if request.tools and all(tool.get("defer_loading") for tool in request.tools):
        raise wrong("tools", "All tools have defer_loading set. At least one must be non-deferred.")
    if request.tool_choice is not None:
        _check_tool_choice(request, names)


def _check_tool_choice(request: MessagesRequest, names: Set[Json]) -> None:
    choice = convert(request.tool_choice, MessagesToolChoice, "tool_choice")
    if choice.type == "tool" and choice.name is None:
        raise wrong("tool_choice.tool.name", "Field required", "missing_required_parameter")
    if choice.type == "tool" and choice.name not in names:
        raise wrong("tool_choice", f"Tool '{(choice.name or '')[:128]}' not found in provided tools")
    if choice.type == "any" and not request.tools:
        raise wrong("tool_choice", "tool_choice may only be specified while providing tools.")


def _check_settings(request: MessagesRequest, interleaved: bool) -> None:
    """What stands within the fields that are objects."""
    for place, block in enumerate(request.system if isinstance(request.system, list) else ()):
        if block.get("type") != "text":
            raise wrong(f"system.{place}.type", "Input should be 'text'")
        _check_block(block, f"system.{place}")
    if request.thinking is not None:
        thinking = convert(_given(request.thinking), MessagesThinking, "thinking")
        if thinking.type == "enabled" and thinking.budget_tokens is None:
            raise wrong("thinking.enabled.budget_tokens", "Field required", "missing_required_parameter")
        budget, cap = thinking.budget_tokens, request.max_tokens
        if budget and cap and budget >= cap and not interleaved:
            raise wrong("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`")
    if request.output_config is not None:
        convert(_given(request.output_config), MessagesOutputConfig, "output_config")
    if request.output_format is not None:
        convert(request.output_format, MessagesFormat, "output_format")
    if request.metadata is not None:
        convert(_given(request.metadata), MessagesMetadata, "metadata")


def _given(value: JsonObject) -> JsonObject:
    return {name: inner for name, inner in value.items() if inner is not None}


def _check_pairs(messages: list[InputMessage]) -> None:
    """Every call needs its result in the user's turn right after it, and every result its call. Other upstreams answer
    what nobody understands, so it is checked here. Raises InvalidRequest."""
    open_calls: dict[str, int] = {}  # without a result so far, and the turn that they are in
    answered: set[str] = set()  # the calls that the user's turn answers
    before = ""
    for number, message in enumerate(messages):
        role, content = message.role, message.content
        if role == "system":
            continue
        blocks: list[Any] = content if isinstance(content, list) else []
        if role == "assistant":
            if before == "user":
                _refuse_open(open_calls)
            open_calls.update({block["id"]: number for block in blocks if block["type"] == "tool_use"})
        else:
            answered = answered if before == "user" else set(open_calls)
            for place, block in enumerate(blocks):
                if block["type"] == "tool_result":
                    _refuse_unasked(block["tool_use_id"], answered, f"messages.{number}.content.{place}")
                    open_calls.pop(block["tool_use_id"], None)
        before = role
    _refuse_open(open_calls)


def _refuse_unasked(call_id: str, asked: set[str], field: str) -> None:
    if call_id not in asked:
        raise wrong(
            field,
            f"unexpected `tool_use_id` found in `tool_result` blocks: {call_id[:80]}. Each `tool_result` block must "
            "have a corresponding `tool_use` block in the previous message.",
        )


def _refuse_open(open_calls: dict[str, int]) -> None:
    if open_calls:
        number, ids = next(iter(open_calls.values())), ", ".join(open_calls)
        raise wrong(
            f"messages.{number}",
            f"`tool_use` ids were found without `tool_result` blocks immediately after: {ids[:200]}. Each `tool_use` "
            "block must have a corresponding `tool_result` block in the next message.",
        )
