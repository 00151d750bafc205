"""A charge is the price of its usage, by whatever door the request came in and whoever answered: what the client was
told, the receipt and the ledger are the same counts and the same sum."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import services
from tests.doors import DOORS, Counts
from tests.gateway import Gateway
from tests.pairs import UPSTREAMS, Pairs, price
from tests.replay import stream_steps
from tests.replies import Reply, write_stream, write_whole
from tests.rooms import make_settings
from tests.upstream import Step, whole

TELLS_OF_WRITES = ("openai", "responses", "anthropic")
TELLS_OF_REASONING = ("openai", "responses", "anthropic", "gemini", "deepseek")
SIZES = (1, 40, 300, 2, 5000, 77)


@pytest.fixture(scope="module")
def pairs(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    folder = tmp_path_factory.mktemp("charges")
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite")), folder / "log")
    pairs = Pairs(gateway)
    yield pairs
    pairs.close()
    gateway.stop()


@st.composite
def counts(draw: st.DrawFn) -> Counts:
    """Any that can be true."""
    prompt, completion = draw(st.integers(1, 3000)), draw(st.integers(1, 3000))
    cached = draw(st.integers(0, prompt))
    written = draw(st.integers(0, prompt - cached))
    return Counts(prompt, cached, written, completion, draw(st.integers(0, completion)))


def tell(upstream: str, drawn: Counts) -> Reply:
    """A reply with these counts, as far as this upstream tells of them."""
    reasoning = drawn.reasoning if upstream in TELLS_OF_REASONING else 0
    return Reply(
        text="It is cold in Oslo.",
        thought="Hm, winter." if reasoning else "",
        prompt_tokens=drawn.prompt,
        cached_tokens=drawn.cached,
        written_tokens=drawn.written if upstream in TELLS_OF_WRITES else 0,
        completion_tokens=drawn.completion,
        reasoning_tokens=reasoning,
    )


def steps_of(upstream: str, reply: Reply, stream: bool) -> list[Step]:
    return stream_steps(write_stream(upstream, reply), SIZES) if stream else [whole(write_whole(upstream, reply))]


@pytest.mark.parametrize("upstream", UPSTREAMS)
@settings(max_examples=8)
@given(drawn=counts())
def test_every_door_tells_the_counts_that_it_charges(pairs: Pairs, upstream: str, drawn: Counts):
    reply = tell(upstream, drawn)
    true = Counts(
        *(reply.prompt_tokens, reply.cached_tokens, reply.written_tokens),
        *(reply.completion_tokens, reply.reasoning_tokens),
    )
    for stream in (False, True):
        for door in DOORS.values():
            got = pairs.ask(upstream, door, steps_of(upstream, reply, stream), stream=stream)
            assert (got.status, got.told.end, got.told.text) == (200, "done", reply.text)
            assert got.told.counts == got.booked == true
            assert got.told_nanos == got.row.charge_nanos == price(true)
            assert (got.row.state, got.row.tokens_source, got.row.loss_nanos) == ("captured", "provider", 0)
            assert got.told.answer_id == door.id_prefix + got.row.request_id.removeprefix("req_")
    pairs.check_books()


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_receipt_of_every_door_has_its_counts_and_lines_that_add_up(
    pairs: Pairs, upstream: str, door: str, stream: bool
):
    reply = tell(upstream, Counts(1000, 301, 207, 501, 99))
    got = pairs.ask(upstream, DOORS[door], steps_of(upstream, reply, stream), stream=stream)
    receipt = pairs.receipt(got.told.answer_id)
    tokens = receipt["tokens"]
    named = [tokens[name] for name in ("prompt", "cached", "cache_write", "completion", "reasoning")]
    assert (receipt["id"], named) == (got.row.request_id, list(got.told.counts or ()))
    assert receipt["charge"] == f"{got.told_nanos / 10**9:.9f}".rstrip("0")
    assert receipt["model"]["asked"] == pairs.models[upstream]
    lines = receipt["price"]["lines"]
    assert sum(line["count"] for line in lines) == reply.prompt_tokens + reply.completion_tokens
    assert all(line["count"] > 0 for line in lines)
