"""Keys: shown once, stored as a hash, and refused by every worker once they are revoked."""

import datetime
import ipaddress
import math
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from bridge import versions
from bridge.accounts import keys
from bridge.accounts.customers import reactivate_account, suspend_account
from bridge.accounts.key_format import ALPHABET, digest, looks_like_key, make_secret
from bridge.accounts.key_limits import limit_account, limit_key
from bridge.accounts.key_search import find_any_key, find_key, list_all_keys
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.key_use import record_use
from bridge.accounts.keys import (
    Caller,
    disable_key,
    enable_key,
    find_callers,
    issue_key,
    read_caller,
    revoke_key,
    update_key,
)
from bridge.accounts.tables import Key
from bridge.db import db, now_utc
from bridge.errors import InvalidApiKey, InvalidRequest, NotFound
from tests.accounts.conftest import make_account

TOMORROW = now_utc() + datetime.timedelta(days=1)


def never(*_: object) -> None:
    pytest.fail("the database was asked")


def from_elsewhere(statement: sa.Executable, *, announce: bool = True) -> None:
    """Commit as another worker would: a change with its version, which this process has not seen yet."""
    with db.engine.begin() as connection:
        connection.execute(statement)
        if announce:
            connection.execute(versions._RAISE, {"topic": keys.TOPIC})


def revoke_elsewhere(key_id: int) -> sa.Executable:
    return sa.update(Key).where(Key.id == key_id).values(revoked_at=now_utc())


def test_a_secret_is_kept_only_as_its_hash(account_id: int):
    issued = issue_key(account_id, KeyTerms(name="worker"))
    row = db.session.execute(sa.select(sa.text("*")).select_from(Key)).mappings().one()
    assert issued.secret not in str(dict(row))
    assert row["digest"] == digest(issued.secret)
    assert row["last_four"] == issued.secret[-4:]


def find_caller(secret: str) -> Caller:
    (found,) = find_callers([secret])
    if isinstance(found, InvalidApiKey):
        raise found
    return found


def test_a_secret_has_a_prefix_160_random_bits_and_a_checksum():
    secret = make_secret()
    assert secret.startswith("sk-")
    assert 32 * math.log2(len(ALPHABET)) >= 160
    assert looks_like_key(secret)
    assert len({make_secret() for _ in range(100)}) == 100


@pytest.mark.parametrize("place", [3, 20, 34, 35, 40])
def test_one_wrong_character_is_noticed(place: int):
    secret = make_secret()
    other = "A" if secret[place] != "A" else "B"
    assert not looks_like_key(secret[:place] + other + secret[place + 1 :])


@pytest.mark.parametrize("text", ["", "sk-", "sk-YOUR_KEY", "sk-" + "é" * 38, "sk-" + "a" * 38, "pk-" + "0" * 38])
def test_what_is_no_key_is_refused_without_a_look_up(app: Flask, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.setattr(keys, "_read_callers", never)
    with pytest.raises(InvalidApiKey):
        find_caller(text)


def test_a_caller_has_its_own_limits_within_its_accounts_which_are_else_the_gateways(app: Flask):
    account_id = make_account("firm@example.com", tpm=500, concurrency=0)
    own = find_caller(issue_key(account_id, KeyTerms(name="own", rpm=6, tpm=0, concurrency=3)).secret)
    assert (own.rpm, own.tpm, own.concurrency) == (6, 500, 3)
    inherited = find_caller(issue_key(account_id, KeyTerms(name="inherits")).secret)
    assert (inherited.rpm, inherited.tpm, inherited.concurrency) == (7, 500, 0)
    assert (inherited.account_rpm, inherited.account_tpm, inherited.account_concurrency) == (7, 500, 0)


FIGURES = st.none() | st.integers(0, 10)


@given(own=FIGURES, account=FIGURES, default=st.integers(0, 10))
def test_no_figure_of_a_key_lifts_its_accounts(own: int | None, account: int | None, default: int):
    def most(limit: int) -> float:
        return limit or math.inf

    allowed = limit_account(account, default)
    assert allowed == (default if account is None else account)
    assert most(limit_key(own, allowed)) == min(most(own or 0), most(allowed))


def test_a_caller_carries_what_its_key_may_do(account_id: int):
    secret = issue_key(
        account_id,
        KeyTerms(
            name="  narrow \n key ",
            budget_day_nanos=5_000_000_000,
            models=["claude-3-5-sonnet", "gpt-4o", "claude-3-5-sonnet-20241022"],
            addresses=["203.0.113.7", "2001:db8::/32"],
            expires_at=TOMORROW,
        ),
    ).secret
    caller = find_caller(secret)
    assert caller.key_name == "narrow key"
    assert (caller.budget_day_nanos, caller.budget_total_nanos) == (5_000_000_000, None)
    assert caller.models == {"claude-3-5-sonnet-20241022", "gpt-4o"}
    assert caller.addresses == (ipaddress.ip_network("203.0.113.7/32"), ipaddress.ip_network("2001:db8::/32"))
    assert caller.expires_at == TOMORROW


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("name", {"name": "x" * 101}),
        ("name", {"name": "bell\a"}),
        ("rpm", {"rpm": -1}),
        ("tpm", {"tpm": 10**13}),
        ("concurrency", {"concurrency": -5}),
        ("budget_day", {"budget_day_nanos": -1}),
        ("budget_user_period", {"budget_user_period": "year"}),
        ("models", {"models": ["gpt-9"]}),
        ("addresses", {"addresses": ["203.0.113.7/24"]}),
        ("addresses", {"addresses": ["home"]}),
        ("expires_at", {"expires_at": now_utc() - datetime.timedelta(minutes=1)}),
    ],
)
def test_a_field_that_cannot_be_is_named(account_id: int, field: str, fields: dict):
    with pytest.raises(InvalidRequest) as refusal:
        issue_key(account_id, KeyTerms(**{"name": "key", **fields}))
    assert refusal.value.param == field
    assert list_all_keys(account_id, Key.revoked_at.is_(None)) == []


@pytest.mark.parametrize("column", ["revoked_at", "disabled_at", "expires_at"])
def test_the_database_refuses_what_is_revoked_disabled_or_expired(account_id: int, column: str):
    issued = issue_key(account_id, KeyTerms(name="key"))
    assert read_caller(issued.secret)
    from_elsewhere(sa.update(Key).values({column: now_utc()}))
    assert read_caller(issued.secret) is None


@pytest.mark.parametrize("take_away", [revoke_key, disable_key])
def test_the_request_after_a_revoke_is_refused(account_id: int, take_away):
    issued = issue_key(account_id, KeyTerms(name="key"))
    find_caller(issued.secret)
    take_away(account_id, issued.key.id)
    with pytest.raises(InvalidApiKey):
        find_caller(issued.secret)


def test_a_lower_limit_counts_for_the_next_request(account_id: int):
    issued = issue_key(account_id, KeyTerms(name="key", rpm=6))
    assert find_caller(issued.secret).rpm == 6
    update_key(account_id, issued.key.id, KeyTerms(name="key", rpm=2))
    assert find_caller(issued.secret).rpm == 2


def test_an_enabled_key_works_again(account_id: int):
    issued = issue_key(account_id, KeyTerms(name="key"))
    disable_key(account_id, issued.key.id)
    with pytest.raises(InvalidApiKey):
        find_caller(issued.secret)
    enable_key(account_id, issued.key.id)
    versions.poll(db.engine)
    assert find_caller(issued.secret).key_id == issued.key.id


def test_callers_come_from_memory_while_the_numbers_are_fresh(account_id: int, monkeypatch: pytest.MonkeyPatch):
    issued = issue_key(account_id, KeyTerms(name="key"))
    caller, stranger = find_caller(issued.secret), make_secret()
    with pytest.raises(InvalidApiKey):
        find_caller(stranger)
    monkeypatch.setattr(keys, "_read_callers", never)
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    assert find_caller(issued.secret) is caller
    with pytest.raises(InvalidApiKey):
        find_caller(stranger)


def test_another_workers_revoke_is_seen_with_the_next_look(account_id: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    issued = issue_key(account_id, KeyTerms(name="key"))
    find_caller(issued.secret)
    from_elsewhere(revoke_elsewhere(issued.key.id))
    versions.poll(db.engine)
    with pytest.raises(InvalidApiKey):
        find_caller(issued.secret)


def test_without_a_fresh_look_the_database_is_asked(account_id: int, monkeypatch: pytest.MonkeyPatch):
    issued = issue_key(account_id, KeyTerms(name="key"))
    find_caller(issued.secret)
    from_elsewhere(revoke_elsewhere(issued.key.id))
    monkeypatch.setattr(versions._Process.seen, "looked_at", -math.inf)
    with pytest.raises(InvalidApiKey):
        find_caller(issued.secret)


def test_what_was_read_before_a_change_does_not_outlive_it(account_id: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    issued = issue_key(account_id, KeyTerms(name="key"))

    read_callers = keys._read_callers

    def read_then_lose(digests: Sequence[bytes]):
        callers = read_callers(digests)
        from_elsewhere(revoke_elsewhere(issued.key.id))
        versions.poll(db.engine)
        return callers

    monkeypatch.setattr(keys, "_read_callers", read_then_lose)
    find_caller(issued.secret)  # was let in before the revoke
    monkeypatch.setattr(keys, "_read_callers", read_callers)
    with pytest.raises(InvalidApiKey):
        find_caller(issued.secret)


def test_a_cached_caller_does_not_outlive_its_expiry(account_id: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    issued = issue_key(account_id, KeyTerms(name="key", expires_at=TOMORROW))
    find_caller(issued.secret)
    monkeypatch.setattr(keys, "now_utc", lambda: TOMORROW)
    monkeypatch.setattr(keys, "_read_callers", lambda _: {})  # as the database would answer by then
    with pytest.raises(InvalidApiKey):
        find_caller(issued.secret)


def test_who_is_read_again_and_gone_is_forgotten(account_id: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    issued = issue_key(account_id, KeyTerms(name="key"))
    find_caller(issued.secret)
    monkeypatch.setattr(keys, "CACHE_SECONDS", 0)
    from_elsewhere(revoke_elsewhere(issued.key.id), announce=False)
    caller, _ = keys._cache.callers[digest(issued.secret)]
    keys._cache.callers[digest(issued.secret)] = (caller, 0)
    for _ in range(2):
        with pytest.raises(InvalidApiKey):
            find_caller(issued.secret)


def test_who_waits_at_the_same_moment_is_looked_up_in_one_query(account_id: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(versions, "is_fresh", lambda: True)
    first, second, known = [issue_key(account_id, KeyTerms(name=name)).secret for name in ("first", "second", "known")]
    find_caller(known)
    asked = []
    read_callers = keys._read_callers
    monkeypatch.setattr(keys, "_read_callers", lambda digests: asked.append(digests) or read_callers(digests))
    found = find_callers([first, make_secret(), second, "sk-none", known, first])
    assert [getattr(one, "key_name", None) for one in found] == ["first", None, "second", None, "known", "first"]
    assert [len(digests) for digests in asked] == [3]  # each once, without known callers and malformed keys
    assert find_callers([first, second]) == [found[0], found[2]]
    assert len(asked) == 1


def test_the_cache_is_bounded(account_id: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "CACHE_SIZE", 2)
    for _ in range(5):
        find_caller(issue_key(account_id, KeyTerms(name="key")).secret)
        with pytest.raises(InvalidApiKey):
            find_caller(make_secret())
    assert len(keys._cache.callers) == len(keys._cache.strangers) == 2


def test_a_suspended_accounts_caller_says_so(account_id: int):
    secret = issue_key(account_id, KeyTerms(name="key")).secret
    assert find_caller(secret).account_status == "active"
    suspend_account(account_id)
    assert find_caller(secret).account_status == "suspended"
    reactivate_account(account_id)
    versions.poll(db.engine)
    assert find_caller(secret).account_status == "active"


@pytest.mark.parametrize("change", [find_key, revoke_key, disable_key, enable_key])
def test_another_accounts_key_looks_missing(account_id: int, change):
    foreign = issue_key(make_account("other@example.com"), KeyTerms(name="foreign"))
    with pytest.raises(NotFound):
        change(account_id, foreign.key.id)
    with pytest.raises(NotFound):
        update_key(account_id, foreign.key.id, KeyTerms(name="mine"))
    assert find_caller(foreign.secret).key_name == "foreign"


def test_a_revoked_key_is_gone_for_good(account_id: int):
    issued = issue_key(account_id, KeyTerms(name="key"))
    revoke_key(account_id, issued.key.id)
    assert list_all_keys(account_id, Key.revoked_at.is_(None)) == []
    with pytest.raises(NotFound):
        enable_key(account_id, issued.key.id)
    assert find_any_key(issued.secret).revoked_at


def test_commands_find_a_key_by_secret_or_id(account_id: int):
    issued = issue_key(account_id, KeyTerms(name="key"))
    assert find_any_key(issued.secret).id == find_any_key(str(issued.key.id)).id == issued.key.id
    for nobody in ("999", "sk-nothing", "9" * 30):
        with pytest.raises(NotFound):
            find_any_key(nobody)


def test_an_expiry_that_has_passed_may_stay(account_id: int):
    issued = issue_key(account_id, KeyTerms(name="key", expires_at=TOMORROW))
    passed = now_utc() - datetime.timedelta(days=1)
    from_elsewhere(sa.update(Key).values(expires_at=passed))
    db.session.expire_all()
    assert update_key(account_id, issued.key.id, KeyTerms(name="renamed", expires_at=passed)).expires_at == passed
    with pytest.raises(InvalidRequest):
        update_key(account_id, issued.key.id, KeyTerms(name="renamed", expires_at=passed - datetime.timedelta(days=1)))


def test_last_use_never_goes_back(account_id: int):
    key = issue_key(account_id, KeyTerms(name="key")).key
    other = issue_key(account_id, KeyTerms(name="other")).key
    later, earlier = now_utc(), now_utc() - datetime.timedelta(minutes=5)
    record_use({key.id: later, other.id: earlier})
    record_use({key.id: earlier, other.id: later})
    record_use({})
    db.session.expire_all()
    assert {one.name: one.last_used_at for one in list_all_keys(account_id)} == {"key": later, "other": later}
