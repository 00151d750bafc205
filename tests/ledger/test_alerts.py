"""An owner gets one mail each time the balance falls below the threshold, however many requests and workers there
are."""

from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.config import Settings
from bridge.db import db, transaction
from bridge.errors import InvalidRequest
from bridge.ledger.alerts import (
    find_alert,
    make_off_token,
    queue_balance_alerts,
    read_off_token,
    set_alert,
    turn_alert_off,
    write_alert,
)
from bridge.ledger.ledger import adjust, credit
from bridge.ledger.tables import Balance
from bridge.mail.tables import Mail
from bridge.money import MAX_NANOS
from tests.factories import DOLLAR, Factories, MadeAccount


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    """An account with $10 and an alert below $5."""
    account = make.make_account()
    set_alert(account.id, 5 * DOLLAR)
    return account


def spend(account: MadeAccount, nanos: int) -> None:
    adjust(account.id, -nanos, note="spent", made_by="a test")


def mails() -> list[Mail]:
    db.session.commit()
    return list(db.session.scalars(sa.select(Mail).order_by(Mail.id)))


def test_one_mail_for_each_fall(settings: Settings, account: MadeAccount):
    assert queue_balance_alerts(settings) == 0
    spend(account, 5 * DOLLAR)
    assert queue_balance_alerts(settings) == 0  # at the threshold is not below it
    spend(account, 1)
    assert queue_balance_alerts(settings) == 1
    spend(account, DOLLAR)
    assert queue_balance_alerts(settings) == 0
    credit(account.id, DOLLAR, source="operator")  # still a nano below
    assert queue_balance_alerts(settings) == 0
    spend(account, DOLLAR)
    assert queue_balance_alerts(settings) == 0
    credit(account.id, 10 * DOLLAR, source="operator")
    assert queue_balance_alerts(settings) == 0
    spend(account, 10 * DOLLAR)
    assert queue_balance_alerts(settings) == 1
    assert [mail.recipient for mail in mails()] == [account.email] * 2


def test_however_many_workers_look_one_tells(app: Flask, settings: Settings, account: MadeAccount):
    spend(account, 6 * DOLLAR)

    def look() -> int:
        with app.app_context():
            return queue_balance_alerts(settings)

    workers = [gevent.spawn(look) for _ in range(6)]
    assert sum(worker.get() for worker in workers) == 1
    assert len(mails()) == 1


def test_holds_that_come_and_go_are_no_fall(settings: Settings, account: MadeAccount):
    with transaction() as session:
        session.execute(sa.update(Balance).where(Balance.account_id == account.id).values(held_nanos=9 * DOLLAR))
    assert queue_balance_alerts(settings) == 0
    with transaction() as session:
        session.execute(sa.update(Balance).where(Balance.account_id == account.id).values(held_nanos=0))


def test_a_balance_that_is_low_when_the_threshold_is_set_is_no_news(settings: Settings, account: MadeAccount):
    set_alert(account.id, 20 * DOLLAR)
    assert queue_balance_alerts(settings) == 0
    alert = find_alert(account.id)
    assert alert
    assert not alert.armed
    credit(account.id, 15 * DOLLAR, source="operator")
    queue_balance_alerts(settings)
    spend(account, 15 * DOLLAR)
    assert queue_balance_alerts(settings) == 1


def test_turned_off_is_silent_and_on_again_tells(settings: Settings, account: MadeAccount):
    turn_alert_off(account.id)
    spend(account, 6 * DOLLAR)
    assert queue_balance_alerts(settings) == 0
    set_alert(account.id, 3 * DOLLAR)
    spend(account, 2 * DOLLAR)
    assert queue_balance_alerts(settings) == 1
    assert "below $3.00" in mails()[0].subject


def test_an_account_without_a_threshold_is_left_alone(settings: Settings, make: Factories):
    spend(make.make_account(), 12 * DOLLAR)
    assert queue_balance_alerts(settings) == 0


def test_the_mail_says_what_is_left_what_follows_and_how_to_end_it(settings: Settings, account: MadeAccount):
    spend(account, 5_001_000_001)
    queue_balance_alerts(settings)
    (mail,) = mails()
    assert mail.subject == "Your AI Bridge balance is below $5.00"
    assert "Your balance is $4.99, below the $5.00" in mail.text  # rounded down
    assert f"{settings.site_url}/dashboard/billing" in mail.text
    assert mail.off_url
    assert mail.off_url in mail.text
    assert read_off_token(settings, mail.off_url.rpartition("/")[2]) == account.id


@pytest.mark.parametrize(("balance", "said"), [(0, "$0.00"), (-1, "-$0.01"), (-1_500_000_000, "-$1.50")])
def test_an_empty_balance_says_that_requests_are_refused(settings: Settings, balance: int, said: str):
    _subject, text, _off = write_alert(settings, 1, balance, 5 * DOLLAR)
    assert f"Your balance is {said}, below" in text
    assert "are refused with 402 until you add money" in text


def test_only_our_own_word_turns_mails_off(settings: Settings):
    token = make_off_token(settings, 7)
    assert read_off_token(settings, token) == 7
    for forged in (token[:-1], "8." + token.partition(".")[2], "", "7", "x" * 3000):
        assert read_off_token(settings, forged) is None


@pytest.mark.parametrize("threshold", [None, 0, -1, MAX_NANOS + 1])
def test_a_threshold_is_more_than_zero(make: Factories, threshold: int | None):
    account = make.make_account()
    with pytest.raises(InvalidRequest):
        set_alert(account.id, threshold)
    assert find_alert(account.id) is None
