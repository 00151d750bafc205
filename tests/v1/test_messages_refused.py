"""What Messages refuses, in Anthropic's shape, status and words, which its clients act on."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.replay import replies
from tests.replies import Reply
from tests.upstream import ScriptedUpstream, fails, says, whole
from tests.v1.test_messages import EVERY, HELLO, PICTURE, TOOLS, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "cold"}
FILE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    found = Client(app, make, upstream)
    found.serve("openai")
    upstream.plays(says("Hi."))
    return found


def turn(*content: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(content)}


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages: at least one message is required"),
    ({"max_tokens": None}, "max_tokens: Field required"),
    ({"max_tokens": 0}, "max_tokens: "),
    ({"messages": None}, "messages: Field required"),
    ({"model": 5}, "model: Input should be a valid string"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: "),
    ({"messages": [turn({"type": "text"})]}, "messages.0.content.0.text: Field required"),
    ({"messages": [turn({"text": "x"})]}, "messages.0.content.0.type: Field required"),
    ({"messages": [turn(FILE)]}, "messages.0.content.0.source: Files are not kept here"),
    ({"messages": [turn({"type": "container_upload", "file_id": "f"})]}, "messages.0.content.0: Files are not kept"),
    ({"messages": [turn({"type": "image", "source": {"type": "x"}})]}, "messages.0.content.0.source.type: "),
    ({"messages": [turn({"type": "image", "source": {"type": "url"}})]}, "messages.0.content.0.source.url: Field req"),
    (
        {"messages": [turn({"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/x.png"}})]},
        "messages.0.content.0.source.url is neither",
    ),
    (
        {"messages": [turn({"type": "document", "source": {"type": "url", "url": "http://localhost/x.pdf"}})]},
        "messages.0.content.0.source.url is not the http(s) URL",
    ),
    (
        {"messages": [turn({**PICTURE, "source": {**PICTURE["source"], "data": "§"}})]},
        "messages.0.content.0.source.data holds no base64",
    ),
    ({"messages": [turn(CALL)]}, "messages.0.content.0: `tool_use` blocks can only be in `assistant` messages"),
    (
        {"messages": [*HELLO, turn(CALL, role="assistant"), *HELLO]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
    ),
    (
        {"messages": [*HELLO, turn(CALL, role="assistant")]},
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1.",
    ),
    ({"messages": [turn(RESULT)]}, "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks"),
    ({"tools": [TOOLS[0], TOOLS[0]]}, "tools: Tool names must be unique"),
    ({"tools": [{**TOOLS[0], "defer_loading": True}]}, "tools: All tools have defer_loading set."),
    ({"messages": [turn({"type": "tool_reference"})]}, "messages.0.content.0.tool_name: Field required"),
    ({"tools": [{"name": "x"}]}, "tools.0.input_schema: Field required"),
    ({"tools": [{"type": "custom", "name": "x"}]}, "tools.0.custom.input_schema: Field required"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type: "),
    ({"tools": [{"type": "code_execution_20250825", "name": "code"}]}, "tools.0.type: "),
    ({"tools": [{"type": "mcp_toolset", "mcp_server_name": "x"}]}, "tools.0.type: "),
    ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0.type: this model has no such tool"),
    ({"messages": [turn({"type": "brand_new"})]}, "messages.0.content.0: this model takes no brand_new"),
    ({"tool_choice": {"type": "tool", "name": "x"}, "tools": TOOLS}, "tool_choice: Tool 'x' not found in provided"),
    ({"tool_choice": {"type": "any"}}, "tool_choice: "),
    ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
    ({"thinking": {"type": "enabled", "budget_tokens": 10}}, "thinking.budget_tokens: "),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, "max_tokens: `max_tokens` must be greater than"),
    ({"temperature": 1.5}, "temperature: "),
    ({"system": [{"type": "image"}]}, "system.0.type: "),
    ({"output_config": {"effort": "huge"}}, "output_config.effort: "),
    ({"container": "c"}, "container: "),
    ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers: "),
    ({"fallbacks": [1]}, "fallbacks: "),
    ({"speed": "fast"}, "speed: "),
    ({"inference_geo": "us"}, "inference_geo: "),
    ({"service_tier": "priority"}, "service_tier: "),
]


@pytest.mark.parametrize(("body", "words"), WRONG, ids=[words[:50] for _, words in WRONG])
def test_what_is_wrong_is_named_by_its_path_first(client: Client, body: dict[str, Any], words: str):
    error = client.refused(body)
    assert (client.status, error["type"]) == (400, "invalid_request_error")
    assert error["message"].startswith(words)
    assert client.headers["x-should-retry"] == "false"
    assert not client.upstream.requests
    assert client._make.count_holds(client.key.account_id) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [*HELLO, *HELLO]},
        {"messages": [*HELLO, turn({"type": "text", "text": "It is"}, role="assistant")]},
        {"messages": [*HELLO, turn(CALL, role="assistant"), turn(RESULT), turn({"type": "text", "text": "And?"})]},
        {"messages": [{"role": "system", "content": "Short."}, *HELLO]},
        {"messages": [turn({"type": "text", "text": " "}), *HELLO]},
        {"messages": [*HELLO, turn(CALL, role="assistant"), turn({**RESULT, "content": None})]},
        {"container": None, "mcp_servers": [], "speed": "standard", "service_tier": "standard_only"},
        {"tools": [], "stop_sequences": [], "metadata": {}, "thinking": {"type": "disabled"}},
    ],
)
def test_what_anthropic_takes_is_not_refused(client: Client, body: dict[str, Any]):
    client.ask(**body)


def test_neither_a_version_nor_a_known_beta_is_wanted(client: Client):
    body = {"model": client.model, "max_tokens": 9, "messages": HELLO}
    headers = {"x-api-key": client.key.secret, "anthropic-beta": "never-heard-of-2031-01-01"}
    answer = client._app.test_client().post("/v1/messages?beta=true", json=body, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/messages", "/v1/v1/messages", "//v1/messages", "/v1/messages/", "/messages?beta=1"])
def test_any_base_url_leads_there(client: Client, path: str):
    assert client.post({"model": client.model, "max_tokens": 9, "messages": HELLO}, path).status_code == 200


def test_a_key_may_be_in_either_header_and_two_that_differ_are_refused(client: Client):
    body = {"model": client.model, "max_tokens": 9, "messages": HELLO}
    post, secret = client._app.test_client().post, client.key.secret
    bearer = {"Authorization": f"Bearer {secret}"}
    assert post("/v1/messages", json=body, headers=bearer).status_code == 200
    assert post("/v1/messages", json=body, headers={**bearer, "x-api-key": secret}).status_code == 200
    for headers in ({}, {**bearer, "x-api-key": "sk-other"}, {"x-api-key": "sk-wrong"}):
        answer = post("/v1/messages", json=body, headers=headers)
        assert (answer.status_code, answer.json["error"]["type"]) == (401, "authentication_error")
        assert answer.json["request_id"] == answer.headers["request-id"]


def test_an_empty_balance_is_a_billing_error_and_not_asked_again(app: Flask, make: Factories, client: Client):
    poor = make.make_key(make.make_account(1))
    client.key = poor
    error = client.refused({})
    assert (client.status, error["type"]) == (402, "billing_error")
    assert client.headers["x-should-retry"] == "false"


def test_an_unknown_model_is_named_as_claude_code_looks_for_it(client: Client):
    error = client.refused({"model": "claude-nothing-9"})
    assert (client.status, error["type"]) == (404, "not_found_error")
    assert error["message"].startswith("model: claude-nothing-9")


def test_a_full_limit_says_when_to_come_back(make: Factories, client: Client):
    client.key = make.make_key(rpm=1)
    client.ask()
    error = client.refused({})
    assert (client.status, error["type"]) == (429, "rate_limit_error")
    assert 1 <= int(client.headers["retry-after"]) <= 120


def test_our_own_overload_has_anthropics_status(app: Flask, client: Client):
    services = app.extensions["bridge_services"]
    before, services.in_flight = services.in_flight, 10**6
    try:
        error = client.refused({})
    finally:
        services.in_flight = before
    assert (client.status, error["type"]) == (529, "overloaded_error")
    assert client.headers["retry-after"]


def test_a_body_that_is_too_large_or_no_json_is_refused_in_shape(client: Client):
    headers = {"x-api-key": client.key.secret}
    post = client._app.test_client().post
    answer = post("/v1/messages", data=b"{", headers=headers)
    assert (answer.status_code, answer.json["error"]["type"]) == (400, "invalid_request_error")
    answer = post("/v1/messages", data=b"{}", headers=headers, content_type="text/plain")
    assert (answer.status_code, answer.json["error"]["type"]) == (415, "invalid_request_error")
    answer = post("/v1/messages", data=b"x" * (33 * 2**20), headers=headers, content_type="application/json")
    assert (answer.status_code, answer.json["error"]["type"]) == (413, "request_too_large")
    answer = client._app.test_client().get("/v1/messages", headers=headers)
    assert (answer.status_code, answer.json["error"]["type"]) == (405, "not_found_error")


@EVERY
@pytest.mark.parametrize("status", [401, 402, 404, 429, 500, 503, 529])
def test_what_fails_upstream_is_ours_to_mend(app: Flask, make: Factories, upstream: Any, provider: str, status: int):
    client = Client(app, make, upstream)
    client.serve(provider)
    upstream.plays(fails(status, "It went wrong."))
    error = client.refused({})
    assert (client.status, error["type"]) == (503, "api_error")
    assert client.headers["retry-after"]


OVERFLOWS = {
    "anthropic": "prompt is too long: 205000 tokens > 200000 maximum",
    "openai": "This model's maximum context length is 200000 tokens. However, your messages resulted in 205000 tokens.",
    "deepseek": "This model's maximum context length is 200000 tokens. However, you requested 205000 tokens.",
    "gemini": "The input token count (205000) exceeds the maximum number of tokens allowed (200000).",
    "moonshot": "Invalid request: prompt is too long: 205000, model maximum context length: 200000",
}


@EVERY
@pytest.mark.parametrize("stream", [False, True])
def test_t11_every_overflow_makes_claude_code_shorten_its_conversation(
    app: Flask, make: Factories, upstream: Any, provider: str, stream: bool
):
    client = Client(app, make, upstream)
    client.serve(provider)
    error = {"type": "invalid_request_error", "message": OVERFLOWS[provider]}
    body = {"type": "error", "error": error} if provider == "anthropic" else {"error": error}
    upstream.plays(lambda _request: [whole(json.dumps(body).encode(), 400)])
    found = client.refused({"stream": stream})
    assert client.status == 400
    assert found["message"].startswith("prompt is too long: 205000 tokens > 200000 maximum")


def test_prompt_and_answer_too_long_together_make_it_ask_for_less(app: Flask, make: Factories, upstream: Any):
    client = Client(app, make, upstream)
    client.serve("anthropic")
    message = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length"
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    upstream.plays(lambda _request: [whole(json.dumps(body).encode(), 400)])
    found = client.refused({})
    assert found["message"].startswith("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000")


def test_strict_mode_refuses_what_would_be_left_out(client: Client):
    error = client.refused({"top_k": 5, "context_management": {"edits": [1]}}, **{"x-bridge-strict": "true"})
    assert client.status == 400
    assert "context_management" in error["message"]


def test_what_a_provider_has_no_equal_for_is_named(client: Client):
    client.upstream.plays(replies("openai", Reply("Hi.")))
    used = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []}
    client.ask(
        [*HELLO, turn(used, found, {"type": "text", "text": "Hi."}, role="assistant"), *HELLO],
        context_management={"edits": [{"type": "clear_thinking_20251015"}]},
        system=[{"type": "text", "text": "x-anthropic-billing-header: x", "cache_control": {"type": "ephemeral"}}],
    )
    dropped = client.headers["x-bridge-dropped"].split(", ")
    assert dropped == ["context_management", "messages.1.content.0", "messages.1.content.1"]
    assert "billing" not in json.dumps(client.sent[-1])
