"""A second dialect over every provider says what chat says of the same bytes: no provider knows who listens."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.conversation.answer import Listener, say_choice
from bridge.conversation.gathering import Gathered
from bridge.conversation.usage import Usage
from bridge.dialects.chat.writer import ChatWriter
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Outgoing, StreamOrder, StreamReader
from bridge.providers.openai.choice import Reading
from bridge.providers.recast import JsonReader, read_any_answer
from tests.chat_answers import body_of
from tests.contract import read_answer, read_stream
from tests.dialects.lines import LinesChoice, LinesWriter, read_lines
from tests.providers.recordings import list_own, list_recorded
from tests.providers.test_odd_answers import TOOLS, Habits, Meant, habits, meant, write_stream

SENT = Outgoing("/", b"{}")
DIALECTS = {"anthropic-messages": "anthropic", "gemini-generate": "gemini", "gemini-stream": "gemini"}
FREE = Usage(0, 0)


def list_answered(*, stream: bool) -> list[Any]:
    """Every exchange that has an answer, with the provider whose dialect it is in."""
    found = []
    for one in (*list_own(), *list_recorded()):
        text, provider = one["response"]["body_text"].lstrip(), DIALECTS.get(one["api"], one["provider"])
        if one["response"]["status"] == 200 and text and text.startswith(("{", "[")) is not stream:
            provider = provider if one["api"] in DIALECTS or provider in ("deepseek", "moonshot") else "openai"
            found.append(pytest.param(provider, text.encode(), id=one["id"]))
    return found


def hear(provider: str, pieces: list[bytes], listener: Listener, sent: Outgoing = SENT) -> tuple[bytes, Any]:
    """What a listener sends of a stream in these pieces, and what its reader makes of it, also where that fails."""
    order = StreamOrder(listener, 2**20)
    reader: StreamReader = PROVIDERS[provider].open_reader(sent, order)
    frames, failure = b"", ""
    try:
        for piece in pieces:
            frames += reader.feed(piece)
        frames += reader.end()
    except AttemptFailed as failed:
        frames, failure = frames + failed.frames, failed.reason
    counts = (reader.usage, reader.started, reader.ended, reader.finish_reason, "".join(reader.text))
    return frames, (failure, *counts, bool(reader.kept))


def chat() -> ChatWriter:
    return ChatWriter("chatcmpl-ours", "public", 7, False)


def known(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the ids that we made up ourselves, which are others each time."""
    for choice in said:
        for call in choice["calls"]:
            if len(call["id"]) == 29 and call["id"].startswith("call_"):
                call["id"] = "made up"
    return said


def cut(data: bytes, how: str) -> list[bytes]:
    if how == "whole":
        return [data]
    if how == "by event":
        return [event + b"\n\n" for event in data.split(b"\n\n")]
    if how == "byte by byte":
        return [data[place : place + 1] for place in range(len(data))]
    places = [0, *sorted(random.Random(how).randrange(len(data)) for _ in range(60)), len(data)]
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize(("provider", "data"), list_answered(stream=True))
@pytest.mark.parametrize("how", ["whole", "by event", "byte by byte", "anywhere"])
def test_lines_say_of_a_stream_what_chat_says(provider: str, data: bytes, how: str):
    frames, of_chat = hear(provider, cut(data, how), chat())
    lines, of_lines = hear(provider, cut(data, how), LinesWriter())
    assert of_lines == of_chat
    said = known(read_stream(frames, done=False))
    assert known(read_lines(lines)) == said
    gathered = Gathered()
    silence, of_gathered = hear(provider, cut(data, how), gathered)
    assert (silence, of_gathered) == (b"", of_chat)
    if of_chat[4]:
        again = b"".join(say_choice(LinesChoice(choice.index), choice) for choice in gathered.end())
        assert known(read_lines(again)) == said


@pytest.mark.parametrize(("provider", "data"), list_answered(stream=False))
def test_lines_say_of_a_whole_answer_what_chat_says(provider: str, data: bytes):
    try:
        completion = read_any_answer(PROVIDERS[provider], data, SENT)
    except AttemptFailed:
        return
    said = known(read_answer(body_of(completion)))
    lines = LinesWriter().whole(completion, FREE, "0")
    assert known(read_lines(lines)) == said
    assert lines.endswith(b"usage 0 0 0\n")
    reader = JsonReader(PROVIDERS[provider], SENT, StreamOrder(LinesWriter(), 2**20))
    assert known(read_lines(reader.feed(data) + reader.end())) == said
    assert reader.started == completion.says_something


@settings(max_examples=100, deadline=None)
@given(st.data(), meant(), habits(), st.sampled_from(["openai", "deepseek", "moonshot"]))
def test_lines_say_the_same_of_an_oddly_written_stream(data: Any, answer: Meant, how: Habits, provider: str):
    body = write_stream(data.draw, answer, how)
    sent = Outgoing("/", b"{}", reading=Reading(tools=TOOLS, free=True, choices=1))
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    frames, of_chat = hear(provider, pieces, chat(), sent)
    lines, of_lines = hear(provider, pieces, LinesWriter(), sent)
    assert of_lines == of_chat
    assert known(read_lines(lines)) == known(read_stream(frames, done=False))
