"""GET /openapi.json: describes the API. The schemas of requests are built from the types that check them."""

import functools
from collections.abc import Callable

import msgspec
from flask import Response

from bridge.config import Settings
from bridge.conversation.labels import MAX_TAG, MAX_TAGS
from bridge.dialects.chat.request import ChatRequest
from bridge.dialects.chat.unpriced import CLIENT_TOOLS, FREE_SERVICE_TIERS
from bridge.dialects.completions.request import CompletionsRequest
from bridge.dialects.embeddings.request import EmbeddingsRequest
from bridge.dialects.images.request import ImageEditsRequest, ImagesRequest
from bridge.dialects.messages.request import MessagesRequest
from bridge.headers import api_headers
from bridge.limits.token_counts import COUNTS_A_MINUTE
from bridge.telemetry import new_request_id
from bridge.v1 import (
    openapi_completions,
    openapi_embeddings,
    openapi_images,
    openapi_responses,
    openapi_resume,
)
from bridge.v1 import openapi_messages as messages
from bridge.v1.openapi_answers import (
    HEADERS,
    READING,
    add_overload,
    describe_header,
    list_answers,
    refer_to_headers,
)
from bridge.v1.schemas import ANSWERS
from bridge.v1.schemas.blocks import Schema, nullable, ref, string
from bridge.v1.visit import JSON

VERSION = "1.0.0"
HELLO: Schema = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}
WEATHER: Schema = {
    "name": "find_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
REQUESTS: Schema = {
    "whole": {"summary": "A whole answer", "value": HELLO},
    "stream": {
        "summary": "A stream with its usage",
        "value": {
            "model": "claude-3-5-sonnet",
            "messages": [{"role": "user", "content": "Write a poem"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    },
    "tools": {
        "summary": "A question that calls a function",
        "value": {
            "model": "gpt-4o-mini",
            "messages": [{"role": "user", "content": "How is the weather in Oslo?"}],
            "tools": [{"type": "function", "function": WEATHER}],
            "max_tokens": 200,
        },
    },
}
CHUNK = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": {"anyOf": [ref("ChatCompletionChunk"), ref("Error")]},
}
# OpenAPI 3.1 describes each event of a stream
EVENT: Schema = {
    "type": "object",
    "properties": {"data": {"anyOf": [{"const": "[DONE]"}, CHUNK]}},
    "required": ["data"],
    "description": "One server-sent event: chunks, and `[DONE]` at the end. While the model thinks, `: keep-alive` "
    "comments come between. A stream that breaks ends with an Error and no [DONE].",
    "examples": [
        {
            "data": '{"id":"chatcmpl-01893b5ac0f07c3a9b1f0d2e4a6c8b0d","object":"chat.completion.chunk",'
            '"created":1714000000,"model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hello"},'
            '"finish_reason":null}]}'
        },
        {"data": "[DONE]"},
    ],
}
FIELDS = {
    "model": "A model's id or alias: GET /models lists them.",
    "models": "Models to try, in this order, when `model` can't be served, at most three: each at its own price. The "
    "hold covers the dearest, and the answer's `model` is the one that served.",
    "messages": "The conversation so far.",
    "stream": "Send the answer as it is written. Default: false.",
    "max_tokens": "Most tokens of each answer, thinking included. Above the model's own maximum it is brought down to "
    "it. Without it, the model's own maximum, or as much of it as a quarter of what is available pays for, at least "
    "256 tokens. What is less than was asked for, or than the model's maximum, is named in `x-bridge-clamped`.",
    "max_completion_tokens": "The same. Of two the larger counts.",
    "n": "How many answers; each is paid for. Where a provider gives one a call, they are parallel calls, at most 16.",
    "reasoning_effort": "How much to think, whoever makes the model: none, minimal, low, medium, high, xhigh, max.",
    "thinking": 'The same as a budget: {"type": "enabled", "budget_tokens": 4096}, or {"type": "disabled"}.',
    "temperature": "How freely to choose words. Default: the provider's, mostly 1.",
    "store": "Nothing is stored at a provider: true is dropped and named in x-bridge-dropped.",
}
# What the field's name or the JSON reader refuses, and not a type.
NOT_OFFERED = {"type": "null", "description": "Not offered, since it is billed apart: 400."}
NARROWER: Schema = {
    "seed": nullable({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}),
    "service_tier": {"enum": list(FREE_SERVICE_TIERS), "description": "Others are billed apart and not offered: 400."},
    "web_search_options": NOT_OFFERED,
    "audio": NOT_OFFERED,
    "modalities": nullable(
        {
            "type": "array",
            "items": {"type": "string", "not": {"const": "audio"}},
            "description": "Audio is not offered: 400.",
        }
    ),
}


def build(base_url: str) -> Schema:
    """The OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AI Bridge",
            "version": VERSION,
            "description": "One OpenAI-compatible base URL for every model, paid from one prepaid balance. Dollars are "
            "decimal strings. Of unknown fields only what servers share for sampling goes on.",
        },
        "servers": [{"url": base_url}],
        "security": [{"key": []}, {"x-api-key": []}],
        "paths": {
            "/chat/completions": {"post": _chat()},
            "/messages": {"post": _message()},
            "/messages/count_tokens": {"post": _count()},
            "/responses": {"post": _responses()},
            "/responses/input_tokens": {"post": _input_tokens()},
            "/embeddings": {
                "post": openapi_embeddings.operation([*_terms(), _idempotency_key()], _whole("EmbeddingList"))
            },
            "/completions": {
                "post": openapi_completions.operation(
                    [*_terms(), openapi_resume.header(), _idempotency_key()],
                    _inference("TextCompletion", openapi_completions.EVENT),
                )
            },
            **openapi_images.list_paths(
                [*_terms(), openapi_resume.header(), _idempotency_key()], _inference("ImageList", openapi_images.EVENT)
            ),
            "/quote": {"post": _quote()},
            "/models": _models(),
            "/models/{id}": messages.for_both(
                _get("retrieveModel", "One model, by id or alias.", "Model", "gpt-4o"), []
            ),
            "/key": _get("showKey", "The calling key: limits, budget, usage.", "Key"),
            "/credits": _get("showCredits", "The balance behind the key.", "Credits"),
            "/dashboard/billing/subscription": _get(
                "showSubscription", "What chat clients show as the limit of the key's money.", "BillingSubscription"
            ),
            "/dashboard/billing/usage": _get(
                "showUsage", "What chat clients take from that limit, in cents.", "BillingUsage"
            ),
            **_requests(),
        },
        "components": {
            "schemas": _list_schemas(),
            "headers": HEADERS,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key of the dashboard: sk-…"},
                "x-api-key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "x-api-key",
                    "description": "The same key, as Anthropic's clients send it. Two different keys are 401.",
                },
            },
        },
    }


def _list_schemas() -> Schema:
    """The schema of every body that goes in or out, from its type. A docstring of several lines is one description."""
    types = [*ANSWERS, ChatRequest, MessagesRequest, EmbeddingsRequest, CompletionsRequest, ImagesRequest]
    types += [ImageEditsRequest, *openapi_responses.REQUESTS]
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas |= openapi_responses.list_items()
    openapi_responses.describe_requests(schemas)
    openapi_embeddings.describe_request(schemas)
    openapi_completions.describe_request(schemas)
    openapi_images.describe_request(schemas)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = " ".join(schema["description"].split())
    schemas["Error"]["properties"]["error"] = schemas.pop("ErrorDetail")  # an error is described on its own
    properties = schemas["ChatRequest"]["properties"]
    properties |= NARROWER
    schemas["Tool"]["properties"]["type"] = {"enum": list(CLIENT_TOOLS), "description": "Others are billed apart: 400."}
    for field, description in FIELDS.items():
        properties[field]["description"] = description
    messages.narrow(schemas)
    return schemas


def _inference(answer: str, event: Schema) -> Schema:
    """The answers of an inference, whole and streamed."""
    answers = _whole(answer)
    answers["200"]["content"]["text/event-stream"] = {"schema": event}
    # a stream's cost is not known when its headers go out
    answers["200"]["headers"]["x-bridge-cost"] = {**HEADERS["x-bridge-cost"], "required": False}
    return answers


def _whole(answer: str) -> Schema:
    """The answers of an inference that is never streamed."""
    codes = ("400", "401", "402", "403", "404", "409", "413", "415", "422", "429", "503")
    answers = list_answers(answer, *codes)
    names = "x-bridge-cost", "x-bridge-attempts", "x-bridge-dropped", "x-bridge-clamped"
    answers["200"]["headers"] |= refer_to_headers(*names)
    for name in ("retry-after", "retry-after-ms"):  # when running requests hold the missing money
        answers["402"]["headers"][name] = {**HEADERS[name], "required": False}
    return answers


def _chat() -> Schema:
    return {
        "operationId": "createChatCompletion",
        "summary": "Answer a conversation, whole or as a stream.",
        "description": "The most that the answer can cost is set aside before a provider is asked; what it did cost "
        "replaces it. Long answers want `stream`: a whole answer sends nothing before its status is known.",
        "parameters": [*_terms(), openapi_resume.header(), _idempotency_key()],
        "requestBody": _chat_body(),
        "responses": _inference("ChatCompletion", EVENT),
    }


def _idempotency_key() -> Schema:
    said = string("Asked again under the same key, the same body gets the same answer and is paid for once.")
    return describe_header("Idempotency-Key", said | {"maxLength": 255, "pattern": "^[ -~]*$"}, "order-1")


def _responses() -> Schema:
    content = {"application/json": {"schema": ref("ResponsesRequest"), "examples": openapi_responses.EXAMPLES}}
    answers = _inference("Response", openapi_responses.EVENT)
    answers["200"]["content"]["application/json"]["example"] = openapi_responses.ANSWER
    return {
        "operationId": "createResponse",
        "summary": "Answer a conversation in OpenAI's newer form, whole or as a stream.",
        "description": "For any model, and without stored state: what needs it is 400. Hold and charge are as for a "
        "chat completion.",
        "parameters": [*_terms(), openapi_resume.header(), _idempotency_key()],
        "requestBody": {"required": True, "content": content},
        "responses": answers,
    }


def _input_tokens() -> Schema:
    content = {"application/json": {"schema": ref("CountRequest"), "examples": openapi_responses.COUNTED}}
    return {
        "operationId": "countInputTokens",
        "summary": "How long a request's input is, by our own count.",
        "description": "Free. It counts as a request (RPM) and takes no tokens (TPM).",
        "requestBody": {"required": True, "content": content},
        "responses": list_answers("InputTokens", "400", "401", "403", "404", "413", "415", "429", "503"),
    }


def _message() -> Schema:
    """As a chat completion, in Anthropic's shape."""
    found = _chat()
    answers = list_answers("Message", *(code for code in found["responses"] if code != "200"), error="MessagesError")
    answers["200"] = {**found["responses"]["200"], "content": answers["200"]["content"]}
    answers["200"]["content"]["application/json"]["example"] = messages.ANSWER
    answers["200"]["content"]["text/event-stream"] = {"schema": messages.EVENT}
    answers["402"]["headers"] = {**found["responses"]["402"]["headers"]}
    return {
        **found,
        "operationId": "createMessage",
        "summary": "Answer a conversation in the shape of Anthropic's Messages, by any model.",
        "parameters": [messages.ANY_VERSION, messages.BETAS, *found["parameters"]],
        "requestBody": messages.body(),
        "responses": messages.name_id(add_overload(answers)),
    }


def _count() -> Schema:
    codes = ("400", "401", "403", "404", "413", "415", "429", "503")
    answers = list_answers("TokenCount", *codes, error="MessagesError")
    answers["200"]["content"]["application/json"]["example"] = {"input_tokens": 10}
    return {
        "operationId": "countTokens",
        "summary": "How many tokens a message's prompt has, by our own count.",
        "description": f"Free, and beside RPM and TPM: an account may count {COUNTS_A_MINUTE} times a minute.",
        "parameters": [messages.ANY_VERSION, messages.BETAS],
        "requestBody": messages.body("MessagesCountRequest", messages.COUNTED),
        "responses": messages.name_id(add_overload(answers)),
    }


def _models() -> Schema:
    """The list, in pages for Anthropic's clients."""
    item = _get("listModels", "The models that this key may use.", "ModelList")
    item["get"]["responses"]["400"] = list_answers("ModelList", "400")["400"]
    return messages.for_both(item, messages.PAGE)


def _quote() -> Schema:
    return {
        "operationId": "createQuote",
        "summary": "What a chat completion or pictures can cost, and what would become of it.",
        "description": "The body of a chat completion, or of generations. Nobody is asked, and nothing is held. "
        "It counts as a request (RPM) and takes no tokens (TPM).",
        "parameters": _terms(),
        "requestBody": _quote_body(),
        "responses": list_answers("Quote", "400", "401", "403", "404", "413", "415", "429", "503"),
    }


def _requests() -> Schema:
    """What is known of one request, and its stream."""
    summary = "The receipt of one request, by its x-request-id or by its answer's id."
    item = _get("showRequest", summary, "Receipt", "req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d")
    stream = {"get": openapi_resume.read_on(), "parameters": item["parameters"]}
    return {"/requests/{id}": item | {"delete": openapi_resume.end()}, "/requests/{id}/stream": stream}


def _quote_body() -> Schema:
    schema = {"anyOf": [ref("ChatRequest"), ref("ImagesRequest")]}
    content = {"application/json": {"schema": schema, "examples": {**REQUESTS, **openapi_images.EXAMPLES}}}
    return {"required": True, "content": content}


def _terms() -> list[Schema]:
    most = string(
        "Dollars. What could cost more is 402; without `max_tokens`, the cap is what so much pays for.",
        pattern=r"^\$?\d{1,9}(\.\d{0,9})?$",
    )
    stop = string(
        "Dollars. The answer ends (`finish_reason: length`) before it costs more: the cap is lowered to what so much "
        "pays for beside the prompt. A prompt that leaves nothing of it is 402.",
        pattern=r"^(?=.*[1-9])\$?\d{1,9}(\.\d{0,9})?$",
    )
    tags = string(
        f"Name=value pairs to group your usage by: at most {MAX_TAGS}, of {MAX_TAG} characters each. No provider sees "
        "them. `user` is kept the same way, and providers get a hash of it."
    )
    return [
        describe_header(
            "x-bridge-strict", string("With `true`, a field that would be dropped or clamped is 400."), "true"
        ),
        describe_header("x-bridge-max-cost", most, "0.05"),
        describe_header("x-bridge-stop-at", stop, "0.01"),
        describe_header("x-bridge-tags", tags, "project=search, env=prod"),
    ]


def _chat_body() -> Schema:
    content = {"application/json": {"schema": ref("ChatRequest"), "examples": REQUESTS}}
    return {"required": True, "content": content}


def _get(operation_id: str, summary: str, answer: str, example_id: str = "") -> Schema:
    codes = ("404", *READING) if example_id else READING
    found: Schema = {
        "get": {"operationId": operation_id, "summary": summary, "responses": list_answers(answer, *codes)}
    }
    if example_id:
        schema = {"type": "string", "minLength": 1}
        found["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": schema, "example": example_id}]
    return found


def show(settings: Settings) -> Callable[[], Response]:
    """The view of the document. It is built once."""
    origin = settings.public_base_url.rstrip("/") or f"http://127.0.0.1:{settings.port}"

    @functools.cache
    def document() -> bytes:
        return msgspec.json.encode(build(f"{origin}/v1"))

    headers = [JSON, *api_headers(settings).pairs, ("Cache-Control", "public, max-age=300")]

    def openapi() -> Response:
        return Response(document(), headers=[("x-request-id", new_request_id()), *headers])

    return openapi
