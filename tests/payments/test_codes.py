"""A code is redeemed once, by the first account; a wrong code teaches nothing; the books show each redemption."""

import datetime
from collections.abc import Iterator

import gevent
import pytest
import sqlalchemy as sa
import time_machine
from flask import Flask

from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.ledger.tables import Entry
from bridge.payments.check_codes import check_codes
from bridge.payments.code_tables import Code
from bridge.payments.codes import MadeBatch, create_batch, list_batches, redeem, void_batch, write_csv
from tests.factories import DOLLAR, Factories

DAY = datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def _in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def make_codes(count: int = 1, dollars: int = 10, **fields: object) -> MadeBatch:
    made = create_batch(dollars * DOLLAR, count, made_by="op@example.com", **fields)  # type: ignore[arg-type]
    assert made
    return made


def refusal(account_id: int, code: str) -> str:
    with pytest.raises(InvalidRequest) as caught:
        redeem(account_id, code, made_by="x")
    assert caught.value.param == "code"
    return caught.value.message


def test_a_code_adds_its_amount_and_says_in_the_journal_what_it_was_for(make: Factories):
    account = make.make_account(0)
    (code,) = make_codes(note="Conference").codes
    assert redeem(account.id, code, made_by=account.email) == 10 * DOLLAR
    assert make.find_money(account.id) == (10 * DOLLAR, 0)
    entry = db.session.scalars(sa.select(Entry).where(Entry.account_id == account.id)).one()
    assert (entry.source, entry.note, entry.made_by) == ("code", "Conference", account.email)
    assert (entry.debit, entry.credit) == ("gifts", "customer")
    assert make.check_ledger() == check_codes() == []


@pytest.mark.parametrize("same_account", [True, False])
def test_many_at_the_same_moment_are_credited_once(app: Flask, make: Factories, same_account: bool):
    (code,) = make_codes().codes
    accounts = [make.make_account(0).id] * 8 if same_account else [make.make_account(0).id for _ in range(8)]

    def try_it(account_id: int) -> int:
        with app.app_context():
            try:
                return redeem(account_id, code, made_by="x")
            except InvalidRequest:
                return 0

    calls = [gevent.spawn(try_it, account_id) for account_id in accounts]
    assert sorted(call.get() for call in calls) == [0] * 7 + [10 * DOLLAR]
    assert sum(make.find_money(account_id)[0] for account_id in set(accounts)) == 10 * DOLLAR
    assert make.check_ledger() == check_codes() == []


def test_a_code_may_be_typed_as_people_type(make: Factories):
    account = make.make_account(0)
    for code, typed in zip(make_codes(3).codes, ("lower", "spaced", "mistaken"), strict=True):
        text = {
            "lower": code.lower(),
            "spaced": f"  {code.replace('-', ' ')} ",
            "mistaken": code.replace("0", "o").replace("1", "l").replace("-", "–"),
        }[typed]
        assert redeem(account.id, text, made_by="x") == 10 * DOLLAR


def test_unknown_used_void_and_expired_are_refused_in_the_same_words(make: Factories):
    account, other = make.make_account(0), make.make_account(0)
    used, voided = make_codes().codes[0], make_codes()
    expiring = make_codes(expires_at=now_utc() + DAY)
    redeem(other.id, used, made_by="x")
    void_batch(voided.batch_id)
    with transaction() as session:
        session.execute(sa.text("UPDATE code_batches SET expires_at = created_at WHERE expires_at IS NOT NULL"))
    codes = ["", "x", "ABCDE-" * 3 + "ABCDE", "U" * 20, "\0" * 20, "7" * 10_000]
    messages = {refusal(account.id, code) for code in (*codes, used, voided.codes[0], expiring.codes[0])}
    assert len(messages) == 1
    assert make.find_money(account.id) == (0, 0)


def test_whoever_redeemed_it_is_told_so(make: Factories):
    account = make.make_account(0)
    (code,) = make_codes().codes
    redeem(account.id, code, made_by="x")
    assert "You redeemed this code on" in refusal(account.id, code)
    assert make.find_money(account.id) == (10 * DOLLAR, 0)


def test_a_code_works_until_its_batch_expires(make: Factories):
    account = make.make_account(0)
    made = make_codes(expires_at=now_utc() + DAY)
    assert redeem(account.id, made.codes[0], made_by="x") == 10 * DOLLAR


def test_voiding_ends_what_is_left_and_nothing_else(make: Factories):
    account, made = make.make_account(0), make_codes(3)
    redeem(account.id, made.codes[0], made_by="x")
    assert void_batch(made.batch_id) == void_batch(made.batch_id) == 2
    refusal(account.id, made.codes[1])
    assert make.find_money(account.id) == (10 * DOLLAR, 0)
    with pytest.raises(NotFound):
        void_batch(999)


def test_codes_are_kept_as_digests_alone(app: Flask):
    made = make_codes(2)
    rows = list(db.session.scalars(sa.select(Code)))
    assert len({row.digest for row in rows}) == 2
    assert all(len(row.digest) == 32 for row in rows)
    stored = {column.name for column in Code.__table__.columns}
    assert stored == {"id", "batch_id", "digest", "redeemed_by", "redeemed_at"}
    assert all(len(set(code.replace("-", ""))) > 4 for code in made.codes)


def test_a_form_sent_twice_makes_one_batch():
    assert create_batch(DOLLAR, 2, made_by="x", once="form 1")
    assert create_batch(DOLLAR, 2, made_by="x", once="form 1") is None
    assert len(list_batches()) == 1


def test_batches_are_listed_with_what_became_of_them(make: Factories):
    account = make.make_account(0)
    used, expired, voided, still_open = (
        make_codes(),
        make_codes(expires_at=now_utc() + DAY),
        make_codes(2),
        make_codes(),
    )
    redeem(account.id, used.codes[0], made_by="x")
    redeem(account.id, voided.codes[0], made_by="x")
    void_batch(voided.batch_id)
    with time_machine.travel(now_utc() + 2 * DAY):
        found = {listed.batch.id: (listed.redeemed, listed.state) for listed in list_batches()}
    assert found == {
        used.batch_id: (1, "used"),
        expired.batch_id: (0, "expired"),
        voided.batch_id: (1, "voided"),
        still_open.batch_id: (0, "open"),
    }


@pytest.mark.parametrize(
    ("field", "amount", "count", "days"),
    [
        ("amount", 0, 1, 1),
        ("amount", 10_001, 1, 1),
        ("count", 1, 0, 1),
        ("count", 1, 1001, 1),
        ("expires_at", 1, 1, -1),
    ],
)
def test_what_makes_no_sense_is_not_made(field: str, amount: int, count: int, days: int):
    with pytest.raises(InvalidRequest) as caught:
        create_batch(amount * DOLLAR, count, made_by="x", expires_at=now_utc() + days * DAY)
    assert caught.value.param == field
    assert list_batches() == []


def test_the_csv_has_a_line_for_each_code():
    made = make_codes(2, expires_at=datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC))
    head, *lines = write_csv(made).splitlines()
    assert head == "code,dollars,expires"
    assert lines == [f"{code},10.00,2100-01-01 00:00 UTC" for code in made.codes]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("DELETE FROM entries WHERE source = 'code'", "has no entry"),
        ("UPDATE entries SET amount_nanos = 1 WHERE source = 'code'", "got 0.000000001"),
        ("UPDATE entries SET account_id = :other WHERE source = 'code'", "got 10.00"),
        ("UPDATE codes SET redeemed_by = NULL, redeemed_at = NULL", "a code that nobody redeemed"),
    ],
)
def test_the_check_names_what_code_and_journal_disagree_about(make: Factories, damage: str, complaint: str):
    account, other = make.make_account(0), make.make_account(0)
    redeem(account.id, make_codes().codes[0], made_by="x")
    assert check_codes() == []
    with transaction() as session:
        session.execute(sa.text(damage), {"other": other.id} if ":other" in damage else {})
    (line,) = check_codes()
    assert line.startswith(f"account {account.id}: ")
    assert complaint in line
