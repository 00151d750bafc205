"""What goes out by Responses for a conversation of any dialect, and what of it is named."""

import json
from typing import Any

import pytest
from hypothesis import given

from bridge.conversation.request import Conversation
from bridge.conversation.turns import Call, Media, Result, Text, Thoughts, Turn
from bridge.providers.base import AttemptFailed, Blame, Order, Outgoing
from bridge.providers.openai.wires import asks_responses, find_wire, may_ask_responses
from tests.conversations import converse, make_order
from tests.providers.requests_strategy import bodies
from tests.providers.responses.reading import OPENAI
from tests.responses_answers import thought

HELLO = [{"role": "user", "content": "Hello!"}]
FUNCTION = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": FUNCTION}
CUSTOM = {"type": "custom", "custom": {"name": "patch", "description": "Edits."}}
FIXED = {"store": False, "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}


def write(body: dict[str, Any], upstream_id: str = "gpt-5.4", **more: Any) -> tuple[dict[str, Any], Outgoing]:
    outgoing = OPENAI.write_request(
        make_order({"messages": HELLO, "model": "m", **body}, upstream_id, wire="responses", **more)
    )
    assert outgoing.path == "/responses"
    return json.loads(outgoing.body), outgoing


def write_turns(*turns: Turn, upstream_id: str = "gpt-5.4", **more: Any) -> list[Any]:
    conversation = Conversation(endpoint="messages", model="m", turns=turns, options={})
    return json.loads(OPENAI.write_request(Order(conversation, upstream_id, wire="responses", **more)).body)["input"]


@pytest.mark.parametrize(
    ("upstream_id", "wire"),
    [
        *[(name, "responses") for name in ("gpt-5.4", "gpt-5.4-mini", "gpt-5.5", "gpt-5.6-sol", "ft:gpt-5.4:x")],
        *[(name, "responses") for name in ("o1-pro", "o3-pro-2025-06-10", "gpt-5-pro", "gpt-5.2-pro", "gpt-5-codex")],
        *[(name, "responses") for name in ("gpt-5.1-codex-max", "codex-mini-latest", "o4-mini-deep-research")],
        *[(name, "chat") for name in ("gpt-4o", "gpt-5", "gpt-5.1", "gpt-5.2", "gpt-5.3-chat", "o3", "gpt-audio")],
        *[(name, "chat") for name in ("their-model", "gpt-oss-120b", "openai/gpt-5.4", "gemini-2.5-pro", "qwen-codex")],
    ],
)
def test_a_models_name_says_how_it_is_asked(upstream_id: str, wire: str):
    assert find_wire(upstream_id) == wire
    assert may_ask_responses(upstream_id, "") is (wire == "responses")
    for chosen in ("chat", "responses"):  # an operator's word wins
        assert asks_responses(upstream_id, chosen, converse({})) is (chosen == "responses")


def test_a_plain_request_says_what_was_asked_and_stores_nothing():
    out, outgoing = write({"stream": True, "max_tokens": 900, "user": "u", "prompt_cache_key": "k"})
    assert out == {
        "model": "gpt-5.4",
        "input": [{"role": "user", "content": "Hello!"}],
        "stream": True,
        "max_output_tokens": 900,
        "user": "u",
        "prompt_cache_key": "k",
        **FIXED,
    }
    assert (outgoing.dropped, outgoing.clamped) == ((), ())


def test_what_responses_has_no_equal_for_is_named():
    given_ = {"stop": ["END"], "presence_penalty": 0.5, "frequency_penalty": 0.5, "logit_bias": {"1": 2}, "seed": 7}
    out, outgoing = write({**given_, "prediction": {"type": "content", "content": "x"}})
    assert out == {"model": "gpt-5.4", "input": HELLO, **FIXED}
    assert sorted(outgoing.dropped) == sorted([*given_, "prediction"])


def test_a_turn_of_each_kind_is_an_item_in_its_place():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "low"}}
    book = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}}
    made = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    edited = {"id": "call_2", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"}, picture, book]},
        {"role": "assistant", "content": "I look.", "tool_calls": [made, edited]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain."},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "Done."}]},
        {"role": "assistant", "content": None, "refusal": None},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "developer", "content": "And brief."},
    ]
    out, outgoing = write({"messages": messages, "tools": [TOOL, CUSTOM]})
    assert out["input"] == [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look:"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
            ],
        },
        {"role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "call_1", "output": "Rain."},
        {"type": "custom_tool_call_output", "call_id": "call_2", "output": "Done."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "system", "content": "And brief."},
    ]
    assert out["tools"][1] == {"type": "custom", "name": "patch", "description": "Edits."}
    assert outgoing.dropped == ()


def test_a_result_keeps_its_pictures_and_says_that_it_failed():
    picture = Media("image", "p", "p.url", "iVBO", "image/png")
    turn = Turn("user", [Result("call_1", None, [Text("Broken."), picture], "p", is_error=True), Text("So?")], "p")
    result, said = write_turns(turn)
    assert result["output"] == [
        {"type": "input_text", "text": "Error: "},
        {"type": "input_text", "text": "Broken."},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBO"},
    ]
    assert said == {"role": "user", "content": "So?"}


def test_a_result_of_no_call_is_what_the_user_says():
    assert write_turns(Turn("user", [Result("", None, [Text("Found.")], "p")], "p")) == [
        {"role": "user", "content": "Found."}
    ]


def test_sound_is_refused_with_its_place():
    sound = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
    with pytest.raises(AttemptFailed) as failed:
        write({"messages": [{"role": "user", "content": [sound]}]})
    assert failed.value.param == "messages[0].content[0]"


WEATHER = {"type": "function", "function": {"name": "weather"}}
FLAT = {"type": "function", "name": "weather"}


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("required", "required"),
        ("none", "none"),
        (WEATHER, FLAT),
        ({"type": "custom", "custom": {"name": "patch"}}, {"type": "custom", "name": "patch"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [WEATHER]}},
            {"type": "allowed_tools", "mode": "auto", "tools": [FLAT]},
        ),
    ],
)
def test_a_choice_of_tools_is_flat(choice: Any, written: Any):
    out, _ = write({"tools": [TOOL, CUSTOM], "tool_choice": choice, "parallel_tool_calls": False})
    assert (out["tool_choice"], out["parallel_tool_calls"]) == (written, False)
    assert out["tools"][0] == {"type": "function", **FUNCTION, "strict": False}


def test_functions_of_the_older_dialect_are_tools():
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}},
        {"role": "function", "name": "weather", "content": "Rain."},
    ]
    out, _ = write({"messages": messages, "functions": [FUNCTION], "function_call": {"name": "weather"}})
    assert out["tool_choice"] == {"type": "function", "name": "weather"}
    assert [item.get("call_id") for item in out["input"]] == [None, "call_1", "call_1"]


def test_names_that_openai_refuses_are_others_there():
    tool = {"type": "function", "function": {**FUNCTION, "name": "a weather.tool"}}
    made = {"id": "call_1", "type": "function", "function": {"name": "a weather.tool", "arguments": "{}"}}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
    messages = [*HELLO, {"role": "assistant", "tool_calls": [made]}, result]
    out, outgoing = write({"messages": messages, "tools": [tool]})
    assert out["tools"][0]["name"] == out["input"][1]["name"] == "a_weather_tool"
    called = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "a_weather_tool", "arguments": "{}"}
    answer = {"output": [called]}
    [choice] = OPENAI.read_answer(json.dumps(answer).encode(), outgoing).choices
    assert choice.calls[0].name == "a weather.tool"


def test_a_format_is_flat_and_says_how_strict_it_is():
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    out, _ = write({"response_format": wanted, "verbosity": "low"})
    flat = {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}
    assert out["text"] == {"format": flat, "verbosity": "low"}
    assert write({"response_format": {"type": "json_object"}})[0]["text"] == {"format": {"type": "json_object"}}


def test_odds_of_tokens_are_included_where_they_are_wanted():
    out, _ = write({"logprobs": True, "top_logprobs": 3, "temperature": 0.5}, "gpt-4o")
    assert (out["include"], out["top_logprobs"], out["temperature"]) == (["message.output_text.logprobs"], 3, 0.5)
    assert "reasoning" not in out
    thinking, outgoing = write({"logprobs": True, "top_logprobs": 3, "temperature": 0.5})
    assert "top_logprobs" not in thinking
    assert sorted(outgoing.dropped) == ["logprobs", "temperature", "top_logprobs"]


def test_an_effort_goes_with_tools_and_a_summary_with_an_effort():
    assert write({"tools": [TOOL], "reasoning_effort": "high"})[0]["reasoning"] == {"effort": "high", "summary": "auto"}
    assert write({"reasoning_effort": "none"})[0]["reasoning"] == {"effort": "none"}
    out, outgoing = write({"reasoning_effort": "minimal"})
    assert (out["reasoning"]["effort"], outgoing.clamped) == ("low", ("reasoning_effort=low",))


def test_a_cap_below_the_least_is_the_least_and_named():
    out, outgoing = write({"max_tokens": 5})
    assert (out["max_output_tokens"], outgoing.clamped) == (16, ("max_tokens=16",))
    assert write({}, output_cap=70)[0]["max_output_tokens"] == 70


def test_a_field_that_the_operator_lets_through_goes_out():
    out, outgoing = write({"their_own": 1, "other": 2}, passes=frozenset({"their_own"}))
    assert out["their_own"] == 1
    assert outgoing.dropped == ("other",)


def call(call_id: str) -> Call:
    return Call(call_id, "weather", "{}", "p")


def kept(*items: Any, lead: Any = (), item_id: str = "fc_1") -> dict[str, Any]:
    return {"provider": "openai", "items": list(items), "lead": list(lead), "item_id": item_id}


def test_reasoning_is_before_what_it_led_to():
    turn = Turn("assistant", [Text("Well."), call("call_1"), call("call_2")], "p")
    known = {"call_1": kept(thought(2), lead=[thought(1)]), "call_2": {"provider": "anthropic", "blocks": []}}
    items = write_turns(turn, kept=known)
    assert items[:3] == [thought(1), {"role": "assistant", "content": "Well."}, thought(2)]
    assert [(item["call_id"], item.get("id")) for item in items[3:]] == [("call_1", "fc_1"), ("call_2", None)]


def test_what_the_client_carries_counts_before_what_we_keep():
    sealed = {"provider": "openai", **thought(7)}
    turn = Turn("assistant", [Thoughts("", sealed=[sealed]), call("call_1")], "p")
    items = write_turns(turn, kept={"call_1": kept(thought(2))})
    assert [item.get("encrypted_content") for item in items] == ["secret 7", None]


def test_reasoning_that_nothing_follows_or_another_made_stays_out():
    foreign = {"provider": "gemini", "encrypted_content": "x"}
    for sealed in ({"provider": "openai", **thought(1)}, foreign):
        said = Turn("assistant", [Text("Hm."), Thoughts("So.", sealed=[sealed])], "p")
        items = write_turns(said, Turn("user", [Text("?")], "p"))
        assert [item.get("type") for item in items] == [None, None]


def test_an_id_that_openai_refuses_stays_out():
    for bad in ("rs_" + "x" * 62, "msg_1", "", 7):
        turn = Turn("assistant", [call("call_1")], "p")
        first, second = write_turns(turn, kept={"call_1": kept({**thought(1), "id": bad}, item_id=bad)})
        assert ("id" in first, "id" in second) == (False, False)


def test_without_what_was_refused_a_request_says_the_rest():
    turn = Turn("assistant", [call("call_1")], "p")
    conversation = Conversation(endpoint="chat", model="m", turns=[turn], options={}, effort="low")
    order = Order(conversation, "gpt-5.4", kept={"call_1": kept(thought(1))})
    for without, lacks in (("thoughts", "secret 1"), ("summary", 'summary":"auto'), ("encrypted", "include")):
        written = OPENAI.write_request(Order(conversation, "gpt-5.4", kept=order.kept, without=frozenset({without})))
        assert lacks in OPENAI.write_request(order).body.decode()
        assert lacks not in written.body.decode()


ITEMS = {None, "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}
FIELDS = {"model", "input", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "max_output_tokens"}
FIELDS |= {"stream", "store", "include", "temperature", "top_p", "top_logprobs", "user", "safety_identifier"}
FIELDS |= {"prompt_cache_key", "service_tier", "metadata"}


@given(bodies)
def test_whatever_a_client_of_chat_says_is_a_request_or_its_own_fault(body: dict[str, Any]):
    try:
        out, _ = write(body)
    except AttemptFailed as failed:
        refused = failed
        out = {"input": [], "store": False}
        if refused.blame is not Blame.REQUEST:
            raise
    assert {item.get("type") for item in out["input"]} <= ITEMS
    assert out.keys() <= FIELDS
    assert out["store"] is False
