"""A chat body as plain values, and back: whatever the values can say survives, and no provider needs the body."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import asdict, replace

from bridge.conversation.request import CHAT, Conversation, Format, Thinking, Tool, ToolChoice
from bridge.conversation.turns import Call, Media, Result, Text, Thoughts, Turn
from bridge.dialects.chat.read import read_conversation
from bridge.dialects.chat.request import ChatRequest
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing
from bridge.providers.openai.body import write_body
from tests.providers.requests_strategy import bodies

FOREIGN = (
    ("anthropic", "claude-3-haiku-20240307"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-opus-4-8"),
    ("gemini", "gemini-2.0-flash"),
    ("gemini", "gemini-2.5-pro"),
    ("gemini", "gemini-3-pro-preview"),
)
COMMON = (
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.5"),
    ("openai", "llama"),
    ("deepseek", "deepseek-chat"),
    ("moonshot", "kimi-k3"),
)
PICTURE = "iVBORw0KGgoAAAAAAAAAAAAAAAAAAAAA"


def without_body(conversation: Conversation) -> Conversation:
    """The same as if it had come in another dialect: its values alone."""
    turns = [replace(turn, source=None) for turn in conversation.turns]
    return replace(conversation, turns=turns, native=None)


def values_of(conversation: Conversation) -> dict[str, Any]:
    """What of it doesn't hang on how a chat body names the cap, or on fields that it says beside each other."""
    values = asdict(without_body(conversation))
    cap, choice = values["sent_cap"], values["tool_choice"]
    values["sent_cap"] = cap and cap[1]
    values["stop"] = list(values["stop"])
    if choice is not None and conversation.legacy:
        values["tool_choice"] = replace(choice, listed=False)
    del values["output_cap_tokens"], values["wants_usage"]  # the larger of two caps is for the hold alone
    return values


def try_to_write(
    conversation: Conversation, provider: str, upstream_id: str
) -> Outgoing | tuple[Blame, str, str | None]:
    try:
        return PROVIDERS[provider].write_request(Order(conversation, upstream_id, wire="chat"))
    except AttemptFailed as failure:
        return failure.blame, failure.message, failure.param


@given(bodies)
def test_a_body_written_from_the_values_says_all_that_they_say(body: dict[str, Any]):
    conversation = read_conversation(body)
    written = write_body(without_body(conversation))
    assert values_of(read_conversation(json.loads(msgspec.json.encode(written)))) == values_of(conversation)


@given(bodies)
def test_dialects_of_their_own_are_written_from_the_values_alone(body: dict[str, Any]):
    conversation = read_conversation(body)
    for provider, upstream_id in FOREIGN:
        native = try_to_write(conversation, provider, upstream_id)
        foreign = try_to_write(without_body(conversation), provider, upstream_id)
        if isinstance(native, Outgoing) and isinstance(foreign, Outgoing):
            assert (foreign.path, foreign.body, foreign.headers) == (native.path, native.body, native.headers)
            assert (foreign.clamped, foreign.reading) == (native.clamped, native.reading)
            assert set(foreign.dropped) <= set(native.dropped)
        else:
            assert foreign == native


@given(bodies)
def test_what_is_written_for_another_dialects_client_is_a_request_of_openais(body: dict[str, Any]):
    conversation = without_body(read_conversation(body))
    for provider, upstream_id in COMMON:
        found = try_to_write(conversation, provider, upstream_id)
        if isinstance(found, Outgoing) and conversation.tool_choice != ToolChoice(""):
            msgspec.convert(msgspec.json.decode(found.body), ChatRequest)


def foreign_request(*turns: Turn, **more: Any) -> Conversation:
    """As a client of another dialect would ask."""
    return Conversation(**{"endpoint": "messages", "model": "m", "turns": turns, "options": {}, **more})


def write_for(upstream_id: str, conversation: Conversation) -> dict[str, Any]:
    out: dict[str, Any] = json.loads(PROVIDERS["openai"].write_request(Order(conversation, upstream_id)).body)
    return out


ASKED = Turn("user", [Text("What is the weather in Oslo?")], "messages[0]")


def test_results_come_before_what_the_user_says_beside_them():
    called = Turn(
        "assistant", [Text("I look."), Call("toolu_1", "look", '{"city":"Oslo"}', "messages[1].content[1]")], ""
    )
    said = [Text("And?"), Result("toolu_1", None, [Text("rain"), Text("cold")], "messages[2].content[0]")]
    out = write_for("llama", foreign_request(ASKED, called, Turn("user", said, "messages[2]"), has_calls=True))
    function = {"name": "look", "arguments": '{"city":"Oslo"}'}
    assert out["messages"] == [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "toolu_1", "type": "function", "function": function}],
        },
        {
            "role": "tool",
            "tool_call_id": "toolu_1",
            "content": [{"type": "text", "text": "rain"}, {"type": "text", "text": "cold"}],
        },
        {"role": "user", "content": "And?"},
    ]


def test_a_picture_in_base64_is_a_data_url():
    place = "messages[0].content[0]"
    picture = Media("image", place, f"{place}.source", PICTURE, "image/png")
    out = write_for("llama", foreign_request(Turn("user", [picture], "messages[0]"), media=[picture]))
    url = f"data:image/png;base64,{PICTURE}"
    assert out["messages"] == [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    for provider, upstream_id in FOREIGN:
        written = PROVIDERS[provider].write_request(Order(foreign_request(Turn("user", [picture], place)), upstream_id))
        assert PICTURE in written.body.decode()


def test_tools_format_caps_and_options_are_said_in_openais_words():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    request = foreign_request(
        ASKED,
        tools=[Tool("look", "tools[0]", "Looks.", schema)],
        tool_choice=ToolChoice("required", ("look",)),
        parallel_calls=False,
        format=Format("json_schema", {"name": "answer", "schema": schema}),
        sent_cap=("max_tokens", 100),
        output_cap_tokens=100,
        stop=("END",),
        stream=True,
        options={"temperature": 0.5, "user": "ada", "top_k": 3},
    )
    assert write_for("llama", request) == {
        "model": "llama",
        "messages": [{"role": "user", "content": "What is the weather in Oslo?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "stop": ["END"],
        "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": schema}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        "temperature": 0.5,
        "user": "ada",
        "top_k": 3,
    }


@pytest.mark.parametrize(
    ("thinking", "effort", "dropped"),
    [
        *(
            (Thinking("enabled", budget), effort, ("thinking.budget_tokens",))
            for budget, effort in (
                *((1024, "minimal"), (2047, "minimal"), (2048, "low"), (8191, "low"), (8192, "medium")),
                *((24_575, "medium"), (24_576, "high"), (32_000, "high")),
            )
        ),
        (Thinking("adaptive"), None, ()),
        (Thinking("disabled"), "none", ()),
    ],
)
def test_thinking_is_an_effort_to_openais_own_models(thinking: Thinking, effort: str | None, dropped: tuple[str, ...]):
    request = foreign_request(ASKED, thinking=thinking)
    outgoing = PROVIDERS["openai"].write_request(Order(request, "gpt-5.1" if effort == "none" else "gpt-5"))
    out = json.loads(outgoing.body)
    assert (out.get("reasoning_effort"), outgoing.dropped) == (effort, dropped)
    assert "thinking" not in out
    plain = PROVIDERS["openai"].write_request(Order(request, "gpt-4o"))
    assert "reasoning_effort" not in json.loads(plain.body)


def test_thoughts_go_back_to_those_who_want_them():
    thought = Turn("assistant", [Thoughts("Hm."), Call("call_1", "look", "{}", "")], "messages[1]")
    result = Turn("user", [Result("call_1", None, [Text("rain")], "messages[2]")], "messages[2]")
    request = foreign_request(ASKED, thought, result, has_calls=True, effort="high")
    out = json.loads(PROVIDERS["deepseek"].write_request(Order(request, "deepseek-v4-pro")).body)
    assert out["messages"][1]["reasoning_content"] == "Hm."
    assert "reasoning_content" not in write_for("gpt-4o", request)["messages"][1]


def test_a_chat_body_is_read_only_as_far_as_somebody_looks():
    messages = [{"role": "user", "content": "One."}, {"role": "assistant", "content": 5}]
    turns = iter(read_conversation({"model": "m", "messages": messages}).turns)
    assert next(turns) == Turn("user", [Text("One.")], "messages[0]", messages[0])
    with pytest.raises(TypeError):
        next(turns)


def test_turns_are_read_once():
    conversation = read_conversation({"model": "m", "messages": [{"role": "user", "content": "One."}]})
    assert conversation.endpoint == CHAT
    assert [id(turn) for turn in conversation.turns] == [id(turn) for turn in conversation.turns]
    assert len(conversation.turns) == 1
