"""An answer in the other shape than was asked for: its pieces make the whole text, whatever the first of them is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.openai.provider import OpenAI
from bridge.providers.recast import read_any_answer
from tests.chat_answers import body_of
from tests.providers.openai_streams import SENT, chunk, stream

PIECES = st.lists(
    st.sampled_from(["function", "custom", "text", " add(a, b) {", "tool", "0", "null", " }"]), min_size=1, max_size=6
)


@pytest.mark.parametrize("field", ["content", "reasoning_content", "refusal"])
@given(pieces=PIECES)
def test_the_pieces_of_a_text_are_joined(field: str, pieces: list[str]):
    deltas = [{"role": "assistant", "content": "" if field == "content" else "so"}, *({field: one} for one in pieces)]
    data = stream(*(chunk(delta) for delta in deltas), chunk({}, "stop"))
    (choice,) = body_of(read_any_answer(OpenAI(), data, SENT))["choices"]
    assert choice["message"][field] == "".join(pieces)


@given(name=st.sampled_from(["function", "custom", "f"]), pieces=PIECES)
def test_so_are_those_of_arguments(name: str, pieces: list[str]):
    head = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
    told = json.dumps(pieces)
    calls = [head, *({"index": 0, "function": {"arguments": told[at : at + 3]}} for at in range(0, len(told), 3))]
    deltas = [{"role": "assistant", "content": None}, *({"tool_calls": [call]} for call in calls)]
    data = stream(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"))
    (choice,) = body_of(read_any_answer(OpenAI(), data, SENT))["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (call["type"], call["function"]) == ("function", {"name": name, "arguments": told})
