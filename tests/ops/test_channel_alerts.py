"""Operators get one mail when a channel needs them and one when it is back, whichever workers look."""

from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.catalogue import editing
from bridge.catalogue.breaker_states import FAILURES_IN_A_ROW
from bridge.catalogue.channel_events import record_test
from bridge.catalogue.health import Health
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.db import db
from bridge.mail.tables import Mail
from bridge.ops.channel_alerts import queue_channel_alerts
from bridge.providers.base import AttemptFailed, Blame
from tests.catalogue.test_health import OneRoute
from tests.factories import Factories, MadeAccount


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def operators(make: Factories) -> list[MadeAccount]:
    make.make_account()  # a customer, who gets no such mail
    return [make.make_account(0, is_operator=True) for _ in range(2)]


def add(name: str) -> OneRoute:
    channel = editing.add_channel(name, "openai", api_key="k")
    return OneRoute(channel_id=channel.id, channel_name=name, credential="k")


def fail(health: Health, route: OneRoute, blame: Blame, times: int = 2) -> None:
    """Let attempts of two accounts fail in turn."""
    for account in range(times):
        health.begin(route, account % 2)
        health.failed(route, AttemptFailed(blame, "401 invalid_api_key"), account_id=account % 2)
    health.write_notes()


def tell(settings: Settings) -> list[Mail]:
    """The mails that one run of the job queues."""
    known = set(db.session.scalars(sa.select(Mail.id)))
    queue_channel_alerts(settings)
    return [mail for mail in db.session.scalars(sa.select(Mail).order_by(Mail.id)) if mail.id not in known]


def test_a_refused_key_is_told_once_and_once_more_when_it_is_back(settings: Settings, operators: list[MadeAccount]):
    main, health = add("main"), Health(30)
    fail(health, main, Blame.CREDENTIAL, times=3)
    fail(Health(30), main, Blame.CREDENTIAL)  # another worker without Redis
    mails = tell(settings)
    assert [mail.recipient for mail in mails] == [operator.email for operator in operators]
    assert mails[0].subject == "AI Bridge: channel main needs you"
    assert "OpenAI refuses its key" in mails[0].text
    assert "401 invalid_api_key" in mails[0].text
    assert "/admin/channels/main" in mails[0].text
    assert tell(settings) == []
    health.begin(main)
    health.succeeded(main)
    health.write_notes()
    assert [mail.subject for mail in tell(settings)] == ["AI Bridge: channel main is back"] * 2
    assert tell(settings) == []
    fail(health, main, Blame.CREDENTIAL)
    assert len(tell(settings)) == 2  # the next incident


def test_channels_that_share_a_key_are_one_mail(settings: Settings, operators: list[MadeAccount]):
    routes, health = [add(name) for name in ("a", "b")], Health(30)
    health.learn(routes)
    fail(health, routes[0], Blame.CREDENTIAL)
    mails = tell(settings)
    assert [mail.subject for mail in mails] == ["AI Bridge: 2 channels need you"] * 2
    assert all(f"/admin/channels/{name}" in mails[0].text for name in "ab")


def test_a_model_that_the_upstream_has_not_is_told(settings: Settings, operators: list[MadeAccount]):
    fail(Health(30), add("main"), Blame.SETUP)
    assert "its upstream has no gpt-4o" in tell(settings)[0].text


def test_an_answered_test_is_the_end_of_it(settings: Settings, operators: list[MadeAccount]):
    fail(Health(30), add("main"), Blame.CREDENTIAL)
    assert len(tell(settings)) == 2
    record_test("main", False, "It did not answer.")
    assert tell(settings) == []
    record_test("main", True, "It answered.")
    assert [mail.subject for mail in tell(settings)] == ["AI Bridge: channel main is back"] * 2


@pytest.mark.usefixtures("operators")
def test_what_passes_by_itself_or_is_already_changed_is_nobodys_mail(settings: Settings):
    failing, limited, changed, off = (add(name) for name in ("failing", "limited", "changed", "off"))
    fail(Health(30), failing, Blame.UPSTREAM, times=FAILURES_IN_A_ROW)
    fail(Health(30), limited, Blame.RATE)
    fail(Health(30), changed, Blame.CREDENTIAL)
    editing.update_channel("changed", api_key="l")
    fail(Health(30), off, Blame.CREDENTIAL)
    editing.set_channel_enabled("off", False)
    assert tell(settings) == []


def test_workers_that_look_at_the_same_moment_tell_once(app: Flask, settings: Settings, operators: list[MadeAccount]):
    def look() -> None:
        with app.app_context():
            queue_channel_alerts(settings)

    fail(Health(30), add("main"), Blame.CREDENTIAL)
    gevent.joinall([gevent.spawn(look) for _ in range(4)], raise_error=True)
    assert len(list(db.session.scalars(sa.select(Mail)))) == len(operators)
    assert db.session.scalars(sa.select(Channel.incidents).where(Channel.name == "main")).one() == 1
