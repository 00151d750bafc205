"""When a channel is passed over, for how long, and what brings it back; never for good."""

import dataclasses
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.catalogue.health import FAILURES_IN_A_ROW, MAX_COOLDOWN_SECONDS, Health
from bridge.catalogue.tables import Channel
from bridge.db import db, transaction
from bridge.providers.base import AttemptFailed, Blame

FIRST = 30.0


@dataclasses.dataclass(frozen=True)
class OneRoute:
    """What health looks at."""

    channel_id: int = 1
    channel_name: str = "main"
    upstream_id: str = "gpt-4o"


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


def fail(health: Health, blame: Blame = Blame.UPSTREAM, times: int = 1, retry_after: float | None = None) -> None:
    for _ in range(times):
        health.failed(ROUTE, AttemptFailed(blame, "500", retry_after_seconds=retry_after))


def out(health: Health, clock: Clock, route: OneRoute = ROUTE) -> float:
    return health.seconds_out(route, clock.now)


def test_five_failures_in_a_row_take_a_channel_out(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW - 1)
    assert out(health, clock) == 0
    fail(health)
    assert out(health, clock) == FIRST
    assert out(health, clock, OneRoute(upstream_id="other")) == FIRST  # all its models
    assert out(health, clock, OneRoute(channel_id=2)) == 0


def test_an_answer_between_begins_the_count_anew(health: Health, clock: Clock):
    for _ in range(10):
        fail(health, times=FAILURES_IN_A_ROW - 1)
        health.succeeded(ROUTE)
    assert out(health, clock) == 0


def test_a_request_s_own_fault_says_nothing_about_the_channel(health: Health, clock: Clock):
    fail(health, Blame.REQUEST, times=50)
    assert out(health, clock) == 0
    assert health._notes == {}


def test_the_time_out_grows_with_each_failed_probe_up_to_five_minutes(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    found = []
    for _ in range(6):
        found.append(out(health, clock))
        clock.now += found[-1]
        assert out(health, clock) == 0  # it is tried again
        fail(health)
    assert found == [30, 60, 120, 240, 300, 300]


def test_a_burst_of_failures_takes_a_channel_out_once(health: Health, clock: Clock):
    """A hundred requests were under way when the upstream died: that is one failure, not twenty."""
    fail(health, times=100)
    assert out(health, clock) == FIRST


def test_one_good_probe_brings_it_back_and_forgets(health: Health, clock: Clock):
    fail(health, times=FAILURES_IN_A_ROW)
    clock.now += FIRST
    health.succeeded(ROUTE)
    fail(health, times=FAILURES_IN_A_ROW - 1)
    assert out(health, clock) == 0
    fail(health)
    assert out(health, clock) == FIRST


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [(7.5, 7.5), (None, 5.0), (0.0, 5.0), (10_000.0, MAX_COOLDOWN_SECONDS), (float("inf"), 300.0)],
)
def test_a_rate_limit_cools_down_for_retry_after_and_at_most_five_minutes(
    health: Health, clock: Clock, retry_after: float | None, seconds: float
):
    fail(health, Blame.RATE, retry_after=retry_after)
    assert out(health, clock) == seconds


def test_a_later_longer_rate_limit_extends_and_a_shorter_one_does_not_shorten(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=60)
    clock.now += 10
    fail(health, Blame.RATE, retry_after=20)
    assert out(health, clock) == 50
    fail(health, Blame.RATE, retry_after=90)
    assert out(health, clock) == 90


def test_an_answer_that_began_before_does_not_lift_a_rate_limit(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=60)
    health.succeeded(ROUTE)
    assert out(health, clock) == 60


def test_failures_do_not_shorten_a_rate_limit(health: Health, clock: Clock):
    fail(health, Blame.RATE, retry_after=200)
    fail(health, times=FAILURES_IN_A_ROW)
    assert out(health, clock) == 200


def test_a_refused_credential_takes_it_out_until_it_is_tried_again(health: Health, clock: Clock):
    fail(health, Blame.CREDENTIAL)
    assert out(health, clock) == MAX_COOLDOWN_SECONDS
    clock.now += MAX_COOLDOWN_SECONDS
    assert out(health, clock) == 0
    health.succeeded(ROUTE)
    fail(health)
    assert out(health, clock) == 0


def test_an_unknown_model_takes_out_that_model_of_the_channel_alone(health: Health, clock: Clock):
    fail(health, Blame.SETUP)
    assert out(health, clock) == FIRST
    assert out(health, clock, OneRoute(upstream_id="other")) == 0
    health.succeeded(ROUTE)
    assert out(health, clock) == 0


# what the operator's page shows


@pytest.fixture
def channel(app: Flask) -> OneRoute:
    with transaction() as session:
        row = Channel(name="main", provider="openai")
        session.add(row)
    return OneRoute(channel_id=row.id)


def show(health: Health) -> Channel:
    health.write_notes()
    row = db.session.scalars(sa.select(Channel)).one()
    db.session.refresh(row)
    db.session.commit()
    return row


def test_what_happened_is_noted_for_the_operator(channel: OneRoute):
    health = Health(FIRST)
    health.failed(channel, AttemptFailed(Blame.UPSTREAM, "500 " + "x" * 400))
    health.succeeded(channel)
    row = show(health)
    assert (row.health, row.cooling_until) == ("healthy", None)
    assert row.last_error == ("500 " + "x" * 400)[:300]  # an answer that follows does not hide the failure
    assert row.last_error_at is not None
    assert row.last_answer_at is not None


@pytest.mark.parametrize(
    ("blame", "health"),
    [(Blame.RATE, "cooling"), (Blame.CREDENTIAL, "out"), (Blame.SETUP, "misconfigured"), (Blame.UPSTREAM, "healthy")],
)
def test_the_page_says_what_is_wrong(channel: OneRoute, blame: Blame, health: str):
    found = Health(FIRST)
    found.failed(channel, AttemptFailed(blame, "why"))
    row = show(found)
    assert (row.health, row.last_error) == (health, "why")
    assert (row.cooling_until is not None) == (blame in (Blame.RATE, Blame.CREDENTIAL))


def test_a_rate_limited_channel_is_not_shown_healthy_before_its_time(channel: OneRoute, clock: Clock):
    health = Health(FIRST)
    health.failed(channel, AttemptFailed(Blame.RATE, "429", retry_after_seconds=60))
    health.succeeded(channel)
    assert show(health).health == "cooling"
    clock.now += 60
    health.succeeded(channel)
    assert show(health).health == "healthy"


def test_notes_are_written_once(channel: OneRoute):
    health = Health(FIRST)
    health.failed(channel, AttemptFailed(Blame.UPSTREAM, "why"))
    show(health)
    with transaction() as session:
        session.execute(sa.update(Channel).values(last_error="seen"))
    assert show(health).last_error == "seen"
