"""What Codex CLI does, as it was seen to do it, and the other clients of Responses: each of their habits meets what it
needs. Traps that have a number are in test_responses.py, and where their subject is tested."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.replay import replies
from tests.replies import Call, Reply
from tests.responses_contract import read_events
from tests.upstream import CUT, ScriptedUpstream, fails, says, starts
from tests.v1.test_responses import COLD, EVERY, PATCH, SPACE, STREAM, TOOL, Client, answer_calls, text_of

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
THREAD = "0199a000-0000-7000-8000-000000000001"
HEADERS = {
    "originator": "codex_cli_rs",
    "user-agent": "codex_cli_rs/0.171.0 (Ubuntu 24.4.0; x86_64)",
    "session-id": THREAD,
    "thread-id": THREAD,
    "x-client-request-id": THREAD,
    "x-codex-turn-metadata": "{}",
    "accept": "text/event-stream",
}
SAID = [
    {"type": "message", "id": "msg_a", "role": "developer", "content": [{"type": "input_text", "text": "Be careful."}]},
    {"type": "message", "id": "msg_b", "role": "user", "content": [{"type": "input_text", "text": "List files."}]},
]
BODY: dict[str, Any] = {
    "input": SAID,
    "stream": True,
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": THREAD,
    "client_metadata": {"x-codex-installation-id": "1"},
    "tool_choice": "auto",
    "parallel_tool_calls": False,
    "reasoning": {"effort": "medium", "summary": "auto"},
}
FUNCTIONS = [{**TOOL, "name": name, "strict": False} for name in ("exec_command", "write_stdin", "view_image")]
SEARCH = {"type": "web_search", "external_web_access": False}


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


def post(client: Client, **more: Any) -> Any:
    body = {"model": client.model, **BODY, **more}
    return client.app.test_client().post("/v1/responses", json=body, headers={**client.key.headers, **HEADERS})


def last_of(answer: Any) -> Any:
    data = answer.data
    answer.close()
    assert answer.status_code == 200, data
    return read_events(data)[-1]


@EVERY
def test_its_turn_is_taken_by_every_model_with_its_own_ids_and_no_instructions(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, COLD))
    answer = post(client, tools=[*FUNCTIONS, SPACE, SEARCH])
    last = last_of(answer)
    assert (last["type"], text_of(last["response"])) == ("response.completed", "It is cold.")
    sent = client.upstream.requests[-1].body.decode()
    assert "Be careful." in sent
    assert "exec_command" in sent
    assert "msg_a" not in sent
    assert "client_metadata" not in sent
    assert "client_metadata" not in answer.headers.get("x-bridge-dropped", "")


def test_the_search_that_it_always_offers_is_dropped_and_named(client: Client):
    client.serve()
    answer = post(client, tools=[*FUNCTIONS, SEARCH])
    assert "tools.web_search" in answer.headers["x-bridge-dropped"]
    answer.close()
    assert [tool["function"]["name"] for tool in client.sent()["tools"]] == [one["name"] for one in FUNCTIONS]


def test_its_name_of_a_request_is_that_of_the_whole_thread_and_no_idempotency_key(client: Client):
    client.serve()
    client.upstream.plays(says("One."), says("Two."))
    assert [text_of(last_of(post(client))["response"]) for _ in range(2)] == ["One.", "Two."]


def test_its_thread_keeps_to_one_channel(client: Client):
    for _ in range(4):
        client.serve()
    client.upstream.plays(says("Hi."))
    for number in range(6):
        last_of(post(client, input=[{"role": "user", "content": f"Another beginning, {number}."}]))
    rows = client.make.list_usage(client.key.account_id)
    assert len({json.loads(row.attempts)[0]["channel"] for row in rows}) == 1


def test_the_patch_tool_of_newer_models_and_their_search_for_tools_are_taken(client: Client):
    client.serve()
    call = Call("call_aaaaaaaaaaaaaaaa1", "apply_patch", {"input": "*** Begin Patch\n"})
    client.upstream.plays(replies("openai", Reply(calls=(call,), prompt_tokens=10, cached_tokens=0)))
    last = last_of(post(client, tools=[*FUNCTIONS, PATCH, {"type": "tool_search"}]))["response"]
    [item] = last["output"]
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** Begin Patch\n")


def test_a_namespaced_call_comes_back_with_its_namespace_and_its_bare_name(client: Client):
    client.serve()
    call = Call("call_aaaaaaaaaaaaaaaa1", "functions__exec", {"cmd": "ls"})
    client.upstream.plays(replies("openai", Reply(calls=(call,), prompt_tokens=10, cached_tokens=0)))
    [item] = last_of(post(client, tools=[SPACE]))["response"]["output"]
    assert (item["name"], item["namespace"]) == ("exec", "functions")


def test_every_text_is_done_before_the_end_since_it_reads_no_other(client: Client):
    client.serve()
    client.upstream.plays(says("Hello", " you"))
    events = read_events(post(client).data)
    [done] = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done["content"][0]["text"] == "Hello you"
    assert events[-1]["response"]["output"] == [done]


@STREAM
def test_the_reasoning_that_it_gives_back_without_content_is_taken(client: Client, stream: bool):
    client.serve("deepseek")
    client.upstream.plays(replies("deepseek", Reply(thought="Hm.", calls=(Call("call_00_a1", "weather", {}),))))
    answer = client.ask([{"role": "user", "content": "?"}], stream=stream, tools=[TOOL], include=BODY["include"])
    items = [{**item, "content": None} if item["type"] == "reasoning" else item for item in answer["output"]]
    client.upstream.plays(replies("deepseek", COLD))
    client.ask([{"role": "user", "content": "?"}, *answer_calls(items)], tools=[TOOL], stream=stream)
    [turn] = [message for message in client.sent()["messages"] if message["role"] == "assistant"]
    assert turn["reasoning_content"] == "Hm."


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "nothing"}, 404, "model_not_found"),
        ({"input": []}, 400, None),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, 400, "unsupported_parameter"),
    ],
)
def test_what_is_wrong_with_a_turn_is_said_before_it_begins_so_that_it_asks_once(
    client: Client, body: dict[str, Any], status: int, code: str | None
):
    client.serve()
    answer = post(client, **body)
    assert answer.status_code == status
    assert code is None or answer.json["error"]["code"] == code
    assert answer.headers["x-should-retry"] == "false"
    assert not client.upstream.requests


def test_an_overflow_is_said_by_the_code_for_which_it_asks_once(client: Client):
    client.serve()
    said = "This model's maximum context length is 32768 tokens. However, your messages resulted in 60000 tokens."
    client.upstream.plays(fails(400, said, "context_length_exceeded"))
    answer = post(client)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("then", [CUT])
def test_a_cut_turn_ends_as_failed_with_a_code_that_is_worth_asking_again(client: Client, then: str):
    client.serve()
    client.upstream.plays(starts("Hello", then=then))
    last = last_of(post(client))
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "server_error")
    assert last["response"]["usage"]["total_tokens"] > 0


def test_a_provider_that_fails_before_a_word_was_said_is_503_with_when_to_come_back(client: Client):
    client.serve()
    client.upstream.plays(fails(500))
    answer = post(client)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1


def test_its_attempts_at_a_websocket_and_at_stored_responses_end_at_once(client: Client):
    get = client.app.test_client().get
    upgrade = {**client.key.headers, "upgrade": "websocket", "connection": "Upgrade"}
    assert get("/v1/responses", headers=upgrade).status_code == 404
    assert get("/v1/responses/resp_1", headers=client.key.headers).status_code == 404
    compact = client.app.test_client().post("/v1/responses/compact", json={}, headers=client.key.headers)
    assert compact.status_code == 404


def test_t23_an_id_of_its_own_making_is_no_reason_to_refuse_it_and_a_400_stays_one(client: Client):
    client.model = client.make.make_model()
    client.make.make_channel(client.upstream.base_url, models={client.model: "gpt-5.5"})
    client.upstream.plays(fails(400, "Invalid 'input[0].id': string too long.", "invalid_value"))
    items = [{**SAID[0], "id": "msg_" + "x" * 200}, {**SAID[1], "id": "at_b"}]
    answer = post(client, input=items)
    assert answer.status_code == 400
    assert [item.get("id") for item in client.sent()["input"]] == [None, None]


def test_the_ai_sdks_reference_to_an_item_that_is_gone_says_how_to_do_without(client: Client):
    client.serve()
    items = [{"role": "user", "content": "?"}, {"type": "item_reference", "id": "msg_gone"}]
    error = client.refused(input=items)
    assert error["param"] == "input[1].id"
    assert "providerOptions.openai.store = false" in error["message"]


@STREAM
def test_an_answer_that_was_not_to_be_stored_is_not_found_by_reference(client: Client, stream: bool):
    client.serve()
    client.upstream.plays(says("Hello"))
    item = client.ask(stream=stream, store=False)["output"][0]
    client.refused(input=[{"role": "user", "content": "?"}, {"type": "item_reference", "id": item["id"]}])
    kept = client.ask(stream=stream)["output"][0]
    client.ask([{"role": "user", "content": "?"}, {"type": "item_reference", "id": kept["id"]}])
