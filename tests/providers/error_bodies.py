"""Where an error's words may stand in a body, and what may stand before them: by hand, after what servers send."""

import json
from collections.abc import Callable
from typing import Any

MODERN = {"type": "invalid_request_error", "param": None, "code": None}
PLACES: dict[str, Callable[[str], Any]] = {
    "error.message": lambda words: {"error": {"message": words, **MODERN}},
    "error.message with a number for its code": lambda words: {"error": {"message": words, "code": 404}},
    "error as a text": lambda words: {"error": words},
    "error as a text beside a sentence for its code": lambda words: {
        "code": "The caller does not have permission to execute the specified operation",
        "error": words,
    },
    "message": lambda words: {"message": words, "request_id": "req-1"},
    "message of an object called error": lambda words: {
        "object": "error",
        "message": words,
        "type": "BadRequestError",
        "param": None,
        "code": 400,
    },
    "Anthropic's": lambda words: {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": words},
        "request_id": "req_011",
    },
    "Google's": lambda words: {"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT", "details": []}},
    "a list at the root": lambda words: [{"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}],
    "a list of texts at the root": lambda words: [words],
    "a text at the root": lambda words: words,
    "detail as a text": lambda words: {"detail": words},
    "FastAPI's detail": lambda words: {"detail": [{"loc": ["body"], "msg": words, "type": "value_error"}]},
    "detail.message": lambda words: {"detail": {"message": words}},
    "detail.error.message": lambda words: {"detail": {"error": {"message": words, "code": 400}}},
    "message.detail": lambda words: {"object": "error", "message": {"detail": [{"msg": words, "loc": []}]}},
    "errors as texts": lambda words: {"errors": [words]},
    "errors[].message": lambda words: {"errors": [{"code": 7003, "message": words}], "success": False},
    "errors[].detail": lambda words: {"errors": [{"status": "400", "title": "Bad Request", "detail": words}]},
    "problem+json": lambda words: {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": words},
    "base_resp": lambda words: {"base_resp": {"status_code": 2013, "status_msg": words}},
    "AWS's": lambda words: {"__type": "ValidationException", "message": words},
    "an error within the error": lambda words: {"error": {"message": "Bad request", "error": {"message": words}}},
    "an inner error": lambda words: {"error": {"message": "Bad request", "innererror": {"message": words}}},
    "metadata.raw as JSON in a text": lambda words: {
        "error": {
            "message": "Provider returned error",
            "code": 400,
            "metadata": {"raw": json.dumps({"error": {"message": words, **MODERN}}), "provider_name": "X"},
        },
        "user_id": "user_1",
    },
    "metadata.raw as a text": lambda words: {
        "error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": words, "provider_name": "X"}}
    },
    "metadata.raw as JSON": lambda words: {
        "error": {"message": "Provider returned error", "metadata": {"raw": {"error": {"message": words}}}}
    },
    "JSON in the message": lambda words: {"error": {"message": json.dumps({"error": {"message": words}}), "code": 400}},
    "after LiteLLM's words": lambda words: {
        "error": {"message": f"litellm.BadRequestError: OpenAIException - {words}", "type": None, "code": "400"}
    },
    "JSON after LiteLLM's words": lambda words: {
        "error": {
            "message": "litellm.APIError: AnthropicException - "
            + json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": words}})
            + ". Received Model Group=a\nAvailable Model Group Fallbacks=None",
            "code": "500",
        }
    },
    "Python's way of writing it, after an SDK's words": lambda words: {
        "error": {"message": f"Error code: 400 - { ({'error': {'message': words, **MODERN}})!r}", "code": 400}
    },
    "after a botocore error's words": lambda words: {
        "message": f"An error occurred (ValidationException) when calling the Converse operation: {words}"
    },
    "after a status": lambda words: {"error": {"message": f"400 Bad Request: {words}"}},
    "after a gateway's words": lambda words: {"error": {"message": f"Provider returned error: {words}"}},
}


def write_body(place: str, words: str) -> bytes:
    return json.dumps(PLACES[place](words)).encode()
