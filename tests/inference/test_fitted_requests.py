"""Requests that one provider would refuse, as they arrive there, and what it says to them as the client knows it."""

import json
import re
from typing import Any

import pytest

from tests.played import Caller, Providers
from tests.replay import replies
from tests.replies import Call, Reply
from tests.upstream import Received, Step
from tests.v1.test_providers_sdk import MODELS, PIXEL, join_calls

EVERY = pytest.mark.parametrize("provider", MODELS)
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
HELLO = [{"role": "user", "content": "Say hello."}]
NAME_RULES = {
    "openai": r"[a-zA-Z0-9_-]{1,64}",
    "anthropic": r"[a-zA-Z0-9_-]{1,128}",
    "gemini": r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}",
    "deepseek": r"[a-zA-Z0-9_-]{1,64}",
    "moonshot": r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}",
}
NAMES = ["21st_builder", "plain", "a.b", "a_b", "a b", "ünï", "x" * 128, "x" * 127 + "y", "ns:tool", "-dash"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CONTENT = {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}
SOURCE = {"type": "object", "properties": {"source_url": {"type": "string"}}, "required": ["source_url"]}
PICTURE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}


def tool(name: str, parameters: dict[str, Any] = CITY, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters, **more}}


def call(name: str, arguments: str = "{}", id_: str = "call_1") -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def result(content: Any = "done", id_: str = "call_1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": content}


def offered(sent: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Names and schemas of the tools in a request of any dialect."""
    tools = [one for tool in sent["tools"] for one in tool.get("functionDeclarations", [tool])]
    functions = [tool.get("function", tool) for tool in tools]
    fields = ("parameters", "input_schema", "parametersJsonSchema")
    return [
        (function["name"], next(function[field] for field in fields if field in function)) for function in functions
    ]


def called(sent: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and arguments of the calls in a request's conversation; those of results have no arguments."""
    found: list[tuple[str, Any]] = []
    for message in sent.get("messages") or sent["contents"]:
        for one in message.get("tool_calls") or ():
            found.append((one["function"]["name"], json.loads(one["function"]["arguments"])))
        content = message.get("parts") or message.get("content")
        for part in content if isinstance(content, list) else ():
            if part.get("type") == "tool_use":
                found.append((part["name"], part["input"]))
            if "functionCall" in part:
                found.append((part["functionCall"]["name"], part["functionCall"]["args"]))
            if "functionResponse" in part:
                found.append((part["functionResponse"]["name"], None))
    return found


def chosen(sent: dict[str, Any]) -> str:
    choice = sent.get("tool_choice") or sent["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"][0]
    return choice if isinstance(choice, str) else choice.get("function", choice)["name"]


def calls_all(provider: str) -> Any:
    """Calls each tool that it was offered, with a word for each of its properties."""

    def play(request: Received) -> list[Step]:
        made = [
            Call(f"call_{place}", name, dict.fromkeys(schema.get("properties", {}), "x"))
            for place, (name, schema) in enumerate(offered(request.json))
        ]
        return replies(provider, Reply(calls=tuple(made)))(request)

    return play


def ask(caller: Caller, provider: str, stream: bool, **fields: Any) -> list[tuple[str, Any]]:
    """The calls that come back, by name and arguments."""
    body = {"model": MODELS[provider], "messages": HELLO, **fields}
    if stream:
        calls = join_calls(caller.sdk.chat.completions.create(**body, stream=True))
        return [(one["name"], json.loads(one["arguments"])) for one in calls]
    message = caller.sdk.chat.completions.create(**body).choices[0].message
    return [(one.function.name, json.loads(one.function.arguments)) for one in message.tool_calls or ()]


def send(providers: Providers, caller: Caller, provider: str, **fields: Any) -> tuple[dict[str, Any], Any]:
    """What arrives at the provider of a request that is answered, and the headers of the answer."""
    providers[provider].answers(Reply("Hello."))
    fields = {"model": MODELS[provider], "messages": HELLO, **fields}
    answer = caller.sdk.chat.completions.with_raw_response.create(**fields)
    assert answer.parse().choices[0].message.content == "Hello."
    return providers[provider].sent[-1], answer.headers


@EVERY
@BOTH
def test_a_tool_is_named_by_the_provider_s_rule_and_comes_back_by_its_own_name(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    upstream = providers[provider]
    upstream.requests.clear()
    upstream.plays(calls_all(provider))
    history = [*HELLO, call("21st_builder", '{"city": "Oslo"}'), result(), {"role": "user", "content": "Again."}]
    choice = {"type": "function", "function": {"name": "21st_builder"}}
    back = ask(caller, provider, stream, messages=history, tools=[tool(name) for name in NAMES], tool_choice=choice)
    assert back == [(name, {"city": "x"}) for name in NAMES]
    sent = upstream.sent[-1]
    names = [name for name, _ in offered(sent)]
    assert len({*names}) == len(NAMES)
    assert all(re.fullmatch(NAME_RULES[provider], name) for name in names)
    assert ("plain" in names, "a_b" in names) == (True, True)
    assert chosen(sent) == names[0]
    assert {name for name, _ in called(sent)} == {names[0]}
    assert caller.last_booked().outcome == "complete"


@EVERY
@BOTH
def test_a_name_of_the_history_alone_obeys_the_rule_as_well(
    provider: str, stream: bool, providers: Providers, caller: Caller
):
    upstream = providers[provider]
    upstream.requests.clear()
    upstream.plays(calls_all(provider))
    history = [*HELLO, call("gone.tool!"), result(), {"role": "user", "content": "Again."}]
    assert ask(caller, provider, stream, messages=history, tools=[tool("gone_tool_")]) == [
        ("gone_tool_", {"city": "x"})
    ]
    ((was, _), *others) = called(upstream.sent[-1])
    assert re.fullmatch(NAME_RULES[provider], was)
    assert was != "gone_tool_"
    assert all(name == was for name, _ in others)


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("keyword", ["anyOf", "oneOf", "allOf"])
@BOTH
def test_a_union_at_a_schema_s_root_is_folded_into_one_object(
    provider: str, keyword: str, stream: bool, providers: Providers, caller: Caller
):
    upstream = providers[provider]
    upstream.requests.clear()
    upstream.plays(calls_all(provider))
    schema = {"type": "object", keyword: [CONTENT, SOURCE], "properties": {"a": {"type": "string"}}}
    back = ask(caller, provider, stream, tools=[tool("attach", schema), tool("get_weather")])
    assert back == [("attach", {"a": "x", "content": "x", "source_url": "x"}), ("get_weather", {"city": "x"})]
    (_, fitted), (_, plain) = offered(upstream.sent[-1])
    assert plain == CITY
    assert fitted["type"] == "object"
    assert not {"anyOf", "oneOf", "allOf"} & {*fitted}
    assert fitted["properties"] == dict.fromkeys(("a", "content", "source_url"), {"type": "string"})
    assert fitted.get("required", []) == (["content", "source_url"] if keyword == "allOf" else [])
    assert fitted.get("description", "") == ("" if keyword == "allOf" else "Give content or source_url.")


@BOTH
def test_kimi_finds_the_type_in_the_branches_of_a_union(stream: bool, providers: Providers, caller: Caller):
    upstream = providers["moonshot"]
    upstream.requests.clear()
    upstream.plays(calls_all("moonshot"))
    schema = {
        "type": "object",
        "anyOf": [CONTENT, {"required": ["a"]}],
        "properties": {"a": {"type": ["string", "null"], "anyOf": [{"minLength": 1}, {"type": "null"}]}},
    }
    ask(caller, "moonshot", stream, tools=[tool("attach", schema)])
    ((_, fitted),) = offered(upstream.sent[-1])
    assert fitted == {
        "anyOf": [CONTENT, {"type": "object", "required": ["a"]}],
        "properties": {"a": {"anyOf": [{"type": ["string", "null"], "minLength": 1}, {"type": "null"}]}},
    }


def test_a_server_that_nobody_knows_gets_the_schema_as_it_was(providers: Providers, caller: Caller):
    upstream = providers["openai"]
    model = providers.gateway.make.make_model()
    providers.gateway.make.make_channel(upstream.base_url, model)
    upstream.answers(Reply("Hello."))
    schema = {"anyOf": [CONTENT, SOURCE]}
    caller.sdk.chat.completions.create(model=model, messages=HELLO, tools=[tool("attach", schema)])  # type: ignore[call-overload]
    assert offered(upstream.sent[-1]) == [("attach", schema)]


KEYS = {
    "type": "object",
    "properties": {
        "$top": {"type": "integer"},
        "_top": {"type": "integer"},
        "filter[id]": {"type": "array", "items": {"type": "object", "properties": {"the key": {"type": "string"}}}},
        "k" * 70: {"type": "string"},
    },
    "required": ["$top", "filter[id]"],
}
ARGUMENTS = {"$top": 3, "_top": 4, "filter[id]": [{"the key": "x"}, {"the key": "$top"}], "k" * 70: "$top"}


@BOTH
def test_claude_gets_keys_that_it_takes_and_the_client_its_own(stream: bool, providers: Providers, caller: Caller):
    upstream = providers["anthropic"]
    upstream.requests.clear()

    def play(request: Received) -> list[Step]:
        """The same call that the conversation holds."""
        ((name, arguments),) = called(request.json)
        return replies("anthropic", Reply(calls=(Call("toolu_2", name, arguments), Call("toolu_3", "plain", {}))))(
            request
        )

    upstream.plays(play)
    history = [*HELLO, call("list", json.dumps(ARGUMENTS)), result(), {"role": "user", "content": "Again."}]
    back = ask(caller, "anthropic", stream, messages=history, tools=[tool("list", KEYS), tool("plain")])
    assert back == [("list", ARGUMENTS), ("plain", {})]
    fitted = offered(upstream.sent[-1])[0][1]
    keys = [*fitted["properties"]]
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key) for key in keys)
    assert (len({*keys}), keys[1]) == (4, "_top")
    assert fitted["required"] == [keys[0], keys[2]]
    (inner,) = fitted["properties"][keys[2]]["items"]["properties"]
    assert re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", inner)
    assert called(upstream.sent[-1])[0][1] == {
        keys[0]: 3,
        "_top": 4,
        keys[2]: [{inner: "x"}, {inner: "$top"}],
        keys[3]: "$top",
    }


# empty turns and empty lists


def texts_of(sent: dict[str, Any]) -> list[tuple[str, str]]:
    """Roles and texts of the conversation, in any dialect; system's apart from it are left out."""
    found = []
    for message in sent.get("messages") or sent["contents"]:
        content = message.get("parts") or message.get("content") or ""
        text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
        found.append(("assistant" if message["role"] == "model" else message["role"], text))
    return found


@EVERY
@pytest.mark.parametrize(
    "nothing",
    [
        {"content": ""},
        {"content": None},
        {"content": []},
        {"content": [{"type": "text", "text": ""}]},
        {"content": "", "tool_calls": [], "refusal": None},
        {"content": None, "tool_calls": None, "function_call": None},
        {"content": "", "reasoning_content": "Hm."},
    ],
)
def test_a_turn_in_which_the_model_said_nothing_is_left_out(
    provider: str, nothing: dict[str, Any], providers: Providers, caller: Caller
):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", **nothing}, {"role": "user", "content": "b"}]
    sent, headers = send(providers, caller, provider, messages=messages)
    said = texts_of(sent)
    assert said in ([("user", "a"), ("user", "b")], [("user", "ab")])
    assert "x-bridge-dropped" not in headers


@EVERY
def test_what_an_answer_s_dump_leaves_null_is_left_out(provider: str, providers: Providers, caller: Caller):
    dumped = {
        "role": "assistant",
        "content": "Hi",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    }
    sent, headers = send(providers, caller, provider, messages=[*HELLO, dumped, *HELLO])
    assert texts_of(sent)[1] == ("assistant", "Hi")
    assert not {"refusal", "annotations", "audio", "function_call", "tool_calls"} & {
        key for message in sent.get("messages") or sent["contents"] for key in message
    }
    assert "x-bridge-dropped" not in headers


def test_kimi_gets_no_message_without_words(providers: Providers, caller: Caller):
    messages = [
        {"role": "system", "content": " "},
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "\n"},
    ]
    sent, _ = send(providers, caller, "moonshot", messages=messages)
    assert texts_of(sent) == [("user", "a"), ("assistant", "b"), ("user", "Continue.")]


@EVERY
@pytest.mark.parametrize("choice", [{}, {"tool_choice": "auto"}, {"tool_choice": "none"}])
def test_no_tools_are_no_tools(provider: str, choice: dict[str, Any], providers: Providers, caller: Caller):
    sent, headers = send(providers, caller, provider, tools=[], parallel_tool_calls=True, **choice)
    assert not {"tools", "tool_choice", "parallel_tool_calls", "toolConfig"} & {*sent}
    assert "x-bridge-dropped" not in headers


@EVERY
def test_nulls_of_a_tool_are_left_out(provider: str, providers: Providers, caller: Caller):
    sent, _ = send(providers, caller, provider, tools=[tool("plain", CITY, strict=None) | {"cache_control": None}])
    assert [name for name, _ in offered(sent)] == ["plain"]
    assert "null" not in json.dumps(sent["tools"])


# thoughts and pictures

THOUGHTFUL = {
    "role": "assistant",
    "content": "Hi",
    "reasoning_content": "hm",
    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "sig"}],
    "extra_content": {"google": {"thought_signature": "sig"}},
}


@EVERY
@BOTH
def test_thoughts_go_only_where_they_are_known(provider: str, stream: bool, providers: Providers, caller: Caller):
    upstream = providers[provider]
    upstream.answers(Reply("Hello."))
    messages: Any = [*HELLO, THOUGHTFUL, {"role": "user", "content": "b"}]
    answer = caller.sdk.chat.completions.create(model=MODELS[provider], messages=messages, stream=stream)
    assert list(answer)
    sent = json.dumps(upstream.sent[-1])
    assert ("reasoning_content" in sent) == (provider in ("deepseek", "moonshot"))
    assert "thinking_blocks" not in sent
    assert "extra_content" not in sent


def test_an_unknown_host_gets_no_thoughts_unless_its_channel_lets_them_through(providers: Providers, caller: Caller):
    upstream, make = providers["openai"], providers.gateway.make
    for passes, given in ((None, set()), (["reasoning_content"], {"reasoning_content"})):
        model = make.make_model()
        make.make_channel(upstream.base_url, model, pass_fields=passes)
        upstream.answers(Reply("Hello."))
        messages: Any = [*HELLO, THOUGHTFUL, {"role": "user", "content": "b"}]
        answer = caller.sdk.chat.completions.with_raw_response.create(model=model, messages=messages)
        assert upstream.sent[-1]["messages"][1].keys() - {"role", "content"} == given
        assert "x-bridge-dropped" not in answer.headers


@pytest.mark.parametrize("provider", ["openai", "moonshot"])
def test_a_tool_s_picture_is_shown_as_the_user_s(provider: str, providers: Providers, caller: Caller):
    two = call("look")
    two["tool_calls"].append({**two["tool_calls"][0], "id": "call_2"})
    shown = [{"type": "text", "text": "A chart:"}, PICTURE]
    messages = [*HELLO, two, result(shown), result([PICTURE], "call_2"), {"role": "user", "content": "And?"}]
    sent, _ = send(providers, caller, provider, messages=messages, tools=[tool("look")])
    roles = [message["role"] for message in sent["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "user"]
    results, seen = sent["messages"][2:4], sent["messages"][4]["content"]
    assert [part["type"] for message in results for part in message["content"]] == ["text", "text", "text"]
    assert seen == [PICTURE, PICTURE]


@pytest.mark.parametrize(("model", "kept"), [("claude-haiku-4-5", True), ("claude-sonnet-4-6", False)])
def test_a_conversation_that_ends_with_the_model_goes_on_where_that_is_refused(
    model: str, kept: bool, providers: Providers, caller: Caller
):
    messages = [*HELLO, {"role": "assistant", "content": "Once upon "}]
    sent, _ = send(providers, caller, "anthropic", model=model, messages=messages)
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", *([] if kept else ["user"])]


@pytest.mark.parametrize(
    ("more", "goes_on"), [({"reasoning_effort": "high"}, True), ({"reasoning_effort": "none"}, False)]
)
def test_deepseek_thinks_about_what_a_user_said_last(
    more: dict[str, Any], goes_on: bool, providers: Providers, caller: Caller
):
    messages = [*HELLO, {"role": "assistant", "content": "Once upon "}]
    sent, _ = send(providers, caller, "deepseek", messages=messages, **more)
    assert texts_of(sent)[2:] == ([("user", "Continue.")] if goes_on else [])
