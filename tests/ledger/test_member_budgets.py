"""What all keys of a member may spend in a month: one window that they share, on both engines."""

import datetime
from collections.abc import Iterator

import gevent
import msgspec
import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.accounts.key_owners import count_keys_by_member
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import MemberBudget, give_key
from bridge.accounts.tables import Membership
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.ledger.batch import FundsQuery, HoldOrder, Settlement
from bridge.ledger.budget_alerts import queue_budget_alerts
from bridge.ledger.budgets import find_member_window, list_windows, name_scope
from bridge.ledger.member_budgets import count_spend_so_far, find_member_budget, list_member_spend
from bridge.ledger.refunds import refund_request
from bridge.ledger.writer import Writer
from bridge.mail.tables import Mail
from tests.factories import DOLLAR, Factories
from tests.ledger.orders import MOMENT, TODAY, Ledger, order_charge, order_hold
from tests.ledger.records import add_record
from tests.members import add_member, make_key_of

FIRST = TODAY.replace(day=1)
MEMBER = 7
PLAIN = KeyTerms(name="k")


def order(account: int, amount: int, key: int = 7001, month_nanos: int = 60, member: int = MEMBER) -> HoldOrder:
    windows = list_windows(PLAIN, None, MOMENT, member=MemberBudget(member, month_nanos))
    return order_hold(account, amount, key_id=key, budgets=windows)


def find(ledger: Ledger, account: int, member: int = MEMBER) -> tuple[int, int]:
    return ledger.find_budget(-account, FIRST, "month", f"member:{member}")


def test_two_keys_of_a_member_at_once_spend_no_more_than_the_member_may(ledger: Ledger):
    """From two workers, each with a connection of its own."""
    writers = [ledger.writer, Writer(ledger.app.config["BRIDGE"])]
    account = ledger.open_account(1000)
    calls = [
        gevent.spawn(writer.place_hold, order(account, 10, key))
        for _ in range(10)
        for key in (7001, 7002)
        for writer in writers
    ]
    results = [call.get() for call in calls]
    writers[1].close()
    assert sorted((result.held_nanos, result.refused) for result in results) == [(0, "budget")] * 34 + [(10, "")] * 6
    assert find(ledger, account) == (60, 0)
    assert ledger.commit(order(account, 10, member=8))[0].held_nanos == 10  # nobody else's is touched
    assert ledger.find_money(account) == (1000, 70)


def test_a_refusal_reads_what_is_left_of_the_budget_where_it_lies(ledger: Ledger):
    account = ledger.open_account(1000)
    held = order(account, 40)
    ledger.commit(held)
    query = FundsQuery(held.request_id, account, 7002, held.budgets or ())
    assert ledger.commit(query)[0].budgets == ((40, 0),)


def test_what_is_not_spent_and_what_is_refunded_goes_back_to_the_member(ledger: Ledger):
    account = ledger.open_account(1000)
    charged, released = order(account, 30), order(account, 30, 7002)
    ledger.commit(charged, released)
    budgets = [(window.period, window.start, name_scope(window)) for window in charged.budgets or ()]
    pricing = msgspec.json.encode({"budgets": budgets}).decode()
    ledger.commit(order_charge(charged, 25, pricing=pricing), Settlement(released.request_id, MOMENT))
    assert find(ledger, account) == (0, 25)
    refund_request(charged.request_id, reason="empty", made_by="a test")
    assert find(ledger, account) == (0, 0)


def test_the_member_s_spend_is_that_of_their_keys_and_a_new_budget_counts_it(app: Flask, make: Factories):
    account = make.make_account()
    ada, kim = (add_member(app, account, "developer") for _ in range(2))
    with app.app_context():
        keys = [make_key_of(app, ada), make_key_of(app, ada), make_key_of(app, kim), make.make_key(account)]
        for key, nanos in zip(keys, (5, 7, 11, 13), strict=True):
            add_record(account.id, key_id=key.id, charge_nanos=nanos)
        assert list_member_spend(account.id) == {ada.id: 12, kim.id: 11}
        assert count_keys_by_member(account.id) == {ada.id: 2, kim.id: 1}
        for _ in range(2):  # setting it again counts nothing twice
            with transaction() as session:
                theirs = (Membership.account_id == account.id, Membership.member_id == ada.id)
                session.execute(sa.update(Membership).where(*theirs).values(budget_month_nanos=20))
                count_spend_so_far(session, account.id, ada.id)
        budget = find_member_budget(account.id, ada.id)
        assert budget
        assert (budget.spent_nanos, budget.left_nanos) == (12, 8)
        assert find_member_budget(account.id, kim.id) is None
        give_key(account.id, keys[0].id, kim.id)
        assert list_member_spend(account.id) == {ada.id: 12, kim.id: 16}  # a budget gives nothing back


@pytest.fixture
def writer(settings: Settings) -> Iterator[Writer]:
    writer = Writer(settings)
    yield writer
    writer.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_owners_and_the_member_hear_of_it_and_only_owners_may_switch_that_off(
    app: Flask, settings: Settings, make: Factories, writer: Writer
):
    account = make.make_account()
    ada = add_member(app, account, "developer", DOLLAR)
    key = make_key_of(app, ada)
    windows = (find_member_window(MemberBudget(ada.id, DOLLAR), now_utc()),)
    with app.app_context():
        for nanos in (DOLLAR * 4 // 5, DOLLAR // 5):
            hold = order_hold(account.id, nanos, key_id=key.id, created_at=now_utc(), budgets=windows)
            writer.place_hold(hold)
            writer.settle(order_charge(hold, nanos))
            assert [queue_budget_alerts(settings) for _ in range(2)] == [1, 0]
        db.session.commit()
        mails = list(db.session.scalars(sa.select(Mail).order_by(Mail.id)))
    said = {(mail.recipient, mail.subject) for mail in mails}
    assert said == {
        (reader, f"{ada.email} has {what}")
        for reader in (account.email, ada.email)
        for what in ("spent 80% of their budget", "used up their budget")
    }
    assert {mail.recipient for mail in mails if mail.off_url} == {account.email}
    next_month = (now_utc().date().replace(day=1) + datetime.timedelta(days=31)).replace(day=1)
    assert all(f"starts again at 00:00 UTC on {next_month}" in mail.text for mail in mails)
