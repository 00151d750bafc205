"""The books are checked once a night by one worker; differences are a line per account, a mail and a page."""

import dataclasses
import datetime
from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask, current_app
from flask.testing import FlaskClient

from bridge.config import Settings
from bridge.daily import LEDGER_CHECK, list_days
from bridge.db import db, now_utc, transaction
from bridge.ledger.rollups import Sums
from bridge.ledger.statement import Statement
from bridge.ledger.writer import Writer
from bridge.mail.tables import Mail
from bridge.ops import books
from bridge.ops.books import check_books, join_by_subject
from bridge.ops.nightly import check_nightly
from bridge.payments.codes import create_batch, redeem
from tests.dashboard.pages import sign_in
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.orders import order_charge, order_hold
from tests.ledger.records import add_record

NIGHT = datetime.datetime(2026, 3, 10, 4, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def operators(make: Factories) -> list[MadeAccount]:
    return [make.make_account(0, is_operator=True) for _ in range(2)]


def damage(statement: str, **values: int) -> None:
    with transaction() as session:
        session.execute(sa.text(statement), values)


def mails() -> list[Mail]:
    db.session.commit()
    return list(db.session.scalars(sa.select(Mail).order_by(Mail.id)))


def results() -> list[tuple[datetime.date, bool, int]]:
    db.session.commit()
    return [(job.day, job.finished_at is not None, len(job.complaints)) for job in list_days(LEDGER_CHECK)]


def test_exact_books_are_a_good_end_and_no_mail(settings: Settings, make: Factories, operators: list[MadeAccount]):
    make.make_account()
    with time_machine.travel(NIGHT):
        check_nightly(settings)
    assert results() == [(NIGHT.date(), True, 0)]
    assert mails() == []


def test_differences_are_told_to_every_operator_once_a_night(
    app: Flask, settings: Settings, make: Factories, operators: list[MadeAccount]
):
    account = make.make_account()
    damage("UPDATE balances SET balance_nanos = balance_nanos + 1 WHERE account_id = :id", id=account.id)

    def look() -> None:
        with app.app_context():
            check_nightly(settings)

    with time_machine.travel(NIGHT):
        gevent.joinall([gevent.spawn(look) for _ in range(4)], raise_error=True)
        check_nightly(settings)
    assert results() == [(NIGHT.date(), True, 1)]
    assert sorted(mail.recipient for mail in mails()) == sorted(operator.email for operator in operators)
    assert mails()[0].subject == "AI Bridge: the ledger has 1 difference"
    assert f"account {account.id}: balance is 10.000000001" in mails()[0].text
    with time_machine.travel(NIGHT + datetime.timedelta(days=1)):
        check_nightly(settings)
    assert len(mails()) == 4


def test_nothing_is_checked_before_its_hour(settings: Settings):
    with time_machine.travel(NIGHT.replace(hour=2, minute=59)):
        check_nightly(settings)
    assert results() == []
    with time_machine.travel(NIGHT.replace(hour=2, minute=59)):
        check_nightly(dataclasses.replace(settings, nightly_hour=0))
    assert len(results()) == 1


def test_an_account_that_differs_in_several_ways_is_one_line(app: Flask, make: Factories):
    account, other = make.make_account(), make.make_account()
    made = create_batch(DOLLAR, 1, made_by="x")
    assert made
    redeem(account.id, made.codes[0], made_by="x")
    damage(
        "UPDATE balances SET balance_nanos = balance_nanos + 5, held_nanos = 1 WHERE account_id = :id", id=account.id
    )
    damage("UPDATE codes SET redeemed_by = NULL, redeemed_at = NULL")
    damage("UPDATE balances SET held_nanos = 2 WHERE account_id = :id", id=other.id)
    result = app.test_cli_runner().invoke(args=["ledger", "check"])
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith(f"account {account.id}: balance is 11.000000005")
    assert "; held is 0.000000001" in first
    assert "a code that nobody redeemed" in first
    assert second.startswith(f"account {other.id}: held is 0.000000002")


def test_the_command_is_content_with_exact_books(app: Flask, make: Factories):
    make.make_account()
    result = app.test_cli_runner().invoke(args=["ledger", "check"])
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_usage_page_that_shows_something_else_is_named(make: Factories, monkeypatch: pytest.MonkeyPatch):
    key = make.make_key()
    hold = order_hold(key.account_id, 40, key_id=key.id)
    writer = Writer(current_app.config["BRIDGE"])
    try:
        writer.place_hold(hold)
        writer.settle(order_charge(hold, 30))
        assert check_books() == []
        monkeypatch.setattr(books, "sum_usage", lambda _wanted: Sums(1, 29))
        (line,) = check_books()
    finally:
        writer.close()
    assert line == f"account {key.account_id}: its usage page shows 0.000000029, its charges are 0.00000003"


def test_a_chart_or_a_statement_that_shows_something_else_is_named(make: Factories, monkeypatch: pytest.MonkeyPatch):
    account = make.make_account(DOLLAR)
    add_record(account.id)
    damage("UPDATE balances SET balance_nanos = balance_nanos - 3000000")
    assert check_books() == []
    monkeypatch.setattr(books, "sum_spans", lambda _wanted: [])
    monkeypatch.setattr(books, "read_statement", lambda *_: Statement(NIGHT.date(), 0, [], 7))
    (line,) = check_books()
    assert line == (
        f"account {account.id}: its chart shows 0, its charges are 0.003; "
        "its statement ends with 0.000000007, its balance is 0.997"
    )


def test_the_night_works_out_the_charges_of_two_days(settings: Settings, make: Factories):
    account = make.make_account(DOLLAR)
    add_record(account.id, completion_tokens=99, created_at=NIGHT - datetime.timedelta(hours=49))
    damage("UPDATE balances SET balance_nanos = balance_nanos - 3000000")
    with time_machine.travel(NIGHT):
        check_nightly(settings)
    add_record(account.id, completion_tokens=99, charge_nanos=0, created_at=NIGHT - datetime.timedelta(hours=23))
    with time_machine.travel(NIGHT + datetime.timedelta(days=1)):
        check_nightly(settings)
    assert sorted(results()) == [(NIGHT.date(), True, 0), (NIGHT.date() + datetime.timedelta(days=1), True, 1)]


def test_lines_keep_their_order():
    assert join_by_subject(["key 1: a", "account 1: b", "key 1: c: d"]) == ["key 1: a; c: d", "account 1: b"]


def test_a_payment_without_its_entry_is_named(make: Factories):
    account = make.make_account()
    damage(
        "INSERT INTO payments (id, account_id, kind, state, amount_minor, currency, credit_nanos, returned_nanos,"
        " payment_intent, keeps_card, created_at, paid_at) VALUES ('pay_1', :id, 'checkout', 'paid', 500, 'usd',"
        " 5000000000, 0, 'pi_1', false, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)",
        id=account.id,
    )
    (line,) = check_books()
    assert line.startswith(f"account {account.id}: payment pay_1")


def test_operators_see_the_nights_and_where_mails_go(
    app: Flask, client: FlaskClient, settings: Settings, make: Factories, operators: list[MadeAccount]
):
    operator, account = operators[0], make.make_account()
    sign_in(client, operator.email, operator.password)
    assert "It has not run yet" in client.get("/admin/system").text
    check_nightly(dataclasses.replace(settings, nightly_hour=0))
    page = client.get("/admin/system").text
    assert "Exact" in page
    assert "No mail server is set" in page
    damage("UPDATE balances SET balance_nanos = 1 WHERE account_id = :id", id=account.id)
    with time_machine.travel(now_utc() + datetime.timedelta(days=1)):
        check_nightly(dataclasses.replace(settings, nightly_hour=0))
    page = client.get("/admin/system").text
    assert "The ledger does not add up." in page
    assert f"account {account.id}: balance is 0.000000001" in page
