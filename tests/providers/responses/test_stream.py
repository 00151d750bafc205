"""OpenAI's Responses, streamed: what its events say, however they come."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, Outgoing, StreamOrder
from bridge.providers.recast import read_any_answer
from bridge.providers.responses.request import Reading
from tests.chat_answers import chat_order
from tests.providers.responses.reading import NATIVE, OPENAI, SENT, OfResponses, gather, written
from tests.responses_answers import USAGE, call, custom_call, encode, list_events, message, refusal, response, thought

COUNTS = Counts(40, 21, 8, 9)
ANY_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
ITEMS = st.one_of(
    st.builds(message, ANY_TEXT),
    st.builds(refusal, ANY_TEXT),
    st.builds(lambda texts: thought(1, *texts), st.lists(ANY_TEXT, max_size=3)),
    st.builds(lambda text: call("", "weather", json.dumps({"city": text})), ANY_TEXT),
    st.builds(lambda text: custom_call("", "shell", text), ANY_TEXT),
)


def number(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The items, each call with an id of its own."""
    return [{**item, "call_id": f"call_{n}"} if "call_id" in item else item for n, item in enumerate(items)]


def split(data: bytes, places: list[int]) -> list[bytes]:
    found = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in zip(found, found[1:], strict=False)]


@given(st.lists(ITEMS, max_size=5), st.lists(st.integers(0, 10**6), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_a_stream_says_what_the_whole_answer_does_wherever_it_is_split(
    items: list[Any], places: list[int], line_end: str
):
    items = number(items)
    [whole] = OPENAI.read_answer(json.dumps(response(*items)).encode(), SENT).choices
    choice, reader = gather(split(encode(list_events(*items), line_end), places))
    assert written(choice) == written(whole)
    assert (reader.usage, reader.finished) == (COUNTS, True)


@given(st.lists(ITEMS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_items_that_come_at_the_same_time_are_told_apart(items: list[Any], draw: Any):
    """Events are routed by their item's place, never by which item came last; each item's own stay in order."""
    items = number(items)
    first, second, *rest, last = list_events(*items)
    waiting = [[one for one in rest if one["output_index"] == place] for place in range(len(items))]
    mixed = []
    begun = [events.pop(0) for events in waiting]
    while any(waiting):
        mixed.append(draw.choice([events for events in waiting if events]).pop(0))
    choice, _ = gather([encode([first, second, *begun, *mixed, last])])
    [whole] = OPENAI.read_answer(json.dumps(response(*items)).encode(), SENT).choices
    assert [(one.id, one.arguments) for one in choice.calls] == [(one.id, one.arguments) for one in whole.calls]
    assert sorted(choice.text) == sorted(whole.text)
    assert choice.finish_reason == whole.finish_reason


@pytest.mark.parametrize("lack", ["sequence_number", "event lines", "deltas", "done", "added"])
def test_what_some_servers_leave_out_is_not_missed(lack: str):
    """Arguments are read from their pieces or from their end, never from both."""
    events = list_events(thought(1, "So."), message("Hello there."), call("call_1", "weather", '{"city":"Oslo"}'))
    if lack == "sequence_number":
        events = [{name: value for name, value in one.items() if name != lack} for one in events]
    if lack == "deltas":
        events = [one for one in events if not one["type"].endswith(".delta")]
    if lack == "done":
        events = [one for one in events if not one["type"].endswith(".done")]
    if lack == "added":
        events = [one for one in events if ".delta" not in one["type"] and ".added" not in one["type"]]
    data = encode(events)
    if lack == "event lines":
        data = b"".join(line + b"\n\n" for line in data.split(b"\n") if line.startswith(b"data"))
    choice, reader = gather([data])
    assert (choice.text, choice.reasoning) == ("Hello there.", "So.")
    assert [(one.name, one.arguments) for one in choice.calls] == [("weather", '{"city":"Oslo"}')]
    assert reader.kept == {
        "call_1": {"provider": "openai", "items": [], "lead": [thought(1, "So.")], "item_id": "fc_call_1"}
    }
    assert not reader.mended


def test_t22_arguments_are_said_once_and_completed_by_their_end():
    events = list_events(call("call_1", "weather", '{"city":"Oslo"}'))
    last_delta = max(place for place, one in enumerate(events) if one["type"].endswith(".delta"))
    del events[last_delta]
    choice, reader = gather([encode(events)])
    assert choice.calls[0].arguments == '{"city":"Oslo"}'
    assert reader.mended == {"arguments"}


def test_a_piece_of_an_item_that_has_not_begun_is_text_or_no_answer():
    head, _, *rest = list_events(message("Hello"))
    choice, reader = gather([encode([head, *(one for one in rest if ".added" not in one["type"])])])
    assert (choice.text, reader.mended) == ("Hello", {"item"})
    calls = [one for one in list_events(call("call_1", "f", "{}")) if ".added" not in one["type"]]
    with pytest.raises(AttemptFailed, match="has not begun"):
        gather([encode(calls)])
    begun, piece = list_events(message("Hello"))[:3], next(one for one in calls if one["type"].endswith(".delta"))
    with pytest.raises(AttemptFailed, match="has not begun"):
        gather([encode([*begun, piece])])


@pytest.mark.parametrize(
    ("error", "blame", "code"),
    [
        ({"code": "server_error", "message": "It broke."}, Blame.UPSTREAM, None),
        ({"code": "rate_limit_exceeded", "message": "Slow down."}, Blame.RATE, None),
        ({"code": "context_length_exceeded", "message": "Too long."}, Blame.REQUEST, "context_length_exceeded"),
        ({"code": "invalid_prompt", "message": "No."}, Blame.REQUEST, "content_policy_violation"),
        ({"code": "insufficient_quota", "message": "You exceeded your quota."}, Blame.CREDENTIAL, None),
    ],
)
@pytest.mark.parametrize("shape", ["response.failed", "error", "error, nested", "whole"])
def test_what_failed_says_whom_it_speaks_against(error: dict[str, Any], blame: Blame, code: str | None, shape: str):
    begun, whole = list_events(message("Hello"))[:6], response(status="failed", error=error)
    last = {
        "response.failed": {"type": "response.failed", "response": whole},
        "error": {"type": "error", "param": None, **error},
        "error, nested": {"type": "error", "error": error},
    }
    data = json.dumps(whole).encode() if shape == "whole" else encode([*begun, last[shape]])
    with pytest.raises(AttemptFailed) as failed:
        read_any_answer(OPENAI, data, SENT)
    assert (failed.value.blame, failed.value.code) == (blame, code)


def test_what_was_said_before_a_failure_is_there_and_counted():
    order = chat_order("chatcmpl-ours", "public", 1, False, 2**20)
    reader = OPENAI.open_reader(SENT, order)
    failed = {"type": "response.failed", "response": response(status="failed", error={"code": "server_error"})}
    with pytest.raises(AttemptFailed) as raised:
        reader.feed(encode([*list_events(message("Hello"))[:5], failed]))
    assert b"Hello" in raised.value.frames
    assert (list(reader.text), reader.usage) == (["Hello"], COUNTS)


def test_a_stream_without_its_last_event_has_not_ended():
    reader = OPENAI.open_reader(SENT, chat_order("chatcmpl-ours", "public", 1, False, 2**20))
    reader.feed(encode(list_events(message("Hello"))[:-1]))
    reader.end()
    assert (reader.started, reader.ended, reader.finish_reason) == (True, False, None)


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
)
def test_an_incomplete_answer_says_why(reason: str | None, finish: str):
    details = {"incomplete_details": {"reason": reason}} if reason else {}
    items = [message("Hel"), call("call_1", "weather", '{"ci')]
    choice, _ = gather([encode(list_events(*items, status="incomplete", **details))])
    assert (choice.text, choice.finish_reason, choice.calls[0].arguments) == ("Hel", finish, '{"ci')


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled", "exploded"])
def test_an_answer_that_has_not_ended_well_is_none(status: str):
    with pytest.raises(AttemptFailed):
        OPENAI.read_answer(json.dumps(response(message("Hello"), status=status)).encode(), SENT)


def test_texts_of_several_messages_are_one_with_their_citations_in_place():
    cited = {"type": "url_citation", "url": "https://example.com", "title": "A", "start_index": 1, "end_index": 3}
    items = [message("One. "), message("Two.", [cited, {"type": "file_citation", "file_id": "f"}], 2)]
    choice, _ = gather([encode(list_events(*items))])
    assert choice.text == "One. Two."
    place = {"url": "https://example.com", "title": "A", "start_index": 6, "end_index": 8}
    assert choice.extras == {"annotations": [{"type": "url_citation", "url_citation": place}]}


def test_odds_of_tokens_are_told_as_chat_completions_do():
    odds = [{"token": "Hello", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]
    events = list_events(message("Hello"))
    events = [{**one, "logprobs": odds} if one["type"].endswith("text.delta") else one for one in events]
    choice, _ = gather([encode(events)])
    assert choice.logprobs == {"content": odds, "refusal": None} or choice.logprobs == {"content": odds}
    assert choice.text == "Hello"


def test_what_was_thought_is_kept_with_what_it_led_to():
    items = [thought(1), message("First."), thought(2), call("call_1", "f", "{}"), call("call_2", "f", "{}")]
    _, reader = gather([encode(list_events(*items, thought(3), message("x")))])
    assert reader.kept == {
        "call_1": {"provider": "openai", "items": [thought(2)], "lead": [thought(1)], "item_id": "fc_call_1"}
    }


def test_a_client_of_functions_gets_the_first_call_alone():
    reading = Reading(legacy=True, names={"w_1": "the weather"})
    items = [call("call_1", "w_1", '{"a":1}'), call("call_2", "w_1", '{"b":22222222222222}')]
    choice, _ = gather([encode(list_events(*items))], Outgoing("/responses", b"", reading=reading))
    assert [(one.id, one.name, one.arguments) for one in choice.calls] == [("", "the weather", '{"a":1}')]
    assert choice.finish_reason == "function_call"


def test_half_a_character_at_a_pieces_end_waits_for_the_other_half():
    events = list_events(message("ab"))
    place = next(n for n, one in enumerate(events) if one["type"].endswith(".delta"))
    pieces = [{**events[place], "delta": text} for text in ("a\ud83d", "\ude00b")]
    data = encode([*events[:place], *pieces, events[-1]])
    choice, reader = gather([data])
    assert (choice.text, reader.mended) == ("a😀b", {"JSON"})


def test_a_client_of_another_dialect_gets_no_event_of_this_one():
    reader = OPENAI.open_reader(NATIVE, chat_order("chatcmpl-ours", "public", 1, False, 2**20))
    frames = reader.feed(encode(list_events(message("Hello"))))
    assert b"response." not in frames
    assert b'"content":"Hello"' in frames


def test_an_event_that_nobody_knows_is_passed_over():
    events = list_events(message("Hello"))
    events.insert(3, {"type": "keepalive", "sequence_number": 3})
    events.insert(4, {"type": "response.web_search_call.searching", "output_index": 9, "item_id": "ws_1"})
    assert gather([encode(events)])[0].text == "Hello"


def test_encrypted_reasoning_goes_on_only_to_who_can_carry_it():
    for carries, expected in ((True, "sealed secret 1"), (False, None)):
        listener = OfResponses(carries)
        reader = OPENAI.open_reader(NATIVE, StreamOrder(listener, 2**20))
        frames = reader.feed(encode(list_events(thought(1, "So."), message("Hello"))))
        assert b'"secret 1"' not in frames
        done = [json.loads(frame.partition(b"data: ")[2]) for frame in frames.split(b"\n\n") if b"item.done" in frame]
        assert done[0]["item"].get("encrypted_content") == expected
        assert listener.chunks is not None
        assert listener.chunks.ending is not None
        assert listener.chunks.items == [done_item["item"] for done_item in done]
        last = listener.chunks.ending["response"]
        assert last["output"][0].get("encrypted_content") == expected
        assert (last["id"], last["model"], last["usage"]) == ("resp_ours", "public", USAGE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.lists(ITEMS, min_size=1, max_size=3), st.data())
def test_whatever_stands_in_an_event_is_read_or_is_an_upstreams_failure(items: list[Any], data: Any):
    events = list_events(*number(items))
    for _ in range(data.draw(st.integers(1, 3))):
        event = data.draw(st.sampled_from(events))
        holder = data.draw(st.sampled_from([event, *(one for one in event.values() if isinstance(one, dict))]))
        if holder:
            holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(JSON)
    reader = OPENAI.open_reader(SENT, chat_order("chatcmpl-ours", "public", 1, False, 2**20))
    native = OPENAI.open_reader(NATIVE, StreamOrder(OfResponses(), 2**20))
    lines = [f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    for one in (reader, native):
        try:
            one.feed(b"".join(lines))
            one.end()
        except AttemptFailed:
            pass
        assert all(isinstance(text, str) and text for text in one.text)
