"""What /openapi.json says of resumable streams."""

from bridge.v1.openapi_answers import READING, describe_header, list_answers, refer_to_headers
from bridge.v1.schemas.blocks import Schema, string

EVENT: Schema = {
    "type": "object",
    "properties": {"id": {"type": "integer", "minimum": 1}, "event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
    "description": "One event of the stream as its endpoint sent it, with its number. Comments and pings between "
    "events have none, and neither has an error that only says to ask again.",
    "examples": [{"id": 12, "data": "[DONE]"}],
}
AFTER: Schema = {
    "name": "after",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    "description": "The number of the last event that you have.",
    "example": 12,
}


def header() -> Schema:
    """What a request is sent with to be resumable."""
    said = string(
        "With `true`, and only for streams: events have numbers (`id:`) and are kept for ten minutes after the "
        "stream's end, and leaving doesn't end it. GET /requests/{id}/stream goes on, DELETE /requests/{id} ends it."
    )
    return describe_header("x-bridge-resume", said | {"enum": ["true", "false", "True", "False", "1", "0"]}, "true")


def read_on() -> Schema:
    """Reading a stream on."""
    answers = list_answers("Receipt", "400", "404", *READING)
    answers["200"]["content"] = {"text/event-stream": {"schema": EVENT}}
    answers["200"]["headers"] |= refer_to_headers("x-bridge-dropped", "x-bridge-clamped")
    last = string("What a browser's EventSource sends by itself; `after` counts first.", pattern=r"^\d{1,9}$")
    return {
        "operationId": "resumeStream",
        "summary": "The events of a resumable stream behind one of them, and then those to come.",
        "description": "Within ten minutes of its end, by any key of the account. It counts as a request (RPM) and "
        "costs nothing.",
        "parameters": [AFTER, describe_header("Last-Event-ID", last, "12")],
        "responses": answers,
    }


def end() -> Schema:
    """Ending a request."""
    return {
        "operationId": "endRequest",
        "summary": "End a running request that was asked for with x-bridge-resume.",
        "description": "It is charged as if its client had left. One that has ended stays as it is.",
        "responses": list_answers("Receipt", "400", "404", *READING),
    }
