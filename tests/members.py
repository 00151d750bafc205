"""Members of an account with keys of their own."""

import dataclasses
import secrets

import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.accounts.tables import Member, Membership
from bridge.db import db
from tests.factories import PASSWORD, Factories, MadeAccount, MadeKey


@dataclasses.dataclass(frozen=True)
class MadeMember:
    """A member of an account."""

    id: int
    account_id: int
    email: str
    password: str = PASSWORD


def add_owner(session: Session, account_id: int, email: str = "") -> Member:
    """An owner of the account who has never signed in, in the caller's transaction."""
    email = email or f"owner-{secrets.token_hex(8)}@example.com"
    member = Member(account_id=account_id, email=email, password_hash="none")
    session.add(member)
    session.flush()
    session.add(Membership(account_id=account_id, member_id=member.id, role="owner"))
    return member


def find_owner(app: Flask, account: MadeAccount) -> MadeMember:
    """The account's first owner."""
    with app.app_context():
        query = sa.select(Member).join(Membership, Membership.member_id == Member.id)
        query = query.where(Membership.account_id == account.id, Membership.role == "owner")
        member = db.session.scalars(query.order_by(Member.id).limit(1)).one()
        return MadeMember(member.id, account.id, member.email)


def add_member(app: Flask, account: MadeAccount, role: str, budget_month_nanos: int | None = None) -> MadeMember:
    """Somebody new who belongs to this account alone."""
    made = Factories(app).make_member(account, role, budget_month_nanos)
    with app.app_context():
        member_id = db.session.scalars(sa.select(Member.id).where(Member.email == made.email)).one()
    return MadeMember(member_id, account.id, made.email)


def make_key_of(app: Flask, member: MadeMember, name: str = "key") -> MadeKey:
    """A key that belongs to a member."""
    with app.app_context():
        issued = issue_key(member.account_id, KeyTerms(name=name), member_id=member.id)
        return MadeKey(issued.key.id, member.account_id, issued.secret)
