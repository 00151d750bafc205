"""Signing in: what it costs others."""

import os
import sys
import threading
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge.accounts import sign_in as signing
from bridge.accounts.sign_in import SignInRefused, check_new_password, set_password, sign_in
from bridge.accounts.tables import Member
from bridge.db import db
from bridge.ledger.opening import create_account

PASSWORD = "correct horse battery staple"


def test_no_connection_is_held_while_a_password_is_hashed(app: Flask, monkeypatch: pytest.MonkeyPatch):
    held: list[bool] = []
    pool = signing._pool()

    class Pool:
        def apply(self, function: Any, arguments: Any) -> Any:
            held.append(db.session().in_transaction())
            return pool.apply(function, arguments)

    def read_something() -> None:
        db.session.execute(sa.select(Member.id).limit(1)).all()

    monkeypatch.setattr(signing, "_pool", Pool)
    with app.app_context():
        read_something()  # as a page does before, of who is signed in
        member = create_account("held@example.com", PASSWORD)
        read_something()
        sign_in("held@example.com", PASSWORD)
        for email in ("held@example.com", "nobody@example.com"):
            with pytest.raises(SignInRefused):
                sign_in(email, "wrong")
        monkeypatch.setattr(type(signing._hasher), "check_needs_rehash", lambda _hasher, _hash: True)
        sign_in("held@example.com", PASSWORD)
        read_something()
        set_password(member.id, PASSWORD)
    assert held == [False] * len(held)
    assert len(held) == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only there a thread has a priority of its own")
def test_hashing_stands_back_behind_everything_else(app: Flask):
    with app.app_context():
        priority = signing._in_pool(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    assert priority == signing.LOWEST_PRIORITY
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < priority


@pytest.mark.parametrize(
    "password",
    [
        "password123",
        "Password2024!",
        "P@ssw0rd1234",
        "1234567890",
        "0987654321",
        "qwertyuiop",
        "QWERTYuiop",
        "1q2w3e4r5t",
    ]
    + ["aaaaaaaaaaaa", "1212121212", "iloveyou2024", "Passw0rd!!!!", "changeme123", "administrator", "letmein1234"]
    + ["sunshine2024", "MONKEYmonkey", "Manchester", "q1w2e3r4t5y6", "elephant-99", "12liverpool!!"],
)
def test_passwords_that_others_try_first_are_refused(password: str):
    with pytest.raises(ValueError, match="others try"):
        check_new_password(password)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "Tr0ub4dor&3xyz", "пароль-из-четырёх-слов", "k7#mQ2!xVb9"]
)
def test_other_passwords_may_be_set(password: str):
    assert check_new_password(password) == password


@pytest.mark.parametrize("length", [9, 129, 10_000_000])
def test_the_length_is_looked_at_before_anything_is_hashed(length: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(signing, "_in_pool", lambda *_: pytest.fail("it was hashed"))
    with pytest.raises(ValueError, match="characters"):
        signing.hash_password("ab" * (length // 2) + "c" * (length % 2))
