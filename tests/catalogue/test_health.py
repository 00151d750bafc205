"""When a channel is skipped, for how long, who probes it, and what brings it back; it is never out for good."""

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.breaker import PROBE_SECONDS
from bridge.catalogue.breaker_counts import RATE_ATTEMPTS, RATE_WINDOW_SECONDS, SILENT_ATTEMPTS
from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW, MAX_COOLDOWN_SECONDS, NOBODY, OURS
from bridge.catalogue.channel_events import Note
from bridge.catalogue.health import Health
from bridge.providers.base import AttemptFailed, Blame

FIRST = 30.0


@dataclasses.dataclass(frozen=True)
class OneRoute:
    """A route as Health sees it."""

    channel_id: int = 1
    channel_name: str = "main"
    upstream_id: str = "gpt-4o"
    resets: int = 0
    credential: str = ""
    key_id: int = 0
    always_on: bool = False


ROUTE = OneRoute()
TURNS = itertools.count()


class Clock:
    """The monotonic clock, set by the test."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(FIRST)


def fail(
    health: Health,
    blame: Blame = Blame.UPSTREAM,
    times: int = 1,
    retry_after: float | None = None,
    route: OneRoute = ROUTE,
    accounts: Sequence[int] = (1, 2),
    status: int | None = None,
) -> None:
    """Let attempts begin and fail, by these accounts in turn, also across calls."""
    for _ in range(times):
        account = accounts[next(TURNS) % len(accounts)]
        health.begin(route, account)
        failure = AttemptFailed(blame, "500", retry_after_seconds=retry_after, status=status)
        health.failed(route, failure, account_id=account)


def answer(health: Health, route: OneRoute = ROUTE, account: int = NOBODY) -> None:
    """Let an attempt begin and be answered."""
    health.begin(route, account)
    health.succeeded(route, account_id=account)


def out(health: Health, clock: Clock, route: OneRoute = ROUTE, account: int = NOBODY) -> float:
    """How long the route is out for this account; by default, one that has met nothing there."""
    return health.seconds_out(route, clock.now, account)


def changes(health: Health) -> list[Note]:
    """What the timeline would show since the last call."""
    return [note for note in health._notes.take() if note.is_event and note.what not in ("failed", "answered")]


def test_five_failures_in_a_row_take_a_channel_out(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW - 1)
    assert out(health, clock) == 0
    fail(health)
    assert out(health, clock) == FIRST
    assert out(health, clock, OneRoute(upstream_id="other")) == FIRST  # all its models
    assert out(health, clock, OneRoute(channel_id=2)) == 0
    assert [(note.what, note.seconds) for note in changes(health)] == [("out", FIRST)]


def test_an_answer_between_begins_the_count_anew(health: Health, clock: Clock):
    for _ in range(10):
        fail(health, times=FAILURES_IN_A_ROW - 1)
        answer(health)
        clock.now += RATE_WINDOW_SECONDS  # so that the rate of failures doesn't matter
    assert out(health, clock) == 0


def test_half_of_a_minutes_attempts_failing_takes_a_channel_out_though_never_five_in_a_row(
    health: Health, clock: Clock
):
    for _ in range(RATE_ATTEMPTS // 2 - 1):
        answer(health)
        fail(health)
        clock.now += 1
    assert out(health, clock) == 0
    answer(health)
    fail(health)
    assert out(health, clock) == FIRST


def test_errors_of_more_than_a_minute_ago_count_no_more(health: Health, clock: Clock):
    for _ in range(RATE_ATTEMPTS // 2 - 1):
        answer(health)
        fail(health)
    clock.now += RATE_WINDOW_SECONDS
    answer(health)
    fail(health)
    assert out(health, clock) == 0


def test_a_request_s_own_fault_says_nothing_about_the_channel(health: Health, clock: Clock):
    fail(health, Blame.REQUEST, times=50)
    assert out(health, clock) == 0
    assert health._notes.take() == []


def test_the_time_out_grows_with_each_failed_probe_up_to_five_minutes(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    found = []
    for _ in range(6):
        found.append(out(health, clock))
        clock.now += found[-1]
        assert out(health, clock) == 0  # it is tried again
        fail(health)
        assert out(health, clock) == 0  # it may be that account's own fault
        fail(health)
    assert found == [30, 60, 120, 240, 300, 300]
    assert [note.seconds for note in changes(health)] == [30, 60, 120, 240, 300]  # the same again is no news


def test_a_burst_of_failures_takes_a_channel_out_once(health: Health, clock: Clock):
    """A hundred requests that were under way when the upstream broke are one outage."""
    fail(health, times=100)
    assert out(health, clock) == FIRST


def test_one_request_probes_while_the_others_go_elsewhere(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    clock.now += FIRST
    assert out(health, clock) == 0
    assert health.begin(ROUTE)
    assert 0 < out(health, clock) <= 1  # before those that are known to be out
    assert not health.begin(ROUTE)
    health.succeeded(ROUTE)
    assert out(health, clock) == 0
    assert health.begin(ROUTE)
    assert [note.what for note in changes(health)] == ["out", "back"]


@pytest.mark.parametrize("blame", [None, Blame.REQUEST])
def test_a_probe_without_a_verdict_is_given_back(health: Health, clock: Clock, blame: Blame | None):
    fail(health, times=FAILURES_IN_A_ROW)
    clock.now += FIRST
    assert health.begin(ROUTE)
    if blame is None:
        health.dropped(ROUTE)
    else:
        health.failed(ROUTE, AttemptFailed(blame, "400"))
    assert out(health, clock) == 0
    assert health.begin(ROUTE)


def test_a_probe_that_nobody_hears_of_again_locks_nobody_out(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    clock.now += FIRST
    assert health.begin(ROUTE)
    clock.now += PROBE_SECONDS
    assert out(health, clock) == 0
    assert health.begin(ROUTE)


def test_one_good_probe_brings_it_back_and_forgets(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    clock.now += 30
    answer(health)
    fail(health, times=FAILURES_IN_A_ROW - 1)
    assert out(health, clock) == 0
    fail(health)
    assert out(health, clock) == FIRST


def test_what_was_under_way_when_it_went_out_neither_brings_it_back_nor_keeps_it_out(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    health.succeeded(ROUTE)
    assert out(health, clock) == FIRST
    clock.now += FIRST
    health.failed(ROUTE, AttemptFailed(Blame.UPSTREAM, "no content in time"))
    assert out(health, clock) == 0


def test_a_last_resort_that_is_answered_brings_it_back_before_its_time(health: Health, clock: Clock):
    """If all are out, the one that is back soonest is tried: it may be well by then."""
    fail(health, times=FAILURES_IN_A_ROW)
    answer(health)
    assert out(health, clock) == 0


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(7.5, 7.5), (None, 5.0), (0.0, 5.0), (10_000.0, MAX_COOLDOWN_SECONDS), (float("inf"), 300.0)],
)
def test_a_rate_limit_cools_down_for_retry_after_and_at_most_five_minutes(
    health: Health, clock: Clock, retry_after: float | None, seconds: float
):
    fail(health, Blame.RATE, retry_after=retry_after)
    assert out(health, clock) == seconds
    clock.now += seconds
    assert out(health, clock) == 0
    assert health.begin(ROUTE)
    assert health.begin(ROUTE)  # nobody need probe


def test_a_later_longer_rate_limit_extends_and_a_shorter_one_does_not_shorten(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=60)
    clock.now += 10
    fail(health, Blame.RATE, retry_after=20)
    assert out(health, clock) == 50
    fail(health, Blame.RATE, retry_after=90)
    assert out(health, clock) == 90
    assert len(changes(health)) == 1


def test_an_answer_that_began_before_does_not_lift_a_rate_limit(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=60)
    answer(health)
    assert out(health, clock) == 60


def test_failures_do_not_shorten_a_rate_limit(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=200)
    fail(health, times=FAILURES_IN_A_ROW)
    assert out(health, clock) == 200


def test_a_refused_credential_takes_out_every_channel_that_has_it(health: Health, clock: Clock):
    one, other = OneRoute(credential="k"), OneRoute(channel_id=2, channel_name="other", credential="k")
    health.learn([one, other, OneRoute(channel_id=3, credential="l")])
    fail(health, Blame.CREDENTIAL, times=2, route=one)
    assert out(health, clock, one) == out(health, clock, other) == MAX_COOLDOWN_SECONDS
    assert out(health, clock, OneRoute(channel_id=3, credential="l")) == 0
    assert sorted((note.channel_id, note.what) for note in changes(health)) == [(1, "out"), (2, "out")]
    clock.now += MAX_COOLDOWN_SECONDS
    assert health.begin(other)
    assert out(health, clock, one) > 0  # one probe for all of them
    health.succeeded(other)
    assert out(health, clock, one) == out(health, clock, other) == 0
    assert sorted((note.channel_id, note.what) for note in changes(health)) == [(1, "back"), (2, "back")]


def test_without_a_key_a_refusal_is_the_channel_s_own(health: Health, clock: Clock):
    fail(health, Blame.CREDENTIAL, times=2)
    assert out(health, clock) == MAX_COOLDOWN_SECONDS
    assert out(health, clock, OneRoute(channel_id=2)) == 0


def test_an_unknown_model_takes_out_that_model_of_the_channel_alone(health: Health, clock: Clock):
    fail(health, Blame.SETUP, times=2)
    assert out(health, clock) == FIRST
    assert out(health, clock, OneRoute(upstream_id="other")) == 0
    answer(health, OneRoute(upstream_id="other"))
    assert out(health, clock) == FIRST
    clock.now += FIRST
    answer(health)
    assert out(health, clock) == 0
    assert [(note.what, note.upstream_id) for note in changes(health)] == [
        ("misconfigured", "gpt-4o"),
        ("back", "gpt-4o"),
    ]


def test_a_channel_that_begins_afresh_is_free_of_all_before(health: Health, clock: Clock):
    old = OneRoute(credential="k.0")
    fail(health, times=FAILURES_IN_A_ROW, route=old)
    for blame in (Blame.RATE, Blame.CREDENTIAL, Blame.SETUP):
        fail(health, blame, times=2, route=old)
    new = OneRoute(resets=1, credential="k.1")
    assert out(health, clock, new) == 0
    health.learn([new])
    assert health._breaker.states == {}


def test_the_time_to_first_content_is_averaged_and_the_latest_counts_most(health: Health):
    assert health.latency_seconds(ROUTE) is None
    for seconds in (1.0, 2.0, 2.0):
        health.succeeded(ROUTE, seconds)
    assert health.latency_seconds(ROUTE) == pytest.approx(1.36)
    assert health.latency_seconds(OneRoute(upstream_id="other")) is None


# a rate of failures


@pytest.mark.parametrize("percent", [20, 25, 35, 45])
def test_a_share_of_failures_takes_a_channel_out_though_never_many_in_a_row(health: Health, clock: Clock, percent: int):
    failed, draw = 0, random.Random(percent)
    for number in range(1, 61):
        clock.now += 0.1
        account = draw.randint(1, 3)
        if failed * 100 < number * percent:
            fail(health, accounts=[account])
            failed += 1
        else:
            answer(health, account=account)
        if out(health, clock):
            break
    assert out(health, clock) == pytest.approx(FIRST)
    assert failed >= FAILURES_IN_A_ROW
    assert "20 % of a minute's attempts" in changes(health)[0].why


def test_a_channel_that_seldom_fails_stays(health: Health, clock: Clock):
    for _ in range(200):
        for _ in range(9):
            answer(health)
        fail(health)
        clock.now += 1
        assert out(health, clock) == 0


def serve(health: Health, account_id: int, *, well: bool) -> None:
    health.begin(ROUTE)
    if well:
        health.succeeded(ROUTE, account_id=account_id)
    else:
        health.failed(ROUTE, AttemptFailed(Blame.UPSTREAM, "500"), account_id=account_id)


def test_one_accounts_failures_take_a_channel_out_only_where_nobody_else_can_tell(health: Health, clock: Clock):
    for _ in range(40):  # all that the first account asks for fails, and the second is always answered
        serve(health, 1, well=False)
        serve(health, 2, well=True)
    assert out(health, clock) == 0
    for _ in range(20):  # now the second meets it too
        serve(health, 2, well=False)
        serve(health, 2, well=True)
    assert out(health, clock) == FIRST
    two = Health(FIRST)
    for _ in range(RATE_ATTEMPTS):
        for account in (1, 2):
            serve(two, account, well=False)
            serve(two, account, well=True)
    assert out(two, clock) == FIRST


def test_that_others_were_served_before_doesnt_protect_a_channel_for_long(health: Health, clock: Clock):
    for _ in range(100):
        serve(health, 2, well=True)
    clock.now += RATE_WINDOW_SECONDS / 6
    for number in range(60):
        serve(health, 1 + 2 * (number % 2), well=False)
        serve(health, 1, well=True)
    assert out(health, clock) == FIRST


def test_what_fails_too_often_comes_back_by_a_probe_and_not_by_one_more_answer(health: Health, clock: Clock):
    for _ in range(RATE_ATTEMPTS):
        fail(health)
        answer(health)
    left = out(health, clock)
    assert 0 < left <= FIRST
    assert health.may_repeat(ROUTE, clock.now)  # where there is no other, asking it again is worth it
    answer(health)  # of a last resort
    assert out(health, clock) == left
    clock.now += left
    assert health.begin(ROUTE)
    assert not health.begin(ROUTE)
    health.succeeded(ROUTE)
    assert out(health, clock) == 0
    assert health.begin(ROUTE)


def test_what_failed_in_a_row_is_not_worth_repeating(health: Health, clock: Clock):
    assert health.may_repeat(ROUTE, clock.now)
    fail(health, times=FAILURES_IN_A_ROW - 1)
    assert health.may_repeat(ROUTE, clock.now)
    fail(health)
    assert not health.may_repeat(ROUTE, clock.now)


def test_whatever_failed_last_is_no_channel_to_move_on_to_for_free(health: Health, clock: Clock):
    assert health.is_well(ROUTE, clock.now)
    fail(health, times=2)
    assert not health.is_well(ROUTE, clock.now)
    assert health.is_well(OneRoute(channel_id=2), clock.now)
    answer(health)
    assert health.is_well(ROUTE, clock.now)
    fail(health, Blame.RATE, retry_after=1)
    clock.now += 1
    assert out(health, clock) == 0
    assert not health.is_well(ROUTE, clock.now)


# silence


def send(health: Health, times: int, route: OneRoute = ROUTE) -> None:
    """Let attempts begin and stay without any answer."""
    for _ in range(times):
        health.begin(route)
        health.sent(route)


def test_several_attempts_that_wait_far_longer_than_usual_make_a_channel_the_last_to_be_asked(
    health: Health, clock: Clock
):
    health.succeeded(ROUTE, 1.5)
    send(health, SILENT_ATTEMPTS)
    clock.now += 3.0  # twice as long as usual
    send(health, 1)
    assert health.all_well
    clock.now += 0.1
    send(health, 1)
    assert health.is_silent(ROUTE, clock.now)
    assert not health.is_well(ROUTE, clock.now)
    other = OneRoute(channel_id=2)
    assert health.rank(other, clock.now) < health.rank(ROUTE, clock.now) < (0.1, False)
    assert out(health, clock) == 0  # it is no failure
    assert changes(health) == []


@pytest.mark.parametrize("usual", [None, 0.01])
def test_without_knowing_better_silence_is_measured_by_the_time_that_a_first_content_may_take(
    clock: Clock, usual: float | None
):
    health = Health(FIRST, None, 60.0)
    if usual:
        health.succeeded(ROUTE, usual)
    send(health, SILENT_ATTEMPTS)
    clock.now += 2.0 if usual else 5.0
    send(health, 1)
    assert not health.is_silent(ROUTE, clock.now)
    clock.now += 0.01
    send(health, 1)
    assert health.is_silent(ROUTE, clock.now)


@pytest.mark.parametrize("sign", ["content", "answer", "a status"])
def test_one_sign_of_life_and_it_is_silent_no_more(health: Health, clock: Clock, sign: str):
    send(health, SILENT_ATTEMPTS)
    clock.now += 60
    health.begin(ROUTE)
    listened = health.sent(ROUTE)
    assert health.is_silent(ROUTE, clock.now)
    if sign == "content":
        health.heard(listened)
    elif sign == "answer":
        health.succeeded(ROUTE)
    else:
        health.failed(ROUTE, AttemptFailed(Blame.UPSTREAM, "500", status=500))
    assert not health.is_silent(ROUTE, clock.now)


def test_few_attempts_may_take_as_long_as_they_like(health: Health, clock: Clock):
    for _ in range(SILENT_ATTEMPTS):
        send(health, 1)
        clock.now += 100
    assert health.all_well


def test_a_silent_channel_is_looked_at_again_though_all_who_waited_have_left(health: Health, clock: Clock):
    send(health, SILENT_ATTEMPTS)
    clock.now += 60
    send(health, 1)
    for _ in range(SILENT_ATTEMPTS + 1):
        health.dropped(ROUTE)
    assert health.is_silent(ROUTE, clock.now)
    clock.now += FIRST
    assert not health.is_silent(ROUTE, clock.now)  # one may look
    send(health, 1)
    assert health.is_silent(ROUTE, clock.now)


def test_a_model_that_is_silent_says_nothing_of_the_channels_others(health: Health, clock: Clock):
    send(health, SILENT_ATTEMPTS)
    clock.now += 60
    send(health, 1)
    assert not health.is_silent(OneRoute(upstream_id="other"), clock.now)
    health.learn([OneRoute(resets=1)])
    assert health.all_well


DEEDS = st.lists(
    st.tuples(
        st.sampled_from(["send", "answer", "fail", "limit", "refuse", "unknown", "drop", "wait"]),
        st.integers(1, 3),  # the account
        st.integers(1, 20),  # times
    ),
    max_size=30,
)


@given(deeds=DEEDS)
def test_whatever_happened_nobody_is_locked_out_for_good(deeds: list[tuple[str, int, int]]):
    blames = {"fail": Blame.UPSTREAM, "limit": Blame.RATE, "refuse": Blame.CREDENTIAL, "unknown": Blame.SETUP}
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bridge.catalogue.health.time.monotonic", lambda: clock.now)
        health = Health(FIRST)
        for what, account, times in deeds:
            for _ in range(times):
                clock.now += 1.0 if what == "wait" else 0.01
                if what == "wait" or not (health.begin(ROUTE, account) or what == "send"):
                    continue
                health.sent(ROUTE, account)
                if what in blames:
                    health.failed(ROUTE, AttemptFailed(blames[what], "it failed"), account_id=account)
                elif what == "answer":
                    health.succeeded(ROUTE, 1.0, account_id=account)
                elif what == "drop":
                    health.dropped(ROUTE, account)
            assert 0 <= out(health, clock) <= MAX_COOLDOWN_SECONDS
        clock.now += MAX_COOLDOWN_SECONDS
        assert health.rank(ROUTE, clock.now) == (0.0, False)
        for account in range(4):
            assert health.begin(ROUTE, account)
            health.sent(ROUTE, account)
            health.succeeded(ROUTE, 1.0, account_id=account)
        assert health.all_well


def test_what_a_check_of_ours_meets_needs_nobody_to_confirm_it(health: Health):
    failure = AttemptFailed(Blame.CREDENTIAL, "401")
    health.failed(ROUTE, failure, account_id=OURS)
    assert health.seconds_out(ROUTE, Clock.now, 7) > 0


def test_a_channel_that_is_always_on_is_never_left(health: Health):
    route = dataclasses.replace(ROUTE, always_on=True)
    for blame in (Blame.UPSTREAM, Blame.CREDENTIAL, Blame.SETUP, Blame.RATE):
        for account in range(FAILURES_IN_A_ROW * 2):
            assert health.begin(route, account)
            health.failed(route, AttemptFailed(blame, "500", retry_after_seconds=60), account_id=account)
    assert health.seconds_out(route, Clock.now, 1) == 0
    assert health.is_well(route, Clock.now, 1)
