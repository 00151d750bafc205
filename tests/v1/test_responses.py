"""POST /v1/responses in this process: every provider is heard and asked, whole and streamed, and what is wrong is
refused in words that help."""

import json
from typing import Any

import pytest
from flask import Flask

from tests.each_provider import PROVIDERS, UPSTREAM_IDS
from tests.factories import Factories
from tests.replay import BASES, replies
from tests.replies import Call, Reply
from tests.responses_contract import check_answer, check_stream, read_events
from tests.upstream import ScriptedUpstream, fails, says, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
COLD = Reply("It is cold.", prompt_tokens=10, cached_tokens=0)
CALLS = Reply(
    calls=(Call("call_aaaaaaaaaaaaaaaa1", "weather", {"city": "Oslo"}), Call("call_bbbbbbbbbbbbbbbb2", "weather", {})),
    prompt_tokens=10,
    cached_tokens=0,
)
STREAM = pytest.mark.parametrize("stream", [False, True])
EVERY = pytest.mark.parametrize("provider", PROVIDERS)


class Client:
    """Asks as a client of Responses. What it gets is checked event by event."""

    def __init__(self, app: Flask, make: Factories, upstream: ScriptedUpstream):
        self.app, self.make, self.upstream, self.key = app, make, upstream, make.make_key()
        self.model = make.make_model()

    def serve(self, provider: str = "openai", **fields: Any) -> None:
        base_url = self.upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
        served = {self.model: UPSTREAM_IDS.get(provider, "theirs")}
        self.make.make_channel(base_url, provider=provider, models=served, **fields)

    def post(self, path: str = "/v1/responses", **body: Any) -> Any:
        return self.app.test_client().post(path, json={"model": self.model, **body}, headers=self.key.headers)

    def ask(self, input_: Any = "Hello!", *, end: str = "response.completed", **more: Any) -> Any:
        """The answer, whole or as the stream's last event has it."""
        answer = self.post(input=input_, **more)
        assert answer.status_code == 200, answer.data
        data = answer.data
        answer.close()
        self.data = data
        if more.get("stream"):
            return check_stream(data, end=end)
        check_answer(answer.json)
        return answer.json

    def refused(self, status: int = 400, /, **body: Any) -> Any:
        answer = self.post(**{"input": "Hello!", **body})
        assert answer.status_code == status, answer.data
        return answer.json["error"]

    def sent(self) -> Any:
        return self.upstream.requests[-1].json

    def booked(self) -> Any:
        return self.make.list_usage(self.key.account_id)[-1]


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


def text_of(answer: Any) -> str:
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts)


@EVERY
@STREAM
def test_every_provider_is_heard(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, COLD))
    answer = client.ask(stream=stream, instructions="Be short.")
    assert text_of(answer) == "It is cold."
    assert (answer["status"], answer["model"]) == ("completed", client.model)
    assert answer["usage"]["input_tokens"] == 10
    assert "Be short." in client.upstream.requests[-1].body.decode()
    booked = client.booked()
    assert answer["id"] == f"resp_{booked.request_id[4:]}"
    assert (booked.outcome, booked.endpoint) == ("complete", "responses")


@EVERY
@STREAM
def test_parallel_calls_are_items_of_their_own(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, CALLS))
    answer = client.ask(stream=stream, tools=[TOOL])
    calls = [(item["name"], json.loads(item["arguments"]), item["status"]) for item in answer["output"]]
    assert calls == [("weather", {"city": "Oslo"}, "completed"), ("weather", {}, "completed")]
    assert len({item["call_id"] for item in answer["output"]}) == 2


THINKS = {
    "anthropic": Reply(
        "Let me look.",
        thought="The user wants the weather.",
        signature="c2lnbmVk",
        calls=(Call("toolu_01AAAAAAAAAAAAAAAA", "weather", {"city": "Oslo"}),),
        prompt_tokens=10,
        cached_tokens=0,
    ),
    "gemini": Reply(
        thought="The user wants the weather.",
        signature="c2lnbmVk",
        calls=(Call("", "weather", {"city": "Oslo"}),),
        prompt_tokens=10,
        cached_tokens=0,
    ),
    "deepseek": Reply(
        thought="The user wants the weather.",
        calls=(Call("call_00_aaaaaaaaaaaaaaaa", "weather", {"city": "Oslo"}),),
        prompt_tokens=10,
        cached_tokens=0,
    ),
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SEALED = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "medium"}, "store": False}


def answer_calls(output: list[Any], said: str = "minus 4") -> list[Any]:
    """The items of an answer as a client sends them back, and what its tools said."""
    results = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
    return output + [
        {"type": results[item["type"]], "call_id": item["call_id"], "output": said}
        for item in output
        if item["type"] in results
    ]


@pytest.mark.parametrize("provider", THINKS)
@STREAM
def test_three_turns_of_a_tool_loop_carry_the_reasoning_along(client: Client, provider: str, stream: bool):
    client.serve(provider)
    client.upstream.plays(replies(provider, THINKS[provider]))
    items: list[Any] = [{"role": "user", "content": "Is it cold in Oslo?"}]
    for turn in range(3):
        answer = client.ask(items, stream=stream, tools=[TOOL], **SEALED)
        kinds = [item["type"] for item in answer["output"]]
        assert kinds[0] == "reasoning", "it comes before what it led to"
        assert kinds[-1] == "function_call"
        assert answer["output"][0]["summary"][0]["text"] == "The user wants the weather."
        items += answer_calls(answer["output"], f"minus {turn}")
    client.upstream.plays(replies(provider, COLD))
    client.ask(items, stream=stream, tools=[TOOL], **SEALED)
    sent = client.upstream.requests[-1].body.decode()
    word = "c2lnbmVk" if provider != "deepseek" else "The user wants the weather."
    assert sent.count(word) == 3
    for turn in range(3):
        assert f"minus {turn}" in sent


def test_reasoning_in_an_envelope_is_bound_to_its_account(client: Client):
    client.serve("anthropic")
    client.upstream.plays(replies("anthropic", THINKS["anthropic"]))
    items: list[Any] = [{"role": "user", "content": "Is it cold in Oslo?"}]
    items += answer_calls(client.ask(items, tools=[TOOL], **SEALED)["output"])
    assert items[1]["encrypted_content"].startswith("ab1.")
    client.ask(items, tools=[TOOL], **SEALED)
    assert "c2lnbmVk" in client.upstream.requests[-1].body.decode()
    client.key = client.make.make_key()
    client.ask(items, tools=[TOOL], **SEALED)
    assert "c2lnbmVk" not in client.upstream.requests[-1].body.decode()
    client.ask([{**items[1], "encrypted_content": "gAAAAforeign"}, *items[:1]], **SEALED)
    assert "foreign" not in client.upstream.requests[-1].body.decode()


@STREAM
def test_without_include_there_is_no_encrypted_content(client: Client, stream: bool):
    client.serve("anthropic")
    client.upstream.plays(replies("anthropic", THINKS["anthropic"]))
    answer = client.ask(stream=stream, tools=[TOOL], reasoning={"effort": "medium"})
    assert "encrypted_content" not in answer["output"][0]


PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" /.+/'},
}


@EVERY
@STREAM
def test_t15_t16_a_custom_tool_goes_out_with_its_grammar_and_comes_back_unwrapped(
    client: Client, provider: str, stream: bool
):
    client.serve(provider)
    call = Call("call_aaaaaaaaaaaaaaaa1", "apply_patch", {"input": '*** Begin Patch\n"quoted"\n'})
    client.upstream.plays(replies(provider, Reply(calls=(call,), prompt_tokens=10, cached_tokens=0)))
    answer = client.ask(stream=stream, tools=[PATCH])
    (item,) = answer["output"]
    assert (item["type"], item["name"]) == ("custom_tool_call", "apply_patch")
    assert item["input"] == '*** Begin Patch\n"quoted"\n'
    assert "start: " in client.upstream.requests[-1].body.decode()
    if stream:
        deltas = [event for event in read_events(client.data) if event["type"].endswith("input.delta")]
        assert [event["delta"] for event in deltas] == [item["input"]]
    client.upstream.plays(replies(provider, COLD))
    client.ask([{"role": "user", "content": "Edit!"}, *answer_calls([item], "Done.")], tools=[PATCH])
    sent = client.upstream.requests[-1].body.decode()
    assert "Begin Patch" in sent
    assert "Done." in sent


SPACE = {"type": "namespace", "name": "functions", "tools": [{**TOOL, "name": "exec"}, {**PATCH, "name": "patch"}]}


@STREAM
@pytest.mark.parametrize("hoisted", [False, True])
def test_t17_tools_of_namespaces_and_of_additional_tools_are_offered_and_named_as_they_were(
    client: Client, stream: bool, hoisted: bool
):
    client.serve()
    calls = (
        Call("call_aaaaaaaaaaaaaaaa1", "functions__exec", {"cmd": "ls"}),
        Call("call_bbbbbbbbbbbbbbbb2", "functions__patch", {"input": "*** Begin"}),
    )
    client.upstream.plays(replies("openai", Reply(calls=calls, prompt_tokens=10, cached_tokens=0)))
    asked: Any = [{"role": "user", "content": "Look!"}]
    more: Any = {} if hoisted else {"tools": [SPACE]}
    if hoisted:
        asked = [{"type": "additional_tools", "role": "developer", "tools": [SPACE]}, *asked]
    answer = client.ask(asked, stream=stream, **more)
    sent = client.sent()
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["functions__exec", "functions__patch"]
    assert [message["role"] for message in sent["messages"]] == ["user"]
    called = [(item["type"], item["name"], item["namespace"]) for item in answer["output"]]
    assert called == [("function_call", "exec", "functions"), ("custom_tool_call", "patch", "functions")]
    client.ask([*asked, *answer_calls(answer["output"])], **more)
    [turn] = [message for message in client.sent()["messages"] if message["role"] == "assistant"]
    names = [call["function"]["name"] for call in turn["tool_calls"]]
    assert names == ["functions__exec", "functions__patch"]


def test_names_longer_than_64_are_shortened_and_restored(client: Client):
    client.serve()
    space = {"type": "namespace", "name": "n" * 50, "tools": [{**TOOL, "name": "t" * 50}]}
    client.upstream.plays(says("Hi"))
    client.ask(tools=[space])
    [tool] = client.sent()["tools"]
    name = tool["function"]["name"]
    assert len(name) == 64
    call = Call("call_aaaaaaaaaaaaaaaa1", name, {})
    client.upstream.plays(replies("openai", Reply(calls=(call,), prompt_tokens=10, cached_tokens=0)))
    [item] = client.ask(tools=[space])["output"]
    assert (item["name"], item["namespace"]) == ("t" * 50, "n" * 50)


def test_a_turns_message_and_calls_are_one_assistant_message_and_results_follow_in_the_calls_order(client: Client):
    client.serve()
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look!"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Looking."}]},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "b", "output": "two"},
        {"role": "user", "content": "Go on."},
        {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "one"}]},
    ]
    client.ask(items, tools=[TOOL])
    messages = client.sent()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in messages[1]["tool_calls"]] == ["a", "b"]
    assert [message.get("tool_call_id") for message in messages[2:4]] == ["a", "b"]
    assert messages[1]["content"] == "Looking."


def test_t26_an_output_without_call_id_becomes_what_the_user_says(client: Client):
    client.serve()
    client.ask([{"role": "user", "content": "Hi"}, {"type": "function_call_output", "output": "lost and found"}])
    assert client.sent()["messages"][-1] == {"role": "user", "content": "lost and found"}


def test_t25_a_call_without_output_and_an_output_without_call_are_refused_here(client: Client):
    client.serve()
    call = {"type": "function_call", "call_id": "call_9", "name": "weather", "arguments": "{}"}
    error = client.refused(input=[call])
    assert error["param"] == "input[0].call_id"
    assert error["message"] == "No tool output found for function call call_9."
    output = {"type": "function_call_output", "call_id": "call_9", "output": "x"}
    error = client.refused(input=[{"role": "user", "content": "x"}, output])
    assert error["param"] == "input[1].call_id"
    assert not client.upstream.requests


@pytest.mark.parametrize(
    "more",
    [{"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"prompt": {"id": "p"}}, {"background": True}],
)
def test_what_needs_stored_state_is_400_with_the_way_out(client: Client, more: Any):
    error = client.refused(**more)
    assert error["param"] == next(iter(more))
    assert "send the earlier items in `input` and set `store: false`" in error["message"]
    assert "providerOptions.openai.store = false" in error["message"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "input[0].call_id"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type"),
        ({"input": [{"type": "nonsense"}]}, "input[0].type"),
        ({"input": [{}]}, "input[0].type"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"tools": [TOOL, {"type": "code_interpreter"}]}, "tools[1].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{**SPACE, "tools": [{"type": "mcp"}]}]}, "tools[0].tools[0].type"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_tokens": 20}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "x"}]}, "messages"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]}, None),
    ],
)
def test_a_refusal_names_the_field_by_its_path(client: Client, more: Any, param: str | None):
    client.serve()
    error = client.refused(**more)
    assert (error["type"], set(error)) == ("invalid_request_error", {"type", "code", "message", "param"})
    if param:
        assert error["param"] == param
    assert not client.upstream.requests


def test_a_field_of_the_upstreams_is_called_as_the_client_knows_it(client: Client):
    client.serve("anthropic")
    error = client.refused(reasoning={"effort": "enormous"})
    assert error["param"] == "reasoning.effort"
    assert error["message"].startswith("reasoning.effort must be one of")


def test_what_has_no_equal_is_dropped_and_named_and_hosted_search_with_it(client: Client):
    client.serve()
    tools = [TOOL, {"type": "web_search"}, {"type": "tool_search"}]
    more = {"max_tool_calls": 3, "truncation": "auto", "client_metadata": {"x": "y"}}
    answer = client.post(input="Hello!", tools=tools, moderation={}, **more)
    assert answer.status_code == 200
    named = set(answer.headers["x-bridge-dropped"].split(", "))
    assert named == {"tools.web_search", "tools.tool_search", "max_tool_calls", "truncation", "moderation"}
    assert [tool["function"]["name"] for tool in client.sent()["tools"]] == ["weather"]
    assert "client_metadata" not in client.sent()


def test_what_has_an_equal_goes_out_under_chats_names(client: Client):
    client.serve()
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    client.ask(
        text={"format": {"type": "json_schema", "name": "it", "schema": schema, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "low"},
        max_output_tokens=99,
        temperature=0.5,
        prompt_cache_key="thread",
        parallel_tool_calls=False,
        tools=[{**TOOL, "parameters": schema}, {**TOOL, "name": "time"}],
        tool_choice={"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "time"}]},
        metadata={"a": "b"},
    )
    sent = client.sent()
    assert sent["response_format"]["json_schema"] == {"name": "it", "schema": schema, "strict": True}
    assert (sent["reasoning_effort"], sent["verbosity"], sent["temperature"]) == ("low", "low", 0.5)
    assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 99
    assert sent["tools"][0]["function"]["strict"] is True, "absent means true, where the schema is one that can be"
    assert "strict" not in sent["tools"][1]["function"]
    assert sent["tool_choice"]["allowed_tools"]["mode"] == "required"
    assert sent["parallel_tool_calls"] is False


@STREAM
def test_the_answer_repeats_what_was_asked_and_says_that_nothing_is_stored(client: Client, stream: bool):
    client.serve()
    answer = client.ask(
        stream=stream, store=True, metadata={"a": "b"}, tools=[TOOL], instructions="Be short.", user="u"
    )
    assert answer["store"] is False
    assert (answer["metadata"], answer["tools"], answer["instructions"]) == ({"a": "b"}, [TOOL], "Be short.")
    assert answer["usage"]["cost"] > 0


@STREAM
def test_an_answer_cut_by_its_cap_is_incomplete(client: Client, stream: bool):
    client.serve()
    client.upstream.plays(replies("openai", Reply("It is", finish="length", prompt_tokens=10, cached_tokens=0)))
    answer = client.ask(stream=stream, end="response.incomplete")
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["output"][0]["status"] == "incomplete"


def test_t19_a_stream_that_is_cut_ends_as_failed_with_what_was_said(client: Client):
    client.serve()
    client.upstream.plays(starts("Hello", " you"))
    answer = client.ask(stream=True, end="response.failed")
    assert answer["error"]["code"] == "server_error"
    assert answer["output"][0]["content"][0]["text"] == "Hello you"
    booked = client.booked()
    assert booked.outcome == "cut"
    assert answer["usage"]["output_tokens"] == booked.completion_tokens > 0
    assert answer["usage"]["input_tokens"] == booked.prompt_tokens > 0
    assert answer["usage"]["cost"] * 1e9 == pytest.approx(booked.charge_nanos)


@EVERY
def test_a_stream_beyond_its_cap_ends_at_it(client: Client, provider: str):
    client.serve(provider)
    client.upstream.plays(replies(provider, Reply("one two " * 2000, prompt_tokens=10)))
    answer = client.ask(stream=True, max_output_tokens=100, end="response.failed")
    said = answer["output"][0]["content"][0]["text"]
    assert 50 <= said.count(" ") <= 100
    assert answer["error"]["code"] == "invalid_prompt", "which nobody asks again, to pay again"
    deltas = [event["delta"] for event in read_events(client.data) if event["type"].endswith("text.delta")]
    assert "".join(deltas) == said


@STREAM
def test_a_failed_channel_leaves_nothing_in_what_the_next_one_says(client: Client, stream: bool):
    for priority in (0, 1):
        client.serve(priority=priority)
    client.upstream.plays(starts() if stream else fails(500), says("Hello", prompt_tokens=7))
    assert text_of(client.ask(stream=stream)) == "Hello"
    assert len(client.upstream.requests) == 2


def test_an_item_is_found_by_reference_for_its_account_alone(client: Client):
    client.serve()
    client.upstream.plays(says("Hello"))
    for stream in (False, True):
        first = client.ask(stream=stream)
        reference = {"type": "item_reference", "id": first["output"][0]["id"]}
        items = [{"role": "user", "content": "Hello!"}, reference, {"role": "user", "content": "Again!"}]
        client.ask(items)
        roles = [(message["role"], message["content"]) for message in client.sent()["messages"]]
        assert roles == [("user", "Hello!"), ("assistant", "Hello"), ("user", "Again!")]
    unsaved = client.ask(store=False)
    error = client.refused(input=[{"type": "item_reference", "id": unsaved["output"][0]["id"]}])
    assert error["param"] == "input[0].id"
    assert "providerOptions.openai.store = false" in error["message"]
    client.key = client.make.make_key()
    assert client.refused(input=items)["param"] == "input[1].id"


def test_input_tokens_are_counted_for_free(client: Client):
    client.serve()
    answer = client.post("/v1/responses/input_tokens", input="Hello there, how are you?", tools=[TOOL])
    assert answer.status_code == 200
    assert answer.json["object"] == "response.input_tokens"
    assert 10 < answer.json["input_tokens"] < 500
    assert not client.upstream.requests
    assert client.make.list_usage(client.key.account_id) == []
    more = client.post("/v1/responses/input_tokens", input="Hello there, how are you?" * 50).json["input_tokens"]
    assert more > answer.json["input_tokens"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/resp_1"), ("DELETE", "/resp_1"), ("POST", "/resp_1/cancel"), ("GET", "/resp_1/input_items")]
    + [("POST", "/compact")],
)
def test_routes_of_stored_responses_are_404_and_say_why(client: Client, method: str, path: str):
    answer = client.app.test_client().open(f"/v1/responses{path}", method=method, headers=client.key.headers)
    assert answer.status_code == 404
    assert "keeps no conversation state" in answer.json["error"]["message"]


def test_a_websocket_is_refused_at_once(client: Client):
    headers = {**client.key.headers, "Upgrade": "websocket", "Connection": "Upgrade"}
    answer = client.app.test_client().get("/v1/responses", headers=headers)
    assert answer.status_code == 404


def test_pictures_go_out_and_those_of_tools_too(client: Client):
    url = f"data:image/png;base64,{PIXEL}"
    picture = {"type": "input_image", "image_url": url}
    client.model = "gpt-4o"
    client.serve()
    items = [
        {"role": "user", "content": [picture, {"type": "input_text", "text": "What is it?"}]},
        {"type": "function_call", "call_id": "a", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "a", "output": [picture]},
    ]
    client.ask(items, tools=[TOOL])
    assert client.upstream.requests[-1].body.decode().count(url) == 2


def test_t27_codex_finds_its_own_field_beside_the_models(client: Client):
    client.serve()
    asked = client.app.test_client().get("/v1/models?client_version=1.2.3", headers=client.key.headers)
    assert asked.json["models"] == []
    assert asked.json["data"]
    plain = client.app.test_client().get("/v1/models", headers=client.key.headers)
    assert "models" not in plain.json
    assert plain.headers["etag"] != asked.headers["etag"]


def test_the_receipt_is_found_by_the_answers_id(client: Client):
    client.serve()
    answer = client.ask()
    receipt = client.app.test_client().get(f"/v1/requests/{answer['id']}", headers=client.key.headers)
    assert receipt.status_code == 200
    assert receipt.json["answer_id"] == answer["id"]


@STREAM
def test_the_same_idempotency_key_gets_the_same_answer(client: Client, stream: bool):
    client.serve()
    client.key = client.make.make_key()
    headers = {**client.key.headers, "Idempotency-Key": "once"}
    body = {"model": client.model, "input": "Hello!", "stream": stream}
    first, second = (client.app.test_client().post("/v1/responses", json=body, headers=headers).data for _ in range(2))
    assert first == second
    assert len(client.upstream.requests) == 1
    if stream:
        check_stream(second)


def test_tools_that_a_client_found_by_its_own_search_are_offered(client: Client):
    client.serve()
    found = {"type": "namespace", "name": "mail", "tools": [{**TOOL, "name": "send"}]}
    items = [
        {"role": "user", "content": "Write to Ada!"},
        {"type": "tool_search_call", "call_id": "call_s", "execution": "client", "arguments": {"query": "mail"}},
        {"type": "tool_search_output", "call_id": "call_s", "execution": "client", "tools": [found]},
    ]
    client.ask(items, tools=[{"type": "tool_search"}])
    sent = client.sent()
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["mail__send"]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
def test_a_file_goes_out_as_the_provider_has_it(client: Client, provider: str):
    client.model = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash"}[provider]
    client.serve(provider)
    client.upstream.plays(replies(provider, COLD))
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}
    client.ask([{"role": "user", "content": [file, {"type": "input_text", "text": "What is it?"}]}])
    assert "JVBERi0xLjQK" in client.upstream.requests[-1].body.decode()


def test_a_tool_that_no_function_may_be_named_like_is_forced_by_its_own_name(client: Client):
    client.serve()
    client.ask(tools=[SPACE], tool_choice={"type": "custom", "name": "patch", "namespace": "functions"})
    assert client.sent()["tool_choice"] == {"type": "function", "function": {"name": "functions__patch"}}


def test_what_was_said_with_references_is_held_for_too(client: Client):
    client.serve()
    client.upstream.plays(says(*["word "] * 2000, prompt_tokens=7))
    item = client.ask()["output"][0]
    client.upstream.plays(says("Hi", prompt_tokens=2100))
    answer = client.ask([{"role": "user", "content": "?"}, {"type": "item_reference", "id": item["id"]}])
    assert answer["usage"]["input_tokens"] == 2100, "the bound is above what the provider counted"
    assert "provider_counts" not in answer["usage"]


def test_a_client_that_leaves_closes_the_upstream_and_pays_for_what_it_got(client: Client):
    client.serve()
    client.upstream.plays(starts("Hello", " you", then="stall"))
    answer = client.post(input="Hello!", stream=True)
    pieces, said = iter(answer.response), b""
    while b" you" not in said:
        said += next(pieces)
    answer.close()
    assert client.booked().outcome == "client_gone"
    assert client.booked().completion_tokens == 2
    assert client.upstream.requests[0].hung_up.wait(60)
