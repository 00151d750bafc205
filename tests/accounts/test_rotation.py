"""A rotated key: a new secret, the same key, and the old secret for as long as was chosen."""

import datetime

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge.accounts.customers import suspend_account
from bridge.accounts.key_search import find_any_key, find_key
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import (
    disable_key,
    end_old_secret,
    find_callers,
    issue_key,
    revoke_key,
    rotate_key,
)
from bridge.accounts.tables import Key
from bridge.db import db, now_utc
from bridge.errors import AccountSuspended, InvalidApiKey, InvalidRequest, NotFound
from tests.accounts.conftest import make_account

HOUR = datetime.timedelta(hours=1)


def works(secret: str) -> bool:
    [found] = find_callers([secret])
    return not isinstance(found, InvalidApiKey)


def test_both_secrets_call_as_the_same_key_until_the_overlap_ends(account_id: int):
    old = issue_key(account_id, KeyTerms(name="worker", rpm=7, budget_day_nanos=5))
    new = rotate_key(account_id, old.key.id, HOUR)
    assert (new.key.id, new.key.last_four) == (old.key.id, new.secret[-4:])
    [by_old, by_new] = find_callers([old.secret, new.secret])
    assert {(caller.key_id, caller.rpm, caller.budget_day_nanos) for caller in (by_old, by_new)} == {(old.key.id, 7, 5)}
    assert (by_new.expires_at, by_old.expires_at) == (None, new.key.old_until)
    assert find_any_key(old.secret).id == find_any_key(new.secret).id == old.key.id
    db.session.execute(sa.update(Key).where(Key.id == old.key.id).values(old_until=now_utc() - HOUR))
    db.session.commit()
    assert works(new.secret)
    with time_machine.travel(now_utc() + 2 * HOUR):  # also from memory
        assert not works(old.secret)


def test_the_old_secret_ends_at_once_where_that_was_chosen_or_asked(account_id: int):
    first = issue_key(account_id, KeyTerms(name="worker"))
    second = rotate_key(account_id, first.key.id, datetime.timedelta())
    assert (works(first.secret), works(second.secret)) == (False, True)
    third = rotate_key(account_id, first.key.id, HOUR)
    assert (works(second.secret), works(third.secret)) == (True, True)
    end_old_secret(account_id, first.key.id)
    assert (works(second.secret), works(third.secret)) == (False, True)


def test_a_second_rotation_ends_the_secret_before_the_last(account_id: int):
    first = issue_key(account_id, KeyTerms(name="worker"))
    second = rotate_key(account_id, first.key.id, HOUR)
    third = rotate_key(account_id, first.key.id, HOUR)
    assert [works(issued.secret) for issued in (first, second, third)] == [False, True, True]


def test_a_key_that_ends_takes_its_old_secret_with_it(account_id: int):
    for end in (revoke_key, disable_key):
        old = issue_key(account_id, KeyTerms(name="worker"))
        new = rotate_key(account_id, old.key.id, HOUR)
        end(account_id, old.key.id)
        assert (works(old.secret), works(new.secret)) == (False, False)


def test_a_keys_own_expiry_binds_its_old_secret_too(account_id: int):
    soon = now_utc() + HOUR
    old = issue_key(account_id, KeyTerms(name="worker", expires_at=soon))
    rotate_key(account_id, old.key.id, 10 * HOUR)
    [caller] = find_callers([old.secret])
    assert caller.expires_at == soon


@pytest.mark.parametrize("overlap", [-HOUR, datetime.timedelta(days=31)])
def test_an_overlap_has_bounds(account_id: int, overlap: datetime.timedelta):
    key = issue_key(account_id, KeyTerms(name="worker")).key
    with pytest.raises(InvalidRequest, match="30 days"):
        rotate_key(account_id, key.id, overlap)


def test_nobody_rotates_anothers_key_and_no_suspended_account_any(app: Flask, account_id: int):
    key = issue_key(account_id, KeyTerms(name="worker")).key
    stranger = make_account("stranger@example.com")
    with pytest.raises(NotFound):
        rotate_key(stranger, key.id, HOUR)
    suspend_account(account_id)
    with pytest.raises(AccountSuspended):
        rotate_key(account_id, key.id, HOUR)
    assert find_key(account_id, key.id).old_until is None


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_of_two_rotations_at_once_the_second_finds_the_secret_of_the_first(
    app: Flask, account_id: int, monkeypatch: pytest.MonkeyPatch
):
    """Otherwise both would keep the secret before them, and the one that was shown first would be dead."""
    old = issue_key(account_id, KeyTerms(name="worker"))
    db.session.commit()
    read: list[str] = []
    others: list[gevent.Greenlet] = []

    def rotate() -> str:
        with app.app_context():
            return rotate_key(account_id, old.key.id, HOUR).secret

    def waits_for_a_lock() -> bool:
        query = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with db.engine.connect() as connection:
            return connection.scalar(sa.text(query)) is not None

    def find_and_wait(*ids: int) -> Key:
        """The first reads the key, and goes on once the second has read it too, or waits for its row."""
        key = find_key(*ids)
        read.append(key.last_four)
        if len(read) == 1:
            others.append(gevent.spawn(rotate))
            while len(read) < 2 and not waits_for_a_lock():
                gevent.sleep(0)
        return key

    monkeypatch.setattr("bridge.accounts.keys.find_key", find_and_wait)
    first = rotate()
    second = others[0].get()
    assert read == [old.key.last_four, first[-4:]]
    assert [works(secret) for secret in (old.secret, first, second)] == [False, True, True]
