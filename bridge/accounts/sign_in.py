"""Passwords, and the rows of a new account. Hashing has two threads of its own, so it never blocks the
worker."""

import functools
import os
import string
import sys
import threading
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from gevent.threadpool import ThreadPool
from sqlalchemy.orm import Session

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.notes import tell_member
from bridge.accounts.sessions import end_other_sessions, end_sessions
from bridge.accounts.tables import Account, Member, Membership
from bridge.accounts.tickets import void_tickets
from bridge.acts import COMMAND, Actor, record_act
from bridge.db import db, transaction
from bridge.languages import translate

LOWEST_PRIORITY = 19
MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 128
LEAST_DIFFERENT = 5  # characters
COMMON_PASSWORDS = Path(__file__).parents[1] / "data" / "common_passwords.txt"
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
        raise ValueError(translate("Use at least %(num)s characters.", num=MIN_PASSWORD_LENGTH))
    if len(password) > MAX_PASSWORD_LENGTH:
        raise ValueError(translate("Use at most %(num)s characters.", num=MAX_PASSWORD_LENGTH))
    if _is_common(password.lower()):
        raise ValueError(
            translate("This password is among the first that others try. Choose another, such as four words.")
        )
    return password


def find_errors(email: str, password: str) -> dict[str, str]:
    """What is wrong with a new account's address and password: field -> sentence."""
    errors = {}
    for field, check, text in (("email", check_email, email), ("password", check_new_password, password)):
        try:
            check(text)
        except ValueError as error:
            errors[field] = str(error)
    return errors


def _is_common(password: str) -> bool:
    """Whether it is one of the first that others try. Digits and signs before, after or in place of letters don't help,
    and neither does saying a word again."""
    core = password.strip(string.digits + string.punctuation + " ").translate(str.maketrans("0134@5$", "oleaass"))
    in_a_row = any(password in row or password in row[::-1] for row in SEQUENCES)
    known = {password, core, _without_repeats(core)} & _read_common()
    return in_a_row or len(set(password)) < LEAST_DIFFERENT or bool(known)


def _without_repeats(word: str) -> str:
    """`monkey` of `monkeymonkey`."""
    return word[: (word + word).find(word, 1)] if word else word


@functools.cache
def _read_common() -> frozenset[str]:
    """The list, read when the first password is set."""
    lines = COMMON_PASSWORDS.read_text(encoding="ascii").splitlines()
    return frozenset(line for line in lines if not line.startswith("#"))


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
    """The member with this address and password. Raises SignInRefused. The session that may follow is what records it.

    An unknown address takes as long as a wrong password."""
    member = find_by_email(email)
    if len(password) > MAX_PASSWORD_LENGTH:  # never the right one, and hashing it would only cost time
        password = ""
    known = member.password_hash if member and member.password_hash else _hash_of_nobody  # some have no password
    matches = _in_pool(_matches, known, password)
    if member is None or not matches:
        raise SignInRefused
    if _hasher.check_needs_rehash(member.password_hash):
        anew = _in_pool(_hasher.hash, password)
        with transaction() as session:
            session.execute(sa.update(Member).where(Member.id == member.id).values(password_hash=anew))
    return member


def find_member_by_id(member_id: int) -> Member | None:
    """The member with this id, as it is now."""
    return db.session.get(Member, member_id, populate_existing=True)


def verify_password(member: Member, password: str) -> bool:
    """Whether this is the member's password. Hashing waits for a thread."""
    return bool(_in_pool(_matches, member.password_hash, password if len(password) <= MAX_PASSWORD_LENGTH else ""))


def change_password(member: Member, current: str, password: str, *, keeps: str, actor: Actor) -> None:
    """Change the password of a member who knows the current one, and end all of their sessions but the one with the
    secret `keeps`. Raises SignInRefused, or ValueError with a sentence if the new one can't be used."""
    if not verify_password(member, current):
        raise SignInRefused
    password_hash = hash_password(password)
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member.id).values(password_hash=password_hash))
        void_tickets(session, member.id, "reset")
        end_other_sessions(session, member.id, keeps)
        record_act(session, member.account_id, "password", actor)
        tell_member(session, member, "password")


def set_password(member_id: int, password: str, actor: Actor = COMMAND) -> None:
    """Change a member's password and end all of their sessions. Raises ValueError with a sentence if it can't be
    used."""
    password_hash = hash_password(password)
    with transaction() as session:
        write_password(session, member_id, password_hash, "password", actor)


def write_password(session: Session, member_id: int, password_hash: str, what: str, actor: Actor) -> None:
    """Store a new hash, end all sessions of the member, and void the links that could set another password, in the
    caller's transaction."""
    session.execute(sa.update(Member).where(Member.id == member_id).values(password_hash=password_hash))
    end_sessions(session, Member.id == member_id)
    void_tickets(session, member_id, "reset")
    if member := session.get(Member, member_id):
        record_act(session, member.account_id, what, actor)
        tell_member(session, member, what)


def add_account(
    session: Session,
    email: str,
    password_hash: str,
    *,
    is_operator: bool = False,
    actor: Actor = COMMAND,
) -> Member:
    """An account and its owner, in the caller's transaction; `ledger/opening.py` gives it a balance. An empty hash is
    no password: its owner signs in by something else."""
    account = Account(name=email)
    session.add(account)
    session.flush()
    member = Member(
        account_id=account.id,
        email=email,
        password_hash=password_hash,
        is_operator=is_operator,
        operator_role="owner" if is_operator else None,
        role="owner",
    )
    session.add(member)
    session.flush()
    session.add(Membership(account_id=account.id, member_id=member.id, role="owner"))
    record_act(session, account.id, "sign_up", actor, email)
    return member
