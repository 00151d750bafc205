"""When a channel is passed over, for how long, who probes it, and what brings it back; never for good."""

import dataclasses
from collections.abc import Iterator

import pytest

from bridge.catalogue.breaker import FAILURES_IN_A_ROW, RATE_ATTEMPTS, RATE_WINDOW_SECONDS
from bridge.catalogue.channel_events import Note
from bridge.catalogue.health import MAX_COOLDOWN_SECONDS, PROBE_SECONDS, Health
from bridge.providers.base import AttemptFailed, Blame

FIRST = 30.0


@dataclasses.dataclass(frozen=True)
class OneRoute:
    """What health looks at."""

    channel_id: int = 1
    channel_name: str = "main"
    upstream_id: str = "gpt-4o"
    resets: int = 0
    credential: str = ""


ROUTE = OneRoute()


class Clock:
    """The monotonic clock, in a test's hand."""

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
) -> None:
    """Attempts that begin and fail."""
    for _ in range(times):
        health.begin(route)
        health.failed(route, AttemptFailed(blame, "500", retry_after_seconds=retry_after))


def answer(health: Health, route: OneRoute = ROUTE) -> None:
    """An attempt that begins and is answered."""
    health.begin(route)
    health.succeeded(route)


def out(health: Health, clock: Clock, route: OneRoute = ROUTE) -> float:
    return health.seconds_out(route, clock.now)


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
        clock.now += RATE_WINDOW_SECONDS  # so that the rate of errors has no say
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
    """Where all are out, whoever is least so is tried: it may be well by then."""
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
    fail(health, Blame.CREDENTIAL, route=one)
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
    fail(health, Blame.CREDENTIAL)
    assert out(health, clock) == MAX_COOLDOWN_SECONDS
    assert out(health, clock, OneRoute(channel_id=2)) == 0


def test_an_unknown_model_takes_out_that_model_of_the_channel_alone(health: Health, clock: Clock):
    fail(health, Blame.SETUP)
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
        fail(health, blame, route=old)
    new = OneRoute(resets=1, credential="k.1")
    assert out(health, clock, new) == 0
    health.learn([new])
    assert health._states == {}


def test_the_time_to_first_content_is_averaged_and_the_latest_counts_most(health: Health):
    assert health.latency_seconds(ROUTE) is None
    for seconds in (1.0, 2.0, 2.0):
        health.succeeded(ROUTE, seconds)
    assert health.latency_seconds(ROUTE) == pytest.approx(1.36)
    assert health.latency_seconds(OneRoute(upstream_id="other")) is None
