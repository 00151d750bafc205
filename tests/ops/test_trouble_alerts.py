"""Operators get one mail when a key of several is refused or a channel has failed for a while, and one when it ends."""

import datetime
from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge.catalogue import editing
from bridge.catalogue.channel_keys import add_key
from bridge.catalogue.health import Health
from bridge.catalogue.key_health import list_keys
from bridge.config import Settings
from bridge.db import db, now_utc
from bridge.mail.tables import Mail
from bridge.ops.channel_alerts import queue_channel_alerts
from bridge.ops.trouble_alerts import queue_trouble_alerts
from bridge.providers.base import AttemptFailed, Blame
from tests.catalogue.test_health import OneRoute
from tests.factories import Factories

MINUTE = datetime.timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _in_app(app: Flask, make: Factories) -> Iterator[None]:
    make.make_account()  # a customer, who gets no such mail
    make.make_account(0, is_operator=True)
    with app.app_context():
        yield


def tell(settings: Settings) -> list[Mail]:
    """The mails that one run of the job queues."""
    known = set(db.session.scalars(sa.select(Mail.id)))
    queue_channel_alerts(settings)
    queue_trouble_alerts(settings)
    return [mail for mail in db.session.scalars(sa.select(Mail).order_by(Mail.id)) if mail.id not in known]


def add(name: str = "main") -> OneRoute:
    channel = editing.add_channel(name, "openai", api_key="k")
    return OneRoute(channel_id=channel.id, channel_name=name)


def call(health: Health, route: OneRoute, *blames: Blame | None) -> None:
    """Calls of two accounts in turn, which end so; None is an answer."""
    for place, blame in enumerate(blames):
        if blame is None:
            health.succeeded(route, account_id=place % 2)
        else:
            health.begin(route, place % 2)
            health.failed(route, AttemptFailed(blame, "500 on fire"), account_id=place % 2)
    health.write_notes(at_the_end=True)


def test_a_refused_key_of_several_is_told_once_and_once_more_when_it_is_answered(settings: Settings):
    health = Health(30)
    editing.add_channel("main", "openai", api_key="sk-first-1111")
    add_key("main", "sk-second-2222", "spare")
    row = editing.find_channel("main")
    db.session.refresh(row)
    first, second = (
        OneRoute(channel_id=row.id, key_id=key.id, credential=key.last_four, resets=row.resets)
        for key in list_keys(row)
    )
    call(health, second, Blame.CREDENTIAL, Blame.CREDENTIAL)
    call(health, first, None)
    (mail,) = tell(settings)
    assert mail.subject == "AI Bridge: a key is refused"
    assert "OpenAI refuses key …2222 (spare) of channel main." in mail.text
    assert "500 on fire" in mail.text
    assert "/admin/channels/main" in mail.text
    call(health, second, Blame.CREDENTIAL, Blame.CREDENTIAL)
    assert tell(settings) == []
    call(health, first, Blame.CREDENTIAL, Blame.CREDENTIAL)  # the last one: now the channel is out
    assert [mail.subject for mail in tell(settings)] == ["AI Bridge: channel main needs you"]
    health.begin(second)
    call(health, second, None)
    subjects = {mail.subject for mail in tell(settings)}
    assert {"AI Bridge: a key is back", "AI Bridge: channel main is back"} <= subjects


def test_a_channel_that_fails_for_five_minutes_is_told_once_and_once_more_when_it_answers(settings: Settings):
    route, health = add(), Health(30)
    with time_machine.travel(now_utc(), tick=False) as clock:
        call(health, route, *(Blame.UPSTREAM,) * 10)
        clock.shift(4 * MINUTE)
        call(health, route, Blame.UPSTREAM)
        assert tell(settings) == []  # a short trouble passes without anybody's help
        clock.shift(2 * MINUTE)
        (mail,) = tell(settings)
        assert mail.subject == "AI Bridge: channel main is failing"
        assert "its last 10 calls failed: 500 on fire" in mail.text
        call(health, route, None)  # answered now and then: the same incident
        clock.shift(10 * MINUTE)
        assert tell(settings) == []
        call(health, route, *(None,) * 5)
        assert [mail.subject for mail in tell(settings)] == ["AI Bridge: channel main no longer fails"]
        call(health, route, *(Blame.UPSTREAM,) * 10)
        clock.shift(6 * MINUTE)
        assert len(tell(settings)) == 1  # the next incident


def test_a_model_that_fails_while_its_channel_answers_is_told_by_its_name(settings: Settings):
    good, health = add(), Health(30)
    bad = OneRoute(channel_id=good.channel_id, upstream_id="gpt-9")
    with time_machine.travel(now_utc(), tick=False) as clock:
        for _ in range(3):
            call(health, bad, Blame.UPSTREAM, Blame.UPSTREAM)
            clock.shift(MINUTE / 60)
            call(health, good, None)
        clock.shift(6 * MINUTE)
        call(health, good, None)
        (mail,) = tell(settings)
        assert "gpt-9: its last 6 calls failed: 500 on fire" in mail.text
        call(health, bad, None)
        assert [mail.subject for mail in tell(settings)] == ["AI Bridge: channel main no longer fails"]


def test_what_is_switched_off_or_has_a_new_key_is_nobodys_mail(settings: Settings):
    routes, health = [add(name) for name in ("off", "changed")], Health(30)
    with time_machine.travel(now_utc(), tick=False) as clock:
        for route in routes:
            call(health, route, *(Blame.UPSTREAM,) * 5)
        clock.shift(6 * MINUTE)
        editing.set_channel_enabled("off", False)
        editing.update_channel("changed", api_key="another")
        assert tell(settings) == []


def test_workers_that_look_at_the_same_moment_tell_once(app: Flask, settings: Settings):
    def look() -> None:
        with app.app_context():
            queue_trouble_alerts(settings)

    with time_machine.travel(now_utc(), tick=False) as clock:
        call(Health(30), add(), *(Blame.UPSTREAM,) * 5)
        clock.shift(6 * MINUTE)
        gevent.joinall([gevent.spawn(look) for _ in range(4)], raise_error=True)
    assert len(list(db.session.scalars(sa.select(Mail)))) == 1
