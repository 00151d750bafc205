"""Passwords, operators, and the rows of a new account. Hashing has two threads of its own, so it never blocks the
worker."""

import functools
import os
import string
import sys
import threading
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from gevent.threadpool import ThreadPool
from sqlalchemy.orm import Session

from bridge.accounts.emails import find_by_email
from bridge.accounts.sessions import end_sessions
from bridge.accounts.tables import Account, Member
from bridge.db import db, now_utc, transaction

LOWEST_PRIORITY = 19
MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 128
LEAST_DIFFERENT = 5  # characters
# the most common words in lists of leaked passwords; digits and signs before, after or in place of letters don't help
COMMON_WORDS = """
password passwort iloveyou princess football baseball superman sunshine welcome letmein trustno dragon monkey admin
administrator qwerty qwertyuiop qwertyui asdfghjkl asdfghjk zxcvbnm qazwsx qazwsxedc qwertyqwerty passwordpassword
secret master shadow michael jordan liverpool changeme default abcdef abcdefgh abcdefghij starwars computer internet
whatever freedom pokemon minecraft mypassword thepassword loveyou iloveu
"""
SEQUENCES = ("01234567890123456789", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "1q2w3e4r5t6y7u8i9o0p")

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_hash_of_nobody = _hasher.hash("the password of an address that has no account")


class SignInRefused(Exception):
    """The address and the password do not match; the error does not say which of them is wrong."""


class AddressTaken(Exception):
    """The address already belongs to a member."""


@functools.cache
def _pool() -> ThreadPool:
    return ThreadPool(2)  # made by the worker that uses it, not before the fork


def _in_pool(function: Any, *arguments: Any) -> Any:
    db.session.commit()  # hashing is slow and may queue: no connection is held meanwhile
    return _pool().apply(_step_back, (function, *arguments))


def _step_back(function: Any, *arguments: Any) -> Any:
    """Hash at a lower priority than all else that this machine has to do: a flood of sign-ins takes every core.
    Linux alone has priorities of threads; hashing does not hold the interpreter."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
    return function(*arguments)


def check_new_password(password: str) -> str:
    """The password, if it may be set. Raises ValueError with a sentence otherwise."""
    if len(password) < MIN_PASSWORD_LENGTH:
        raise ValueError(f"Use at least {MIN_PASSWORD_LENGTH} characters.")
    if len(password) > MAX_PASSWORD_LENGTH:
        raise ValueError(f"Use at most {MAX_PASSWORD_LENGTH} characters.")
    if _is_common(password.lower()):
        raise ValueError("This password is among the first that others try. Choose another, such as four words.")
    return password


def _is_common(password: str) -> bool:
    core = password.strip(string.digits + string.punctuation + " ").translate(str.maketrans("0134@5$", "oleaass"))
    in_a_row = any(password in row or password in row[::-1] for row in SEQUENCES)
    return in_a_row or len(set(password)) < LEAST_DIFFERENT or core in COMMON_WORDS.split()


def hash_password(password: str) -> str:
    """The password's Argon2id hash. Needs an app context. Raises ValueError if the password is too short or too
    long."""
    return str(_in_pool(_hasher.hash, check_new_password(password)))


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerifyMismatchError, InvalidHashError):
        return False


def sign_in(email: str, password: str) -> Member:
    """The member with this address and password; records the time. Raises SignInRefused.

    An unknown address takes as long as a wrong password."""
    member = find_by_email(email)
    if len(password) > MAX_PASSWORD_LENGTH:  # never the right one, and hashing it would only cost time
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
    """Change a member's password and end all of their sessions. Raises ValueError with a sentence if it can't be
    used."""
    password_hash = hash_password(password)
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member_id).values(password_hash=password_hash))
        end_sessions(session, Member.id == member_id)


def set_operator(member_id: int, is_operator: bool) -> None:
    """Let a member in at /admin, or no longer. All of their sessions end, so none keeps the old rights."""
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member_id).values(is_operator=is_operator))
        end_sessions(session, Member.id == member_id)


def add_account(session: Session, email: str, password_hash: str, is_operator: bool) -> Member:
    """An account and its owner, in the caller's transaction; `ledger/opening.py` gives it a balance."""
    account = Account(name=email)
    session.add(account)
    session.flush()
    member = Member(
        account_id=account.id, email=email, password_hash=password_hash, is_operator=is_operator, role="owner"
    )
    session.add(member)
    return member
