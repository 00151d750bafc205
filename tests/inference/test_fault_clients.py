"""The table of faults: clients that leave, at each moment, clients that read nothing, and workers that are killed."""

import json
from collections.abc import Callable, Iterator

import gevent
import pytest
import requests

from tests import services
from tests.doors import DOORS
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.served import Served, ask_and_leave, await_request, estimate_of
from tests.upstream import PAUSE, STALL, STREAM_HEAD, ScriptedUpstream, chunk, framed, says, stalls, starts

BY_EVERY_DOOR = pytest.mark.parametrize("by", DOORS)


@pytest.fixture(scope="module")
def gateway(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("clients")
    settings = make_settings(
        folder,
        database_url=databases.open("postgresql"),
        slow_client_seconds=0.5,
        first_content_timeout_seconds=30,
        idle_timeout_seconds=30,
        total_timeout_seconds=30,
    )
    gateway = Gateway(settings, folder / "log")
    yield gateway
    gateway.stop()


def check_gone(served: Served, upstream: ScriptedUpstream) -> None:
    """The upstream is closed, nothing is held, and no channel is blamed."""
    assert upstream.requests[0].hung_up.wait(20)
    usage = served.await_usage()
    [attempt] = json.loads(usage.attempts)
    assert (usage.outcome, usage.status, attempt["outcome"]) == ("client_gone", 499, "client gone")
    assert served.spent() == (usage.charge_nanos, 0)
    assert [line for line in served.gateway.log_lines("attempt_failed") if line["channel"] == attempt["channel"]] == []
    assert served.gateway.await_line("request", usage.request_id)["outcome"] == "client_gone"


@BY_EVERY_DOOR
def test_a_client_that_leaves_before_the_upstream_answered_pays_nothing(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(stalls())
    ask_and_leave(served, upstream, stream=True)
    check_gone(served, upstream)
    assert served.await_usage().state == "released"


@BY_EVERY_DOOR
def test_a_client_that_leaves_before_content_pays_the_prompt(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(starts(then=STALL))
    ask_and_leave(served, upstream, stream=True)
    check_gone(served, upstream)
    usage = served.await_usage()
    if usage.state == "captured":  # else it left before the headers were here
        assert usage.charge_nanos == usage.prompt_tokens * 1000 + usage.completion_tokens * 2000


@BY_EVERY_DOOR
def test_a_client_that_leaves_in_mid_stream_pays_for_what_it_got(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    upstream.plays(starts("One", " two", then=STALL))
    answer = served.post(stream=True)
    pieces = answer.iter_content(chunk_size=None)
    while b" two" not in next(pieces):
        pass
    answer.close()
    check_gone(served, upstream)
    usage = served.await_usage()
    assert (usage.state, usage.completion_tokens) == ("captured", estimate_of(2))


@BY_EVERY_DOOR
def test_a_client_that_leaves_a_whole_answer_is_charged_as_if_it_had_stayed(gateway, upstream, by):
    served = Served(gateway, upstream.base_url, door=by)
    play = says("Hello", prompt_tokens=10, completion_tokens=5)
    upstream.plays(lambda request: [PAUSE, *play(request)])
    ask_and_leave(served, upstream)
    upstream.resume()
    assert served.await_usage().outcome == "complete"
    assert served.spent() == (20_000, 0)


def upstream_closed(upstream: ScriptedUpstream) -> bool:
    await_request(upstream)
    return bool(upstream.requests[0].hung_up.wait(20))


def test_a_killed_workers_request_is_free_and_its_hold_is_swept(
    start_gateway: Callable[..., Gateway], upstream, redis_url
):
    gateway = start_gateway("postgresql", web_concurrency=2, redis_url=redis_url, total_timeout_seconds=1)
    served = Served(gateway, upstream.base_url)
    upstream.plays(stalls())

    def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            served.post()

    asking = [gevent.spawn(ask) for _ in range(4)]
    await_request(upstream, 4)
    for _ in range(2):
        gateway.kill_worker()
        gevent.sleep(0)
    gevent.joinall(asking, timeout=60)
    with gevent.Timeout(60):
        while gateway.make.count_holds(served.key.account_id):
            gevent.sleep(0.05)
    assert served.spent() == (0, 0)
    assert gateway.make.check_ledger() == []


@BY_EVERY_DOOR
def test_a_killed_workers_stream_is_charged_what_was_delivered_and_no_more(start_gateway, upstream, by):
    gateway = start_gateway("sqlite", total_timeout_seconds=6, idle_timeout_seconds=30, sweep_seconds=0.2)
    served = Served(gateway, upstream.base_url, door=by)
    words = [f"word{number} " for number in range(20)]
    counts = {"prompt_tokens": 30, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 20}}
    said = [framed(chunk(delta={"content": word})) for word in words]
    upstream.plays(lambda _: [STREAM_HEAD, framed(chunk(delta={"role": "assistant"}, usage=counts)), *said, STALL])
    answer = served.post(stream=True)
    pieces, received = answer.iter_content(None), b""  # held on to: without a reader the client would be gone
    with gevent.Timeout(60):
        while b"word19" not in received:
            received += next(pieces)
        while not marked(gateway, served):
            gevent.sleep(0.05)
    gateway.kill_worker()
    row = served.await_usage()
    assert (row.state, row.outcome) == ("captured", "worker_lost")
    assert 0 < row.completion_tokens <= 20
    assert (row.prompt_tokens, row.cached_tokens) == (30, 20)  # what came from a cache at its own price
    assert served.spent() == (row.charge_nanos, 0)
    assert gateway.make.check_ledger() == []


def test_a_killed_workers_message_is_charged_without_the_call_that_waited(start_gateway, upstream):
    gateway = start_gateway("sqlite", total_timeout_seconds=6, idle_timeout_seconds=30, sweep_seconds=0.2)
    served = Served(gateway, upstream.base_url, door="messages")
    begun = [
        {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": "weather", "arguments": "["}}
        for index in (0, 1)
    ]
    waits = [{"index": 1, "function": {"arguments": f'"word{number} ", '}} for number in range(40)]
    goes_on = [{"index": 0, "function": {"arguments": f"{number}, "}} for number in range(3)]
    said = [framed(chunk(delta={"tool_calls": [piece]})) for piece in (*begun, *waits, *goes_on)]
    first = framed(chunk(delta={"role": "assistant", "content": "I ask for both of them."}))
    upstream.plays(lambda _: [STREAM_HEAD, first, PAUSE, *said, STALL])
    answer = served.post(stream=True)
    pieces, received = answer.iter_content(None), b""
    with gevent.Timeout(60):
        while b'"2, "' not in received:
            received += next(pieces)
            if b"both of them" in received:
                upstream.resume()
        while not marked(gateway, served):
            gevent.sleep(0.05)
    gateway.kill_worker()
    row = served.await_usage()
    assert b"word" not in received
    assert (row.state, row.outcome) == ("captured", "worker_lost")
    assert 0 < row.completion_tokens <= 10
    assert served.spent() == (row.charge_nanos, 0)


def marked(gateway: Gateway, served: Served) -> bool:
    return any('"captured"' in details for details in gateway.make.list_hold_details(served.key.account_id))
