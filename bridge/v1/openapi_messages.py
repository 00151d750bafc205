"""What /openapi.json says of Messages and of what stands beside it for Anthropic's clients."""

from bridge.dialects.messages.errors import TYPES
from bridge.dialects.messages.request import FREE_OF_CHARGE
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
# One event of a stream: its kind stands before it, and in it.
EVENT: Schema = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "object"}},
    },
    "required": ["event", "data"],
    "description": "One server-sent event, as Anthropic's API has them: message_start; for each block "
    "content_block_start, content_block_delta and content_block_stop; message_delta with the usage; message_stop. "
    "While the model thinks, `ping` comes between. A stream that breaks ends with `error`.",
    "examples": [
        {"event": "ping", "data": '{"type":"ping"}'},
        {"event": "message_stop", "data": '{"type":"message_stop"}'},
    ],
}
FIELDS = {
    "model": "A model's id or alias, whoever makes it: GET /models lists them. `[1m]` behind it and `anthropic/` "
    "before it mean nothing; `opus`, `sonnet` and `haiku` alone mean the newest of each.",
    "messages": "The conversation so far. The role `system` may come in the middle.",
    "max_tokens": "Most tokens of the answer, thinking included. Required, but to count tokens.",
    "system": "A text, or text blocks.",
    "tools": "Functions: name, description, input_schema. Anthropic's own typed tools that the client runs go to its "
    "models alone; those that run elsewhere are 400.",
    "thinking": "enabled with a budget, adaptive, or disabled; for models of other makers an effort.",
    "output_config": "`effort`, and a `format` of the type json_schema.",
    "metadata": "`user_id`: providers get a hash of it.",
    "context_management": "For Anthropic's models; others go without, and that is named.",
}
BLOCK_KINDS = ("text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result")
BLOCK: Schema = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string", "examples": list(BLOCK_KINDS)}},
    "description": "A content block as Anthropic's API has it.",
}
TEXT_BLOCK: Schema = {
    "type": "object",
    "required": ["type", "text"],
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
}
VERSION = {
    "name": "anthropic-version",
    "in": "header",
    "required": False,
    "schema": string("Whoever sends it is answered as Anthropic's API does."),
    "example": "2023-06-01",
}
STATUSES = {"503": "api_error", "529": "overloaded_error"}


def narrow(schemas: Schema) -> None:
    """Say in the request's schema what its types leave to our own checks."""
    properties = schemas["MessagesRequest"]["properties"]
    for field, description in FIELDS.items():
        properties[field]["description"] = description
    properties["service_tier"] = nullable({"enum": list(FREE_OF_CHARGE["service_tier"])})
    properties["system"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": TEXT_BLOCK}, {"type": "null"}]}
    properties["messages"]["minItems"] = 1
    blocks = {"type": "array", "items": BLOCK}
    schemas["InputMessage"]["properties"]["content"] = {"anyOf": [{"type": "string"}, blocks]}


def error_example(code: str, message: str) -> Schema:
    """A refusal as Anthropic's clients read it."""
    kind = STATUSES.get(code) or TYPES.get(int(code), "invalid_request_error")
    request_id = "req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}


def body() -> Schema:
    """The body of a message, or of what is to be counted."""
    return {
        "required": True,
        "content": {"application/json": {"schema": ref("MessagesRequest"), "examples": EXAMPLES}},
    }


def for_both(item: Schema) -> Schema:
    """What also answers as Anthropic's API does, to whoever names a version of it."""
    operation = item["get"]
    operation["parameters"] = [VERSION]
    for code, answer in operation["responses"].items():
        content = answer["content"]["application/json"]
        ours = content["schema"]["$ref"].rpartition("/")[2]
        theirs = "MessagesError" if code != "200" else f"Anthropic{ours}"
        content["schema"] = {"anyOf": [ref(ours), ref(theirs)]}
    return item
