"""A Responses body as a Conversation, and what its writer has to know of it."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from bridge.conversation.request import RESPONSES, Conversation, Format, Native
from bridge.conversation.turns import Text, Turn
from bridge.dialects.responses.request import ResponsesRequest
from bridge.dialects.responses.tools import Offered, ToolNames, read_tool_choice
from bridge.dialects.responses.turns import read_input
from bridge.json_types import Json, JsonObject

SEALED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
_WITH_VALUES = frozenset(
    {"model", "models", "input", "instructions", "stream", "tools", "tool_choice", "parallel_tool_calls", "text"}
    | {"max_output_tokens", "reasoning", "include", "store", "metadata", "background", "previous_response_id"}
    | {"conversation", "prompt", "client_metadata", "n", "truncation", "prompt_cache_retention"}
)
# What means nothing to a gateway without state, but for this value of it.
_NEUTRAL: Mapping[str, tuple[Json, ...]] = {"truncation": ("disabled",), "prompt_cache_retention": ("in_memory",)}


class Asked(Struct, frozen=True):
    """A request that was read. `fields` are the client's own that the answer repeats; `stores`: its items may be
    referred to later; `added_bytes`: what goes out is longer than the body by so many."""

    conversation: Conversation
    names: ToolNames
    fields: JsonObject
    seals: bool = False
    logprobs: bool = False
    stores: bool = True
    added_bytes: int = 0


def read_responses(body: JsonObject, request: ResponsesRequest, account_id: int) -> Asked:
    """The conversation. References in the input were resolved. Raises InvalidRequest and msgspec.ValidationError."""
    offered = Offered(ToolNames())
    tools = offered.add(request.tools or (), "tools")
    given = request.input
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else body["input"]
    read = read_input(items, offered, account_id)
    turns = read.turns
    if request.instructions:
        turns = [Turn("system", [Text(request.instructions)], "instructions", request.instructions), *turns]
    cap, include = request.max_output_tokens, request.include or []
    native = {**body, "input": read.native, **({"tools": tools} if request.tools is not None else {})}
    text = request.text
    conversation = Conversation(
        endpoint=RESPONSES,
        model=request.model,
        turns=turns,
        media=read.media,
        has_calls=read.has_calls,
        tools=list(offered.by_name.values()),
        tool_choice=read_tool_choice(request.tool_choice, offered.names),
        parallel_calls=request.parallel_tool_calls,
        format=_read_format(request),
        effort=request.reasoning.effort if request.reasoning else None,
        output_cap_tokens=cap,
        sent_cap=("max_output_tokens", cap) if cap else None,
        stream=bool(request.stream),
        wants_usage=True,
        options=_read_options(body, request, LOGPROBS in include) | offered.dropped,
        carried=read.carried,
        native=Native(RESPONSES, native),
    )
    fields = {
        "instructions": request.instructions,
        "max_output_tokens": cap,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": _repeat_reasoning(request),
        "safety_identifier": request.safety_identifier,
        "temperature": request.temperature,
        "text": _repeat_text(body.get("text") if text else None),
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or [],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "user": request.user,
    }
    stores = request.store is not False
    return Asked(
        conversation, offered.names, fields, SEALED in include, LOGPROBS in include, stores, offered.added_bytes
    )


def _read_format(request: ResponsesRequest) -> Format | None:
    wanted = request.text.format if request.text else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return Format("json_object")
    given = {"name": wanted.name, "description": wanted.description, "schema": wanted.schema, "strict": wanted.strict}
    definition = {field: value for field, value in given.items() if value is not None}
    return Format("json_schema", {"name": "answer", **definition})


def _read_options(body: JsonObject, request: ResponsesRequest, logprobs: bool) -> JsonObject:
    """All that has no value of its own, by chat's names. What nobody here takes is among them, to be named."""
    options = {field: value for field, value in body.items() if field not in _WITH_VALUES and value is not None}
    for field, neutral in _NEUTRAL.items():
        if body.get(field) is not None and body[field] not in neutral:
            options[field] = body[field]
    if logprobs or request.top_logprobs:
        options["logprobs"] = True
    else:
        options.pop("top_logprobs", None)
    if request.text and request.text.verbosity:
        options["verbosity"] = request.text.verbosity
    return options


def _repeat_reasoning(request: ResponsesRequest) -> JsonObject:
    wanted = request.reasoning
    return {"effort": wanted.effort if wanted else None, "summary": wanted.summary if wanted else None}


def _repeat_text(text: Json) -> JsonObject:
    given = {field: value for field, value in text.items() if value is not None} if isinstance(text, dict) else {}
    return {"format": {"type": "text"}, "verbosity": "medium", **given}


def count_added(items: Mapping[str, JsonObject]) -> int:
    """The bytes of items that stand in the input in the place of references to them."""
    return sum(len(msgspec.json.encode(item)) for item in items.values())
