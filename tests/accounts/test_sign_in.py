"""Signing in: what it costs others."""

from typing import Any

import pytest
from flask import Flask

from bridge.accounts import sign_in as signing
from bridge.accounts.sign_in import SignInRefused, create_account, sign_in
from bridge.db import db


def test_no_connection_is_held_while_a_password_is_hashed(app: Flask, monkeypatch: pytest.MonkeyPatch):
    held: list[bool] = []
    in_pool = signing._in_pool

    def look(function: Any, *arguments: Any) -> Any:
        held.append(db.session().in_transaction())
        return in_pool(function, *arguments)

    monkeypatch.setattr(signing, "_in_pool", look)
    with app.app_context():
        create_account("held@example.com", "correct horse battery staple")
        sign_in("held@example.com", "correct horse battery staple")
        for email in ("held@example.com", "nobody@example.com"):
            with pytest.raises(SignInRefused):
                sign_in(email, "wrong")
    assert held == [False] * len(held)
    assert len(held) == 4
