"""GET /openapi.json: what the API offers, with the schema of every body, built from the types that check them."""

import functools
from collections.abc import Callable
from typing import Any

import msgspec
from flask import Response

from bridge.config import Settings
from bridge.v1.chat_request import ChatRequest
from bridge.v1.visit import CORS, JSON

VERSION = "1.0.0"
DOLLARS = {"type": "string", "pattern": r"^-?\d+(\.\d{1,18})?$", "description": "Dollars, a plain decimal."}
TEXT: dict[str, Any] = {"type": "string"}
WHOLE = {"type": "integer", "minimum": 0}
STAMP = {"type": "string", "format": "date-time"}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


ANSWERS: dict[str, Any] = {
    "Error": _object(
        {"error": _object({"code": TEXT, "message": TEXT, "type": TEXT, "param": _nullable(TEXT)})},
    ),
    "Usage": _object(
        {
            "prompt_tokens": WHOLE,
            "completion_tokens": WHOLE,
            "total_tokens": WHOLE,
            "prompt_tokens_details": _object({"cached_tokens": WHOLE}),
            "completion_tokens_details": _object({"reasoning_tokens": WHOLE}),
            "cost": DOLLARS,
        }
    ),
    "ChatCompletion": _object(
        {
            "id": TEXT,
            "object": {"const": "chat.completion"},
            "created": WHOLE,
            "model": TEXT,
            "choices": _list(
                _object({"index": WHOLE, "message": {"type": "object"}, "finish_reason": TEXT, "logprobs": {}})
            ),
            "usage": _ref("Usage"),
        }
    ),
    "Model": _object(
        {
            "id": TEXT,
            "object": {"const": "model"},
            "created": WHOLE,
            "owned_by": TEXT,
            "name": TEXT,
            "context_length": WHOLE,
            "max_output_tokens": WHOLE,
            "pricing": _nullable(_object({"prompt": DOLLARS, "completion": DOLLARS, "cached_prompt": DOLLARS})),
            "aliases": _list(TEXT),
            "input_modalities": _list(TEXT),
            "supported_parameters": _list(TEXT),
            "status": {"enum": ["live", "degraded", "unavailable", "retired"]},
            "note": TEXT,
        },
        optional=("note",),
    ),
    "ModelList": _object({"object": {"const": "list"}, "data": _list(_ref("Model"))}),
    "Key": _object(
        {
            "object": {"const": "key"},
            "label": TEXT,
            "limits": _object(
                {
                    "requests_per_minute": _nullable(WHOLE),
                    "tokens_per_minute": _nullable(WHOLE),
                    "concurrent_requests": _nullable(WHOLE),
                }
            ),
            "budget": _nullable(_object({"amount": DOLLARS, "period": TEXT, "remaining": DOLLARS})),
            "models": _nullable(_list(TEXT)),
            "usage": _object({"today": DOLLARS, "week": DOLLARS, "month": DOLLARS}),
            "expires_at": _nullable(STAMP),
        }
    ),
    "Credits": _object(
        {
            "object": {"const": "credits"},
            "balance": DOLLARS,
            "held": DOLLARS,
            "available": DOLLARS,
            "total_credited": DOLLARS,
            "total_used": DOLLARS,
        }
    ),
    "Receipt": _object(
        {
            "object": {"const": "request"},
            "id": TEXT,
            "answer_id": TEXT,
            "created_at": STAMP,
            "settled_at": STAMP,
            "endpoint": TEXT,
            "stream": {"type": "boolean"},
            "model": _object({"asked": TEXT, "served": TEXT, "upstream": _nullable(TEXT)}),
            "outcome": {"enum": ["complete", "cut", "client_gone", "failed", "worker_lost"]},
            "state": {"enum": ["captured", "released"]},
            "status": WHOLE,
            "error_code": _nullable(TEXT),
            "finish_reason": _nullable(TEXT),
            "attempts": _list(
                _object(
                    {"channel": TEXT, "upstream_id": TEXT, "started_ms": WHOLE, "took_ms": WHOLE, "outcome": TEXT}
                )
            ),
            "tokens": _object(
                {"prompt": WHOLE, "cached": WHOLE, "completion": WHOLE, "reasoning": WHOLE, "source": TEXT}
            ),
            "prices_per_million": _object(
                {"prompt": DOLLARS, "cached": DOLLARS, "completion": DOLLARS, "version": WHOLE}
            ),
            "hold": DOLLARS,
            "charge": DOLLARS,
            "released": DOLLARS,
            "output_cap_tokens": WHOLE,
            "dropped": _list(TEXT),
            "clamped": _list(TEXT),
            "first_content_ms": _nullable(WHOLE),
            "total_ms": WHOLE,
        }
    ),
}
REFUSALS = {
    "400": "The request is wrong; `param` names the field.",
    "401": "The API key is missing or invalid.",
    "402": "The balance, or the key's budget, is too low.",
    "403": "The key may not use this model or this address, or the account is suspended.",
    "404": "There is no such model or request.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "RPM, TPM or concurrency limit reached; Retry-After says when to come back.",
    "503": "All upstream channels failed, or the gateway is overloaded.",
}


def _answers(name: str, *codes: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "200": {"description": "The answer.", "content": {"application/json": {"schema": _ref(name)}}}
    }
    for code in codes:
        found[code] = {
            "description": REFUSALS[code],
            "content": {"application/json": {"schema": _ref("Error")}},
        }
    return found


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def build(base_url: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    (chat_schema,), schemas = msgspec.json.schema_components([ChatRequest], ref_template="#/components/schemas/{name}")
    reading = ("401", "403", "429", "503")
    chat = _answers("ChatCompletion", "400", "401", "402", "403", "404", "413", "415", "429", "503")
    chat["200"]["content"]["text/event-stream"] = {"schema": TEXT}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AI Bridge",
            "version": VERSION,
            "description": "One OpenAI-compatible base URL for every model, paid from one prepaid balance.",
        },
        "servers": [{"url": base_url}],
        "security": [{"key": []}],
        "paths": {
            "/chat/completions": {
                "post": {
                    "operationId": "createChatCompletion",
                    "summary": "Answer a conversation, whole or as a stream.",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": chat_schema}}},
                    "responses": chat,
                }
            },
            "/models": {
                "get": {
                    "operationId": "listModels",
                    "summary": "The models that this key may use.",
                    "responses": _answers("ModelList", *reading),
                }
            },
            "/models/{id}": {
                "parameters": [_path_parameter("id")],
                "get": {
                    "operationId": "retrieveModel",
                    "summary": "One model, by id or alias.",
                    "responses": _answers("Model", "404", *reading),
                },
            },
            "/key": {
                "get": {
                    "operationId": "showKey",
                    "summary": "The calling key: limits, budget, usage.",
                    "responses": _answers("Key", *reading),
                }
            },
            "/credits": {
                "get": {
                    "operationId": "showCredits",
                    "summary": "The balance behind the key.",
                    "responses": _answers("Credits", *reading),
                }
            },
            "/requests/{id}": {
                "parameters": [_path_parameter("id")],
                "get": {
                    "operationId": "showRequest",
                    "summary": "The receipt of one request, by its id or its answer's.",
                    "responses": _answers("Receipt", "404", *reading),
                },
            },
        },
        "components": {
            "schemas": {**ANSWERS, **schemas},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def show(settings: Settings) -> Callable[[], Response]:
    """The view of the document, which is built once."""
    origin = settings.public_base_url.rstrip("/") or f"http://127.0.0.1:{settings.port}"

    @functools.cache
    def document() -> bytes:
        return msgspec.json.encode(build(f"{origin}/v1"))

    def openapi() -> Response:
        return Response(document(), headers=[JSON, *CORS, ("Cache-Control", "public, max-age=300")])

    return openapi
