"""Further members of an account, made as rows: how people come to be members is tested elsewhere."""

import dataclasses
import itertools

import sqlalchemy as sa
from flask import Flask

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.accounts.tables import Member, Membership
from bridge.db import db, transaction
from tests.factories import PASSWORD, MadeAccount, MadeKey

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class MadeMember:
    """A member of an account."""

    id: int
    account_id: int
    email: str
    password: str = PASSWORD


def find_owner(app: Flask, account: MadeAccount) -> MadeMember:
    """The account's first member."""
    with app.app_context():
        member = db.session.scalars(_select_owner(account)).one()
        return MadeMember(member.id, account.id, member.email)


def add_member(app: Flask, account: MadeAccount, role: str, budget_month_nanos: int | None = None) -> MadeMember:
    """Another member, who signs in by the owner's password."""
    email = f"{role}-{next(_numbers)}@example.com"
    with app.app_context():
        hashed = db.session.scalars(_select_owner(account)).one().password_hash
        with transaction() as session:
            member = Member(account_id=account.id, email=email, password_hash=hashed, role=role)
            session.add(member)
            session.flush()
            budget = {"budget_month_nanos": budget_month_nanos}
            session.add(Membership(account_id=account.id, member_id=member.id, role=role, **budget))
            return MadeMember(member.id, account.id, email)


def _select_owner(account: MadeAccount) -> sa.Select[tuple[Member]]:
    query = sa.select(Member).join(Membership, Membership.member_id == Member.id)
    query = query.where(Membership.account_id == account.id, Membership.role == "owner")
    return query.order_by(Member.id).limit(1)


def make_key_of(app: Flask, member: MadeMember, name: str = "key") -> MadeKey:
    """A key that belongs to a member."""
    with app.app_context():
        issued = issue_key(member.account_id, KeyTerms(name=name), member_id=member.id)
        return MadeKey(issued.key.id, member.account_id, issued.secret)
