"""Recorded exchanges with Anthropic, passed through: what its own clients sent goes out again, and what it said comes
back, whole and however the network cuts it."""

import json
import random
from typing import Any

import pytest
from cryptography.fernet import Fernet

from bridge import vault
from bridge.conversation.usage import Usage
from bridge.dialects.messages.read import read_conversation
from bridge.dialects.messages.request import check_request
from bridge.dialects.messages.writer import Messages
from bridge.errors import InvalidRequest
from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import Order, Outgoing, StreamOrder
from tests.messages import list_events, read_message
from tests.providers.recordings import list_exchanges, needs_recordings

EXCHANGES = list_exchanges("anthropic", "anthropic-messages")
NO_FILES, ELSEWHERE = "Files are not kept here", "run elsewhere and are billed apart"
# What is taken out, and named: it is Anthropic's to run, or to keep.
TAKEN_OUT = {"container", "mcp_servers"}


@pytest.fixture(autouse=True)
def master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vault", "fingerprint", "all"):
        monkeypatch.setattr(vault._Keys, name, getattr(vault._Keys, name))
    vault.open_vault([Fernet.generate_key().decode()])


def those(stream: bool) -> list[Any]:
    return [
        pytest.param(each, id=each["id"])
        for each in EXCHANGES
        if each["response"]["status"] == 200 and bool(each["request"]["json"].get("stream")) is stream
    ]


def write(sent: dict[str, Any]) -> Outgoing | str:
    """What goes out for it; why it is refused, if it is."""
    body = json.loads(json.dumps(sent))
    try:
        check_request(body, interleaved=True)
    except InvalidRequest as error:
        return error.message
    return Anthropic().write_request(Order(read_conversation(body, 7), sent["model"]))


REFUSED = (NO_FILES, ELSEWHERE, "Not offered here", "is offered.", "are offered.")


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each["id"]) for each in EXCHANGES])
def test_what_was_sent_goes_out_as_it_was(exchange: dict[str, Any]):
    sent = exchange["request"]["json"]
    outgoing = write(sent)
    if isinstance(outgoing, str):
        assert exchange["response"]["status"] != 200 or any(reason in outgoing for reason in REFUSED), outgoing
        return
    written = json.loads(outgoing.body)
    expected = {field: value for field, value in sent.items() if value is not None}
    for field in ("metadata", "messages", "tools", "system", "thinking"):
        if written.get(field) != expected.get(field):
            assert outgoing.dropped or outgoing.clamped or field in ("metadata", "messages", "system")
        written.pop(field, None), expected.pop(field, None)
    dropped = {name for name in expected if name not in written}
    assert dropped <= {*outgoing.dropped, "speed", "inference_geo"}
    assert written == {name: value for name, value in expected.items() if name not in dropped}


@needs_recordings
def test_most_of_the_recorded_requests_are_taken_and_unchanged():
    unchanged = [
        each
        for each in EXCHANGES
        if not isinstance(outgoing := write(each["request"]["json"]), str)
        and json.loads(outgoing.body)["messages"] == each["request"]["json"]["messages"]
        and json.loads(outgoing.body).get("tools") == each["request"]["json"].get("tools")
    ]
    assert len(unchanged) >= len(EXCHANGES) * 3 // 4


def read(data: bytes, cuts: list[int]) -> tuple[list[dict[str, Any]], Any, Any]:
    """The events that a client gets, the reader, and the writer of the tail."""
    writer = Messages(7).open_writer("req_01", "public", 0)
    native = Anthropic().write_request(Order(read_conversation(HELLO, 7), "claude-opus-4-8"))
    reader = Anthropic().open_reader(native, StreamOrder(writer, 2**20))
    places = [0, *cuts, len(data)]
    frames = b"".join(reader.feed(data[i:j]) for i, j in zip(places, places[1:], strict=False)) + reader.end()
    return list_events(frames), reader, writer


HELLO: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}]}


def recorded_events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


@pytest.mark.parametrize("exchange", those(stream=True))
def test_a_streams_events_come_back_however_they_are_cut(exchange: dict[str, Any]):
    text = exchange["response"]["body_text"]
    said, data = recorded_events(text), text.encode()
    dice = random.Random(len(data))
    for cuts in ([], list(range(1, len(data))), *(sorted(dice.choices(range(len(data)), k=9)) for _ in range(3))):
        events, reader, writer = read(data, cuts)
        assert reader.ended
        start, *rest = events
        assert start["message"]["id"] == "msg_01"
        assert start["message"]["model"] == "public"
        kinds = ("message_start", "message_delta", "message_stop")
        assert rest == [event for event in said if event["type"] not in kinds]
        [ending] = [event for event in said if event["type"] == "message_delta"][-1:]
        assert writer.chunks.ending["delta"] == ending["delta"]
        assert writer.chunks.open_block is None


@pytest.mark.parametrize("exchange", those(stream=True))
def test_what_a_client_reads_of_it_is_a_message(exchange: dict[str, Any]):
    """One block open at a time, in their order: also where the same is written anew for it."""
    data = exchange["response"]["body_text"].encode()
    writer = Messages(7).open_writer("req_01", "public", 0)
    reader = Anthropic().open_reader(Outgoing("/v1/messages", b"{}"), StreamOrder(writer, 2**20))
    frames = reader.feed(data) + reader.end()
    message = read_message(frames + writer.tail(Usage(9, 9), "0"))
    texts = [block["text"] for block in message["content"] if block["type"] == "text"]
    said = [
        event["delta"]["text"]
        for event in recorded_events(exchange["response"]["body_text"])
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta"
    ]
    assert "".join(texts) == "".join(said)


@pytest.mark.parametrize("exchange", those(stream=False))
def test_a_whole_answer_comes_back_as_it_was(exchange: dict[str, Any]):
    data = exchange["response"]["body_text"].encode()
    native = Anthropic().write_request(Order(read_conversation(HELLO, 7), "claude-opus-4-8"))
    completion = Anthropic().read_answer(data, native)
    body = json.loads(Messages(7).open_writer("req_01", "public", 0).whole(completion, Usage(9, 9), "0.5"))
    said = json.loads(data)
    for field in ("id", "model", "usage"):
        body.pop(field), said.pop(field)
    assert body == said
