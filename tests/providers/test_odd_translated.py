"""Claude's and Gemini's answers, and those of servers that speak like them: the same oddities are mended in both."""

import json
from typing import Any

import pytest

from bridge.providers import PROVIDERS
from bridge.providers.anthropic.answers import Reading as AnthropicReading
from bridge.providers.base import AttemptFailed, Outgoing
from bridge.providers.gemini.answers import Reading as GeminiReading
from tests.chat_answers import body_of, chat_order
from tests.contract import Said, read_answer, read_stream

SENT = {
    "anthropic": Outgoing("/", b"{}", reading=AnthropicReading()),
    "gemini": Outgoing("/", b"{}", reading=GeminiReading()),
}
Calls = list[tuple[str, str, Any]]  # id, name, input


def write_whole(provider: str, text: str, calls: Calls, end: Any) -> bytes:
    if provider == "anthropic":
        content: list[Any] = [{"type": "text", "text": text}] if text else []
        content += [{"type": "tool_use", "id": one, "name": name, "input": value} for one, name, value in calls]
        return json.dumps({"type": "message", "role": "assistant", "content": content, "stop_reason": end}).encode()
    parts: list[Any] = [{"text": text}] if text else []
    parts += [{"functionCall": {"id": one, "name": name, "args": value}} for one, name, value in calls]
    return json.dumps({"candidates": [{"content": {"parts": parts}, "finishReason": end}]}).encode()


def write_stream(provider: str, texts: list[str], calls: Calls, end: Any, closes: bool = True) -> bytes:
    if provider == "gemini":
        wholes = [write_whole(provider, text, [], None) for text in texts]
        return b"".join(b"data: " + one + b"\r\n\r\n" for one in [*wholes, write_whole(provider, "", calls, end)])
    events: list[Any] = [{"type": "message_start", "message": {}}]
    events.append({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts
    ]
    for index, (one, name, value) in enumerate(calls, 1):
        block = {"type": "tool_use", "id": one, "name": name, "input": {}}
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        if value:
            delta = {"type": "input_json_delta", "partial_json": value}
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        if closes:
            events.append({"type": "content_block_stop", "index": index})
    events += [{"type": "message_delta", "delta": {"stop_reason": end}}, {"type": "message_stop"}]
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def streamed(provider: str, data: bytes) -> tuple[Said, Any]:
    reader = PROVIDERS[provider].open_reader(SENT[provider], chat_order("ours", "public", 7, False, 2**20))
    [said] = read_stream(reader.feed(data) + reader.end(), done=False)
    return said, reader


def made(said: Said) -> list[tuple[str, Any]]:
    return [(call["name"], json.loads(call["arguments"])) for call in said["calls"]]


both = pytest.mark.parametrize("provider", ["anthropic", "gemini"])
END = {"anthropic": "end_turn", "gemini": "STOP"}


@both
def test_half_a_character_is_joined_with_its_other_half_or_replaced(provider: str):
    completion = PROVIDERS[provider].read_answer(write_whole(provider, "a\ud83d b", [], END[provider]), SENT[provider])
    assert read_answer(body_of(completion))[0]["text"] == "a\ufffd b"
    assert completion.mended == {"JSON"}
    texts = ["a", "b\ud83d", "\ude00c", "d\ud83d", "e", "\udcaf", "f\ud83d"]
    said, reader = streamed(provider, write_stream(provider, texts, [], END[provider]))
    assert said["text"] == "ab😀cd\ufffde\ufffdf\ufffd"
    assert (reader.mended, "".join(reader.text)) == ({"JSON"}, said["text"])


@both
def test_calls_with_one_id_get_one_each(provider: str):
    calls = [("a", "f", {"x": 1}), ("a", "g", {}), ("", "h", {})]
    completion = PROVIDERS[provider].read_answer(write_whole(provider, "", calls, END[provider]), SENT[provider])
    assert made(read_answer(body_of(completion))[0]) == [("f", {"x": 1}), ("g", {}), ("h", {})]
    if provider == "anthropic":
        calls = [(one, name, json.dumps(value)) for one, name, value in calls]
    said, _ = streamed(provider, write_stream(provider, [], calls, END[provider]))
    assert made(said) == [("f", {"x": 1}), ("g", {}), ("h", {})]
    assert said["calls"][0]["id"] == "a"


@both
def test_an_input_may_be_text_or_an_object(provider: str):
    data = write_whole(provider, "", [("a", "f", '{"x": 1}')], END[provider])
    assert made(read_answer(body_of(PROVIDERS[provider].read_answer(data, SENT[provider])))[0]) == [("f", {"x": 1})]
    for value in ({"x": 1}, '{"x": 1}'):
        said, _ = streamed(provider, write_stream(provider, [], [("a", "f", value)], END[provider]))
        assert made(said) == [("f", {"x": 1})]


def test_a_call_that_nobody_closed_has_arguments_all_the_same():
    said, _ = streamed("anthropic", write_stream("anthropic", [], [("a", "f", "")], "tool_use", closes=False))
    assert made(said) == [("f", {})]


@both
@pytest.mark.parametrize("end", ["end_turn", "stop", "STOP"])
def test_whoever_called_has_not_just_stopped(provider: str, end: str):
    made_whole = PROVIDERS[provider].read_answer(write_whole(provider, "", [("a", "f", {})], end), SENT[provider])
    assert made_whole.finish_reason == "tool_calls"
    said, _ = streamed(provider, write_stream(provider, [], [("a", "f", "")], end))
    assert said["finish"] == "tool_calls"


def without_starts(data: bytes) -> bytes:
    events = [event for event in data.split(b"\n\n") if b"content_block_start" not in event]
    return b"\n\n".join(events)


def test_a_text_without_its_block_is_said_all_the_same():
    said, reader = streamed("anthropic", without_starts(write_stream("anthropic", ["Hello", " there"], [], "end_turn")))
    assert (said["text"], said["finish"], reader.mended) == ("Hello there", "stop", {"block"})


def test_arguments_of_a_call_that_has_not_begun_are_a_failure():
    data = write_stream("anthropic", ["Hello"], [("a", "f", '{"x": 1}')], "tool_use")
    with pytest.raises(AttemptFailed):
        streamed("anthropic", without_starts(data))


@both
@pytest.mark.parametrize("end", ["error", "ABORT", "network_error", "Cancelled", "internal_server_error"])
def test_an_end_that_means_a_failure_is_one(provider: str, end: str):
    with pytest.raises(AttemptFailed):
        PROVIDERS[provider].read_answer(write_whole(provider, "Hello the", [], end), SENT[provider])
    with pytest.raises(AttemptFailed):
        streamed(provider, write_stream(provider, ["Hello the"], [], end))


@both
@pytest.mark.parametrize(
    ("end", "ours"), [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter")]
)
def test_openai_s_words_for_an_end_are_understood(provider: str, end: str, ours: str):
    completion = PROVIDERS[provider].read_answer(write_whole(provider, "Hi", [], end), SENT[provider])
    assert completion.finish_reason == ours
    assert streamed(provider, write_stream(provider, ["Hi"], [], end))[0]["finish"] == ours
