"""Whatever a provider says, in whatever order, a stream of Messages keeps Anthropic's rules: blocks from 0 without
holes, one open at a time, each begun and ended once, and nothing of what was said is lost."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from bridge import vault
from bridge.conversation.answer import REASONING, TEXT, Call, Choice, Completion, Sealed, say_choice
from bridge.conversation.usage import Usage
from bridge.dialects.envelope import open_value
from bridge.dialects.messages.writer import Messages, MessagesWriter
from bridge.errors import InvalidRequest, Overloaded, UpstreamError
from bridge.inference import estimate
from tests.messages import calls_of, check_message, list_events, read_message, say, thoughts_of

USAGE = Usage(50, 20, cached_tokens=10, cache_write_tokens=5, reasoning_tokens=3)
REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
TEXTS = st.text(min_size=1, max_size=12)
OBJECTS = st.dictionaries(st.text(max_size=4), st.integers() | st.text(max_size=5) | st.none(), max_size=3)
ACCOUNT = 7


@pytest.fixture(autouse=True, scope="module")
def master_key() -> Iterator[None]:
    kept = {name: getattr(vault._Keys, name) for name in ("vault", "fingerprint", "all")}
    vault.open_vault([Fernet.generate_key().decode()])
    yield
    for name, value in kept.items():
        setattr(vault._Keys, name, value)


def open_writer() -> MessagesWriter:
    return Messages(ACCOUNT, 12).open_writer("req_01ab", "public", 1_750_000_000)


def encode(text: str) -> bytes:
    return msgspec.json.encode(text)[1:-1]


steps = st.lists(
    st.tuples(st.just("text"), TEXTS)
    | st.tuples(st.just("reasoning"), TEXTS)
    | st.tuples(st.just("refusal"), TEXTS)
    | st.tuples(st.just("call"), OBJECTS)
    | st.tuples(st.just("more"), st.integers(0, 3))
    | st.tuples(st.just("pieces"), st.lists(TEXTS, min_size=1, max_size=3))
    | st.tuples(st.just("thought pieces"), st.lists(TEXTS, min_size=1, max_size=3))
    | st.tuples(st.just("seal"), st.booleans())
    | st.tuples(st.just("own"), st.booleans())
    | st.tuples(st.just("extras"), st.just(None)),
    max_size=12,
)


class Teller:
    """Tells a writer what a provider says; notes what was said."""

    def __init__(self) -> None:
        self.writer = open_writer()
        self.choice = self.writer.choice(0)
        self.frames: list[bytes] = []
        self.text, self.calls, self.thought = "", list[Any](), ""
        self.waiting: dict[int, list[str]] = {}
        self.refused = False

    def tell(self, kind: str, value: Any) -> None:
        choice = self.choice
        if kind == "text":
            self.frames.append(choice.text(value))
            self.text += value
        elif kind == "refusal":
            self.frames.append(choice.refusal(value))
            self.text += value
            self.refused = True
        elif kind == "reasoning":
            self.frames.append(choice.reasoning(value))
            self.thought += value
        elif kind == "pieces":
            self.frames.append(choice.pieces(TEXT, [encode(one) for one in value], value))
            self.text += "".join(value)
        elif kind == "thought pieces":
            self.frames.append(choice.pieces(REASONING, [encode(one) for one in value], value))
            self.thought += "".join(value)
        elif kind == "call":
            place = len(self.calls)
            self.calls.append(value)
            written = json.dumps(value)
            half = len(written) // 2
            self.frames.append(choice.call(Call(f"call_{place}", "look", written[:half])))
            self.waiting[place] = [written[half:]]
        elif kind == "more":
            self.more(value)
        elif kind == "seal":
            call_id = f"call_{len(self.calls)}" if value else ""
            self.frames.append(choice.seal(Sealed({"provider": "gemini", "signature": "s"}, call_id)))
        elif kind == "own":
            block = {"type": "redacted_thinking", "data": "EmwK"}
            if value:
                block = {"type": "thinking", "thinking": "", "signature": "EqQB"}
            self.frames.append(choice.seal(Sealed({}, dialect="messages", blocks=[block])))
        else:
            self.frames.append(choice.extras({"annotations": [1]}))

    def more(self, place: int) -> None:
        for text in self.waiting.pop(place, ()):
            self.frames.append(self.choice.arguments(place, text))

    def end(self, reason: str) -> dict[str, Any]:
        for place in sorted(self.waiting):
            self.more(place)
        self.frames.append(self.choice.finish(reason))
        return read_message(b"".join(self.frames) + self.writer.tail(USAGE, "0.0000001"))


@given(steps, st.sampled_from(list(REASONS)))
def test_t1_whatever_is_said_in_whatever_order_makes_a_message(said: list[Any], reason: str):
    teller = Teller()
    for kind, value in said:
        teller.tell(kind, value)
        if kind != "call":  # arguments come right behind their call, or between those of others
            for place in list(teller.waiting)[:-1]:
                teller.more(place)
        elif kind not in ("call", "more"):
            for place in list(teller.waiting):
                teller.more(place)
    for place in list(teller.waiting):
        teller.more(place)
    message = teller.end(reason)
    check_message(message)
    assert say(message) == teller.text
    assert "".join(block["thinking"] for block in thoughts_of(message)) == teller.thought
    assert message["stop_reason"] == ("refusal" if teller.refused else REASONS[reason])
    assert [call["id"] for call in calls_of(message)] == [f"call_{place}" for place in range(len(teller.calls))]
    for block in thoughts_of(message):
        assert block["signature"] == "EqQB" or open_value(block["signature"], ACCOUNT) is not None


@given(st.lists(OBJECTS, min_size=2, max_size=4), st.randoms())
def test_calls_whose_arguments_are_interleaved_stay_apart(calls: list[Any], dice: Any):
    writer = open_writer()
    choice = writer.choice(0)
    frames = [choice.call(Call(f"call_{place}", "look")) for place in range(len(calls))]
    left = [list(json.dumps(call)) for call in calls]
    while any(left):
        place = dice.choice([place for place, pieces in enumerate(left) if pieces])
        frames.append(choice.arguments(place, left[place].pop(0)))
    frames.append(choice.finish("tool_calls"))
    message = read_message(b"".join(frames) + writer.tail(USAGE, "0.1"))
    assert [call["input"] for call in calls_of(message)] == calls


@given(steps, st.integers(0, 30))
def test_a_stream_cut_at_its_cap_closes_what_was_open_but_for_a_call(said: list[Any], most: int):
    teller = Teller()
    for kind, value in said:
        teller.tell(kind, value)
    half = len(teller.frames) // 2
    kept = b"".join(teller.frames[:half])
    rest = b"".join(teller.frames[half:])
    teller = Teller()
    for _frame, (kind, value) in zip(range(len(said)), said, strict=True):
        teller.tell(kind, value)
    cut = teller.writer.cut(rest, most, estimate)
    frames = kept + cut + teller.writer.error(UpstreamError("Too long."))
    events = list_events(frames)
    begun = [event for event in events if event["type"] == "content_block_start"]
    ended = [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert [event["index"] for event in begun] == list(range(len(begun)))
    is_in_call = bool(begun) and begun[-1]["content_block"]["type"] == "tool_use"
    assert ended in ([*range(len(begun))], [*range(len(begun) - is_in_call)])
    assert events[-1]["type"] == "error"


choices = st.builds(
    Choice,
    finish_reason=st.sampled_from(list(REASONS)),
    text=st.text(max_size=9),
    reasoning=st.text(max_size=9),
    calls=st.lists(st.builds(Call, st.uuids().map(str), st.just("look"), OBJECTS.map(json.dumps)), max_size=3),
)


@given(choices)
def test_whole_and_streamed_say_the_same(choice: Choice):
    writer = open_writer()
    completion = Completion([choice], None, choice.finish_reason, [])
    whole = json.loads(writer.whole(completion, USAGE, "0.25"))
    streamed = read_message(say_choice(writer.choice(0), choice) + writer.tail(USAGE, "0.25"))
    check_message(whole)
    for block in (*whole["content"], *streamed["content"]):
        if "signature" in block:
            assert open_value(block.pop("signature"), ACCOUNT) == {}
    assert streamed["content"] == whole["content"]
    assert streamed["stop_reason"] == whole["stop_reason"]
    assert whole["usage"] == streamed["usage"]


def test_a_call_that_is_cut_loses_nothing_of_what_follows_it():
    writer = open_writer()
    choice = writer.choice(0)
    said = [choice.call(Call("call_1", "look", '{"a')), choice.text("And"), choice.call(Call("call_2", "look", "{"))]
    frames = b"".join(said) + choice.finish("length")
    kinds = [event["content_block"]["type"] for event in list_events(frames) if event["type"] == "content_block_start"]
    assert kinds == ["tool_use", "text", "tool_use"]


def test_t35_usage_has_every_class_and_the_exact_cost():
    data = open_writer().tail(USAGE, "0.000000001234567890123")
    assert b'"cost":0.000000001234567890123' in data
    usage = list_events(data)[0]["usage"]
    assert usage["input_tokens"] == 35
    assert (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (10, 5)
    assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 0}
    assert usage["output_tokens_details"] == {"thinking_tokens": 3}


def test_t12_thoughts_alone_are_a_block():
    """Agents ask once more where there is no content at all."""
    writer = open_writer()
    choice = writer.choice(0)
    frames = choice.reasoning("Hm.") + choice.finish("stop")
    [block] = read_message(frames + writer.tail(USAGE, "0"))["content"]
    assert block["thinking"] == "Hm."


def test_arguments_that_a_cap_cut_in_two_say_so_by_the_stop_reason():
    choice = Choice("length", calls=[Call("call_1", "look", '{"city": "Os')])
    message = json.loads(open_writer().whole(Completion([choice], None, "length", []), USAGE, "0"))
    assert (message["stop_reason"], message["content"]) == ("max_tokens", [])


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (UpstreamError("It failed."), "api_error"),
        (Overloaded("Too much."), "overloaded_error"),
        (InvalidRequest("Wrong.", param="messages"), "invalid_request_error"),
    ],
)
def test_an_error_is_the_last_event_and_has_anthropics_kind(error: Any, kind: str):
    writer = open_writer()
    frames = writer.choice(0).text("He") + writer.error(error)
    *_, stop, last = list_events(frames)
    assert stop == {"type": "content_block_stop", "index": 0}
    assert last["error"]["type"] == kind


def test_pings_keep_a_silent_stream_open():
    assert list_events(Messages.keepalive) == [{"type": "ping"}]
