"""Both stores keep what they are given, in order and once, within their bounds, and for their time."""

from collections.abc import Iterator

import gevent
import pytest

from bridge.errors import Overloaded, RateLimitExceeded
from bridge.resume import memory
from bridge.resume.memory import MemoryStore
from bridge.resume.redis import RedisStore
from bridge.resume.store import (
    AWAY,
    CLOSED,
    COMPLETE,
    ENDED,
    FULL,
    GONE,
    HEAD_BYTES,
    KEPT,
    LOST,
    RUNNING,
    Append,
    Block,
    Bounds,
    Head,
    StreamStore,
    Want,
)
from tests.rooms import share_redis
from tests.upstream import PATIENCE_SECONDS

OWNER = "owner"
BOUNDS = Bounds(most_bytes=400_000, kept_seconds=60, running_seconds=60, lease_seconds=60)
HEADERS = [("x-bridge-attempts", "1")]


@pytest.fixture(params=["memory", "redis"])
def open_store(request: pytest.FixtureRequest) -> Iterator:
    opened: list[StreamStore] = []

    def make(bounds: Bounds = BOUNDS) -> StreamStore:
        if request.param == "memory":
            opened.append(MemoryStore(bounds))
        else:
            opened.append(RedisStore(share_redis(request.getfixturevalue("redis_url")), bounds))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def head(account_id: int = 1, owner: str = OWNER) -> Head:
    return Head(account_id, owner, "chat", "model", "sealed", 0)


def write(store: StreamStore, *blocks: Block, request_id: str = "req_1", account_id: int = 1) -> list[str]:
    return list(store.write(OWNER, [Append(request_id, account_id, block, HEADERS) for block in blocks]).states)


def read(store: StreamStore, after: int = 0, request_id: str = "req_1", owner: str = OWNER):
    return store.read(Want(request_id, after, owner))


def test_what_was_kept_is_read_from_behind_any_event(open_store):
    store = open_store()
    store.open("req_1", head())
    assert read(store) == read(store, 7)
    assert (list(read(store).blocks), read(store).state) == ([], RUNNING)
    blocks = [Block(1, 3, b"abc"), Block(4, 4, b"d"), Block(5, 6, b"ef", COMPLETE)]
    assert write(store, *blocks) == [KEPT] * 3
    for after, first in ((0, 0), (2, 0), (3, 1), (4, 2), (5, 2)):
        assert list(read(store, after).blocks) == blocks[first:]
    for after in (6, 7, 10**9):
        assert (list(read(store, after).blocks), read(store, after).state) == ([], ENDED)
    found = store.find("req_1")
    assert found is not None
    assert (found[0], [tuple(pair) for pair in found[1]]) == (head(), HEADERS)
    assert store.find("req_2") is None
    assert read(store, request_id="req_2").state == GONE


def test_an_end_without_an_event_comes_behind_all_of_them(open_store):
    store = open_store()
    store.open("req_1", head())
    write(store, Block(1, 3, b"abc"))
    end = Block(4, 3, b"", COMPLETE)
    assert write(store, end) == [KEPT]
    assert list(read(store, 1).blocks) == [Block(1, 3, b"abc"), end]
    found = read(store, 3)
    assert list(found.blocks) == [end] or found.state == ENDED


def test_what_was_lost_or_too_much_is_said_to_whoever_reads(open_store):
    store = open_store()
    store.open("req_1", head())
    away = Block(1, 0, b"", AWAY)
    assert write(store, away) == [KEPT]
    for after in (0, 10):
        assert list(read(store, after).blocks) == [away]
    assert write(store, Block(1, 2, b"ab")) == [CLOSED]
    store.open("req_2", head())
    assert write(store, Block(1, 1, b"x" * 101_000), request_id="req_2") == [FULL]
    assert [block.ending for block in read(store, 5, "req_2").blocks] == [FULL]
    assert write(store, Block(1, 2, b"ab"), request_id="req_3") == [GONE]


def test_a_thousand_streams_stay_within_the_bounds(open_store):
    store = open_store()
    kept: dict[int, int] = {}
    refused: list[RateLimitExceeded | Overloaded] = []

    def run(number: int, account_id: int) -> None:
        request_id = f"req_{number}"
        try:
            store.open(request_id, head(account_id))
        except (RateLimitExceeded, Overloaded) as error:
            refused.append(error)
            return
        kept[account_id] = kept.get(account_id, 0) + HEAD_BYTES
        for last in range(1, 11):
            block = Block(last, last, b"x" * 200)
            if write(store, block, request_id=request_id, account_id=account_id) == [FULL]:
                return
            kept[account_id] += block.size

    for accounts in (1, 10):  # one that takes all it may have, and then many
        numbers = range(500 * (accounts > 1), 500 * (1 + (accounts > 1)))
        gevent.joinall([gevent.spawn(run, number, number % accounts) for number in numbers], raise_error=True)
    assert kept[0] <= BOUNDS.most_account_bytes
    assert sum(kept.values()) <= BOUNDS.most_bytes
    assert sum(kept.values()) > BOUNDS.most_bytes * 0.9
    assert refused
    for account_id, error in ((0, RateLimitExceeded), (11, Overloaded)):
        with pytest.raises(error) as refusal:
            store.open("req_more", head(account_id))
        assert 1 <= refusal.value.retry_after_seconds <= 60


def test_what_is_over_makes_room_again(open_store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "FORGET_EVERY_SECONDS", 0.0)
    store = open_store(Bounds(4 * 1000, 0.05, 60, 60))
    for number in (1, 2):
        request_id = f"req_{number}"
        with gevent.Timeout(PATIENCE_SECONDS):
            while True:
                try:
                    store.open(request_id, head())
                    break
                except RateLimitExceeded:
                    gevent.sleep(0.01)
        assert write(store, Block(1, 1, b"x" * 300, COMPLETE), request_id=request_id) == [KEPT]
    with gevent.Timeout(PATIENCE_SECONDS):
        while store.find("req_2") is not None:
            gevent.sleep(0.01)
    assert read(store, request_id="req_2").state == GONE
    store.open("req_3", head())
    store.drop("req_3", 1)
    assert store.find("req_3") is None
    store.open("req_4", head())


def test_the_owner_hears_once_what_is_to_end(open_store):
    store = open_store()
    store.open("req_1", head())
    store.cancel("req_1", OWNER)
    assert list(store.write(OWNER, []).cancelled) == ["req_1"]
    assert list(store.write(OWNER, []).cancelled) == []


@pytest.mark.parametrize("open_store", ["redis"], indirect=True)
def test_a_block_whose_arrival_was_not_heard_of_is_kept_once(open_store):
    store = open_store()
    store.open("req_1", head())
    for block in (Block(1, 3, b"abc"), Block(4, 3, b"", COMPLETE)):
        assert write(store, block) == write(store, block) == [KEPT]
    assert len(read(store).blocks) == 2


@pytest.mark.parametrize("open_store", ["redis"], indirect=True)
def test_what_a_dead_process_left_is_ended_for_good_by_the_first_reader(open_store):
    store = open_store(Bounds(400_000, 60, 60, 0.05))
    store.open("req_1", head())
    write(store, Block(1, 3, b"abc"))
    with gevent.Timeout(PATIENCE_SECONDS):
        while not (found := read(store, 3)).blocks:
            gevent.sleep(0.01)
    assert list(found.blocks) == [Block(4, 3, b"", LOST)]
    assert list(read(store).blocks) == [Block(1, 3, b"abc"), Block(4, 3, b"", LOST)]
    assert write(store, Block(4, 5, b"de")) == [CLOSED]
