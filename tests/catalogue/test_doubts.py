"""A channel is judged by more than one account, or a probe: what one account alone meets moves that account alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.breaker import UNAVAILABLE
from bridge.catalogue.breaker_counts import RATE_ATTEMPTS, RATE_WINDOW_SECONDS, SILENT_ATTEMPTS, SILENT_TIMES
from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW, MAX_COOLDOWN_SECONDS
from bridge.catalogue.doubts import UNREFUTED_SECONDS
from bridge.catalogue.health import Health
from bridge.providers.base import AttemptFailed, Blame
from tests.catalogue.test_health import FIRST, ROUTE, Clock, OneRoute, answer, changes, clock, fail, health, out

__all__ = ["clock", "health"]  # fixtures
POISONED, OTHER, THIRD = 1, 2, 3
AT_ONCE = [
    (Blame.CREDENTIAL, None, MAX_COOLDOWN_SECONDS),
    (Blame.SETUP, None, FIRST),
    (Blame.RATE, UNAVAILABLE, 60.0),
]
ONE_IS_ENOUGH = pytest.mark.parametrize(("blame", "status", "seconds"), AT_ONCE, ids=["401", "404", "503 for a minute"])


@pytest.mark.parametrize("times", [5, 6, 50])
def test_one_accounts_run_of_failures_moves_that_account_alone(health: Health, clock: Clock, times: int):
    fail(health, times=times, accounts=[POISONED])
    assert out(health, clock, account=POISONED) == FIRST
    assert out(health, clock, account=OTHER) == 0
    assert health.begin(ROUTE, OTHER)
    assert health.is_well(ROUTE, clock.now, OTHER)  # also to move on to
    assert not health.is_well(ROUTE, clock.now, POISONED)


@pytest.mark.parametrize("name", ["@cf/meta/llama", "claude-sonnet@20250514", "a model@1", "@7 1.0"])
def test_models_may_have_any_name(health: Health, clock: Clock, name: str):
    route, seconds = OneRoute(upstream_id=name), FIRST
    fail(health, Blame.SETUP, route=route, accounts=[POISONED])
    assert (out(health, clock, route, POISONED), out(health, clock, route, OTHER)) == (FIRST, 0)
    fail(health, Blame.SETUP, route=route, accounts=[OTHER])
    for _ in range(3):  # a probe that fails counts, and the next one waits longer
        assert out(health, clock, route, THIRD) == seconds
        clock.now += seconds
        fail(health, Blame.SETUP, route=route, accounts=[OTHER])
        fail(health, Blame.SETUP, route=route, accounts=[THIRD])
        seconds *= 2
    clock.now += seconds
    answer(health, route, THIRD)
    assert out(health, clock, route, OTHER) == 0
    assert [note.what for note in changes(health)][-1] == "back"


def test_the_next_failure_of_another_account_confirms_it_for_all(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW, accounts=[POISONED])
    fail(health, accounts=[OTHER])
    assert out(health, clock, account=THIRD) == FIRST
    assert [note.what for note in changes(health)] == ["out"]


def test_the_next_answer_of_another_account_ends_the_doubt_and_not_the_accounts_own_time(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW, accounts=[POISONED])
    answer(health, account=OTHER)
    fail(health, accounts=[OTHER])
    assert out(health, clock, account=THIRD) == 0
    assert out(health, clock, account=POISONED) == FIRST


def test_an_account_that_alone_fails_is_moved_though_others_are_answered_in_between(health: Health, clock: Clock):
    for _ in range(FAILURES_IN_A_ROW):
        fail(health, accounts=[POISONED])
        answer(health, account=OTHER)
    assert out(health, clock, account=POISONED) == FIRST
    assert out(health, clock, account=OTHER) == 0


def test_an_accounts_own_rate_moves_it_alone(health: Health, clock: Clock):
    for _ in range(RATE_ATTEMPTS // 2 + 1):
        fail(health, accounts=[POISONED])
        answer(health, account=POISONED)
    assert out(health, clock, account=POISONED) == FIRST
    assert out(health, clock, account=OTHER) == 0


def test_an_accounts_own_time_grows_and_one_answer_ends_it(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW, accounts=[POISONED])
    found = []
    for _ in range(6):
        found.append(out(health, clock, account=POISONED))
        clock.now += found[-1]
        assert health.begin(ROUTE, POISONED)
        assert not health.begin(ROUTE, POISONED)  # only one of its requests probes
        assert health.begin(ROUTE, OTHER)
        health.failed(ROUTE, AttemptFailed(Blame.UPSTREAM, "500"), account_id=POISONED)
        assert out(health, clock, account=OTHER) == 0
    assert found == [30, 60, 120, 240, 300, 300]
    clock.now += found[-1]
    answer(health, account=POISONED)
    fail(health, times=FAILURES_IN_A_ROW - 1, accounts=[POISONED])
    assert out(health, clock, account=POISONED) == 0


@ONE_IS_ENOUGH
def test_a_refusal_moves_the_account_that_met_it_and_a_second_ones_all(
    health: Health, clock: Clock, blame: Blame, status: int | None, seconds: float
):
    def refuse(account: int) -> None:
        fail(health, blame, accounts=[account], retry_after=60, status=status)

    refuse(POISONED)
    refuse(POISONED)
    assert out(health, clock, account=POISONED) == seconds
    assert out(health, clock, account=OTHER) == 0
    answer(health, account=OTHER)
    refuse(OTHER)
    assert out(health, clock, account=THIRD) == 0  # one was answered in between
    refuse(THIRD)
    assert out(health, clock) == seconds


def test_a_rate_limit_is_the_keys_and_so_everybodys(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=60, accounts=[POISONED], status=429)
    assert out(health, clock, account=OTHER) == 60


def test_one_account_that_waits_long_makes_a_channel_silent_for_itself_alone(health: Health, clock: Clock):
    def wait(account: int) -> None:
        health.begin(ROUTE, account)
        health.sent(ROUTE, account)

    health.succeeded(ROUTE, 1.5)
    for _ in range(SILENT_ATTEMPTS):
        wait(POISONED)
    clock.now += SILENT_TIMES * 1.5 + 0.1
    wait(POISONED)
    assert health.is_silent(ROUTE, clock.now, POISONED)
    assert not health.is_silent(ROUTE, clock.now, OTHER)
    wait(OTHER)  # this account gets no answer either
    assert health.is_silent(ROUTE, clock.now, THIRD)


# whatever one account does

DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["fail", "refuse", "unknown", "busy", "answer", "drop", "under way", "wait"]),
        st.integers(1, 12),
    ),
    max_size=25,
)
BLAMES = {"fail": Blame.UPSTREAM, "refuse": Blame.CREDENTIAL, "unknown": Blame.SETUP, "busy": Blame.RATE}


def do(health: Health, clock: Clock, what: str, account: int) -> None:
    clock.now += 7.0 if what == "wait" else 0.01
    if what == "wait":
        return
    if what != "under way":
        health.begin(ROUTE, account)
        health.sent(ROUTE, account)
    if what == "drop":
        health.dropped(ROUTE, account)
    elif what == "answer":
        health.succeeded(ROUTE, 1.0, account_id=account)
    else:
        failure = AttemptFailed(
            BLAMES.get(what, Blame.UPSTREAM), "it failed", status=UNAVAILABLE, retry_after_seconds=9
        )
        health.failed(ROUTE, failure, account_id=account)


@given(deeds=DEEDS, others=st.booleans())
def test_no_sequence_of_outcomes_of_one_account_takes_a_channel_from_another(
    deeds: list[tuple[str, int]], others: bool
):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
        health = Health(FIRST)
        for what, times in deeds:
            for _ in range(times):
                do(health, clock, what, POISONED)
            if others:
                answer(health, account=OTHER)
            assert out(health, clock, account=OTHER) == 0
            assert health.rank(ROUTE, clock.now, OTHER) == (0.0, False)
            assert health.begin(ROUTE, OTHER)


@given(deeds=DEEDS)
def test_what_was_out_for_all_one_account_alone_keeps_from_nobody_for_longer(deeds: list[tuple[str, int]]):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
        health = Health(FIRST)
        fail(health, times=FAILURES_IN_A_ROW, accounts=[POISONED, OTHER])
        until = clock.now + FIRST
        for what, times in deeds:
            for _ in range(times):
                do(health, clock, what, POISONED)
                assert out(health, clock, account=OTHER) <= max(0.0, until - clock.now)


@given(whose=st.lists(st.integers(1, 3), min_size=FAILURES_IN_A_ROW, max_size=12))
def test_whoever_meets_them_a_run_of_two_accounts_takes_it_from_all_and_of_one_from_that_one(whose: list[int]):
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
        health = Health(FIRST)
        for account in whose:
            fail(health, accounts=[account])
        assert out(health, clock) == (FIRST if len(set(whose)) > 1 else 0)
        assert out(health, clock, account=whose[0]) == FIRST


def test_a_probe_that_fails_needs_a_second_accounts_too_and_one_that_is_answered_is_enough(
    health: Health, clock: Clock
):
    fail(health, times=FAILURES_IN_A_ROW, accounts=[POISONED, OTHER])
    clock.now += FIRST
    fail(health, accounts=[POISONED])
    assert out(health, clock, account=POISONED) == FIRST
    assert out(health, clock, account=OTHER) == 0
    fail(health, accounts=[OTHER])
    assert out(health, clock, account=THIRD) == 2 * FIRST
    clock.now += 2 * FIRST
    fail(health, accounts=[POISONED])
    answer(health, account=OTHER)
    assert out(health, clock, account=THIRD) == 0


def test_what_an_account_met_that_doesnt_come_back_is_forgotten(health: Health, clock: Clock):
    for account in range(100):
        fail(health, times=FAILURES_IN_A_ROW, accounts=[account])
        answer(health, account=1000)
        clock.now += RATE_WINDOW_SECONDS
    assert len(health._breaker.states) == 100
    clock.now += FIRST + MAX_COOLDOWN_SECONDS
    health._breaker.forget_account_states(clock.now)
    assert health.all_well


# what operators hear


def settle(health: Health, clock: Clock, *, at_the_end: bool = False) -> list[tuple[str, int]]:
    """What the timeline and the mails report now: what, and about which channel."""
    health._doubts.review(health._breaker.states, clock.now, at_the_end=at_the_end)
    return [(note.what, note.channel_id) for note in changes(health)]


def test_a_refusal_that_nobodys_answer_refutes_is_told_of_every_channel_with_that_key(health: Health, clock: Clock):
    """An installation with one account has no second one to confirm a failure."""
    one, other = OneRoute(credential="k"), OneRoute(channel_id=2, credential="k")
    health.learn([one, other])
    fail(health, Blame.CREDENTIAL, route=one, accounts=[POISONED])
    assert settle(health, clock) == []
    clock.now += UNREFUTED_SECONDS
    assert sorted(settle(health, clock)) == [("out", 1), ("out", 2)]
    assert settle(health, clock) == []
    clock.now += MAX_COOLDOWN_SECONDS
    answer(health, route=other, account=POISONED)
    assert sorted(settle(health, clock)) == [("back", 1), ("back", 2)]


@ONE_IS_ENOUGH
@pytest.mark.usefixtures("seconds")
def test_what_somebodys_answer_refutes_is_told_nobody(health: Health, clock: Clock, blame: Blame, status: int | None):
    fail(health, blame, accounts=[POISONED], status=status, retry_after=60)
    clock.now += UNREFUTED_SECONDS / 2
    answer(health, account=OTHER)
    clock.now += UNREFUTED_SECONDS
    assert settle(health, clock) == []


@pytest.fixture
def seconds() -> None:
    """Of no concern to some."""


def test_what_was_told_and_is_refuted_later_is_back(health: Health, clock: Clock):
    fail(health, Blame.SETUP, accounts=[POISONED])
    clock.now += UNREFUTED_SECONDS
    assert settle(health, clock) == [("misconfigured", 1)]
    answer(health, account=OTHER)
    assert settle(health, clock) == [("back", 1)]


def test_a_worker_that_ends_tells_what_it_has_not_told_yet(health: Health, clock: Clock):
    fail(health, Blame.CREDENTIAL, accounts=[POISONED])
    assert settle(health, clock, at_the_end=True) == [("out", 1)]


def test_what_a_second_account_confirms_is_told_once(health: Health, clock: Clock):
    fail(health, Blame.CREDENTIAL, accounts=[POISONED])
    fail(health, Blame.CREDENTIAL, accounts=[OTHER])
    assert settle(health, clock) == [("out", 1)]
    clock.now += UNREFUTED_SECONDS
    assert settle(health, clock) == []
