"""The sandbox's answers read like a provider's, say what they are, and no request makes it stumble."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.dialects.chat.request import ChatRequest
from bridge.providers.base import Outgoing
from bridge.providers.sandbox import LABEL, Sandbox, answer_pieces, sample
from bridge.v1.body import convert
from tests.chat_answers import body_of, chat_order

SENT = Outgoing("/chat/completions", b"{}")
BODY: dict[str, Any] = {"model": "sandbox-echo", "messages": [{"role": "user", "content": "What is a gateway?"}]}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOLS = [{"type": "function", "function": WEATHER}]


def answer(**fields: Any) -> dict[str, Any]:
    """A whole answer, through the reader that any provider's goes through."""
    completion = Sandbox().read_answer(b"".join(answer_pieces({**BODY, **fields})), SENT)
    ChatCompletion.model_validate({"id": "a", "model": "b", "object": "chat.completion", **body_of(completion)})
    assert completion.usage is not None
    return {**body_of(completion), "completion_tokens": completion.usage.completion_tokens}


def test_it_says_what_it_is_and_gives_the_question_back():
    content = answer()["choices"][0]["message"]["content"]
    assert content.startswith(LABEL)
    assert "What is a gateway?" in content


@pytest.mark.parametrize("fields", [{}, {"tools": TOOLS, "tool_choice": "required"}, {"reasoning_effort": "low"}])
def test_a_stream_says_the_same_as_a_whole_answer(fields: dict[str, Any]):
    message = answer(**fields)["choices"][0]["message"]
    reader = Sandbox().open_reader(SENT, chat_order("chatcmpl-ours", "public", 0, False, 10**6))
    frames = b"".join(reader.feed(piece) for piece in answer_pieces({**BODY, **fields, "stream": True}))
    chunks = [ChatCompletionChunk.model_validate_json(frame[6:]) for frame in frames.split(b"\n\n") if frame]
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas) == (message["content"] or "")
    thoughts = [getattr(delta, "reasoning_content", None) or "" for delta in deltas]
    assert "".join(thoughts) == (message.get("reasoning_content") or "")
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert len(calls) == len(message.get("tool_calls") or ())
    assert (reader.finished, reader.usage is not None) == (True, True)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_demanded_tool_is_called_with_arguments_that_fit(choice: Any):
    body = answer(tools=TOOLS, tool_choice=choice)
    call = body["choices"][0]["message"]["tool_calls"][0]["function"]
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "sandbox"})
    assert body["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, False),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high"}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"reasoning_effort": "high", "max_tokens": 3}, False),
    ],
)
def test_it_thinks_aloud_where_it_is_asked_to(fields: dict[str, Any], thinks: bool):
    message = answer(**fields)["choices"][0]["message"]
    assert bool(message.get("reasoning_content")) is thinks
    assert message["content"]


def test_thoughts_count_within_the_cap():
    assert answer(reasoning_effort="high", max_tokens=20)["completion_tokens"] == 20


def test_a_cap_is_kept():
    body = answer(max_tokens=3)
    assert body["completion_tokens"] == 3
    assert body["choices"][0]["finish_reason"] == "length"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "enum", "anyOf", "const", "function", "name", "schema", "text"]
            ),
            inner | st.sampled_from(["object", "array", "string"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_any_schema_has_a_sample(schema: Any):
    msgspec.json.encode(sample(schema))


def test_a_schema_without_end_has_one_too():
    schema: dict[str, Any] = {"type": "array"}
    schema["items"] = {"anyOf": [schema]}
    msgspec.json.encode(sample(schema))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "tools": st.lists(st.fixed_dictionaries({"type": JSON, "function": JSON}), max_size=2),
            "tool_choice": JSON,
            "response_format": st.fixed_dictionaries(
                {"type": st.sampled_from(["json_schema", "json_object", "text"])}, optional={"json_schema": JSON}
            ),
            "messages": st.lists(
                st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": JSON}),
                min_size=1,
                max_size=2,
            ),
            "max_tokens": st.integers(1, 50),
            "stream": st.booleans(),
        },
    )
)
def test_any_request_that_is_let_in_is_answered(fields: dict[str, Any]):
    try:
        convert({**BODY, **fields}, ChatRequest)
    except Exception:  # refused before it gets here
        return
    assert b"".join(answer_pieces({**BODY, **fields}))
