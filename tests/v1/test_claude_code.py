"""What Claude Code does, as it was seen to do it: each of its habits meets what it needs."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.messages import calls_of, list_events, read_message, say
from tests.replay import replies, stream_steps
from tests.replies import Call, Reply, cut_in_arguments, write_stream
from tests.upstream import CUT, ScriptedUpstream, fails
from tests.v1.test_messages import EVERY, HELLO, SCHEMA, SPOKEN, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BETAS = (
    "claude-code-20250219,context-1m-2025-08-07,interleaved-thinking-2025-05-14,redact-thinking-2026-02-12,"
    "thinking-token-count-2026-05-13,context-management-2025-06-27,prompt-caching-scope-2026-01-05,"
    "mid-conversation-system-2026-04-07,effort-2025-11-24,structured-outputs-2025-12-15,"
    "advanced-tool-use-2025-11-20,mid-conversation-tool-changes-2026-07-01"
)
SESSION = json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": "0f0e"})
MARK = {"type": "ephemeral"}
TOOLS = [{"name": f"Tool{number}", "description": "Does much. " * 250, "input_schema": SCHEMA} for number in range(27)]
BODY: dict[str, Any] = {
    "max_tokens": 64_000,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.040; cc_entrypoint=cli; cch=0a1b2;"},
        {"type": "text", "text": "You are Claude Code.", "cache_control": MARK},
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "<system-reminder>x</system-reminder>"}]},
        {"role": "user", "content": [{"type": "text", "text": "Look.", "cache_control": MARK}]},
        {"role": "system", "content": "Available agent types: none."},
    ],
    "tools": TOOLS,
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "metadata": {"user_id": SESSION},
}
HEADERS = {"anthropic-beta": BETAS, "user-agent": "claude-cli/2.1.332 (external, cli)", "x-app": "cli"}


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


def code(client: Client, **more: Any) -> dict[str, Any]:
    """A turn of Claude Code's, streamed."""
    return client.ask(**{**BODY, "stream": True, "headers": HEADERS, **more})


@EVERY
def test_its_85_kilobytes_of_tools_and_marks_are_taken_by_every_model(client: Client, provider: str):
    client.serve(provider)
    call = Call("toolu_01AbCdEfGhIjKlMnOpQr", "Tool3", {"city": "Oslo"})
    client.upstream.plays(replies(provider, Reply("Looking.", calls=(call,))))
    message = code(client)
    assert (say(message), [used["name"] for used in calls_of(message)]) == ("Looking.", ["Tool3"])
    sent = client.upstream.requests[-1].body
    assert len(sent) > 60_000
    assert b"Available agent types" in sent
    assert b"device_id" not in sent
    assert (b"x-anthropic-billing-header" in sent) is (provider == "anthropic")
    assert "max_tokens=4096" in client.headers["x-bridge-clamped"]


DEFERRED = [{**TOOLS[0], "name": name, "defer_loading": True} for name in ("Fetch", "Cron", "Watch")]
FOUND: list[Any] = [
    {"role": "user", "content": "Look."},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01A", "name": "Tool3", "input": {}}]},
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "toolu_01A",
                "content": [{"type": "tool_reference", "tool_name": "Fetch"}],
            },
            {"type": "text", "text": "Tool loaded."},
        ],
    },
    {"role": "system", "content": [{"type": "tool_addition", "tool": {"type": "tool_reference", "name": "Watch"}}]},
]


@EVERY
def test_of_its_deferred_tools_a_model_knows_those_that_it_has_loaded(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("Hi.")))
    for messages, known in (([FOUND[0]], ()), (FOUND[:3], ("Fetch",)), (FOUND, ("Fetch", "Watch"))):
        code(client, tools=[*TOOLS, *DEFERRED], messages=messages)
        sent = client.upstream.requests[-1].body
        told = [name for name in ("Fetch", "Cron", "Watch") if f'"name":"{name}"'.encode() in sent]
        assert told == (["Fetch", "Cron", "Watch"] if provider == "anthropic" else list(known))
        assert (b'"defer_loading"' in sent) is (provider == "anthropic")
        if known and provider != "anthropic":
            assert b"Loaded the tool Fetch." in sent


def test_the_trials_that_its_deferred_tools_need_are_asked_for(client: Client):
    client.serve("anthropic", models={client.model: "claude-opus-5"})
    client.upstream.plays(replies("anthropic", Reply("Hi.")))
    code(client, tools=[*TOOLS, *DEFERRED], messages=FOUND)
    asked = client.upstream.requests[-1].headers["anthropic-beta"].split(",")
    assert {"advanced-tool-use-2025-11-20", "mid-conversation-tool-changes-2026-07-01"} <= set(asked)
    assert client.sent[-1]["messages"][-1] == FOUND[-1]


def test_its_title_request_has_a_schema_and_no_tools(client: Client):
    client.serve("openai")
    client.upstream.plays(replies("openai", Reply('{"title":"Hello"}')))
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    message = client.ask(output_config={"format": {"type": "json_schema", "schema": schema}}, stream=True)
    assert json.loads(say(message)) == {"title": "Hello"}


def test_t14_its_web_search_is_a_request_of_its_own_and_fails_alone(client: Client):
    client.serve("anthropic")
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    error = client.refused({"tools": [search], "tool_choice": {"type": "tool", "name": "web_search"}})
    assert (client.status, error["message"].partition(":")[0]) == (400, "tools.0.type")
    assert not client.upstream.requests


def test_a_turn_that_was_cut_is_asked_again_whole(client: Client):
    client.serve("openai")
    steps = stream_steps(write_stream("openai", SPOKEN), (40,))
    client.upstream.plays(lambda _request: [*steps[: len(steps) // 2], CUT], replies("openai", SPOKEN))
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    assert read_message(answer.data, ended=False)["error"]["error"]["type"] == "api_error"
    answer.close()
    assert say(client.ask()) == SPOKEN.text


@pytest.mark.parametrize("provider", ["openai", "anthropic", "deepseek", "moonshot"])
def test_a_call_that_was_cut_is_not_ended_since_it_would_be_run(client: Client, provider: str):
    """Claude Code takes a call for whole as soon as its block ends, whatever came of its input."""
    client.serve(provider)
    reply = Reply("I clean up.", calls=(Call("toolu_01A", "Bash", {"command": "rm -rf ./build && ls"}),))
    body = write_stream(provider, reply)
    head = stream_steps(cut_in_arguments(body), (40,))[:-1]
    client.upstream.plays(lambda _request: [*head, CUT])
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True, "tools": TOOLS})
    *said, error = list_events(answer.data)
    answer.close()
    assert error["type"] == "error"
    [call] = [event for event in said if event.get("content_block", {}).get("type") == "tool_use"]
    assert call["index"] not in [event["index"] for event in said if event["type"] == "content_block_stop"]
    assert calls_of(read_message(answer.data, ended=False)) == [call["content_block"]]


@pytest.mark.parametrize(
    ("status", "again"),
    [({"model": "none"}, "false"), ({"messages": []}, "false"), ({}, None)],
)
def test_what_it_asks_again_says_so_or_that_it_is_in_vain(client: Client, status: dict[str, Any], again: str | None):
    client.serve("openai")
    client.upstream.plays(fails(500))
    client.refused(status)
    assert client.headers.get("x-should-retry") == again
    assert ("retry-after" in client.headers) is (again is None)


def test_its_session_keeps_to_one_channel(client: Client):
    for _ in range(4):
        client.serve("openai")
    client.upstream.plays(replies("openai", Reply("Hi.")))
    for number in range(6):
        code(client, messages=[{"role": "user", "content": f"Another beginning, {number}."}])
    rows = client._make.list_usage(client.key.account_id)
    assert len({json.loads(row.attempts)[0]["channel"] for row in rows}) == 1


def test_it_finds_the_models_that_it_may_use(client: Client):
    answer = client.get("/v1/models?limit=1000", Authorization=f"Bearer {client.key.secret}")
    claudes = [one for one in answer.json["data"] if one["id"].startswith("claude")]
    assert claudes
    assert all(one["display_name"] and one["max_input_tokens"] for one in claudes)


def test_haikus_budget_of_all_but_one_token_fits(client: Client):
    client.serve("anthropic")
    client.upstream.plays(replies("anthropic", Reply("Hi.")))
    client.ask(max_tokens=32_000, thinking={"type": "enabled", "budget_tokens": 31_999}, headers=HEADERS)
    sent = client.sent[-1]
    assert sent["thinking"]["budget_tokens"] < sent["max_tokens"]
