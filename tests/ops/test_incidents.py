"""Incidents: opened and closed by what channels' last calls were, one of each cause, and written by operators."""

import datetime
from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge.acts import Act, Actor
from bridge.catalogue import editing
from bridge.catalogue.incident_tables import Incident
from bridge.catalogue.incident_watch import watch_incidents
from bridge.catalogue.incidents import (
    AUTOMATIC,
    Told,
    correct_incident,
    correct_update,
    find_told,
    list_incidents,
    list_open,
    open_incident,
    post_update,
)
from bridge.catalogue.tables import Channel
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from tests.factories import Factories

OPERATOR = Actor("ops@example.com")
QUIET = 300.0
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def pair(make: Factories) -> list[str]:
    """Two models that one channel of Moonshot's serves alone."""
    models = [make.make_model(id_="kimi-a"), make.make_model(id_="kimi-b")]
    make.make_channel("http://127.0.0.1:9", *models, provider="moonshot", waits=False)
    return models


def change(calls: str, name: str = "", **columns: object) -> None:
    """The last calls of Moonshot's channel, or of the channel of this name, and what else its row is to have."""
    with transaction() as session:
        which = Channel.name == name if name else Channel.provider == "moonshot"
        session.execute(sa.update(Channel).where(which).values(recent=calls, **columns))


def only_open() -> Told:
    [one] = list_open()
    return one


def test_a_provider_that_fails_is_one_incident_of_all_its_models_and_closes_by_itself(pair: list[str]):
    watch_incidents(QUIET)
    assert list_incidents() == []
    with time_machine.travel(now_utc(), tick=False) as clock:
        change("f" * 10)
        watch_incidents(QUIET)
        watch_incidents(QUIET)
        one = only_open()
        assert (one.title, one.effect, one.troubled) == ("kimi-a and kimi-b are not served", "down", tuple(pair))
        [said] = one.updates
        assert (said.made_by, said.state) == (AUTOMATIC, "investigating")
        assert said.text == "Noticed automatically. Calls for kimi-a and kimi-b fail and cost nothing."
        clock.shift(60)
        change("f" * 10 + "a")
        watch_incidents(QUIET)
        assert only_open().troubled == ()
        clock.shift(QUIET - 1)
        watch_incidents(QUIET)
        assert only_open().is_open
        clock.shift(1)
        watch_incidents(QUIET)
        assert list_open() == ()
        [closed] = list_incidents()
    assert (closed.state, closed.seconds, closed.title) == ("resolved", 60, "kimi-a and kimi-b were not served")
    assert closed.updates[0].text == "All of its models can be called again."


@ON_SQLITE
def test_trouble_that_comes_back_before_the_quiet_time_is_over_is_the_same_incident(pair: list[str]):
    with time_machine.travel(now_utc(), tick=False) as clock:
        for calls in ("f", "fa", "faf", "fafa", "fafff"):
            change(calls)
            watch_incidents(QUIET)
            clock.shift(QUIET / 2)
        assert len(only_open().updates) == 1
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Incident)) == 1


@ON_SQLITE
def test_a_model_that_others_still_serve_is_degraded_and_no_news_to_customers_until_all_fail(
    make: Factories, pair: list[str]
):
    spare = make.make_channel("http://127.0.0.1:9", pair[0], priority=2, waits=False)
    change("ff")
    watch_incidents(QUIET)
    one = only_open()
    assert (one.effect, one.troubled) == ("down", tuple(pair))  # the other has no spare
    editing.update_channel(spare, models={model: model for model in pair})
    watch_incidents(QUIET)
    assert (only_open().effect, only_open().title) == ("degraded", "kimi-a and kimi-b are degraded")
    assert find_told(list_open(), pair) is None
    change("ff", name=spare)
    watch_incidents(QUIET)
    one = only_open()
    assert (one.effect, one.updates[0].text) == ("down", "Calls for kimi-a and kimi-b fail and cost nothing.")
    assert find_told(list_open(), ["kimi-a"]) == one
    assert find_told(list_open(), ["gpt-4o"]) is None


@ON_SQLITE
def test_a_single_rate_limit_a_channel_nobody_tried_and_one_switched_off_are_no_incidents(pair: list[str]):
    for calls in ("", "r", "aaaaaaf"):
        change(calls)
        watch_incidents(QUIET)
        assert list_open() == ()
    change("ff", enabled=False)
    watch_incidents(QUIET)
    assert list_open() == ()


@ON_SQLITE
def test_who_is_left_without_a_channel_is_not_better_off(pair: list[str]):
    change("ff")
    watch_incidents(QUIET)
    change("ff", enabled=False)
    watch_incidents(0)
    assert only_open().troubled == tuple(pair)


def test_workers_that_look_at_the_same_moment_open_one_and_close_it_once(app: Flask, pair: list[str]):
    def look() -> None:
        with app.app_context():
            watch_incidents(0)

    for calls in ("ff", "ffa"):
        change(calls)
        looks = [gevent.spawn(look) for _ in range(4)]
        gevent.joinall(looks, raise_error=True)
    [one] = list_incidents()
    assert not one.is_open
    assert [update.state for update in one.updates] == ["resolved", "investigating"]


@ON_SQLITE
def test_operators_write_correct_and_resolve_and_each_act_is_on_record(pair: list[str]):
    number = open_incident("kimi is slow", "We look into it.", OPERATOR, models=["kimi-a"], effect="degraded")
    post_update(number, "identified", "Ther provider is slow.", OPERATOR)
    wrong = only_open().updates[0]
    correct_update(wrong.id, "Their provider is slow.", OPERATOR)
    correct_incident(number, "kimi-a is slow", "degraded", OPERATOR)
    one = only_open()
    assert (one.title, one.state, one.opened_by) == ("kimi-a is slow", "identified", "ops@example.com")
    assert one.updates[0].text == "Their provider is slow."
    assert one.updates[0].corrected_at is not None
    assert find_told(list_open(), ["kimi-a"]) == one
    watch_incidents(0)  # what people opened stays until they close it
    assert only_open().is_open
    post_update(number, "resolved", "It is as quick as before.", OPERATOR)
    assert list_open() == ()
    with pytest.raises(InvalidRequest, match="open another one"):
        post_update(number, "monitoring", "Hm.", OPERATOR)
    lines = db.session.scalars(sa.select(Act).where(Act.what.startswith("incident_")).order_by(Act.id)).all()
    assert [line.what.removeprefix("incident_") for line in lines] == [
        *("opened", "updated", "corrected", "corrected", "closed")
    ]
    assert "Ther provider is slow. → Their provider is slow." in lines[2].detail


@ON_SQLITE
def test_what_still_fails_cannot_be_resolved_by_hand_and_its_effect_is_measured(pair: list[str]):
    change("ff")
    watch_incidents(QUIET)
    one = only_open()
    with pytest.raises(InvalidRequest, match="kimi-a and kimi-b still fail"):
        post_update(one.id, "resolved", "All is well.", OPERATOR)
    with pytest.raises(InvalidRequest, match="measured"):
        correct_incident(one.id, "", "none", OPERATOR)
    post_update(one.id, "identified", "Its balance with us ran out.", OPERATOR)
    assert only_open().updates[0].made_by == "ops@example.com"
    change("ffa")
    watch_incidents(QUIET)
    post_update(one.id, "resolved", "We have topped it up.", OPERATOR)
    assert list_open() == ()


@ON_SQLITE
def test_a_form_that_is_wrong_names_its_field(pair: list[str]):
    for param, fields in {
        "title": {"title": " "},
        "text": {"text": "x" * 2001},
        "effect": {"effect": "bad"},
        "state": {"state": "resolved"},
        "models": {"models": ["kimi-a", "nothing"]},
    }.items():
        with pytest.raises(InvalidRequest) as refused:
            open_incident(**{"title": "Slow", "text": "We look.", "actor": OPERATOR, **fields})
        assert refused.value.param == param
    assert list_incidents() == []


@ON_SQLITE
def test_incidents_older_than_ninety_days_are_told_no_more(pair: list[str]):
    with time_machine.travel(now_utc() - datetime.timedelta(days=91)):
        number = open_incident("Slow", "We look.", OPERATOR)
        assert [one.id for one in list_incidents()] == [number]
        post_update(number, "resolved", "Done.", OPERATOR)
    assert list_incidents() == []
