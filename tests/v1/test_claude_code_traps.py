"""What broke Claude Code at other gateways, each kept from doing so here. Others are named t1 to t35 where their
subject is tested."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.messages import calls_of, read_message, say
from tests.replay import replies, stream_steps
from tests.replies import Call, Reply, write_stream, write_whole
from tests.upstream import STALL, ScriptedUpstream, fails, says, sends
from tests.v1.test_claude_code import BODY, HEADERS
from tests.v1.test_messages import BOTH, EVERY, HELLO, TOOLS, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
NOT_ANTHROPIC = pytest.mark.parametrize("provider", ["openai", "gemini", "deepseek", "moonshot"])


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


@EVERY
def test_t3_an_answer_that_has_said_its_end_is_over_though_the_socket_stays_open(client: Client, provider: str):
    client.serve(provider)
    steps = stream_steps(write_stream(provider, Reply("Hello.")), (40,))
    client.upstream.plays(lambda _request: [*steps[:-1], STALL])
    assert say(client.ask(stream=True)) == "Hello."
    assert client.booked().outcome == "complete"


@NOT_ANTHROPIC
def test_t5_the_billing_line_that_changes_with_each_turn_spoils_nobodys_cache(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("Hi.")))
    for mark in ("0a1b2", "9f8e7"):
        line = f"x-anthropic-billing-header: cc_version=2.1.332.040; cc_entrypoint=cli; cch={mark};"
        for system in ([{"type": "text", "text": line}, BODY["system"][1]], f"{line}\nYou are Claude Code."):
            client.ask(**{**BODY, "system": system}, headers=HEADERS)
    first, second, third, fourth = (request.body for request in client.upstream.requests)
    assert first == third
    assert second == fourth
    assert b"x-anthropic-billing-header" not in first + second


def test_t8_counting_asks_no_upstream_so_that_no_channel_suffers_from_it(client: Client):
    client.serve("anthropic")
    counted = client.post({"model": client.model, "messages": HELLO}, "/v1/messages/count_tokens")
    assert counted.status_code == 200
    assert not client.upstream.requests
    client.upstream.plays(replies("anthropic", Reply("Hi.")))
    assert say(client.ask()) == "Hi."


@pytest.mark.parametrize("agent", ["claude-cli/2.1.332 (external, cli)", "curl/8", "", "Mozilla/5.0"])
def test_t10_nobody_is_asked_what_client_it_is(client: Client, agent: str):
    client.serve("openai")
    client.upstream.plays(says("Hi."))
    headers = {"x-api-key": client.key.secret, "user-agent": agent}
    body = {"model": client.model, "max_tokens": 9, "messages": HELLO}
    assert client._app.test_client().post("/v1/messages", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("provider", ["anthropic", "gemini", "deepseek", "moonshot"])
@BOTH
def test_t12_an_answer_of_thoughts_alone_is_no_empty_one(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply(thought="Hm.", signature="c2ln", finish="length")))
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 4000}
    message = client.ask(stream=stream, **thinking)
    assert message["content"][0]["thinking"] == "Hm."
    assert message["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_beyond_a_small_window_makes_it_shorten_and_costs_nothing(client: Client, stream: bool):
    """It takes every model that it does not know for one of a million tokens, unless it is told."""
    client.serve("openai")
    said = "This model's maximum context length is 32768 tokens. However, your messages resulted in 60000 tokens."
    client.upstream.plays(fails(400, said, "context_length_exceeded"))
    error = client.refused({"stream": stream})
    assert (client.status, client.headers["x-should-retry"]) == (400, "false")
    assert error["message"].startswith("prompt is too long: 60000 tokens > 32768 maximum")
    assert client.booked().charge_nanos == 0


def test_a_call_that_is_no_object_is_no_answer_and_the_next_channel_is_asked(client: Client):
    """Its input would otherwise be an empty one, and the tool carried out without a word of it."""
    call = Call("call_1", "weather", {"city": "Oslo"})
    broken = write_whole("openai", Reply(calls=(call,))).replace(b'\\"Oslo\\"}', b'\\"Os')
    assert b"Oslo" not in broken
    for priority in (0, 1):
        client.serve("openai", priority=priority)
    client.upstream.plays(sends(broken), replies("openai", Reply(calls=(call,))))
    message = client.ask(tools=TOOLS)
    assert [one["input"] for one in calls_of(message)] == [{"city": "Oslo"}]
    assert len(json.loads(client.booked().attempts)) == 2


@pytest.mark.parametrize("given", ['"[1]"', '"\\"text\\""', '"{"', '"nonsense"'])
def test_where_no_channel_makes_a_call_that_is_one_it_is_an_error_and_free(client: Client, given: str):
    client.serve("openai")
    whole = json.loads(write_whole("openai", Reply(calls=(Call("call_1", "weather", {}),))))
    whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = json.loads(given)
    client.upstream.plays(sends(json.dumps(whole).encode()))
    error = client.refused({"tools": TOOLS})
    assert (client.status, error["type"]) == (503, "api_error")
    assert client.booked().charge_nanos == 0


def test_a_call_that_the_cap_cut_in_two_is_left_out_and_the_stop_reason_says_why(client: Client):
    client.serve("openai")
    whole = json.loads(write_whole("openai", Reply("Look:", calls=(Call("call_1", "weather", {}),), finish="length")))
    whole["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = '{"city": "Os'
    client.upstream.plays(sends(json.dumps(whole).encode()))
    message = client.ask(tools=TOOLS)
    assert (say(message), calls_of(message), message["stop_reason"]) == ("Look:", [], "max_tokens")
    assert client.booked().charge_nanos > 0


def gemini_turns(sent: dict[str, Any]) -> list[Any]:
    return [content["parts"] for content in sent["contents"] if content["role"] == "model"]


def test_geminis_signature_of_a_text_goes_back_with_that_text(client: Client):
    client.serve("gemini")
    client.upstream.plays(replies("gemini", Reply("Hello.", "Hm.", "c2lnbmF0dXJl")))
    message = client.ask(thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=4000)
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]
    assert message["content"][0]["signature"].startswith("ab1.")
    client.ask([*HELLO, {"role": "assistant", "content": message["content"]}, *HELLO])
    assert gemini_turns(client.sent[-1]) == [[{"text": "Hello.", "thoughtSignature": "c2lnbmF0dXJl"}]]


def test_no_stream_ends_in_thoughts_behind_its_text(client: Client):
    """Claude Code would print nothing of it."""
    client.serve("gemini")
    client.upstream.plays(replies("gemini", Reply("Hello.", "Hm.", "c2lnbmF0dXJl")))
    message = client.ask(thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=4000, stream=True)
    assert [block["type"] for block in message["content"]] == ["thinking", "text"]


def test_another_accounts_signature_of_a_text_goes_nowhere(client: Client):
    client.serve("gemini")
    client.upstream.plays(replies("gemini", Reply("Hello.", "Hm.", "c2lnbmF0dXJl")))
    message = client.ask()
    client.key = client._make.make_key()
    client.ask([*HELLO, {"role": "assistant", "content": message["content"]}, *HELLO])
    assert gemini_turns(client.sent[-1]) == [[{"text": "Hello."}]]


@BOTH
def test_what_it_asks_again_after_a_cut_costs_what_was_delivered_and_not_more(client: Client, stream: bool):
    client.serve("openai")
    steps = stream_steps(write_stream("openai", Reply("one two three four five six seven")), (40,))
    client.upstream.plays(lambda _request: [*steps[: len(steps) // 2], "cut"], replies("openai", Reply("Done.")))
    answer = client.post({"model": client.model, "max_tokens": 99, "messages": HELLO, "stream": True})
    cut = read_message(answer.data, ended=False)
    answer.close()
    assert cut["error"]["error"]["type"] == "api_error"
    client.ask(stream=stream)
    first, second = client._make.list_usage(client.key.account_id)
    assert (first.outcome, second.outcome) == ("cut", "complete")
