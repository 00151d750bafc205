"""Passwords, operators and new accounts. Hashing runs in two threads of its own, so that it never stops the worker."""

import functools
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from gevent.threadpool import ThreadPool

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.sessions import end_sessions
from bridge.accounts.tables import Account, Member
from bridge.db import Table, db, now_utc, transaction

MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 128

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_hash_of_nobody = _hasher.hash("the password of an address that has no account")


class SignInRefused(Exception):
    """Address and password do not go together; which of them is wrong stays unsaid."""


class AddressTaken(Exception):
    """The address already belongs to a member."""


@functools.cache
def _pool() -> ThreadPool:
    return ThreadPool(2)  # made by the worker that uses it, not before the fork


def _in_pool(function: Any, *arguments: Any) -> Any:
    return _pool().apply(function, arguments)


def check_new_password(password: str) -> str:
    """The password, if it may be set. Raises ValueError with a sentence otherwise."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise ValueError(f"Use at least {MIN_PASSWORD_LENGTH} characters.")
    if len(password) > MAX_PASSWORD_LENGTH:
        raise ValueError(f"Use at most {MAX_PASSWORD_LENGTH} characters.")
    return password


def hash_password(password: str) -> str:
    """The password as Argon2id. Raises ValueError when it is too short or too long to be set."""
    return str(_in_pool(_hasher.hash, check_new_password(password)))


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def sign_in(email: str, password: str) -> Member:
    """The member whose address and password these are; notes the time. Raises SignInRefused.

    An unknown address costs as much time as a wrong password."""
    member = find_by_email(email)
    db.session.commit()  # hashing takes long and waits for its turn: no connection is held meanwhile
    if len(password) > MAX_PASSWORD_LENGTH:  # never the right one, and hashing it would be work for whoever sent it
        password = ""
    matches = _in_pool(_matches, member.password_hash if member else _hash_of_nobody, password)
    if member is None or not matches:
        raise SignInRefused
    changes: dict[str, Any] = {"last_sign_in_at": now_utc()}
    if _hasher.check_needs_rehash(member.password_hash):
        changes["password_hash"] = _in_pool(_hasher.hash, password)
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member.id).values(**changes))
    return member


def set_password(member_id: int, password: str) -> None:
    """Change a member's password and end all of their sessions. Raises ValueError with a sentence where it can't be
    used."""
    password_hash = hash_password(password)
    db.session.rollback()
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member_id).values(password_hash=password_hash))
        end_sessions(session, Member.id == member_id)


def set_operator(member_id: int, is_operator: bool) -> None:
    """Let a member in at /admin, or no longer. All of their sessions end, so that nothing of before is left open."""
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member_id).values(is_operator=is_operator))
        end_sessions(session, Member.id == member_id)


def create_account(email: str, password: str, is_operator: bool = False) -> Member:
    """A new account with its owner and an empty balance.

    Raises AddressTaken, or ValueError with a sentence when address or password can't be used."""
    email = check_email(email)
    password_hash = hash_password(password)  # also for an address that is taken, which then takes as long
    if find_by_email(email):
        raise AddressTaken(f"{email} already has an account.")
    db.session.rollback()
    try:
        with transaction() as session:
            account = Account(name=email)
            session.add(account)
            session.flush()
            member = Member(
                account_id=account.id, email=email, password_hash=password_hash, is_operator=is_operator, role="owner"
            )
            session.add(member)
            # by name, for rooms of one floor do not import each other
            session.execute(sa.insert(Table.metadata.tables["balances"]).values(account_id=account.id))
    except sa.exc.IntegrityError:  # somebody was faster with the same address
        raise AddressTaken(f"{email} already has an account.") from None
    return member
