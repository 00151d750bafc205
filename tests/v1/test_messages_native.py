"""Messages to an upstream of Anthropic's: the request goes on as it came, and its answer comes back as it was said."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.messages import list_events, read_message, say
from tests.replay import replies, stream_steps
from tests.replies import Reply
from tests.upstream import CUT, ScriptedUpstream, whole
from tests.v1.test_messages import HELLO, PICTURE, SCHEMA, TOOLS, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    found = Client(app, make, upstream)
    found.serve("anthropic", models={found.model: "claude-opus-4-8"})
    upstream.plays(replies("anthropic", Reply("Hi.")))
    return found


def test_the_body_goes_on_as_it_came(client: Client):
    body = {
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=abc;"},
            {"type": "text", "text": "Be short.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "A?", "new_field": {"x": [1]}}, PICTURE]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "", "signature": "EqQB+/="},
                    {"type": "redacted_thinking", "data": "EmwKAhgB"},
                    {"type": "text", "text": "B", "citations": []},
                    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
                    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo", "a": 1.0}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": ""}]},
                    {"type": "brand_new_block", "value": {"deep": True}},
                ],
            },
            {"role": "system", "content": "Mode: plan."},
        ],
        "tools": [
            {**TOOLS[0], "strict": True, "eager_input_streaming": True, "cache_control": {"type": "ephemeral"}},
            {"type": "bash_20250124", "name": "bash"},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "adaptive", "display": "omitted"},
        "output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "stop_sequences": ["END"],
        "top_k": 5,
        "max_tokens": 1000,
    }
    client.ask(**body)
    [sent] = client.sent
    assert sent == {**body, "model": "claude-opus-4-8"}
    assert "x-bridge-dropped" not in client.headers
    assert "x-bridge-clamped" not in client.headers


def test_what_would_choose_a_price_or_a_person_stays_here(client: Client):
    client.ask(
        metadata={"user_id": "anna@example.org", "other": "x"},
        unknown_field={"model": "other"},
        inference_geo="global",
        max_tokens=1_000_000,
        service_tier="auto",
    )
    [sent] = client.sent
    assert sent["max_tokens"] == 4096
    assert set(sent) == {"model", "messages", "max_tokens", "metadata", "service_tier"}
    assert list(sent["metadata"]) == ["user_id"]
    assert "anna" not in json.dumps(sent)
    assert client.headers["x-bridge-dropped"] == "unknown_field"
    assert client.headers["x-bridge-clamped"] == "max_tokens=4096"


def test_t6_of_betas_those_pass_that_cost_nothing_more_and_of_the_others_nothing_is_said(client: Client):
    betas = (
        "claude-code-20250219,context-1m-2025-08-07, interleaved-thinking-2025-05-14 ,files-api-2025-04-14,"
        "effort-2025-11-24,nonsense"
    )
    client.ask(headers={"anthropic-beta": betas})
    [request] = client.upstream.requests
    passed = "claude-code-20250219,interleaved-thinking-2025-05-14,effort-2025-11-24"
    assert request.headers["anthropic-beta"] == passed
    assert "x-bridge-dropped" not in client.headers
    assert request.headers["anthropic-version"] == "2023-06-01"


def test_unknown_betas_are_no_reason_to_refuse_in_strict_mode(client: Client):
    client.ask(headers={"anthropic-beta": "never-heard-of-2031-01-01", "x-bridge-strict": "true"})
    assert "anthropic-beta" not in client.upstream.requests[-1].headers


@pytest.mark.parametrize(("window", "passes"), [(999_999, False), (1_000_000, True)])
def test_the_beta_of_a_long_window_passes_where_the_model_has_one(client: Client, window: int, passes: bool):
    client.model = client._make.make_model(context_tokens=window)
    client.serve("anthropic", models={client.model: "claude-opus-4-8"})
    client.ask(headers={"anthropic-beta": "context-1m-2025-08-07,effort-2025-11-24"})
    passed = client.upstream.requests[-1].headers["anthropic-beta"]
    assert passed == ("context-1m-2025-08-07," if passes else "") + "effort-2025-11-24"


def test_the_search_for_tools_is_left_out_and_all_tools_are_sent(client: Client):
    tools = [{"type": "tool_search_tool_regex_20251119", "name": "search"}, {**TOOLS[0], "defer_loading": True}]
    client.ask(tools=tools)
    assert client.sent[0]["tools"] == [TOOLS[0]]
    assert client.headers["x-bridge-dropped"] == "tools.0"


def test_an_older_model_gets_the_systems_words_in_the_users_turn(client: Client):
    client._make.disable_channels(client.model)
    client.serve("anthropic")
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "cold"}
    turns = [
        {"role": "system", "content": "First of all."},
        *HELLO,
        {"role": "assistant", "content": [call]},
        {"role": "system", "content": "Mode: plan."},
        {"role": "user", "content": [result]},
        {"role": "system", "content": "Mode: act."},
    ]
    client.ask(turns, tools=TOOLS)
    sent = client.sent[-1]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    said = [f"<system-reminder>\nMode: {mode}.\n</system-reminder>" for mode in ("plan", "act")]
    assert sent["messages"][-1]["content"] == [result, *({"type": "text", "text": text} for text in said)]
    assert sent["system"] == [{"type": "text", "text": "First of all."}]


def test_ids_that_anthropic_refuses_are_written_otherwise(client: Client):
    call = {"type": "tool_use", "id": "functions.weather:0", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "functions.weather:0", "content": "cold"}
    client.ask([*HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}], tools=TOOLS)
    _, turn, answer = client.sent[-1]["messages"]
    assert turn["content"][0]["id"] == answer["content"][0]["tool_use_id"] == "functions_weather_0"


def test_a_budget_fits_below_a_lowered_cap(client: Client):
    client._make.disable_channels(client.model)
    client.serve("anthropic")
    client.ask(max_tokens=64_000, thinking={"type": "enabled", "budget_tokens": 31_999})
    assert client.sent[-1]["thinking"] == {"type": "enabled", "budget_tokens": 4095}
    assert "thinking.budget_tokens=4095" in client.headers["x-bridge-clamped"]


EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_upstream",
            "type": "message",
            "role": "assistant",
            "model": "claude-secret",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "output_tokens": 1},
        },
    },
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "EmwK"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "", "citations": []}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "He"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "llo"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": " 你\n"}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation": {"type": "new"}}},
    {"type": "brand_new_event", "value": 1},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END", "container": None},
        "usage": {"output_tokens": 7, "service_tier": "standard"},
        "context_management": {"applied_edits": []},
    },
    {"type": "message_stop"},
]


def written(events: list[dict[str, Any]]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


@pytest.mark.parametrize("cuts", [(10_000,), (1,), (30, 300, 2, 5_000, 77)])
def test_a_streams_own_events_pass_with_our_names(client: Client, cuts: tuple[int, ...]):
    client.upstream.plays(lambda _request: stream_steps(written(EVENTS), cuts))
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    events = list_events(answer.data)
    answer.close()
    start, *between, last, stop = events
    assert between == EVENTS[1:-2]
    assert stop == EVENTS[-1]
    assert b"claude-secret" not in answer.data
    assert b"msg_upstream" not in answer.data
    booked = client.booked()
    assert start["message"]["id"] == "msg_" + booked.request_id[4:]
    assert start["message"]["model"] == client.model
    assert start["message"]["usage"]["input_tokens"] == 12
    assert last["delta"] == EVENTS[-2]["delta"]
    assert last["context_management"] == {"applied_edits": []}
    usage = last["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["service_tier"]) == (12, 7, "standard")
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (0, 0)
    assert usage["cost"] * 1e9 == pytest.approx(booked.charge_nanos)
    assert (booked.prompt_tokens, booked.completion_tokens, booked.tokens_source) == (12, 7, "provider")


def test_a_whole_answer_passes_with_our_names(client: Client):
    body = {
        **EVENTS[0]["message"],
        "content": [{"type": "thinking", "thinking": "", "signature": "EqQB"}, {"type": "new_kind", "x": 1}],
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
        "stop_details": {"why": "x"},
        "usage": {"input_tokens": 12, "output_tokens": 7, "service_tier": "standard"},
    }
    client.upstream.plays(lambda _request: [whole(json.dumps(body).encode())])
    message = client.ask()
    assert message["content"] == body["content"]
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")
    assert message["stop_details"] == {"why": "x"}
    assert message["id"] == "msg_" + client.booked().request_id[4:]
    assert message["usage"]["service_tier"] == "standard"


@pytest.mark.parametrize("most", range(1, len(EVENTS) - 1))
def test_a_stream_cut_after_any_event_closes_what_is_open(client: Client, most: int):
    steps = stream_steps(written(EVENTS[:most]), (10_000,))[:-1]
    client.upstream.plays(lambda _request: [*steps, CUT])
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    if answer.status_code != 200:  # nothing was said yet
        assert answer.json["type"] == "error"
        assert most <= 8
        return
    events = list_events(answer.data)
    answer.close()
    assert events.pop()["type"] == "error"
    begun = [event["index"] for event in events if event["type"] == "content_block_start"]
    ended = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert begun == ended


def test_t3_a_stream_without_its_last_event_has_an_end_of_ours(client: Client):
    client.upstream.plays(lambda _request: stream_steps(written([*EVENTS[:13], EVENTS[-2]]), (10_000,)))
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    events = list_events(answer.data)
    answer.close()
    assert [event["type"] for event in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]


def test_what_nobody_announced_begins_all_the_same(client: Client):
    told = [event for event in EVENTS if event["type"] != "content_block_start" and event.get("index") in (None, 2)]
    for event in told:
        if "index" in event:
            event = {**event, "index": 0}
    told = [{**event, "index": 0} if "index" in event else event for event in told]
    told = [event for event in told if event["type"] not in ("brand_new_event",)]
    client.upstream.plays(lambda _request: stream_steps(written(told), (10_000,)))
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    assert say(read_message(answer.data)) == "Hello 你\n"
    answer.close()


@BOTH
def test_an_invalid_signature_is_mended_by_asking_once_more_without_thoughts(client: Client, stream: bool):
    """Thoughts that another gateway or account got can't be told from Anthropic's own."""
    error = {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
        },
    }
    client.upstream.plays(
        lambda _request: [whole(json.dumps(error).encode(), 400)], replies("anthropic", Reply("Again."))
    )
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "EqQBforeign"}
    turns = [*HELLO, {"role": "assistant", "content": [thought, {"type": "text", "text": "Hi."}]}, *HELLO]
    assert say(client.ask(turns, stream=stream)) == "Again."
    first, second = client.sent
    assert first["messages"][1]["content"][0] == thought
    assert second["messages"][1]["content"] == [{"type": "text", "text": "Hi."}]
    assert client.booked().outcome == "complete"
