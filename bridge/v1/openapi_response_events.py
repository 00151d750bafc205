"""What /openapi.json says of the events of a streamed response: each by its type, with all of its fields."""

from bridge.v1.schemas.blocks import Schema, ref

TEXT: Schema = {"type": "string"}
PLACE: Schema = {"type": "integer", "minimum": 0}
LIST: Schema = {"type": "array"}
OPTIONAL = ("logprobs", "name")  # which other servers of the dialect leave out
PART: Schema = {"type": "object", "required": ["type"]}
_WHOLE = {"response": ref("Response")}
_ITEM = {"output_index": PLACE, "item": ref("OutputItem")}
_OF_ITEM = {"item_id": TEXT, "output_index": PLACE}
_OF_PART = {**_OF_ITEM, "content_index": PLACE}
_OF_SUMMARY = {**_OF_ITEM, "summary_index": PLACE}
EVENTS: dict[str, Schema] = {
    **{f"response.{state}": _WHOLE for state in ("created", "in_progress", "completed", "incomplete", "failed")},
    "response.output_item.added": _ITEM,
    "response.output_item.done": _ITEM,
    "response.content_part.added": {**_OF_PART, "part": PART},
    "response.content_part.done": {**_OF_PART, "part": PART},
    "response.output_text.delta": {**_OF_PART, "delta": TEXT, "logprobs": LIST},
    "response.output_text.done": {**_OF_PART, "text": TEXT, "logprobs": LIST},
    "response.output_text.annotation.added": {**_OF_PART, "annotation_index": PLACE, "annotation": {"type": "object"}},
    "response.refusal.delta": {**_OF_PART, "delta": TEXT},
    "response.refusal.done": {**_OF_PART, "refusal": TEXT},
    "response.function_call_arguments.delta": {**_OF_ITEM, "delta": TEXT},
    "response.function_call_arguments.done": {**_OF_ITEM, "arguments": TEXT, "name": TEXT},
    "response.custom_tool_call_input.delta": {**_OF_ITEM, "delta": TEXT},
    "response.custom_tool_call_input.done": {**_OF_ITEM, "input": TEXT},
    "response.reasoning_summary_part.added": {**_OF_SUMMARY, "part": PART},
    "response.reasoning_summary_part.done": {**_OF_SUMMARY, "part": PART},
    "response.reasoning_summary_text.delta": {**_OF_SUMMARY, "delta": TEXT},
    "response.reasoning_summary_text.done": {**_OF_SUMMARY, "text": TEXT},
}
OTHERS: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "pattern": "^response[.]", "not": {"enum": list(EVENTS)}},
        "sequence_number": PLACE,
    },
    "required": ["type", "sequence_number"],
    "description": "What else OpenAI's own models say. Skip what you don't know.",
}


def describe_events() -> Schema:
    """The schema of any event."""
    return {"title": "ResponseEvent", "anyOf": [*(_describe(*each) for each in EVENTS.items()), OTHERS]}


def _describe(kind: str, fields: Schema) -> Schema:
    properties = {"type": {"const": kind}, "sequence_number": PLACE, **fields}
    return {
        "title": kind,
        "type": "object",
        "properties": properties,
        "required": [field for field in properties if field not in OPTIONAL],
    }
