"""The breaker in a running gateway: what two workers see together decides for both."""

import itertools
import json
from collections.abc import Callable, Iterator

import gevent
import pytest
import redis
import requests

from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW
from bridge.catalogue.editing import find_channel
from bridge.catalogue.health_shared import HASH
from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.upstream import Scenario, ScriptedUpstream, fails, pauses, says

HELLO = [{"role": "user", "content": "Hello!"}]
PATIENCE_SECONDS = 60


class Pair:
    """A model with a first channel and one to turn to, on upstreams of their own."""

    def __init__(self, gateway: Gateway, first: ScriptedUpstream, second: ScriptedUpstream):
        self.gateway, self.first, self.second = gateway, first, second
        self.model = gateway.make.make_model()
        self.first_name = gateway.make.make_channel(first.base_url, self.model, priority=1)
        gateway.make.make_channel(second.base_url, self.model, priority=2, api_key="sk-another")
        self.keys: list[MadeKey] = [gateway.make.make_key() for _ in range(2)]  # of two accounts
        self._turns = itertools.count()

    def ask(self, account: int | None = None, stream: bool = False) -> int:
        """One request on a connection of its own, so that any worker may take it; by the accounts in turn, unless one
        is given."""
        key = self.keys[next(self._turns) % len(self.keys) if account is None else account]
        body = {"model": self.model, "messages": HELLO, "stream": stream}
        headers = {**key.headers, "Connection": "close"}
        url = f"{self.gateway.base_url}/chat/completions"
        return requests.post(url, json=body, headers=headers, timeout=PATIENCE_SECONDS).status_code

    def ask_many(self, times: int = 24, account: int | None = None) -> int:
        """So many at once that every worker gets some; how many of them reached the first channel."""
        before = len(self.first.requests)
        asked = [gevent.spawn(self.ask, account) for _ in range(times)]
        assert [one.get() for one in asked] == [200] * times
        return len(self.first.requests) - before

    def await_(self, reached: Callable[[], bool]) -> None:
        with gevent.Timeout(PATIENCE_SECONDS):
            while not reached():
                gevent.sleep(0.05)

    def is_noted(self) -> bool:
        """Whether its row says that the channel is out."""
        with self.gateway.make.app.app_context():
            return find_channel(self.first_name).cooling_until is not None

    def outs(self) -> list[dict]:
        return self.gateway.log_lines("channel_out")


def end_cooldowns(gateway: Gateway) -> None:
    """Let their time pass."""
    key = gateway.redis_key(HASH)
    with redis.Redis.from_url(gateway.settings.redis_url) as client:
        for name, state in client.hgetall(key).items():
            client.hset(key, name, json.dumps({**json.loads(state), "u": 1}))


@pytest.fixture
def second() -> Iterator[ScriptedUpstream]:
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


def test_workers_count_probe_and_come_back_together(
    start_gateway: Callable[..., Gateway], redis_url: str, upstream: ScriptedUpstream, second: ScriptedUpstream
):
    gateway = start_gateway("postgresql", web_concurrency=2, redis_url=redis_url)
    pair = Pair(gateway, upstream, second)
    upstream.plays(fails(500))
    for _ in range(FAILURES_IN_A_ROW):
        assert pair.ask() == 200  # the second channel's
    pair.await_(lambda: pair.ask_many() == 0)
    upstream.plays(pauses(says("Back")))
    reached = len(upstream.requests)
    pair.await_(pair.is_noted)  # each worker writes its notes by itself: this one is to come before the other's
    end_cooldowns(gateway)
    pair.await_(lambda: (gevent.spawn(pair.ask), len(upstream.requests) > reached)[1])
    assert pair.ask_many() == 0  # one probe alone, of all workers
    assert len(upstream.requests) == reached + 1
    upstream.resume()
    pair.await_(lambda: pair.ask_many() == 24)
    assert len(pair.outs()) == len(gateway.log_lines("channel_back")) == 1
    pair.await_(lambda: "It answers again." in gateway.run_flask("channel", "events", pair.first_name).stdout)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_answered_test_brings_a_channel_back_at_once(
    gateway: Gateway, upstream: ScriptedUpstream, second: ScriptedUpstream
):
    pair = Pair(gateway, upstream, second)
    upstream.plays(fails(401))
    assert [pair.ask() for _ in pair.keys] == [200, 200]
    assert pair.ask_many(4) == 0  # for five minutes
    upstream.plays(says("Well"))
    assert gateway.run_flask("channel", "test", pair.first_name).returncode == 0
    pair.await_(lambda: pair.ask_many(4) == 4)


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (fails(500), 6),
        (fails(402), 1),
        (fails(403), 1),
        (fails(404), 1),
        (fails(503, headers="Retry-After: 60\r\n"), 1),
    ],
    ids=["500", "402", "403", "404", "503 for a minute"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_one_account_meets_moves_it_alone_until_another_meets_it_too(
    gateway: Gateway, upstream: ScriptedUpstream, second: ScriptedUpstream, fault: Scenario, times: int, stream: bool
):
    pair, well = Pair(gateway, upstream, second), says("Hello")
    poisoned, other = range(2)
    upstream.plays(fault)
    for _ in range(times):
        assert pair.ask(poisoned, stream) == 200  # the second channel's
    pair.await_(lambda: pair.ask_many(account=poisoned) == 0)
    upstream.plays(well)
    assert pair.ask_many(8, other) == 8
    assert pair.ask_many(8, poisoned) == 0  # though it would be served there now: its time is not over
    upstream.plays(fault)
    before = len(upstream.requests)
    pair.await_(lambda: pair.ask(other, stream) == 200 and pair.ask_many(8, other) == 0)
    assert len(upstream.requests) > before  # it had to meet it


def test_a_refusal_that_a_second_account_confirms_is_everybodys(
    gateway: Gateway, upstream: ScriptedUpstream, second: ScriptedUpstream
):
    pair = Pair(gateway, upstream, second)
    pair.keys.append(gateway.make.make_key())
    upstream.plays(fails(401))
    assert [pair.ask(account) for account in (0, 1)] == [200, 200]
    pair.await_(lambda: pair.ask_many(account=2) == 0)
    pair.await_(lambda: find_health(gateway, pair.first_name) == "out")


def find_health(gateway: Gateway, channel: str) -> str:
    with gateway.make.app.app_context():
        return str(find_channel(channel).health)
