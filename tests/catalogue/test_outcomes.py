"""How calls of channels ended: counted by hour, in buckets that are fine enough, and the last ones in their order."""

import datetime
import random

import pytest
import sqlalchemy as sa
import time_machine

from bridge.catalogue import editing
from bridge.catalogue.channel_state import find_state, is_failing
from bridge.catalogue.health import Health
from bridge.catalogue.outcome_figures import NOTHING, find_quantile, read_figures
from bridge.catalogue.outcomes import KEPT_DAYS, OutcomeCounter, delete_old_outcomes
from bridge.catalogue.tables import Channel, ChannelOutcome
from bridge.db import db, now_utc, transaction
from tests.catalogue.test_health import OneRoute

pytestmark = pytest.mark.usefixtures("app")
SECOND = datetime.timedelta(seconds=1)


@pytest.fixture
def channel() -> OneRoute:
    with transaction() as session:
        row = Channel(name="main", provider="openai")
        session.add(row)
    return OneRoute(channel_id=row.id)


def recent() -> str:
    row = editing.find_channel("main")
    db.session.refresh(row)
    db.session.commit()
    return row.recent


def test_a_median_and_a_95th_percentile_are_right_to_an_eighth(channel: OneRoute):
    drawn, counter = random.Random(7), OutcomeCounter()
    times = sorted(drawn.lognormvariate(0, 1) for _ in range(2000))
    for seconds in times:
        counter.count(channel, "a", seconds, seconds)
    counter.write()
    figures = read_figures()[channel.channel_id].whole_day
    for share in (0.5, 0.95):
        found, true = find_quantile(figures.first, share), times[int(share * len(times))]
        assert found is not None
        assert abs(found - true) <= true / 8


def test_each_process_has_its_own_row_and_pages_add_them_up(channel: OneRoute):
    for answers in (2, 3):
        counter = OutcomeCounter()
        for _ in range(answers):
            counter.count(channel, "a", 0.1, 0.2)
            counter.write()
    assert db.session.scalar(sa.select(sa.func.count()).select_from(ChannelOutcome)) == 4
    assert read_figures().get(channel.channel_id, NOTHING).lately.answered == 5


def test_what_waited_is_put_before_the_failures_that_others_have_written_since(channel: OneRoute):
    quick, late = OutcomeCounter(), OutcomeCounter()
    with time_machine.travel(now_utc(), tick=False) as clock:
        quick.count(channel, "a")
        quick.write(at_the_end=True)
        late.count(channel, "a")
        clock.shift(SECOND)
        quick.count(channel, "f")
        quick.write()
        late.write(at_the_end=True)
    assert recent() == "aaf"


def test_a_call_from_before_a_channels_new_beginning_says_nothing_and_a_new_key_has_no_calls(channel: OneRoute):
    health = Health(30)
    health.succeeded(channel)
    health.write_notes(at_the_end=True)
    assert recent() == "a"
    health.succeeded(channel)
    editing.set_channel_enabled("main", True)  # another beginning, of the same key
    health.write_notes(at_the_end=True)
    assert recent() == "a"
    editing.update_channel("main", api_key="another")
    row = editing.find_channel("main")
    assert (row.recent, find_state(row).code) == ("", "untested")


@pytest.mark.parametrize(
    ("calls", "fails", "code"),
    [
        ("f", True, "failing"),
        ("r", False, "unsteady"),
        ("rrrrr", True, "failing"),
        ("aaaaaf", False, "unsteady"),
        ("aaaaffffff", True, "failing"),
        ("kkk", True, "out"),
        ("ffffffffffa", False, "recovering"),
        ("f" * 10 + "a" * 20, False, "healthy"),
        ("a" * 95 + "f" * 4 + "a", False, "healthy"),
        ("a" * 80 + "f" * 19 + "a", False, "recovering"),
        ("fa" * 10, False, "unsteady"),
    ],
)
def test_a_state_is_told_by_the_last_calls(channel: OneRoute, calls: str, fails: bool, code: str):
    with transaction() as session:
        session.execute(sa.update(Channel).values(recent=calls, last_error="500"))
    row = editing.find_channel("main")
    db.session.refresh(row)
    assert (is_failing(calls), find_state(row).code) == (fails, code)


def test_hours_older_than_thirty_days_are_forgotten(channel: OneRoute):
    counter = OutcomeCounter()
    with time_machine.travel(now_utc() - datetime.timedelta(days=KEPT_DAYS, hours=1)):
        counter.count(channel, "a")
        counter.write()
    delete_old_outcomes()
    assert db.session.scalars(sa.select(ChannelOutcome)).all() == []
