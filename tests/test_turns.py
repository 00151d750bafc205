"""Long work lets others run between its slices, whatever those wait for."""

import socket

import gevent
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge import turns
from bridge.catalogue.tables import Alias, Model
from bridge.db import db, read_in_slices, read_plain, transaction
from bridge.turns import LARGE_BYTES, by_size, in_slices
from tests.factories import Factories


@pytest.fixture(autouse=True)
def short_slices(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "SLICE_SECONDS", 0.0)


def test_a_socket_is_looked_at_between_two_slices():
    ours, theirs = socket.socketpair()
    heard: list[int] = []

    def answer() -> None:
        while theirs.recv(1):
            theirs.sendall(b".")

    answering = gevent.spawn(answer)
    gevent.sleep(0)  # it waits now
    ours.setblocking(False)
    ours.sendall(b".")
    for _ in in_slices(range(10)):  # a sleep of zero would have to come fifty times
        try:
            heard.append(len(ours.recv(1)))
            ours.sendall(b".")
        except BlockingIOError:
            heard.append(0)
    assert sum(heard) >= 8
    ours.shutdown(socket.SHUT_WR)
    answering.get(timeout=60)
    ours.close()
    theirs.close()


@pytest.mark.parametrize(("size_bytes", "elsewhere"), [(LARGE_BYTES - 1, False), (LARGE_BYTES, True)])
def test_large_work_is_done_in_a_thread(size_bytes: int, elsewhere: bool, capsys: pytest.CaptureFixture[str]):
    hubs: list[object] = []

    def work(number: int) -> int:
        hubs.append(gevent.get_hub())  # each thread has its own
        return 10 // number

    assert by_size(size_bytes, work, 5) == 2
    assert (hubs[0] is not gevent.get_hub()) == elsewhere
    with pytest.raises(ZeroDivisionError):
        by_size(size_bytes, work, 0)
    assert capsys.readouterr() == ("", "")


def test_the_thread_rests_after_long_work_for_as_long_as_that_took(monkeypatch: pytest.MonkeyPatch):
    clock, rests = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        rests.append(round(seconds, 3))
        clock[0] += seconds

    monkeypatch.setattr(turns, "_sleep", sleep)
    monkeypatch.setattr(turns._Pace, "rested_at", 0.0)
    monkeypatch.setattr(turns.time, "monotonic", lambda: clock[0])
    for took in (0.001, 0.1, 0.2, 9.0, 0.001, 0.001):
        turns._Pace.run(lambda took=took: clock.__setitem__(0, clock[0] + took), ())
    assert rests == [0.1, 0.2, turns.LONGEST_PAUSE_SECONDS]


def test_all_items_come_in_their_order():
    assert list(in_slices(iter(range(1000)))) == list(range(1000))


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("plain", [False, True])
def test_a_long_table_is_read_in_slices(app: Flask, make: Factories, plain: bool, monkeypatch: pytest.MonkeyPatch):
    make.make_model()
    with app.app_context():
        model_id = db.session.scalar(sa.select(Model.id).limit(1))
        with transaction() as session:
            session.add_all([Alias(name=f"alias-{n:03}", model_id=model_id) for n in range(300)])
        rests: list[int] = []
        monkeypatch.setattr(turns, "rest", lambda: rests.append(1))
        rows = read_plain(Alias, Alias.name) if plain else read_in_slices(sa.select(Alias).order_by(Alias.name))
        names = [row.name for row in rows]
    assert names == sorted(names)
    assert len(names) >= 300
    assert len(rests) == len(names)
