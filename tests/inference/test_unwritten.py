"""What a writer keeps back, since it waits for something else, is no part of an answer that ends before it goes out:
nobody pays for it."""

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import requests

from bridge.ledger.tables import UsageRecord
from tests import services
from tests.doors import DOORS
from tests.gateway import Gateway
from tests.pairs import CAP, PROMPT, Got, Pairs
from tests.rooms import make_settings
from tests.upstream import CUT, PAUSE, STREAM_HEAD, Step, chunk, framed

SAID = "I ask for both."
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: dict[str, list[dict[str, Any]]] = {
    "chat": [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}],
    "messages": [{"name": "weather", "input_schema": PARAMETERS}],
    "responses": [{"type": "function", "name": "weather", "parameters": PARAMETERS}],
}
FIRST = ['{"city": "Oslo', " in", " the", " north", " of"]
SECOND = ['{"city": "Rome', " and", " all", " the", " hills", " around", " it", " too", '"}']
COUNTS = {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100}


@pytest.fixture(scope="module")
def pairs(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    folder = tmp_path_factory.mktemp("unwritten")
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite")), folder / "log")
    pairs = Pairs(gateway)
    yield pairs
    pairs.close()
    gateway.stop()


def call(index: int, *arguments: str, name: str = "weather") -> list[Step]:
    """A call's beginning, and pieces of its arguments."""
    begun = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
    return [said(tool_calls=[begun]), *(more(index, text) for text in arguments)]


def more(index: int, arguments: str) -> Step:
    return said(tool_calls=[{"index": index, "function": {"arguments": arguments}}])


def said(**delta: Any) -> Step:
    return framed(chunk(delta=delta))


def begin(*steps: Step) -> list[Step]:
    """A stream that begins with a word."""
    return [STREAM_HEAD, said(role="assistant", content=""), said(content=SAID), *steps]


def ended() -> list[Step]:
    counted = framed(chunk(choices=[], usage=COUNTS))
    return [framed(chunk(finish_reason="tool_calls")), counted, framed("[DONE]"), b"0\r\n\r\n"]


ALONE = begin(*call(0, *FIRST))
INTERLEAVED = begin(
    *call(0, FIRST[0]),
    *call(1, SECOND[0]),
    *(more(0, text) for text in FIRST[1:]),
    *(more(1, text) for text in SECOND[1:]),
)
BOTH = begin(*call(0, *FIRST), *call(1, *SECOND))


def ask(pairs: Pairs, door: str, steps: list[Step], **more: Any) -> Got:
    return pairs.ask("openai", DOORS[door], steps, stream=True, **({"tools": TOOLS[door]} | more))


def await_row(pairs: Pairs, request_id: str) -> UsageRecord:
    """The row of a request that nobody waits for."""
    with gevent.Timeout(60):
        while True:
            for row in pairs.gateway.make.list_usage(pairs.key.account_id):
                if row.request_id == request_id:
                    return row
            gevent.sleep(0.02)


def test_a_message_that_is_cut_is_paid_without_the_call_that_waited_for_the_one_before_it(pairs: Pairs):
    alone, cut = (ask(pairs, "messages", [*steps, CUT]) for steps in (ALONE, INTERLEAVED))
    assert cut.told.calls == alone.told.calls == [("weather", "".join(FIRST))]
    assert (cut.row.outcome, cut.row.tokens_source) == ("cut", "estimate")
    assert cut.booked == alone.booked
    assert cut.row.charge_nanos == alone.row.charge_nanos > 0


@pytest.mark.parametrize("door", ["chat", "responses"])
def test_where_calls_may_take_turns_all_of_them_is_told_and_paid(pairs: Pairs, door: str):
    cut, both = (ask(pairs, door, [*steps, CUT]) for steps in (INTERLEAVED, BOTH))
    assert cut.told.calls == both.told.calls == [("weather", "".join(FIRST)), ("weather", "".join(SECOND))]
    assert abs(cut.row.completion_tokens - both.row.completion_tokens) <= 2  # where pieces meet


def test_what_waited_is_paid_once_it_went_out(pairs: Pairs):
    whole = [*INTERLEAVED, more(0, '"}'), said(content="Now"), CUT]
    got = ask(pairs, "messages", whole)
    assert got.told.calls == [("weather", "".join(FIRST) + '"}'), ("weather", "".join(SECOND))]
    assert got.told.text == SAID + "Now"
    assert got.row.completion_tokens == ask(pairs, "chat", whole).row.completion_tokens


def test_a_custom_call_that_is_cut_is_paid_without_the_input_that_waited_for_its_end(pairs: Pairs):
    tools = [{"type": "custom", "name": "shell", "description": "Runs it."}]
    wrapped = ('{"input": "echo', " one", " and", " two")
    bare, cut = (
        ask(pairs, "responses", [*begin(*call(0, *pieces, name="shell")), CUT], tools=tools) for pieces in ((), wrapped)
    )
    assert cut.told.calls == bare.told.calls == [("shell", "")]
    assert cut.row.outcome == "cut"
    assert cut.booked == bare.booked
    whole = ask(pairs, "responses", [*begin(*call(0, *wrapped, '"}', name="shell")), *ended()], tools=tools)
    assert whole.told.calls == [("shell", "echo one and two")]
    assert whole.booked.completion == COUNTS["completion_tokens"]


def test_of_a_running_count_what_waited_is_taken_off(pairs: Pairs):
    counted = framed(chunk(choices=[], usage=COUNTS))
    alone, cut = (ask(pairs, "messages", [*steps, counted, CUT]) for steps in (ALONE, INTERLEAVED))
    assert (alone.row.completion_tokens, alone.row.tokens_source) == (60, "provider")
    assert (cut.row.prompt_tokens, cut.row.tokens_source) == (40, "mixed")
    assert 0 < cut.row.completion_tokens <= 60 - len(SECOND)
    assert json.loads(cut.row.provider_counts)["completion_tokens"] == 60


def test_who_leaves_pays_nothing_for_what_waited(pairs: Pairs):
    paid = []
    for steps in (ALONE, INTERLEAVED):
        pairs.upstream.plays(lambda _request, steps=steps: [*steps, PAUSE])
        body = DOORS["messages"].ask(pairs.models["openai"], PROMPT, stream=True, cap=CAP)
        answer = requests.post(
            f"{pairs.gateway.site_url}/v1/messages",
            json=body | {"tools": TOOLS["messages"]},
            headers=pairs.key.headers,
            stream=True,
            timeout=60,
        )
        for line in answer.iter_lines():
            if FIRST[-1].encode() in line:
                break
        answer.close()
        row = await_row(pairs, answer.headers["x-request-id"])
        pairs.upstream.resume()
        assert row.outcome == "client_gone"
        paid.append(row.completion_tokens)
    assert paid[0] == paid[1] > 0
