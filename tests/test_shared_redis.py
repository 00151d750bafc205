"""One Redis for several gateways: each has its own keys there, and nothing that another does reaches it."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import redis
from flask import Flask

from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW
from bridge.catalogue.health_shared import HASH
from bridge.config import Settings
from bridge.counters.redis import RedisCounters
from bridge.counters.windows import Ask
from bridge.ledger.spool import REDIS_LIST, Spool
from bridge.shared_redis import SharedRedis
from tests.factories import MadeAccount
from tests.gateway import Gateway
from tests.inference.test_database_away import holding_the_database
from tests.inference.test_redis_faults import sign_in_statuses
from tests.ledger.orders import order_charge
from tests.rooms import close_rooms, make_settings, open_rooms, share_redis
from tests.served import Served, ask_and_leave, await_request
from tests.services import OWNER, Databases
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, fails, pauses, says

Start = Callable[..., Gateway]
PREFIX = "bridge:([0-9a-f]{12}|tests):"
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    yield client
    client.close()


def keys(client: redis.Redis) -> set[str]:
    return set(client.scan_iter(count=1000)) - {OWNER}


def keys_during(
    served: Served,
    upstream: ScriptedUpstream,
    client: redis.Redis,
    fault: contextlib.AbstractContextManager[None] | None = None,
) -> set[str]:
    """All keys while a request runs, and after it ended under that fault."""
    upstream.plays(pauses(says("Hello")))
    before = len(upstream.requests)
    asking = gevent.spawn(served.post)
    await_request(upstream, before + 1)
    found = keys(client)
    with fault or contextlib.nullcontext():
        upstream.resume()
        assert asking.get(timeout=60).status_code == 200
        return found | keys(client)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_every_key_that_a_gateway_leaves_in_redis_has_its_prefix(
    start_gateway: Start, upstream: ScriptedUpstream, redis_url: str, client: redis.Redis, engine: str
):
    limits = {"rpm": 1000, "tpm": 10**6, "concurrency": 20}
    defaults: dict[str, float] = {f"default_{name}": 10 * figure for name, figure in limits.items()}
    defaults["database_wait_seconds"] = 2.5
    gateway = start_gateway(engine, redis_url=redis_url, web_concurrency=2, sweep_seconds=0.2, **defaults)
    served = Served(gateway, upstream.base_url)
    served.key = gateway.make.make_key(MadeAccount(served.key.account_id, ""), **limits)
    gateway.make.make_channel(upstream.base_url, served.model, **limits)
    found = keys_during(served, upstream, client)
    assert "[DONE]" in served.post(stream=True).text
    upstream.plays(pauses(says("Hello")))
    ask_and_leave(served, upstream, stream=True)
    with gevent.Timeout(PATIENCE_SECONDS):
        while not any(":left" in key for key in keys(client)):
            gevent.sleep(0.02)
    upstream.resume()
    assert sign_in_statuses(gateway)[-1] == 429
    upstream.plays(fails(500))
    for _ in range(FAILURES_IN_A_ROW):
        served.post()
    found |= keys(client)
    with_room = Served(gateway, upstream.base_url)
    found |= keys_during(with_room, upstream, client, holding_the_database(gateway))
    prefix = gateway.redis_key("")
    assert re.fullmatch(PREFIX, prefix)
    assert {key for key in found if not re.match(PREFIX, key)} == set()  # other tests' gateways may still be there
    found = {key for key in found if key.startswith(prefix)}
    for kind in (":rpm", ":tpm", ":at-once", ":left", HASH, "guess:", REDIS_LIST):
        assert any(kind in key for key in found), (kind, found)


@ON_SQLITE
def test_what_one_gateway_does_in_redis_is_nothing_to_another(
    start_gateway: Start, upstream: ScriptedUpstream, redis_url: str, engine: str
):
    one, other = (Served(start_gateway(engine, redis_url=redis_url), upstream.base_url) for _ in range(2))
    for each in (one, other):
        each.key = each.gateway.make.make_key(MadeAccount(each.key.account_id, ""), rpm=1)
    assert (one.key.account_id, one.key.id) == (other.key.account_id, other.key.id)
    assert [one.post().status_code for _ in range(2)] == [200, 429]
    assert other.post().status_code == 200
    assert sign_in_statuses(one.gateway)[-1] == 429
    assert sign_in_statuses(other.gateway)[0] == 401
    for each in (one, other):
        each.key = each.gateway.make.make_key(MadeAccount(each.key.account_id, ""))
    upstream.plays(*[fails(500)] * FAILURES_IN_A_ROW, says("Hello"))
    with gevent.Timeout(60):
        while not one.gateway.log_lines("channel_out"):
            one.post()
    upstream.plays(says("Hello"))
    assert other.post().status_code == 200  # the channel of the same number is well here, and its answer heals none
    with redis.Redis.from_url(redis_url) as client:
        assert client.hlen(one.gateway.redis_key(HASH))
        assert not client.hlen(other.gateway.redis_key(HASH))


def test_nobody_settles_what_another_gateway_spooled(tmp_path: Path, redis_url: str, client: redis.Redis):
    (tmp_path / "spool").write_text("no folder")
    ours, theirs = (Spool(tmp_path / "spool", share_redis(redis_url, f"bridge:{name}:")) for name in ("a", "b"))
    assert ours.add(order_charge("req_1", 50))
    assert theirs.apply(lambda _: None, lambda _: set()) == 0
    assert client.llen(f"bridge:a:{REDIS_LIST}") == 1
    assert ours.apply(lambda _: None, lambda _: set()) == 1


def rooms_of(tmp_path: Path, url: str, redis_url: str) -> Flask:
    return open_rooms(make_settings(tmp_path, database_url=url, redis_url=redis_url))


def read_prefix(app: Flask) -> str:
    settings: Settings = app.config["BRIDGE"]
    with app.app_context():
        shared = SharedRedis(settings)
        shared.read_prefix()
        return shared.prefix


def test_a_prefix_is_drawn_once_for_each_database(tmp_path: Path, databases: Databases, engine: str, redis_url: str):
    one, other = (rooms_of(tmp_path, databases.open(engine), redis_url) for _ in range(2))
    prefixes = [read_prefix(one), read_prefix(one), read_prefix(other)]
    close_rooms(one)
    close_rooms(other)
    assert prefixes[0] == prefixes[1] != prefixes[2]
    assert all(prefix.startswith("bridge:") and len(prefix) == 20 for prefix in prefixes)


def test_until_the_prefix_is_known_each_process_counts_for_itself(redis_url: str, client: redis.Redis):
    shared = share_redis(redis_url, "")
    counters = RedisCounters("bridge-redis://", shared=shared)
    assert [counters.take_all([Ask("w", 1)])[0].admitted for _ in range(2)] == [True, False]
    assert not counters.check()
    with pytest.raises(redis.ConnectionError):
        counters.acquire_sliding_window_entry("k", 1, 60)
    assert not Spool(Path("/dev/null/none"), shared).add(order_charge("req_1", 50))
    assert keys(client) == set()
    shared.prefix = "bridge:tests:"
    counters._away_until = 0.0  # as if a second had passed
    assert counters.take_all([Ask("w", 1)])[0].admitted
    assert keys(client) == {"bridge:tests:w"}
    assert counters.check()
    counters._client.close()
