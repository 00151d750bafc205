"""The body of a client that speaks Responses goes on to an upstream of the same dialect, as far as it may."""

import json
from typing import Any

import pytest

from bridge.conversation.request import RESPONSES, Conversation, Native
from bridge.conversation.turns import Text, Turn
from bridge.providers.base import AttemptFailed, Order, Outgoing
from tests.providers.responses.reading import OPENAI
from tests.responses_answers import call, message, thought

TOOLS = [
    {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True, "defer_loading": True},
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}},
    {"type": "namespace", "name": "ns", "description": "Some.", "tools": []},
]
ASKED = {"role": "user", "content": [{"type": "input_text", "text": "Hi"}], "type": "message", "id": "msg_own"}


def write(body: dict[str, Any], upstream_id: str = "gpt-5.5", **more: Any) -> tuple[dict[str, Any], Outgoing]:
    body = {"model": "public", "input": [ASKED], **body}
    conversation = Conversation(
        endpoint=RESPONSES,
        model="public",
        turns=[Turn("user", [Text("Hi")], "input[0]")],
        stream=bool(body.get("stream")),
        sent_cap=("max_output_tokens", body["max_output_tokens"]) if body.get("max_output_tokens") else None,
        options={},
        native=Native(RESPONSES, body),
    )
    outgoing = OPENAI.write_request(Order(conversation, upstream_id, **more))
    return json.loads(outgoing.body), outgoing


def test_the_clients_own_words_go_on_and_what_is_ours_to_say_is_ours():
    given = {
        "instructions": "Be kind.",
        "tools": TOOLS,
        "tool_choice": {"type": "custom", "name": "patch"},
        "text": {"format": {"type": "text"}, "verbosity": "low"},
        "reasoning": {"effort": "high", "summary": "detailed"},
        "metadata": {"a": "b"},
        "prompt_cache_key": "thread",
    }
    out, outgoing = write({**given, "store": True, "stream": True, "max_output_tokens": 900, "include": ["junk"]})
    assert out == {
        **given,
        "model": "gpt-5.5",
        "input": [ASKED],
        "stream": True,
        "store": False,
        "max_output_tokens": 900,
        "include": ["reasoning.encrypted_content"],
    }
    assert (outgoing.dropped, outgoing.clamped) == ((), ())


def test_what_would_choose_a_host_a_price_or_stored_state_is_named_and_stays():
    away = {"background": True, "conversation": "conv_1", "previous_response_id": "resp_1", "prompt": {"id": "p"}}
    out, outgoing = write({**away, "client_metadata": {"x": "y"}, "reasoning": {"effort": "low", "mode": "pro"}})
    assert not {*away, "client_metadata"} & out.keys()
    assert out["reasoning"] == {"effort": "low"}
    assert set(outgoing.dropped) == {*away, "client_metadata", "reasoning.mode"}


@pytest.mark.parametrize("place", ["tools", "additional_tools"])
def test_tools_that_run_at_the_provider_are_refused_with_their_place(place: str):
    hosted = [TOOLS[0], {"type": "web_search"}]
    added = {"type": "additional_tools", "role": "developer", "tools": hosted}
    with pytest.raises(AttemptFailed) as failed:
        write({"tools": hosted} if place == "tools" else {"input": [added]})
    assert failed.value.param == ("tools[1].type" if place == "tools" else "input[0].tools[1].type")


def test_items_that_are_none_of_a_conversations_are_refused():
    with pytest.raises(AttemptFailed) as failed:
        write({"input": [ASKED, {"type": "web_search_call", "id": "ws_1"}]})
    assert failed.value.param == "input[1].type"


def test_t23_an_id_goes_on_if_openai_takes_it():
    items = [
        {**ASKED, "id": "at_own"},
        {**call("call_1", "f", "{}"), "id": "fc_1"},
        {**call("call_2", "f", "{}"), "id": "fc_" + "x" * 70},
    ]
    out, _ = write({"input": items})
    assert [item.get("id") for item in out["input"]] == [None, "fc_1", None]


def test_reasoning_goes_on_with_what_it_led_to_and_nobody_elses():
    items = [ASKED, {**thought(1), "content": None}, call("call_1", "f", "{}"), thought(2), ASKED, thought(3)]
    sealed = {**thought(4), "encrypted_content": "ab1.c2VhbGVk"}
    bare = {"type": "reasoning", "id": "rs_5", "summary": []}
    out, _ = write({"input": [*items, message("So."), sealed, bare, message("Hm.")]})
    assert [item.get("encrypted_content") for item in out["input"] if item["type"] == "reasoning"] == [
        "secret 1",
        "secret 3",
    ]
    assert out["input"][1] == thought(1)
    assert not [one for one in write({"input": items}, without=frozenset({"thoughts"}))[0]["input"] if "summary" in one]


def test_reasoning_that_the_client_left_out_is_put_back_before_its_call():
    kept = {"provider": "openai", "lead": [thought(1)], "items": [thought(2)], "item_id": "fc_theirs"}
    question = {"role": "user", "content": "Hi"}
    text = {"type": "message", "role": "assistant", "content": "Let me look."}
    bare = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c1", "output": "Cold."}
    theirs = {**bare, "id": "fc_theirs"}
    sent, _ = write({"input": [question, text, bare, result]}, kept={"c1": kept})
    assert sent["input"] == [question, thought(1), text, thought(2), theirs, result]
    told = [question, thought(1), text, thought(2), theirs, result]
    sent, _ = write({"input": told}, kept={"c1": kept})
    assert sent["input"] == told
    sent, _ = write({"input": [question, text, bare, result]}, kept={"c1": {**kept, "provider": "gemini"}})
    assert sent["input"] == [question, text, bare, result]


def test_what_the_model_does_not_take_is_fitted_as_on_chat_completions():
    out, outgoing = write({"temperature": 0.2, "reasoning": {"effort": "minimal"}})
    assert "temperature" not in out
    assert out["reasoning"] == {"effort": "low"}
    assert (outgoing.dropped, outgoing.clamped) == (("temperature",), ("reasoning_effort=low",))


def test_an_upstream_asked_by_chat_gets_what_the_body_means():
    conversation = Conversation(
        endpoint=RESPONSES,
        model="public",
        turns=[Turn("user", [Text("Hi")], "input[0]")],
        options={},
        native=Native(RESPONSES, {"model": "public", "input": "Hi"}),
    )
    outgoing = OPENAI.write_request(Order(conversation, "gpt-4o"))
    assert (outgoing.path, json.loads(outgoing.body)["messages"]) == (
        "/chat/completions",
        [{"role": "user", "content": "Hi"}],
    )
