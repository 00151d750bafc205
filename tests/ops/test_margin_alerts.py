"""Operators get one mail when a model begins to be sold below cost and one when it no longer is."""

from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.accounts.customers import set_account_markup
from bridge.catalogue.model_editing import set_markup
from bridge.config import Settings
from bridge.db import db
from bridge.mail.tables import Mail
from bridge.ops.margin_alerts import queue_margin_alerts
from tests.factories import Factories, MadeAccount


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def operators(make: Factories) -> list[MadeAccount]:
    make.make_account()
    return [make.make_account(0, is_operator=True) for _ in range(2)]


def subjects() -> list[str]:
    return list(db.session.scalars(sa.select(Mail.subject).order_by(Mail.id)))


def test_each_change_of_state_is_told_once(operators: list[MadeAccount], settings: Settings):
    queue_margin_alerts(settings)
    assert subjects() == []
    set_markup("gpt-4o", -1_000, below_cost=True)
    for _ in range(3):
        queue_margin_alerts(settings)
    assert subjects() == ["AI Bridge: gpt-4o is sold below cost"] * 2
    text = db.session.scalar(sa.select(Mail.text).limit(1))
    assert "gpt-4o, input: customers pay $2.25, it costs $2.50" in text
    assert "/admin/models/one?id=gpt-4o" in text
    set_markup("gpt-4o", -2_000, below_cost=True)
    queue_margin_alerts(settings)
    assert len(subjects()) == 2
    set_markup("gpt-4o", 0)
    queue_margin_alerts(settings)
    queue_margin_alerts(settings)
    assert subjects()[2:] == ["AI Bridge: gpt-4o is no longer sold below cost"] * 2
    set_markup("gpt-4o", -1_000, below_cost=True)
    queue_margin_alerts(settings)
    assert len(subjects()) == 6


def test_an_account_s_own_markup_counts(operators: list[MadeAccount], settings: Settings, make: Factories):
    set_account_markup(make.make_account().id, -100)
    queue_margin_alerts(settings)
    (subject, _) = subjects()
    assert "models are sold below cost" in subject


def test_of_workers_that_look_at_once_one_tells(app: Flask, operators: list[MadeAccount], settings: Settings):
    set_markup("gpt-4o", -1_000, below_cost=True)

    def look() -> None:
        with app.app_context():
            queue_margin_alerts(settings)

    gevent.joinall([gevent.spawn(look) for _ in range(4)], raise_error=True)
    assert len(subjects()) == 2
