"""What /openapi.json says of Responses: bodies, items, and a stream's events."""

import msgspec

from bridge.dialects.responses.request import FREE_SERVICE_TIERS, ITEMS, CountRequest, ResponsesRequest
from bridge.json_types import JsonObject
from bridge.v1.openapi_response_events import describe_events
from bridge.v1.schemas.blocks import Schema, nullable, ref

REQUESTS: tuple[type[msgspec.Struct], ...] = (ResponsesRequest, CountRequest)
GONE: Schema = {"type": "null", "description": "Nothing is kept here: 400."}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 128}
PARAMETERS: Schema = {"anyOf": [{"type": "object"}, {"type": "null"}], "description": "Of a function: a JSON schema."}
TOOL: Schema = {
    "type": "object",
    "description": "A `function` or `custom` tool, or a `namespace` of those. Web search and tool search are left out, "
    "and named in x-bridge-dropped; what else a provider runs itself is 400.",
    "properties": {"type": {"enum": ["function", "custom"]}, "name": NAME, "parameters": PARAMETERS},
    "required": ["type", "name"],
}
TOOLS: Schema = {"type": "array", "items": TOOL}
NAMED: Schema = {
    "type": "object",
    "properties": {"type": {"enum": ["function", "custom"]}, "name": {"type": "string"}},
    "required": ["type", "name"],
}
ALLOWED: Schema = {
    "type": "object",
    "properties": {
        "type": {"const": "allowed_tools"},
        "mode": {"enum": ["auto", "required"]},
        "tools": {"type": "array", "minItems": 1, "items": NAMED},
    },
    "required": ["type", "tools"],
}
NARROWER: Schema = {
    **dict.fromkeys(("previous_response_id", "conversation", "prompt"), GONE),
    "background": {"enum": [None, False], "description": "Nothing runs in the background here: true is 400."},
    "tools": nullable(TOOLS),
    "service_tier": {"enum": list(FREE_SERVICE_TIERS), "description": "Others are billed apart and not offered: 400."},
    "tool_choice": {"anyOf": [{"enum": ["auto", "none", "required", None]}, NAMED, ALLOWED]},
}
FIELDS = {
    "model": "A model's id or alias: GET /models lists them.",
    "models": "Models to try, in this order, when `model` can't be served, at most three: each at its own price.",
    "input": "The conversation so far: a text, or items. Nothing is kept of earlier ones, so send them all; each call "
    "needs its output. An `item_reference` finds what an answer put out within the last hour, but for `store: false`.",
    "instructions": "What comes before all else, as the system's words.",
    "stream": "Send the answer as it is written. Default: false.",
    "max_output_tokens": "Most tokens of the answer, thinking included.",
    "store": "With false the output's items can't be referred to later. The answer itself is never kept.",
    "tools": "Functions and custom tools. Each `function` has parameters, a JSON schema.",
    "reasoning": "`effort` (none, minimal, low, medium, high, xhigh, max) and `summary`.",
    "text": "How the answer is written: `format` and `verbosity`.",
    "metadata": "Comes back in the answer.",
    "user": "Your own customer, in at most 256 characters. Usage can be grouped by it; providers get a hash of it.",
    "safety_identifier": "The same by its newer name, which counts where both are sent.",
    "prompt_cache_key": "Says which requests belong to one conversation.",
    "truncation": "Anything but `disabled` is dropped and named in x-bridge-dropped.",
    "include": "`reasoning.encrypted_content` gives reasoning back sealed, `message.output_text.logprobs` the odds; "
    "all else means nothing.",
}


def _part(kind: str, field: str) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, field: {"type": "string"}},
        "required": ["type", field],
    }


HEARD = [_part("input_text", "text"), _part("input_image", "image_url"), _part("input_file", "file_data")]
SAID = [_part("output_text", "text"), _part("refusal", "refusal")]
CONTENT: Schema = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": [*HEARD, *SAID]}}],
    "description": "The model's own messages have `output_text` and `refusal`, all others the rest.",
}
OUTPUT: Schema = {"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "array", "items": {"anyOf": HEARD}}]}
EVENT: Schema = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "description": "The type of the event in `data`."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": ref("ResponseEvent"),
        },
    },
    "required": ["event", "data"],
    "description": "One typed event, numbered from 0. While the model thinks, `response.in_progress` comes again. The "
    "last one is `response.completed`, `response.incomplete` or, where the stream breaks, `response.failed`.",
    "examples": [
        {
            "event": "response.output_text.delta",
            "data": '{"type":"response.output_text.delta","sequence_number":4,'
            '"item_id":"msg_01893b5ac0f07c3a9b1f0d2e4a6c8b0d_0","output_index":0,"content_index":0,'
            '"delta":"Hello","logprobs":[]}',
        }
    ],
}
EXAMPLES: Schema = {
    "whole": {"summary": "A whole answer", "value": {"model": "gpt-4o", "input": "Hello!", "store": False}},
    "tools": {
        "summary": "A question that calls a function, as a stream",
        "value": {
            "model": "claude-3-5-sonnet",
            "input": [{"role": "user", "content": "How is the weather in Oslo?"}],
            "tools": [{"type": "function", "name": "find_weather", "parameters": {"type": "object", "properties": {}}}],
            "stream": True,
        },
    },
}
COUNTED: Schema = {"text": {"summary": "A text", "value": {"model": "gpt-4o", "input": "Hello!"}}}
_ID = "01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
ANSWER: Schema = {
    "id": f"resp_{_ID}",
    "object": "response",
    "created_at": 1714000000,
    "status": "completed",
    "background": False,
    "completed_at": 1714000000,
    "error": None,
    "incomplete_details": None,
    "max_tool_calls": None,
    "model": "gpt-4o",
    "output": [
        {
            "id": f"msg_{_ID}_0",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hello! How can I help?", "annotations": [], "logprobs": []},
            ],
        }
    ],
    "previous_response_id": None,
    "service_tier": "default",
    "store": False,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 18,
        "cost": 0.000105,
    },
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}


def list_items() -> Schema:
    """The schema of each kind of input item, by its name."""
    types = list(dict.fromkeys(ITEMS.values()))
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas: Schema = {}
    for kind, type_ in ITEMS.items():
        item: JsonObject = {**found[type_.__name__]}
        item["title"] = name_of(kind)
        untold = kind in ("message", "item_reference")  # whose other fields tell it
        item["properties"] = {"type": {"enum": [kind, None] if untold else [kind]}, **item["properties"]}
        item["required"] = [*([] if untold else ["type"]), *item.get("required", ())]
        if kind == "message":
            item["properties"]["content"] = CONTENT
        if "output" in item["properties"]:
            item["properties"]["output"] = OUTPUT
        if kind == "additional_tools":
            item["properties"]["tools"] = TOOLS
        if kind == "tool_search_output":
            item["properties"]["tools"] = nullable(TOOLS)
        schemas[name_of(kind)] = item
    schemas["ReasoningText"] = found["ReasoningText"]
    schemas["ResponseEvent"] = describe_events()
    return schemas


def name_of(kind: str) -> str:
    """The name of an item's schema."""
    return "".join(word.capitalize() for word in kind.split("_")) + "Item"


def describe_requests(schemas: Schema) -> None:
    """Say of the two bodies what their types can't."""
    items = {"type": "array", "minItems": 1, "items": {"anyOf": [ref(name_of(kind)) for kind in ITEMS]}}
    for name in ("ResponsesRequest", "CountRequest"):
        properties = schemas[name]["properties"]
        properties |= {field: {**schema} for field, schema in NARROWER.items() if field in properties}
        properties["input"] = {"anyOf": [{"type": "string"}, items]}
        for field, description in FIELDS.items():
            if field in properties:
                properties[field]["description"] = description
