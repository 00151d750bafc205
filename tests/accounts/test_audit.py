"""The audit log is append-only in the database itself: what the code forgets or a person types changes no line. What
has to go still goes: lines of more than a year, and the people of a deleted account."""

import datetime

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.exc import DBAPIError

from bridge.accounts.audit import KINDS
from bridge.accounts.customers import set_account_limits
from bridge.accounts.emails import find_by_email
from bridge.acts import COMMAND, OPERATORS_WORDS, WORDS, Act, Actor, forget_old_acts, record_act
from bridge.db import db, now_utc, transaction
from bridge.payments.leaving import delete_account
from tests.factories import Factories

HERS = Actor("ada@example.com", "192.0.2.1")


def test_each_act_is_of_one_kind():
    sorted_ = [word for _, words in KINDS.values() for word in words]
    assert len(sorted_) == len(set(sorted_))
    assert {*WORDS, *OPERATORS_WORDS} - set(sorted_) == {"vault"}  # the only one that is "other"
    assert set(sorted_) <= {*WORDS, *OPERATORS_WORDS}


def list_acts_of(account_id: int | None) -> list[str]:
    db.session.rollback()
    return list(db.session.scalars(sa.select(Act.what).where(Act.account_id == account_id).order_by(Act.id)))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE acts SET detail = 'never happened'",
        "UPDATE acts SET created_at = '2001-01-01 00:00:00'",
        "DELETE FROM acts",
        "DELETE FROM acts WHERE what = 'sign_up'",
    ],
)
def test_no_statement_changes_or_removes_a_line(app: Flask, make: Factories, statement: str):
    account = make.make_account()
    with app.app_context():
        before = list_acts_of(account.id)
        with pytest.raises(DBAPIError, match="append-only"), transaction() as session:
            session.execute(sa.text(statement))
        assert list_acts_of(account.id) == before


def test_lines_are_forgotten_after_a_year_and_not_before(app: Flask, make: Factories):
    account = make.make_account(0)
    with app.app_context():
        with transaction() as session:
            for days in (360, 370):
                record_act(session, account.id, "limits", COMMAND, str(days))
                session.flush()
                newest = session.scalars(sa.select(Act).order_by(Act.id.desc()).limit(1)).one()
                old = {column.name: getattr(newest, column.name) for column in Act.__table__.columns}
                old |= {"id": newest.id + 1000, "created_at": now_utc() - datetime.timedelta(days=days)}
                session.execute(sa.insert(Act).values(**old))
        forget_old_acts()
        db.session.rollback()  # look anew
        details = db.session.scalars(
            sa.select(Act.detail).where(Act.what == "limits", Act.created_at < now_utc() - datetime.timedelta(days=300))
        ).all()
        assert details == ["360"]


def test_a_deleted_accounts_people_leave_the_log_and_what_operators_decided_stays(app: Flask, make: Factories):
    account, another = make.make_account(), make.make_account()
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        with transaction() as session:
            record_act(session, account.id, "name", Actor(account.email, "192.0.2.1"), "name Ada → Ada L")
        set_account_limits(account.id, {"rpm": 60}, Actor("ops@example.com"))
        others = list_acts_of(another.id)
        delete_account(app.config["BRIDGE"], account.id, COMMAND)
        assert list_acts_of(account.id) == ["balance", "limits", "deleted"]
        assert list_acts_of(another.id) == others
        db.session.rollback()
        lines = db.session.scalars(sa.select(Act).where(Act.account_id == account.id)).all()
        assert not any(account.email in f"{line.made_by} {line.detail}" for line in lines)
