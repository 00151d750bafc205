"""What an upstream answers arrives in another dialect: read by its provider's reader, said by any door's writer, and
read again as an upstream's answer of that door's dialect."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.conversation.answer import AnswerWriter, Choice
from bridge.conversation.gathering import Gathered
from bridge.conversation.usage import Usage
from bridge.dialects.chat.writer import Chat
from bridge.dialects.messages.writer import Messages
from bridge.dialects.responses.numbers import Numbered
from bridge.dialects.responses.read import read_responses
from bridge.dialects.responses.request import ResponsesRequest
from bridge.dialects.responses.writer import Kept, Responses
from bridge.providers import PROVIDERS
from bridge.providers.base import Order, Outgoing, StreamOrder
from bridge.vault import open_vault
from tests import replies
from tests.dialects.test_request_round_trips import DIALECTS, SPEAKERS, TOOLS, WRITE, objects, read, words
from tests.pairs import UPSTREAMS
from tests.replies import Reply, write_stream, write_whole
from tests.rooms import FERNET_KEY

open_vault([FERNET_KEY])
REQUEST_ID = "req_01893b5ac0f07c3a9b1f0d2e4a6c8b0d"
calls = st.lists(st.tuples(st.sampled_from(sorted(TOOLS)), objects), max_size=3).map(
    lambda found: tuple(
        replies.Call(f"call_{place}abcdefghij", name, given) for place, (name, given) in enumerate(found)
    )
)
answers = st.builds(
    Reply,
    text=st.one_of(st.just(""), words),
    thought=st.one_of(st.just(""), words),
    calls=calls,
    finish=st.sampled_from(["", "", "length"]),
).filter(lambda reply: bool(reply.text or reply.calls))
USED = Usage(40, 21, cached_tokens=8)


def open_door(dialect: str) -> tuple[AnswerWriter, Callable[[list[bytes]], bytes]]:
    """What writes an answer in this dialect, and what makes a stream of its frames."""
    if dialect == "chat":
        return Chat(True).open_writer(REQUEST_ID, "m", 1), b"".join
    if dialect == "messages":
        return Messages(1, 12).open_writer(REQUEST_ID, "m", 1), b"".join
    body = {"model": "m", "input": "Hi", "tools": WRITE["responses"](EMPTY)["tools"]}
    asked = read_responses(body, msgspec.convert(body, ResponsesRequest), 1)
    spoken = Responses(asked, 1, Kept())
    return (
        spoken.open_writer(REQUEST_ID, "m", 1),
        lambda frames: b"".join(Numbered(frames, spoken.head(REQUEST_ID), lambda: None)),
    )


EMPTY = {
    **dict.fromkeys(("system", "temperature", "tool_choice", "parallel", "user")),
    "rounds": [],
    "last": [("text", "Hi")],
    "cap": 100,
    "stream": True,
    "format": False,
}


def send(upstream: str, door: str) -> tuple[Any, Outgoing]:
    """Who is asked, as this door's clients ask."""
    provider, upstream_id, wire = {
        "openai": SPEAKERS["chat"],
        "responses": SPEAKERS["responses"],
        "anthropic": SPEAKERS["messages"],
        "gemini": ("gemini", "gemini-2.5-flash", ""),
        "deepseek": ("deepseek", "deepseek-v4-pro", ""),
        "moonshot": ("moonshot", "kimi-k2.6", ""),
    }[upstream]
    asked = read(door, WRITE[door](EMPTY))
    return PROVIDERS[provider], PROVIDERS[provider].write_request(Order(asked, upstream_id, wire=wire))


SPEAKER_OF = {"chat": "openai", "messages": "anthropic", "responses": "responses"}


def read_again(dialect: str, data: bytes, stream: bool) -> Choice:
    """The answer as whoever speaks this dialect reads it."""
    provider, outgoing = send(SPEAKER_OF[dialect], "chat")
    if not stream:
        [choice] = provider.read_answer(data, outgoing).choices
        return choice
    gathered = Gathered()
    reader = provider.open_reader(outgoing, StreamOrder(gathered, 2**20))
    reader.feed(data)
    reader.end()
    assert reader.finish_reason
    [choice] = gathered.end()
    return choice


def told(choice: Choice) -> list[Any]:
    called = [(call.id, call.name, json.loads(call.arguments)) for call in choice.calls]
    return [choice.text, choice.reasoning, choice.refusal or "", called, choice.finish_reason]


@settings(max_examples=6)
@pytest.mark.parametrize("door", DIALECTS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
@given(answers, st.booleans())
def test_an_answer_arrives_in_another_dialect_with_all_that_it_says(
    upstream: str, door: str, reply: Reply, stream: bool
):
    provider, outgoing = send(upstream, door)
    writer, join = open_door(door)
    if stream:
        reader = provider.open_reader(outgoing, StreamOrder(writer, 2**20))
        frames = [reader.feed(write_stream(upstream, reply)), reader.end(), writer.tail(USED, "0.1")]
        data = join([frame for frame in frames if frame])
    else:
        data = writer.whole(provider.read_answer(write_whole(upstream, reply), outgoing), USED, "0.1")
    called = [(call.id, call.name, call.arguments) for call in reply.calls]
    assert told(read_again(door, data, stream)) == [reply.text, reply.thought, "", called, reply.finish_reason]
