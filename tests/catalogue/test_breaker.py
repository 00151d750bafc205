"""The breaker by itself: its answers depend only on what it is told, and its promises hold for any sequence."""

import ast
import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import bridge.catalogue
from bridge.catalogue.breaker import PROBE_SECONDS, Breaker
from bridge.catalogue.breaker_states import (
    MAX_COOLDOWN_SECONDS,
    Move,
    Opened,
    Probe,
    SharedState,
    State,
    common_name,
)
from bridge.providers.base import AttemptFailed, Blame

FIRST, FIRST_CONTENT = 30.0, 60.0
WORLDLY = {"time", "datetime", "random", "os", "socket", "threading", "gevent", "redis", "structlog", "sqlalchemy"}
PURE_ROOMS = ("bridge.catalogue.breaker", "bridge.providers.base")


@dataclasses.dataclass(frozen=True)
class OneRoute:
    """A route as the breaker sees it."""

    channel_id: int = 1
    channel_name: str = "main"
    upstream_id: str = "gpt-4o"
    resets: int = 0
    credential: str = ""
    key_id: int = 0
    always_on: bool = False


ROUTES = [
    OneRoute(credential="k"),
    OneRoute(upstream_id="o3", credential="k"),
    OneRoute(2, credential="k"),
    OneRoute(3),
]
ACCOUNTS = (1, 2, 3)
BLAMES = {"fail": Blame.UPSTREAM, "limit": Blame.RATE, "refuse": Blame.CREDENTIAL, "unknown": Blame.SETUP}


@dataclasses.dataclass(frozen=True)
class Deed:
    """A step of one attempt, and the time since the previous step."""

    what: str
    route: OneRoute
    account_id: int
    wait_seconds: float


# halves and whole numbers, so that sums of them are exact
DEEDS = st.lists(
    st.builds(
        Deed,
        st.sampled_from([*BLAMES, "fail", "fail", "answer", "drop", "leave under way", "a client's fault"]),
        st.sampled_from(ROUTES),
        st.sampled_from(ACCOUNTS),
        st.sampled_from([0.0, 0.0, 0.0, 0.5, 5.0, 30.0, 60.0, 400.0]),
    ),
    max_size=50,
)


def begin(breaker: Breaker, route: OneRoute, now: float, account_id: int) -> bool:
    """Begin an attempt; no other worker interferes."""
    taken: list[str] = []
    for name in breaker.record(route).names.of(account_id):
        probe = breaker.probe(name, now)
        if probe is Probe.ANOTHERS:
            breaker.give_probes(taken)
            return False
        if probe is Probe.TAKEN:
            taken.append(name)
        if probe is not Probe.NOT_NEEDED:
            breaker.mark_tried(name)
    return True


def do(breaker: Breaker, deed: Deed, now: float) -> list[Move]:
    """Carry out one deed; do nothing if the attempt may not begin."""
    if not begin(breaker, deed.route, now, deed.account_id):
        return []
    breaker.send(breaker.record(deed.route), now, deed.account_id)
    if deed.what == "answer":
        return breaker.answer(deed.route, now, 1.0, deed.account_id)
    if deed.what == "drop":
        return breaker.drop(deed.route, deed.account_id)
    if deed.what == "leave under way":
        return []
    failure = AttemptFailed(BLAMES.get(deed.what, Blame.REQUEST), "it failed", retry_after_seconds=8)
    return breaker.fail(deed.route, failure, now, deed.account_id)


def play(breaker: Breaker, deeds: list[Deed], now: float) -> Iterator[tuple[float, list[Move]]]:
    """Carry out the deeds one after the other; yields the time of each and its moves."""
    for deed in deeds:
        now += deed.wait_seconds
        yield now, do(breaker, deed, now)


def look(breaker: Breaker, now: float) -> list[object]:
    """Every answer that a request may get from the breaker."""
    return [
        (ask(route, now, account), breaker.latency_seconds(route))
        for route in ROUTES
        for account in (0, *ACCOUNTS)
        for ask in (breaker.seconds_out, breaker.is_silent, breaker.is_well, breaker.may_repeat)
    ]


def test_it_knows_no_clock_no_redis_no_log_and_no_table():
    folder = Path(bridge.catalogue.__path__[0])
    for path in folder.glob("breaker*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in found:
                assert name.split(".")[0] not in WORLDLY, path.name
                assert not name.startswith("bridge.") or name.startswith(PURE_ROOMS), path.name


@given(deeds=DEEDS, tens=st.integers(1, 1000))
def test_the_same_at_another_time_moves_the_same(deeds: list[Deed], tens: int):
    """The breaker reads no clock: only differences between the moments that it is told matter."""
    one, later, shift = Breaker(FIRST, FIRST_CONTENT), Breaker(FIRST, FIRST_CONTENT), 60.0 * tens
    played = zip(play(one, deeds, 1020.0), play(later, deeds, 1020.0 + shift), strict=True)
    for (now, moves), (then, moves_then) in played:
        assert moves == moves_then
        assert look(one, now) == look(later, then)


@given(deeds=DEEDS)
def test_asking_changes_nothing(deeds: list[Deed]):
    breaker = Breaker(FIRST, FIRST_CONTENT)
    for now, _ in play(breaker, deeds, 1000.0):
        before, changes = copy.deepcopy(breaker.states), breaker.changes
        look(breaker, now)
        assert (breaker.states, breaker.changes) == (before, changes)


@given(deeds=DEEDS)
def test_every_change_of_a_state_is_counted_and_what_is_well_is_not_kept(deeds: list[Deed]):
    breaker = Breaker(FIRST, FIRST_CONTENT)
    before, changes = dict(breaker.states), 0
    for _ in play(breaker, deeds, 1000.0):
        tried = {name: state.mark_tried() for name, state in before.items()}  # this affects no other state
        assert breaker.changes > changes or all(state in (before[n], tried[n]) for n, state in breaker.states.items())
        assert State() not in breaker.states.values()
        before, changes = dict(breaker.states), breaker.changes


@given(deeds=DEEDS)
def test_a_time_out_is_the_first_one_or_twice_the_last_and_never_above_the_most(deeds: list[Deed]):
    breaker = Breaker(FIRST, FIRST_CONTENT)
    before: dict[str, State] = {}
    for now, moves in play(breaker, deeds, 1000.0):
        for move in moves:
            if not isinstance(move, Opened) or not move.cooldown_seconds:
                continue
            last = before[move.name].cooldown_seconds if move.name in before else 0.0
            refused = common_name(move.name).startswith("key:")
            wanted = MAX_COOLDOWN_SECONDS if refused else 2 * last or FIRST
            assert move.seconds == min(wanted, MAX_COOLDOWN_SECONDS)
            assert breaker.states[move.name].seconds_out(now) == move.seconds
        before = dict(breaker.states)


@given(deeds=DEEDS, whose=st.lists(st.sampled_from(ACCOUNTS), min_size=2, max_size=6))
def test_of_those_who_come_once_its_time_is_over_exactly_one_probes(deeds: list[Deed], whose: list[int]):
    breaker, now = Breaker(FIRST, FIRST_CONTENT), 1000.0
    for moment, _ in play(breaker, deeds, now):
        now = moment
    now += MAX_COOLDOWN_SECONDS
    breaker.give_probes(list(breaker.states))
    for name, state in breaker.states.items():
        found = [breaker.probe(name, now) for _ in whose]
        first = Probe.TAKEN if state.cooldown_seconds else Probe.NOT_NEEDED
        others = Probe.ANOTHERS if state.cooldown_seconds else Probe.NOT_NEEDED
        assert found == [first] + [others] * (len(whose) - 1)
        assert breaker.probe(name, now + PROBE_SECONDS) is first  # the first probe never reports


@given(deeds=DEEDS)
def test_once_all_times_are_over_one_answer_of_each_ends_everything(deeds: list[Deed]):
    breaker, now = Breaker(FIRST, FIRST_CONTENT), 1000.0
    for moment, _ in play(breaker, deeds, now):
        now = moment
    now += MAX_COOLDOWN_SECONDS
    for route in ROUTES:
        for account in ACCOUNTS:
            assert breaker.seconds_out(route, now, account) == 0
            assert begin(breaker, route, now, account)
            breaker.answer(route, now, 1.0, account)
    assert breaker.states == {}
    assert breaker.silent == set()


@given(deeds=DEEDS)
def test_what_one_account_alone_meets_moves_no_other(deeds: list[Deed]):
    breaker = Breaker(FIRST, FIRST_CONTENT)
    alone = [dataclasses.replace(deed, account_id=1) for deed in deeds if deed.what != "limit"]
    for now, moves in play(breaker, alone, 1000.0):
        assert all(move.account_id == 1 for move in moves if isinstance(move, Opened))
        for route in ROUTES:
            assert breaker.seconds_out(route, now, 2) == 0
            assert breaker.is_well(route, now, 2)


def share(name: str, state: State, now: float) -> SharedState:
    """The state as all workers would have it."""
    return SharedState(
        name=name,
        failures=state.failures,
        seconds_left=max(0.0, state.until - now),
        cooldown_seconds=state.cooldown_seconds,
        probe_seconds_left=max(0.0, state.probe_until - now),
        unsteady=state.unsteady,
        account_id=state.account_id,
        by_several=state.by_several,
    )


@given(deeds=DEEDS, apart=st.integers(-1000, 1000))
def test_a_worker_that_hears_of_it_passes_over_the_same_for_as_long(deeds: list[Deed], apart: int):
    """The two workers' clocks differ."""
    one, other = Breaker(FIRST, FIRST_CONTENT), Breaker(FIRST, FIRST_CONTENT)
    for now, _ in play(one, deeds, 1000.0):
        then = now + apart
        other.adopt([share(name, state, now) for name, state in one.states.items()], then)
        assert set(other.states) == set(one.states)
        for route in ROUTES:
            for account in (0, *ACCOUNTS):
                assert other.seconds_out(route, then, account) == one.seconds_out(route, now, account)
    other.adopt([], 5000.0)  # everything has ended
    assert other.states == {}
