"""What no recording shows of OpenAI's Responses as an upstream: answers that fail, refuse, are filtered, or call a tool
that takes plain text; by every door, and paid."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tests import services
from tests.doors import DOORS, Counts
from tests.gateway import Gateway
from tests.pairs import Got, Pairs, price
from tests.replay import stream_steps
from tests.responses_answers import Item, custom_call, encode, framed, list_events, message, refusal, response
from tests.rooms import make_settings
from tests.upstream import CUT, PAUSE, STREAM_HEAD, Step, sends

BY_EVERY_DOOR = pytest.mark.parametrize("by", DOORS)
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
COUNTS = Counts(40, 8, 0, 21, 9)  # what every answer of responses_answers says
SIZES = (1, 30, 300, 2, 5000)
ERROR = {"code": "server_error", "message": "org-operator broke at far.test"}
FAILURES: dict[str, Any] = {
    "response.failed": {"type": "response.failed", "response": response(status="failed", error=ERROR, usage=None)},
    "error": {"type": "error", "param": None, **ERROR},
    "error, nested": {"type": "error", "error": {"type": "server_error", **ERROR}},
}


@pytest.fixture(scope="module")
def pairs(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    folder = tmp_path_factory.mktemp("fixtures")
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite")), folder / "log")
    pairs = Pairs(gateway)
    yield pairs
    pairs.close()
    gateway.stop()


def ask(pairs: Pairs, by: str, stream: bool, *items: Item, tools: Any = (), **more: Any) -> Got:
    """Answer with these items."""
    if stream:
        steps = stream_steps(encode(list_events(*items, **more)), SIZES)
    else:
        steps = list(sends(_encode(response(*items, **more)))(None))  # type: ignore[arg-type]
    got = pairs.ask("responses", DOORS[by], steps, stream=stream, **({"tools": tools} if tools else {}))
    assert (got.status, got.told.end, got.row.outcome) == (200, "done", "complete")
    assert got.told.counts == got.booked == COUNTS
    assert got.told_nanos == got.row.charge_nanos == price(COUNTS)
    return got


def _encode(body: dict[str, Any]) -> bytes:
    return encode([{"type": "", **body}]).partition(b"data: ")[2]


def fail(failure: dict[str, Any], *items: Item, count: int, between: Sequence[Step] = ()) -> list[Step]:
    """The first events of an answer, then this one."""
    begun = [framed(event) for event in itertools.islice(list_events(*items), count)]
    return [STREAM_HEAD, *begun, *between, framed({**failure, "sequence_number": count}), CUT]


@BY_EVERY_DOOR
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_within_the_answer_ends_it_and_what_was_delivered_is_paid(pairs: Pairs, by: str, name: str):
    steps = fail(FAILURES[name], message("Hello there, my friend."), count=6, between=[PAUSE])
    got = pairs.ask("responses", DOORS[by], steps, stream=True, until=b"here, m")
    DOORS[by].check_failure(got.told, got.status)
    assert "operator" not in str(got.told.error)
    assert "far.test" not in str(got.told.error)
    assert (got.status, got.told.text, got.asked) == (200, "Hello there, m", 1)
    assert (got.row.outcome, got.row.state) == ("cut", "captured")
    assert got.row.charge_nanos == price(got.booked) > 0
    assert 0 < got.row.completion_tokens <= 6


@BY_EVERY_DOOR
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_before_the_first_word_is_a_503_that_is_free(pairs: Pairs, by: str, name: str):
    steps = fail(FAILURES[name], message("Hello there."), count=4)
    got = pairs.ask("responses", DOORS[by], steps, stream=True)
    DOORS[by].check_failure(got.told, got.status)
    assert (got.status, got.told.text) == (503, "")
    assert (got.row.outcome, got.row.state, got.row.charge_nanos) == ("failed", "released", 0)
    assert "operator" not in str(got.told.error)


@BY_EVERY_DOOR
@BOTH_WAYS
def test_a_refusal_is_read_as_one(pairs: Pairs, by: str, stream: bool):
    got = ask(pairs, by, stream, refusal("I'd rather not say."))
    assert got.told.text == "I'd rather not say."
    assert got.told.finish == {"chat": "stop", "messages": "refusal", "responses": "completed"}[by]


@BY_EVERY_DOOR
@BOTH_WAYS
@pytest.mark.parametrize("reason", ["content_filter", "max_output_tokens"])
def test_an_incomplete_answer_says_why(pairs: Pairs, by: str, stream: bool, reason: str):
    got = ask(pairs, by, stream, message("Up to here"), status="incomplete", incomplete_details={"reason": reason})
    assert got.told.text == "Up to here"
    words = {
        "chat": {"content_filter": "content_filter", "max_output_tokens": "length"},
        "messages": {"content_filter": "refusal", "max_output_tokens": "max_tokens"},
        "responses": {"content_filter": "content_filter", "max_output_tokens": "max_output_tokens"},
    }
    assert got.told.finish == words[by][reason]


@pytest.mark.parametrize("by", ["chat", "responses"])
@BOTH_WAYS
def test_a_custom_tools_plain_text_arrives_as_it_was_given(pairs: Pairs, by: str, stream: bool):
    """Messages have no such tools."""
    patch = '*** Begin Patch\n+ "é" \\ { \n*** End Patch\n'
    named = {"name": "patch", "description": "Edits."}
    tools = [{"type": "custom", **({"custom": named} if by == "chat" else named)}]
    got = ask(pairs, by, stream, custom_call("call_1", "patch", patch), tools=tools)
    assert got.told.calls == [("patch", patch)]
    assert got.told.finish == {"chat": "tool_calls", "responses": "completed"}[by]


@pytest.mark.parametrize("by", ["chat", "responses"])
def test_a_custom_tools_text_beyond_the_cap_is_not_delivered(pairs: Pairs, by: str):
    named = {"name": "patch", "description": "Edits."}
    tools = [{"type": "custom", **({"custom": named} if by == "chat" else named)}]
    body = encode(list_events(custom_call("call_1", "patch", " more" * 400))[:-2])
    steps: list[Step] = [STREAM_HEAD, b"%x\r\n%b\r\n" % (len(body), body), CUT]
    field = {"chat": "max_tokens", "responses": "max_output_tokens"}[by]
    got = pairs.ask("responses", DOORS[by], steps, stream=True, tools=tools, **{field: 20})
    DOORS[by].check_failure(got.told, got.status, beyond_cap=True)
    [(name, given)] = got.told.calls
    assert (name, got.row.completion_tokens) == ("patch", 20)
    assert len(given) <= 20 * len(" more")
