"""What we hold of an account can be had, and can be ended: the archive is whole, and a deletion leaves no name."""

import csv
import io
import json
import zipfile

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.keys import read_caller
from bridge.accounts.tables import Account, Key, Member, MemberSession
from bridge.acts import list_acts
from bridge.db import Table, db, now_utc, transaction
from bridge.ledger.check_rollups import check_rollups
from bridge.ledger.label_rollups import roll_up_labels
from bridge.ledger.ledger import credit
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import UsageRecord
from bridge.payments.leaving import AFTER, erase_labels
from tests.dashboard.letters import read_mails
from tests.dashboard.pages import post, sign_in, sign_up
from tests.dashboard.test_confirming import balance_of, set_settings
from tests.dashboard.test_proof import age
from tests.factories import Factories, MadeAccount
from tests.ledger.records import add_record

DATA = "/dashboard/settings/data"


def enter(app: Flask, account: MadeAccount) -> FlaskClient:
    browser = app.test_client()
    assert sign_in(browser, account.email, account.password).status_code == 303
    return browser


def export(browser: FlaskClient) -> zipfile.ZipFile:
    answer = post(browser, "/dashboard/settings/export", DATA)
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    assert answer.headers["Cache-Control"] == "no-store"
    return zipfile.ZipFile(io.BytesIO(answer.data))


def delete(browser: FlaskClient, email: str):
    return post(browser, "/dashboard/settings/delete", DATA, confirm=email)


def dump(account_id: int) -> str:
    """Every row of the database as text."""
    tables = Table.metadata.sorted_tables
    return "\n".join(f"{table.name}: {row}" for table in tables for row in db.session.execute(sa.select(table)))


def test_the_archive_has_all_of_an_account_and_nothing_of_another(app: Flask, make: Factories):
    account, other = make.make_account(), make.make_account()
    key = make.make_key(account, name="worker-prod")
    make.make_key(other, name="not-mine")
    with app.app_context():
        ids = {add_record(account.id, key_id=key.id).request_id for _ in range(3)}
        foreign = add_record(other.id).request_id
    archive = export(enter(app, account))
    assert archive.testzip() is None
    names = ("keys", "requests", "journal", "payments", "activity")
    expected = {"account.json", *(f"{name}.{kind}" for name in names for kind in ("csv", "jsonl"))}
    assert set(archive.namelist()) == expected
    assert json.loads(archive.read("account.json"))["member"]["email"] == account.email
    rows = list(csv.DictReader(io.StringIO(archive.read("requests.csv").decode())))
    assert {row["request_id"] for row in rows} == ids
    lines = [json.loads(line) for line in archive.read("requests.jsonl").splitlines()]
    assert {line["request_id"] for line in lines} == ids
    assert json.loads(archive.read("keys.jsonl").splitlines()[0])["name"] == "worker-prod"
    assert "10" in archive.read("journal.csv").decode()
    whole = b"".join(archive.read(name) for name in archive.namelist()).decode()
    for secret in (key.secret, "not-mine", foreign, other.email):
        assert secret not in whole


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_archive_of_many_requests_is_whole_and_sent_in_pieces(app: Flask, make: Factories, monkeypatch):
    monkeypatch.setattr("bridge.ledger.usage.EXPORT_PAGE", 7)
    account = make.make_account()
    with app.app_context():
        ids = {add_record(account.id).request_id for _ in range(30)}
    archive = export(enter(app, account))
    assert {json.loads(line)["request_id"] for line in archive.read("requests.jsonl").splitlines()} == ids


def test_export_and_deletion_ask_for_a_fresh_sign_in(app: Flask, make: Factories):
    account = make.make_account()
    browser = enter(app, account)
    age(app)
    for path in ("export", "delete"):
        answer = post(browser, f"/dashboard/settings/{path}", DATA, confirm=account.email)
        assert answer.location.startswith("/dashboard/prove")
    assert sign_in(app.test_client(), account.email, account.password).status_code == 303


def test_a_deleted_account_leaves_usage_and_no_name(app: Flask, make: Factories):
    account, other = make.make_account(), make.make_account()
    key, kept = make.make_key(account, name="holt-laptop"), make.make_key(other)
    browser, elsewhere, bystander = enter(app, account), enter(app, account), enter(app, other)
    post(browser, "/dashboard/settings/name", "/dashboard/settings", name="Mira Holt")
    with app.app_context():
        credit(account.id, 1, source="code", external_id="x", note="", made_by=account.email)
        record = add_record(account.id, key_id=key.id)
    answer = delete(browser, account.email.upper())
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    assert "is deleted" in browser.get("/sign-in").text
    assert elsewhere.get("/dashboard/").status_code == 302
    assert sign_in(app.test_client(), account.email, account.password).status_code == 401
    with app.app_context():
        assert read_caller(key.secret) is None
        assert read_caller(kept.secret) is not None
        assert db.session.scalar(sa.select(Member).where(Member.account_id == account.id)) is None
        assert db.session.scalars(sa.select(UsageRecord.request_id)).all() == [record.request_id]
        found = dump(account.id).replace(f"recipient {account.email}", "")
        left = [line for line in found.splitlines() if account.email in line or "Holt" in line or "holt" in line]
        assert [line.partition(":")[0] for line in left] == ["mails"]  # the farewell, for thirty days
        assert [act.what for act in list_acts(account.id)] == ["deleted", "balance"]  # what an operator decided stays
    (farewell,) = read_mails(app, account.email)
    assert "The balance was $10" in farewell
    assert bystander.get("/dashboard/").status_code == 200


@pytest.mark.parametrize("typed", ["", "somebody@example.com", "delete"])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_without_the_typed_address_nothing_is_deleted(app: Flask, make: Factories, typed: str):
    account = make.make_account()
    browser = enter(app, account)
    answer = delete(browser, typed)
    assert answer.status_code == 400
    assert "Nothing was deleted" in answer.text
    assert browser.get("/dashboard/").status_code == 200


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_operator_is_not_deleted(app: Flask, make: Factories):
    account = make.make_account(is_operator=True)
    browser = enter(app, account)
    assert delete(browser, account.email).status_code == 400
    assert browser.get("/admin/channels").status_code == 200


def test_a_deleted_account_is_not_reactivated(app: Flask, make: Factories):
    operator, account = make.make_account(is_operator=True), make.make_account()
    key = make.make_key(account)
    delete(enter(app, account), account.email)
    page = f"/admin/customers/{account.id}"
    assert post(enter(app, operator), f"{page}/reactivate", "/admin/customers").status_code == 404
    with app.app_context():
        assert db.session.scalar(sa.select(Account.status).where(Account.id == account.id)) == "suspended"
        assert read_caller(key.secret) is None
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Key).where(Key.revoked_at.is_(None))) == 0
        assert db.session.scalar(sa.select(sa.func.count()).select_from(MemberSession)) == 1


def test_nobody_gets_the_starting_credit_again_by_deleting(app: Flask):
    set_settings(app, signup_credit="2")
    browser = app.test_client()
    sign_up(browser)
    assert balance_of(app) == 2 * 10**9
    assert delete(browser, "mira@example.com").status_code == 303
    sign_up(app.test_client())
    assert balance_of(app) == 0


def test_labels_go_an_hour_after_the_account_and_the_books_still_agree(app: Flask, make: Factories):
    account, other = make.make_account(), make.make_account()
    labels = {"end_user": "patient-17", "tags": '["clinic=north"]'}
    browser = enter(app, account)
    with app.app_context():
        for owner in (account, other):
            add_record(owner.id, **labels)
        roll_up()
        roll_up_labels()
        add_record(account.id, **labels)  # not rolled up yet
    delete(browser, account.email)
    with app.app_context():
        assert erase_labels() == 0
        with transaction() as session:
            session.execute(sa.update(Account).values(deleted_at=now_utc() - 2 * AFTER).where(Account.id == account.id))
        assert erase_labels() == 1
        assert erase_labels() == 0
        labelled = sa.select(UsageRecord.account_id).where(UsageRecord.end_user.is_not(None))
        assert db.session.scalars(labelled).all() == [other.id]
        assert check_rollups() == []
        roll_up()
        roll_up_labels()
        assert check_rollups() == []
