"""Some attacks in small numbers, and the proof that it would be noticed if they hurt anybody."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from tests.attack import answers, customers, people, thousands  # noqa: F401 - each puts its attacks on the list
from tests.attack.__main__ import choose, read_arguments
from tests.attack.arena import Arena, Fared, make_settings, open_arena
from tests.attack.attacks import ATTACKS, MOST_WAIT_MS, judge
from tests.services import Databases
from tests.upstream import PATIENCE_SECONDS

SHORT = (
    "large heads",
    "bodies in drips",
    "abandoned streams",
    "calls and thoughts in pieces",
    "24 guesses at once",
    "a lock-out by a stranger",
    "what Host and Referer say",
)
FINE = Fared(requests=100, worst_ms=40, worst_of="a page", median_ms=5, wrong=(), own_ms=2, memory_mib=(100, 200, 120))


@pytest.fixture
def arena(engine: str, databases: Databases, tmp_path: Path, redis_url: str) -> Iterator[Arena]:
    shared = redis_url if engine == "postgresql" else ""
    settings = make_settings(tmp_path, databases.open(engine), shared, 2)
    # other tests run beside this one: what is slow for that reason alone refuses nobody
    settings = dataclasses.replace(settings, database_wait_seconds=60)
    with open_arena(settings, tmp_path / "log", quick=True) as arena:
        yield arena


def test_no_attack_comes_through_and_the_other_customer_is_served_beside_each(arena: Arena):
    for each in (one for one in ATTACKS if one.name in SHORT):
        memory = arena.begin()
        sent, complaints = each.run(arena)
        fared = arena.end(memory)
        assert sent, each.name
        assert complaints == [], each.name
        assert fared.requests > 0, each.name
        assert fared.wrong == (), each.name


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_worker_that_does_nothing_for_too_long_is_noticed(arena: Arena):
    memory = arena.begin()
    (worker,) = arena.gateway.workers()
    os.kill(worker, signal.SIGSTOP)
    try:
        with gevent.Timeout(PATIENCE_SECONDS):
            while not any("waited" in complaint for complaint in judge(arena.end(memory))):
                gevent.sleep(0.05)
    finally:
        os.kill(worker, signal.SIGCONT)


def test_it_is_judged_by_waits_answers_and_memory():
    assert judge(FINE) == []
    late = {
        **vars(FINE),
        "worst_ms": MOST_WAIT_MS + 1,
        "wrong": ("a page: 503 (2 times)",),
        "memory_mib": (100, 300, 290),
    }
    assert [line.split()[0] for line in judge(Fared(**late))] == ["not", "waited", "memory"]


def test_each_attack_has_a_name_and_the_short_round_has_one_of_each_kind():
    names = [each.name for each in ATTACKS]
    assert len(set(names)) == len(names)
    assert set(SHORT) <= set(names)
    assert choose(read_arguments([])) == ATTACKS
    kinds = {each.run.__module__ for each in choose(read_arguments(["--quick"]))}
    assert kinds == {each.run.__module__ for each in ATTACKS}
    assert [each.name for each in choose(read_arguments(["--only", "sign-ins"]))] == ["a flood of sign-ins"]
