"""What /openapi.json says of Messages and of what stands beside it for Anthropic's clients."""

import msgspec

from bridge.dialects.messages.errors import TYPES
from bridge.dialects.messages.request import (
    BLOCKS,
    ELSEWHERE,
    FREE_OF_CHARGE,
    SOURCES,
    ClientTool,
    MessagesFormat,
    MessagesMetadata,
    MessagesOutputConfig,
    MessagesThinking,
    MessagesToolChoice,
)
from bridge.v1.schemas import message_events as events
from bridge.v1.schemas.blocks import Schema, nullable, ref, string

HELLO: Schema = {"model": "claude-3-5-sonnet", "max_tokens": 200, "messages": [{"role": "user", "content": "Hello!"}]}
EXAMPLES: Schema = {
    "whole": {"summary": "A whole answer", "value": HELLO},
    "stream": {"summary": "A stream", "value": {**HELLO, "stream": True}},
    "tools": {
        "summary": "A question that calls a tool",
        "value": {
            **HELLO,
            "tools": [{"name": "find_weather", "input_schema": {"type": "object", "properties": {}}}],
        },
    },
}
COUNTED: Schema = {
    "prompt": {"summary": "A prompt", "value": {field: HELLO[field] for field in ("model", "messages")}},
}
ANSWER: Schema = {
    "id": "msg_01893b5ac0f07c3a9b1f0d2e4a6c8b0d",
    "type": "message",
    "role": "assistant",
    "model": "claude-3-5-sonnet",
    "content": [{"type": "text", "text": "Hello! How can I help?"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 0},
        "cost": 0.00015,
    },
}
# One event of a stream: its kind stands before it, and in it.
EVENT: Schema = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "description": "The type of the event in `data`."},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": ref("MessageEvent")},
    },
    "required": ["event", "data"],
    "description": "One server-sent event, as Anthropic's API has them: message_start; for each block "
    "content_block_start, content_block_delta and content_block_stop; message_delta with the usage; message_stop. "
    "While the model thinks, `ping` comes between. A stream that breaks ends with `error`.",
    "examples": [
        {"event": "ping", "data": '{"type":"ping"}'},
        {
            "event": "content_block_delta",
            "data": '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}',
        },
        {"event": "message_stop", "data": '{"type":"message_stop"}'},
    ],
}
FIELDS = {
    "model": "A model's id or alias, whoever makes it: GET /models lists them. `[1m]` behind it and `anthropic/` "
    "before it mean nothing; `opus`, `sonnet` and `haiku` alone mean the newest of each.",
    "messages": "The conversation so far. The role `system` may come in the middle.",
    "max_tokens": "Most tokens of the answer, thinking included. Above the model's own it is brought down to it.",
    "system": "A text, or text blocks.",
    "tools": "Functions: name, description, input_schema. Anthropic's own typed tools that the client runs go to its "
    "models alone; those that run elsewhere are 400.",
    "thinking": "enabled with a budget, adaptive, or disabled; for models of other makers an effort.",
    "output_config": "`effort`, and a `format` of the type json_schema.",
    "output_format": "The older name of `output_config.format`.",
    "metadata": "`user_id`: your own customer, in at most 256 characters. Your usage can be grouped by it; providers "
    "get a hash of it.",
    "cache_control": "For Anthropic's models; others go without.",
    "context_management": "For Anthropic's models; others go without, and that is named.",
}
# Objects within the request, by its field.
WITHIN: dict[str, type[msgspec.Struct]] = {
    "tool_choice": MessagesToolChoice,
    "thinking": MessagesThinking,
    "output_config": MessagesOutputConfig,
    "output_format": MessagesFormat,
    "metadata": MessagesMetadata,
}
ANSWERED = ("text", "thinking", "redacted_thinking", "tool_use")  # the kinds of blocks that a model writes
TEXT = {"type": "string"}
CACHE: Schema = {
    "type": "object",
    "description": '`{"type": "ephemeral"}`, for five minutes; with `ttl`, `5m` or `1h`. For Anthropic\'s models.',
}
# what a prompt's tokens are counted from, and what is checked beside it
IN_A_COUNT = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"}
CACHED = ("text", "image", "document", "search_result", "tool_use", "tool_result")  # the kinds that may be marked
BASE64 = {"type": "string", "minLength": 1, "contentEncoding": "base64"}
TYPED_TOOL: Schema = {
    "type": "object",
    "properties": {"type": {"type": "string", "pattern": "^(bash|text_editor|memory|computer|browser_toolset)_"}},
    "required": ["type"],
    "description": "A tool of Anthropic's that the client runs: for its models alone, otherwise 400.",
}
VERSION = {
    "name": "anthropic-version",
    "in": "header",
    "required": False,
    "schema": string("Whoever sends it is answered as Anthropic's API does."),
    "example": "2023-06-01",
}
ANY_VERSION = {**VERSION, "schema": string("Not needed: every version is answered alike.")}
BETAS = {
    "name": "anthropic-beta",
    "in": "header",
    "required": False,
    "schema": string(
        "Trials of Anthropic's, with commas between them. Those that change no host, state or price go to its models; "
        "others are named in `x-bridge-dropped`. Models of other makers go without."
    ),
    "example": "interleaved-thinking-2025-05-14",
}
PAGE: list[Schema] = [
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20},
        "description": "Models of one page, in Anthropic's shape; ours has them all.",
    },
    *(
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": TEXT,
            "description": f"The page {where} this model, in Anthropic's shape.",
        }
        for name, where in (("after_id", "after"), ("before_id", "before"))
    ),
]
STATUSES = {"503": "api_error", "529": "overloaded_error"}


def narrow(schemas: Schema) -> None:
    """Say in the request's schema what its types leave to our own checks, and describe what is within it."""
    types = [*BLOCKS.values(), ClientTool, *WITHIN.values(), *events.EVENTS, *events.DELTAS]
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas |= {name: schema for name, schema in found.items() if name not in schemas and name != "MediaBlock"}
    properties = schemas["MessagesRequest"]["properties"]
    for field, type_ in WITHIN.items():
        properties[field] = {**nullable(ref(type_.__name__)), "default": None}
    schemas["MessagesMetadata"]["properties"]["user_id"] = nullable({"type": "string", "maxLength": 256})
    properties |= {field: _offered(FREE_OF_CHARGE[field]) for field in FREE_OF_CHARGE}
    properties |= {field: {"enum": [None, "", [], {}], "description": "Not offered: 400."} for field in ELSEWHERE}
    properties["system"] = {"anyOf": [TEXT, {"type": "array", "items": ref("TextBlock")}, {"type": "null"}]}
    properties["tools"] = nullable({"type": "array", "items": {"anyOf": [ref("ClientTool"), TYPED_TOOL]}})
    properties["messages"]["minItems"] = 1
    properties["cache_control"] = nullable(CACHE)
    for field, description in FIELDS.items():
        properties[field]["description"] = description
    _describe_blocks(schemas)
    schemas["ClientTool"]["properties"] |= {"type": {"enum": ["custom", None]}, "cache_control": nullable(CACHE)}
    events_of = {"anyOf": [ref(each.__name__) for each in events.EVENTS]}
    schemas["MessageEvent"] = {"title": "MessageEvent", **events_of}
    others = _others([str(each.__struct_config__.tag) for each in events.DELTAS])
    delta = {"anyOf": [*(ref(each.__name__) for each in events.DELTAS), others]}
    schemas["ContentBlockDelta"]["properties"]["delta"] = delta
    schemas["ContentBlockStart"]["properties"]["content_block"] = ref("AnswerBlock")
    schemas["Message"]["properties"]["content"]["items"] = ref("AnswerBlock")
    counted = schemas["MessagesRequest"]
    asked = {name: about for name, about in properties.items() if name in IN_A_COUNT}
    schemas["MessagesCountRequest"] = {**counted, "title": "MessagesCountRequest", "properties": asked}
    cap = {"type": "integer", "minimum": 1, "maximum": 2**31, "description": FIELDS["max_tokens"]}
    schemas["MessagesRequest"] = {
        **counted,
        "required": [*counted["required"], "max_tokens"],
        "properties": {**properties, "max_tokens": cap},
    }


def _describe_blocks(schemas: Schema) -> None:
    """The schema of each kind of block, of any that a turn may have, and of any that an answer may have."""
    named = {kind: _name_of(kind) for kind in BLOCKS}
    for kind, name in named.items():
        found = schemas.get(name) or {"type": "object", "properties": {}, "required": []}
        properties = {"type": {"const": kind}, **found["properties"]}
        if kind in SOURCES:
            properties["source"] = {"anyOf": [_describe_source(kind, source) for source in SOURCES[kind]]}
        if kind in CACHED:
            properties["cache_control"] = nullable(CACHE)
        required = ["type", *found["required"], *(["source"] if kind in SOURCES else [])]
        schemas[name] = {**found, "title": name, "properties": properties, "required": list(dict.fromkeys(required))}
    schemas["DocumentBlock"]["properties"] |= {"title": nullable(TEXT), "context": nullable(TEXT)}
    texts = {"type": "array", "items": ref("TextBlock")}
    schemas["SearchResultBlock"]["properties"]["content"] = texts
    inner = [ref(named[kind]) for kind in ("text", "image", "document", "search_result")]
    said = {"type": "array", "items": {"anyOf": inner}}
    schemas["ToolResultBlock"]["properties"]["content"] = {"anyOf": [TEXT, said, {"type": "null"}]}
    others = _others(list(BLOCKS))
    schemas["InputBlock"] = {"title": "InputBlock", "anyOf": [*(ref(name) for name in named.values()), others]}
    written = [ref(named[kind]) for kind in ANSWERED]
    schemas["AnswerBlock"] = {"title": "AnswerBlock", "anyOf": [*written, _others(list(ANSWERED))]}
    blocks = {"type": "array", "items": ref("InputBlock")}
    schemas["InputMessage"]["properties"]["content"] = {"anyOf": [TEXT, blocks]}


def _name_of(kind: str) -> str:
    return "".join(word.capitalize() for word in kind.split("_")) + "Block"


def _describe_source(kind: str, source: str) -> Schema:
    fields: Schema = {name: {"type": "string", "minLength": 1} for name in SOURCES[kind][source]}
    if source == "base64":
        media = {"pattern": "^image/"} if kind == "image" else {}
        fields = {"media_type": {**fields["media_type"], **media}, "data": BASE64}
    if source == "content":
        fields = {"content": {"anyOf": [fields["content"], {"type": "array", "items": ref("InputBlock")}]}}
    return {
        "type": "object",
        "properties": {"type": {"const": source}, **fields},
        "required": ["type", *fields],
    }


def _others(known: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"type": "string", "not": {"enum": known}}},
        "required": ["type"],
        "description": "What else Anthropic's own models know.",
    }


def _offered(values: tuple[str, ...]) -> Schema:
    return {"enum": [*values, None], "description": "Others are billed apart and not offered: 400."}


def error_example(code: str, message: str) -> Schema:
    """A refusal as Anthropic's clients read it."""
    kind = STATUSES.get(code) or TYPES.get(int(code), "invalid_request_error")
    request_id = "req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def body(schema: str = "MessagesRequest", examples: Schema = EXAMPLES) -> Schema:
    """The body of a message, or of what is to be counted."""
    return {"required": True, "content": {"application/json": {"schema": ref(schema), "examples": examples}}}


def name_id(answers: Schema) -> Schema:
    """Answers whose request id has Anthropic's name too."""
    for answer in answers.values():
        answer["headers"]["request-id"] = {"$ref": "#/components/headers/request-id"}
    return answers


def for_both(item: Schema, parameters: list[Schema]) -> Schema:
    """What also answers as Anthropic's API does, to whoever names a version of it."""
    operation = item["get"]
    operation["parameters"] = [VERSION, *parameters]
    for code, answer in operation["responses"].items():
        content = answer["content"]["application/json"]
        ours = content["schema"]["$ref"].rpartition("/")[2]
        theirs = "MessagesError" if code != "200" else f"Anthropic{ours}"
        content["schema"] = {"anyOf": [ref(ours), ref(theirs)]}
    return item
