"""Four eyes: what is above the set amount waits for a second operator, never the same one, and is booked once."""

import datetime
import re

import gevent
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.audit import ActFilter, list_lines
from bridge.db import db, now_utc, transaction
from bridge.ledger.ledger import adjust
from bridge.ledger.tables import Entry
from bridge.payments.approval_tables import Approval
from bridge.payments.approvals import NeedsAnother, bound, expire_approvals
from bridge.payments.codes import list_batches
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import set_settings
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_record

DAY = datetime.timedelta(days=1)
PAGE = "/admin/approvals"


@pytest.fixture(autouse=True)
def _limit(app: Flask) -> None:
    set_settings(app, four_eyes_dollars="100")


@pytest.fixture
def second(app: Flask, make: Factories) -> FlaskClient:
    """The browser of a second operator, of finance."""
    return enter(app, make.make_operator("finance"))


def enter(app: Flask, account: MadeAccount) -> FlaskClient:
    browser = app.test_client()
    sign_in(browser, account.email, account.password)
    return browser


def ask(client: FlaskClient, customer: MadeAccount, amount: str = "150", **form: str) -> None:
    page = f"/admin/customers/{customer.id}"
    assert post(client, f"{page}/balance", page, amount=amount, note="A contract", **form).status_code == 303


def list_acts(app: Flask) -> list[str]:
    with app.app_context():
        db.session.rollback()
        lines = list_lines(ActFilter(now_utc() - DAY, now_utc() + DAY, kind="money"))
        return [line.act.what for line in reversed(lines) if line.act.made_by != "a test"]


def state_of(app: Flask, approval_id: int = 1) -> str:
    with app.app_context():
        return db.session.get_one(Approval, approval_id, populate_existing=True).state


def test_a_large_amount_is_booked_once_when_a_second_operator_approves(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    ask(client, customer, once="1")
    assert "another operator has to approve" in client.get(PAGE).text
    ask(client, customer, once="1")
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    assert "Approve number 1" not in client.get(PAGE).text
    post(client, f"{PAGE}/1/approve", PAGE)  # the same person, by hand
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    assert "Approve number 1" in second.get(PAGE).text
    assert "Approve number 2" not in second.get(PAGE).text
    for _ in range(2):
        post(second, f"{PAGE}/1/approve", PAGE)
    assert make.find_money(customer.id) == (160 * DOLLAR, 0)
    assert "This was decided before" in second.get(PAGE).text
    assert list_acts(app) == ["approval_asked", "approval_given", "balance"]


def test_what_a_killed_worker_left_is_booked_once(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    ask(client, customer)
    ask(client, customer, "-200")
    for approval_id in (1, 2):  # 1: killed after its entry; 2: before it
        if approval_id == 1:
            post(second, f"{PAGE}/1/approve", PAGE)
        with app.app_context(), transaction() as session:
            session.execute(sa.update(Approval).where(Approval.id == approval_id).values(state="booking"))
        post(client, f"{PAGE}/{approval_id}/approve", PAGE)  # not by whoever asked
        assert state_of(app, approval_id) == "booking"
        post(second, f"{PAGE}/{approval_id}/approve", PAGE)
        assert state_of(app, approval_id) == "approved"
    assert make.find_money(customer.id) == (-40 * DOLLAR, 0)


def test_up_to_the_amount_and_without_the_setting_each_decides_alone(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, make: Factories
):
    ask(client, customer, "100")
    set_settings(app, four_eyes_dollars="")
    ask(client, customer, "1000")
    assert make.find_money(customer.id) == (1110 * DOLLAR, 0)
    assert "Nothing waits" in client.get(PAGE).text


def test_what_is_refused_or_too_late_is_never_booked(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    ask(client, customer)
    ask(client, customer)
    assert post(second, f"{PAGE}/1/refuse", PAGE, reason="").status_code == 400
    post(second, f"{PAGE}/1/refuse", PAGE, reason="Not agreed")
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Approval).where(Approval.id == 2).values(ends_at=now_utc()))
    for approval_id in (1, 2):
        post(second, f"{PAGE}/{approval_id}/approve", PAGE)
    with app.app_context():
        assert expire_approvals() == 1
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)
    assert (state_of(app, 1), state_of(app, 2)) == ("refused", "expired")
    assert list_acts(app) == ["approval_asked", "approval_asked", "approval_refused", "approval_expired"]
    assert "Not agreed" in client.get(PAGE).text


def test_support_refunds_up_to_the_amount_and_finance_decides_above(
    app: Flask, customer: MadeAccount, second: FlaskClient, make: Factories
):
    supporter = enter(app, make.make_operator("support"))
    page = f"/admin/customers/{customer.id}"
    with app.app_context():
        small = add_record(customer.id, charge_nanos=DOLLAR).request_id
        large = add_record(customer.id, charge_nanos=101 * DOLLAR).request_id
    before, _ = make.find_money(customer.id)
    for request_id in (small, large):
        assert post(supporter, f"{page}/refund", page, request=request_id, reason="Empty").status_code == 303
    assert make.find_money(customer.id)[0] == before + DOLLAR
    assert supporter.post(f"{PAGE}/1/approve").status_code in (400, 403)
    post(second, f"{PAGE}/1/approve", PAGE)
    assert make.find_money(customer.id)[0] == before + 102 * DOLLAR


def test_codes_are_made_when_they_are_approved_and_shown_once(
    app: Flask, client: FlaskClient, operator: MadeAccount, second: FlaskClient
):
    assert post(client, "/admin/codes", "/admin/codes", amount="60", count="2", note="Fair").status_code == 303
    with app.app_context():
        assert list_batches() == []
    shown = post(second, f"{PAGE}/1/approve", PAGE)
    assert shown.headers["Cache-Control"] == "no-store"
    assert len(set(re.findall(r"\b(?:[0-9A-Z]{5}-){3}[0-9A-Z]{5}\b", shown.text))) == 2
    post(second, f"{PAGE}/1/approve", PAGE)
    with app.app_context():
        [listed] = list_batches()
    assert (listed.batch.made_by, listed.batch.count) == (operator.email, 2)


def test_small_amounts_of_a_day_count_together(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    other = make.make_account()
    start, _ = make.find_money(other.id)
    ask(client, customer, "60", once="1")
    ask(client, customer, "-40", once="2")
    ask(client, customer, "60", once="1")  # sent twice: booked before, so it is no third amount
    assert "Nothing waits" in client.get(PAGE).text
    ask(client, customer, "1", once="3")
    assert make.find_money(customer.id) == (30 * DOLLAR, 0)
    assert state_of(app) == "waiting"
    ask(client, other, "100")  # another account
    ask(second, customer, "100")  # another operator
    assert make.find_money(other.id)[0] == start + 100 * DOLLAR
    assert make.find_money(customer.id) == (130 * DOLLAR, 0)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Entry).where(Entry.note == "A contract").values(created_at=now_utc() - DAY))
    ask(client, customer, "100")
    assert make.find_money(customer.id) == (230 * DOLLAR, 0)


def test_what_another_approved_doesn_t_count_again(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    ask(client, customer, "150")
    post(second, f"{PAGE}/1/approve", PAGE)
    ask(client, customer, "100")
    assert make.find_money(customer.id) == (260 * DOLLAR, 0)
    ask(client, customer, "1")
    assert make.find_money(customer.id) == (260 * DOLLAR, 0)
    assert state_of(app, 2) == "waiting"


def test_amounts_at_one_moment_count_together(
    app: Flask, operator: MadeAccount, customer: MadeAccount, make: Factories
):
    settings = app.config["BRIDGE"]

    def book(number: int) -> bool:
        with app.app_context():
            guard = bound(settings, operator.email, customer.id)
            try:
                terms = {"note": "At once", "made_by": operator.email, "external_id": f"form:{number}"}
                return adjust(customer.id, 40 * DOLLAR, **terms, guard=guard)
            except NeedsAnother:
                return False

    before, _ = make.find_money(customer.id)
    booked = [call.value for call in gevent.joinall([gevent.spawn(book, n) for n in range(5)], raise_error=True)]
    assert booked.count(True) == 2
    assert make.find_money(customer.id)[0] == before + 80 * DOLLAR


def test_batches_of_codes_of_a_day_count_together(app: Flask, client: FlaskClient, operator: MadeAccount):
    for note in ("One", "Two"):
        post(client, "/admin/codes", "/admin/codes", amount="30", count="2", note=note)
    with app.app_context():
        assert [listed.batch.note for listed in list_batches()] == ["One"]
    assert state_of(app) == "waiting"


def test_a_merge_that_moves_more_waits_and_is_done_once(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    stays = make.make_account()
    start, _ = make.find_money(stays.id)
    with app.app_context():
        adjust(customer.id, 140 * DOLLAR, note="A contract", made_by="command")
    page = f"/admin/customers/{customer.id}"

    def merge() -> None:
        form = {"into": str(stays.id), "confirm": customer.email}
        assert post(client, f"{page}/merge", f"{page}/members", **form).status_code == 303

    merge()
    assert make.find_money(customer.id) == (150 * DOLLAR, 0)
    page_of_all = client.get(PAGE).text
    assert "Merge, moving $150.00" in page_of_all
    assert all(account.email in page_of_all for account in (customer, stays))
    with app.app_context():
        adjust(customer.id, DOLLAR, note="More than was asked for", made_by="command")
    post(second, f"{PAGE}/1/approve", PAGE)
    assert (state_of(app), make.find_money(customer.id)) == ("refused", (151 * DOLLAR, 0))
    merge()
    post(client, f"{PAGE}/2/approve", PAGE)  # the same person, by hand
    assert make.find_money(customer.id) == (151 * DOLLAR, 0)
    post(second, f"{PAGE}/2/approve", PAGE)
    with app.app_context(), transaction() as session:  # as a worker leaves it that is killed right after
        session.execute(sa.update(Approval).where(Approval.id == 2).values(state="booking"))
    post(second, f"{PAGE}/2/approve", PAGE)
    assert (state_of(app, 2), make.find_money(customer.id)) == ("approved", (0, 0))
    assert make.find_money(stays.id)[0] == start + 151 * DOLLAR


def test_parts_of_a_charge_count_together_and_the_approved_one_is_booked_once(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, second: FlaskClient, make: Factories
):
    with app.app_context():
        request_id = add_record(customer.id, charge_nanos=300 * DOLLAR).request_id
    page = f"/admin/requests/{request_id}"
    before, _ = make.find_money(customer.id)
    for number, amount in (("1", "25%"), ("1", "25%"), ("2", "50")):
        post(client, f"{page}/refund", page, refund_amount=amount, reason="It was slow", number=number)
    assert make.find_money(customer.id)[0] == before + 75 * DOLLAR
    for _ in range(2):
        post(second, f"{PAGE}/1/approve", PAGE)
        with app.app_context(), transaction() as session:
            session.execute(sa.update(Approval).where(Approval.id == 1).values(state="booking"))
    post(second, f"{PAGE}/1/approve", PAGE)
    assert (state_of(app), make.find_money(customer.id)[0]) == ("approved", before + 125 * DOLLAR)
    assert "Refunded in part" in client.get(page).text
