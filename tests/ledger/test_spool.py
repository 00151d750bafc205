"""Settlements that the database couldn't take: written, synced, and applied once, whichever process dies."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis

from bridge.errors import IdempotencyConflict, ServiceUnavailable
from bridge.ledger.batch import Mark, Settlement
from bridge.ledger.idempotency import Claim, claim_key, delete_expired_keys, seal_answer
from bridge.ledger.spool import OLD_REDIS_LIST, REDIS_LIST, Spool
from bridge.ledger.sweep import apply_spools, sweep
from bridge.ledger.writer import Writer
from bridge.ops import jobs
from tests.ledger.orders import MOMENT, Ledger, new_id, order_charge, order_hold
from tests.rooms import share_redis

PREFIX = "bridge:tests:"


@dataclasses.dataclass
class Services:
    """The part of a worker's services that its sweeper needs."""

    spool: Spool
    writer: Writer


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", None)
    yield spool
    spool.close()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*"))


def test_a_spooled_charge_is_taken_once_however_often_it_is_found(ledger: Ledger, spool: Spool, tmp_path: Path):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    charge = order_charge(hold, 50)
    assert spool.add(charge)
    assert spool.add(charge)
    assert ledger.find_money(account) == (100, 60)
    assert apply_spools(spool, ledger.writer) == 2
    assert apply_spools(spool, ledger.writer) == 0
    assert ledger.find_money(account) == (50, 0)
    assert files(tmp_path) == []


def test_another_process_applies_what_a_dead_one_spooled(ledger: Ledger, spool: Spool, tmp_path: Path):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    spool.add(order_charge(hold, 50))
    spool.close()  # as the kernel does for a process that is killed
    assert apply_spools(Spool(tmp_path / "spool", None), ledger.writer) == 1
    assert ledger.find_money(account) == (50, 0)


def test_what_a_living_worker_spooled_is_charged_before_another_one_sweeps(
    ledger: Ledger, spool: Spool, tmp_path: Path
):
    account = ledger.open_account(100)
    hold = order_hold(account, 60, deadline_seconds=-1.0)
    ledger.commit(hold)
    spool.add(order_charge(hold, 50))
    with files(tmp_path)[0].open("ab") as file:
        file.write(b'{"request_id":"req_')  # a line that it is just writing
    other = Services(Spool(tmp_path / "spool", None), ledger.writer)
    jobs.resolve(other)
    assert ledger.find_money(account) == (50, 0)
    assert (ledger.find_usage(hold.request_id).outcome, len(files(tmp_path))) == ("complete", 1)  # the file is its own
    apply_spools(spool, ledger.writer)
    jobs.resolve(other)
    row = ledger.find_usage(hold.request_id)
    assert (row.charge_nanos, row.loss_nanos) == (50, 0)
    assert (ledger.find_money(account), files(tmp_path)) == ((50, 0), [])


def test_while_the_database_is_away_everything_stays(ledger: Ledger, spool: Spool, tmp_path: Path):
    spool.add(order_charge("req_1", 50))

    class Away:
        def settle(self, settlement: Settlement) -> None:
            raise ServiceUnavailable("away")

    with pytest.raises(ServiceUnavailable):
        apply_spools(spool, Away())
    assert len(files(tmp_path)) == 1
    assert apply_spools(spool, ledger.writer) == 1


def test_a_line_that_was_cut_by_a_crash_keeps_nothing_from_being_applied(ledger: Ledger, spool: Spool, tmp_path: Path):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    spool.add(order_charge(hold, 50))
    with files(tmp_path)[0].open("ab") as file:
        file.write(b'{"request_id":"req_')
    assert apply_spools(spool, ledger.writer) == 2
    assert ledger.find_money(account) == (50, 0)


def test_a_charge_whose_hold_was_swept_meanwhile_is_our_loss_and_booked_once(ledger: Ledger, spool: Spool):
    account = ledger.open_account(100)
    hold = order_hold(account, 60, deadline_seconds=-1.0)
    ledger.commit(hold)
    spool.add(order_charge(hold, 50))
    assert sweep(ledger.writer) == 1
    for _ in range(2):
        apply_spools(spool, ledger.writer)
        spool.add(order_charge(hold, 50))
    assert ledger.find_money(account) == (100, 0)
    row = ledger.find_usage(hold.request_id)
    assert (row.charge_nanos, row.loss_nanos, row.outcome) == (0, 50, "worker_lost")


def test_what_was_settled_all_the_same_is_no_loss(ledger: Ledger, spool: Spool):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    spool.add(order_charge(hold, 50))
    ledger.commit(order_charge(hold, 50))  # the commit that timed out was carried out
    apply_spools(spool, ledger.writer)
    row = ledger.find_usage(hold.request_id)
    assert (row.charge_nanos, row.loss_nanos) == (50, 0)


def test_without_a_disk_redis_has_it(ledger: Ledger, tmp_path: Path, redis_url: str):
    (tmp_path / "spool").write_text("no folder")
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    spool = Spool(tmp_path / "spool", share_redis(redis_url, PREFIX))
    assert spool.add(order_charge(hold, 50))
    assert apply_spools(spool, ledger.writer) == 1
    spool.close()
    assert ledger.find_money(account) == (50, 0)
    assert redis.Redis.from_url(redis_url).llen(PREFIX + REDIS_LIST) == 0


def test_what_is_on_disk_and_in_redis_is_charged_once(ledger: Ledger, tmp_path: Path, redis_url: str):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    spool = Spool(tmp_path / "spool", share_redis(redis_url, PREFIX))
    assert spool.add(order_charge(hold, 50))
    client = redis.Redis.from_url(redis_url)
    assert (len(files(tmp_path)), client.llen(PREFIX + REDIS_LIST)) == (1, 1)  # a machine may go, and a Redis too
    assert apply_spools(spool, ledger.writer) == 2
    assert (len(files(tmp_path)), client.llen(PREFIX + REDIS_LIST)) == (0, 0)
    client.close()
    assert ledger.find_money(account) == (50, 0)
    assert ledger.find_usage(hold.request_id).loss_nanos == 0


def test_of_what_a_version_without_a_prefix_left_each_gateway_takes_its_own(
    ledger: Ledger, tmp_path: Path, redis_url: str
):
    account = ledger.open_account(200)
    hold, late = order_hold(account, 60), order_hold(account, 60, deadline_seconds=-1.0)
    ledger.commit(hold, late)
    assert sweep(ledger.writer) == 1
    client = redis.Redis.from_url(redis_url)
    lines = [msgspec.json.encode(order_charge(each, 50)) + b"\n" for each in (new_id(), hold, late)]
    client.rpush(OLD_REDIS_LIST, b'{"request_id":"req_', *lines)
    spool = Spool(tmp_path / "spool", share_redis(redis_url, PREFIX))
    assert [apply_spools(spool, ledger.writer) for _ in range(2)] == [2, 0]
    assert client.lrange(OLD_REDIS_LIST, 0, -1) == [b'{"request_id":"req_', lines[0]]
    client.close()
    assert ledger.find_money(account) == (150, 0)
    assert [ledger.find_usage(each.request_id).loss_nanos for each in (hold, late)] == [0, 50]


def test_an_answer_is_kept_for_its_key_together_with_its_charge(ledger: Ledger, spool: Spool):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    claim = Claim(account, "order-1", hold.request_id)
    claim_key(claim, "print", stream=False, seconds=60)
    spool.add(order_charge(hold, 50), claim, seal_answer(b"the answer"))
    apply_spools(spool, ledger.writer)
    kept = claim_key(Claim(account, "order-1", new_id()), "print", stream=False, seconds=60)
    assert kept is not None  # otherwise a repetition would be charged
    assert (kept.body, kept.request_id) == (b"the answer", hold.request_id)
    assert ledger.find_money(account) == (50, 0)


def test_a_charge_whose_answer_cant_be_kept_stays_spooled(
    ledger: Ledger, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    """Otherwise a repetition under the same key would be charged again."""
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    claim = Claim(account, "order-1", hold.request_id)
    claim_key(claim, "print", stream=False, seconds=60)
    spool.add(order_charge(hold, 50), claim, seal_answer(b"{}"))
    with monkeypatch.context() as patch:
        patch.setattr("bridge.ledger.sweep.keep_answer", lambda *_: False)
        with pytest.raises(ServiceUnavailable):
            apply_spools(spool, ledger.writer)
    assert ledger.find_money(account) == (100, 60)
    assert apply_spools(spool, ledger.writer) == 1
    assert ledger.find_money(account) == (50, 0)
    kept = claim_key(dataclasses.replace(claim, request_id=new_id()), "print", stream=False, seconds=60)
    assert kept is not None
    assert kept.request_id == hold.request_id


def test_nobody_else_runs_under_a_key_before_what_is_spooled_of_it_is_settled(ledger: Ledger, spool: Spool):
    """The database may have been away for longer than the key was claimed for."""
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    claim = Claim(account, "order-1", hold.request_id)
    again = dataclasses.replace(claim, request_id=new_id())
    claim_key(claim, "print", stream=False, seconds=-1)
    spool.add(order_charge(hold, 50), claim, seal_answer(b"{}"))
    delete_expired_keys()
    with pytest.raises(IdempotencyConflict):
        claim_key(again, "print", stream=False, seconds=60)
    apply_spools(spool, ledger.writer)
    kept = claim_key(again, "print", stream=False, seconds=60)
    assert kept is not None
    assert kept.request_id == hold.request_id
    assert ledger.find_money(account) == (50, 0)


def test_the_key_of_a_lost_worker_is_free_once_its_hold_is_swept(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60, deadline_seconds=-1.0)
    ledger.commit(hold)
    claim_key(Claim(account, "order-1", hold.request_id), "print", stream=False, seconds=-1)
    assert sweep(ledger.writer) == 1
    assert claim_key(Claim(account, "order-1", new_id()), "print", stream=False, seconds=60) is None


def test_without_disk_and_redis_it_says_so(tmp_path: Path):
    (tmp_path / "spool").write_text("no folder")
    assert not Spool(tmp_path / "spool", share_redis("redis://127.0.0.1:1/0")).add(order_charge("req_1", 50))


def test_a_lost_workers_stream_is_charged_what_its_last_mark_says(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60, deadline_seconds=-1.0)
    ledger.commit(hold)
    ledger.commit(mark(hold.request_id, 10), mark(hold.request_id, 25))
    assert ledger.find_money(account) == (100, 60)
    assert sweep(ledger.writer) == 1
    row = ledger.find_usage(hold.request_id)
    assert (row.state, row.outcome, row.charge_nanos, row.completion_tokens) == ("captured", "worker_lost", 25, 25)
    assert ledger.find_money(account) == (75, 0)


def test_a_mark_that_comes_after_the_settlement_changes_nothing(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    ledger.commit(mark(hold.request_id, 10), order_charge(hold, 40))
    ledger.commit(mark(hold.request_id, 30))
    assert ledger.find_money(account) == (60, 0)
    assert ledger.find_usage(hold.request_id).charge_nanos == 40


def mark(request_id: str, nanos: int) -> Mark:
    settlement = Settlement(
        request_id, MOMENT, state="captured", outcome="worker_lost", price_nanos=nanos, completion_tokens=nanos
    )
    return Mark(request_id, msgspec.json.encode(settlement).decode())
