"""The batch as the relay uses it: many orders at once, orders that time out or are refused, commits with an unknown
outcome."""

from collections.abc import Iterator
from typing import Any

import gevent
import msgspec
import psycopg
import pytest

from bridge.errors import ServiceUnavailable
from bridge.ledger import postgres, sqlite
from bridge.ledger.batch import MAX_FINISH_REASON, HoldResult, Order, Settlement, SettleResult
from bridge.ledger.ledger import credit
from tests.ledger.orders import MOMENT, Ledger, new_id, order_charge, order_hold
from tests.upstream import PATIENCE_SECONDS


@pytest.fixture
def slow(ledger: Ledger) -> Iterator[Ledger]:
    """The same ledger through a writer that a test can block."""
    slow = Ledger(ledger.app)
    yield slow
    slow.close()


def test_two_hundred_at_once_hold_exactly_what_the_account_affords(ledger: Ledger):
    account = ledger.open_account(70)
    calls = [gevent.spawn(ledger.writer.place_hold, order_hold(account, 10)) for _ in range(200)]
    results = [call.get() for call in calls]
    assert sum(result.held_nanos == 10 for result in results) == 7
    assert sum(result.refused == "balance" for result in results) == 193
    assert ledger.find_money(account) == (70, 70)


def test_an_upstream_s_long_word_is_cut_and_charged(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.writer.place_hold(hold)
    ledger.writer.settle(order_charge(hold, 25, finish_reason="st\0op" + "p" * 100))
    assert ledger.find_usage(hold.request_id).finish_reason == ("stop" + "p" * 100)[:MAX_FINISH_REASON]


def test_an_order_that_the_tables_refuse_fails_nobody_else(ledger: Ledger):
    account = ledger.open_account(100)
    good, bad, late = (order_hold(account, 20) for _ in range(3))
    ledger.commit(good, bad)
    calls = [
        gevent.spawn(ledger.writer.settle, order_charge(good, 5)),
        gevent.spawn(
            settle_or_none, ledger, order_charge(bad, 5, state="forgotten")
        ),  # a CHECK says no to such a state
        gevent.spawn(ledger.writer.place_hold, late),
    ]
    assert [call.get() for call in calls] == [SettleResult(5, 0), None, HoldResult(20)]
    assert ledger.find_money(account) == (95, 40)
    assert ledger.find_hold(bad.request_id) is not None  # for the sweeper


def settle_or_none(ledger: Ledger, settlement: Settlement) -> SettleResult | None:
    try:
        return ledger.writer.settle(settlement)
    except ServiceUnavailable:
        return None


def test_a_hold_that_comes_too_late_is_withdrawn(slow: Ledger):
    account = slow.open_account(100)
    slow.writer.wait_seconds = 0
    busy, go_on, commit = gevent.event.Event(), gevent.event.Event(), slow.writer._batcher._run

    def slowly(orders: list[Order]) -> Any:
        busy.set()
        go_on.wait()
        return commit(orders)

    slow.writer._batcher._run = slowly  # type: ignore[method-assign]
    running, waiting = order_hold(account, 10), order_hold(account, 20)
    slow.writer._batcher.tell(running)
    busy.wait()
    assert slow.writer.may_commit()
    with pytest.raises(ServiceUnavailable):
        slow.writer.place_hold(waiting)
    assert not slow.writer.may_commit(), "the batch still runs, and whoever asked was refused"
    go_on.set()
    slow.writer.wait_seconds = PATIENCE_SECONDS
    slow.writer.settle(order_charge(running, 10))  # once that is done, so is everything before it
    assert slow.writer.may_commit()
    assert slow.find_money(account) == (90, 0)
    assert slow.find_hold(waiting.request_id) is None


def test_a_hold_of_unknown_fate_is_released(slow: Ledger):
    """The commit was carried out, but its answer did not come in time."""
    account = slow.open_account(100)
    slow.writer.wait_seconds = 0.001
    begun, go_on, commit = gevent.event.Event(), gevent.event.Event(), slow.writer._batcher._run

    def slowly(orders: list[Order]) -> Any:
        outcomes = commit(orders)
        begun.set()
        go_on.wait()
        return outcomes

    slow.writer._batcher._run = slowly  # type: ignore[method-assign]
    hold = order_hold(account, 10, details=msgspec.json.encode(Settlement("", MOMENT, model_asked="asked")).decode())
    call = gevent.spawn(place_or_none, slow, hold)
    begun.wait()
    assert call.get() is None
    go_on.set()
    slow.writer.wait_seconds = PATIENCE_SECONDS
    slow.writer.settle(order_charge(new_id(), 1))
    assert slow.find_money(account) == (100, 0)
    row = slow.find_usage(hold.request_id)
    assert (row.state, row.status, row.model_asked) == ("released", 503, "asked")


def place_or_none(ledger: Ledger, hold: Any) -> HoldResult | None:
    try:
        return ledger.writer.place_hold(hold)
    except ServiceUnavailable:
        return None


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
@pytest.mark.parametrize("committed", [True, False])
def test_a_batch_in_doubt_is_carried_out_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, committed: bool):
    """The connection breaks between the commit and its answer, or before the commit: the writer can't know."""
    account = ledger.open_account(100)
    first, second = order_hold(account, 30), order_hold(account, 40)
    ledger.commit(first)
    commit_batch = postgres.commit_batch

    def break_once(connection: Any, orders: Any) -> Any:
        monkeypatch.setattr(postgres, "commit_batch", commit_batch)
        if committed:
            commit_batch(connection, orders)
        connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(postgres, "commit_batch", break_once)
    results = ledger.commit(order_charge(first, 45), second)
    assert results == [SettleResult(45, 0, settled_before=committed), HoldResult(40)]
    assert ledger.find_money(account) == (55, 40)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_on_sqlite_a_hold_ordered_again_is_the_same_hold(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    assert ledger.commit(hold, hold) == [HoldResult(60), HoldResult(60)]
    assert ledger.find_money(account) == (100, 60)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_batch_that_fails_on_sqlite_leaves_nothing_behind(ledger: Ledger):
    account = ledger.open_account(100)
    hold = order_hold(account, 60)
    ledger.commit(hold)
    connection = sqlite.connect(ledger.app.config["BRIDGE"].sqlalchemy_url.split("///", 1)[1])
    with pytest.raises(sqlite.sqlite3.IntegrityError):
        sqlite.commit_batch(connection, [order_hold(account, 10), order_charge(hold, 5, state="forgotten")])
    connection.close()
    assert ledger.find_money(account) == (100, 60)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_batch_locks_its_accounts_in_order_of_id(ledger: Ledger):
    """Otherwise batches of two workers could each wait for the other's locks."""
    first, second, third = (ledger.open_account(100) for _ in range(3))
    with ledger.app.app_context():
        credit(first, 1, source="operator")  # its row is now the last of the three in the table
    with psycopg.connect(find_url(ledger)) as other, psycopg.connect(find_url(ledger)) as looking:
        other.execute("SELECT 1 FROM balances WHERE account_id = %s FOR UPDATE", (second,))
        batch = gevent.spawn(ledger.commit, *(order_hold(account, 10) for account in (third, second, first)))
        looking.autocommit = True
        while not is_waiting(looking):
            gevent.sleep(0.005)
        query = "SELECT account_id FROM balances WHERE account_id = ANY(%s) FOR UPDATE SKIP LOCKED"
        assert looking.execute(query, ([first, second, third],)).fetchall() == [(third,)]
        other.rollback()
        assert batch.get() == [HoldResult(10)] * 3


def find_url(ledger: Ledger) -> str:
    url: str = ledger.app.config["BRIDGE"].sqlalchemy_url
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def is_waiting(connection: psycopg.Connection[Any]) -> bool:
    """Whether somebody waits for a lock in this database."""
    query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return connection.execute(query).fetchone() is not None


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_no_batch_reads_all_of_a_table(database_url: str):
    """Plans made while there were no holds would do that, and dead rows would make it slow."""
    connection = postgres.connect(database_url)
    try:
        assert connection.execute("SHOW enable_seqscan").fetchone() == ("off",)
    finally:
        connection.close()
