"""Customers: found by a part of their address, credited once and for a reason, refused at once when suspended."""

import csv
import io
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import PAGE_SIZE, find_customer
from bridge.accounts.emails import find_by_email
from bridge.accounts.keys import read_caller
from bridge.accounts.operator_notes import add_note
from bridge.accounts.own_price_editing import Owner, set_own_price
from bridge.accounts.password_reset import write_reset_mails
from bridge.accounts.tables import Account, Key
from bridge.db import db, transaction
from bridge.ledger.rollups import roll_up
from bridge.ledger.tables import Entry
from bridge.mail.tables import Mail
from tests.admin.test_payments_page import open_review
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import set_settings
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_failure, add_record

LIST = "/admin/customers"
LONG = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def entries(app: Flask, account_id: int) -> list[Entry]:
    with app.app_context():
        return list(db.session.scalars(sa.select(Entry).where(Entry.account_id == account_id).order_by(Entry.id)))


def change(client: FlaskClient, account: MadeAccount, **fields: str):
    return post(client, f"{LIST}/{account.id}/balance", f"{LIST}/{account.id}", **fields)


def test_customers_are_listed_with_what_they_can_spend(
    client: FlaskClient, customer: MadeAccount, operator: MadeAccount
):
    page = client.get(LIST).text
    assert re.search(rf"{re.escape(customer.email)}.*?\$10\.00", page, re.DOTALL)
    found = client.get(LIST, query_string={"q": customer.email.upper()}).text
    assert customer.email in found
    assert f">{operator.email}</a>" not in found
    assert "Nobody found" in client.get(f"{LIST}?q=%25").text


def test_many_customers_come_in_pages(app: Flask, client: FlaskClient):
    with app.app_context(), transaction() as session:
        session.add_all(Account(name=f"firm {number}") for number in range(PAGE_SIZE + 5))
    first = client.get(f"{LIST}?q=firm").text
    older = re.search(r'href="([^"]+)">Next<', first)
    assert older
    second = client.get(older[1].replace("&amp;", "&")).text
    names = re.findall(r">(firm \d+)<", first + second)
    assert len(names) == len(set(names)) == PAGE_SIZE + 5
    assert ">First page<" in second
    assert client.get(f"{LIST}?after=x").status_code == 200


def test_the_lists_order_and_filter_stay_in_every_address_and_in_the_file(
    app: Flask, client: FlaskClient, make: Factories
):
    with app.app_context():
        accounts = [make.make_account() for _ in range(3)]
        for account, spent in zip(accounts, (3, 9, 6), strict=True):
            add_record(account.id, charge_nanos=spent * DOLLAR)
        roll_up()
    page = client.get(f"{LIST}?q=member&sort=spend").text
    listed = [int(found) for found in re.findall(rf'<b><a href="{LIST}/(\d+)"', page)]
    assert listed[:3] == [accounts[1].id, accounts[2].id, accounts[0].id]
    assert f'href="{LIST}?q=member&amp;state=new&amp;sort=spend"' in page
    file = client.get(f"{LIST}.csv?q=member&sort=spend")
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [int(row["account_id"]) for row in rows] == listed
    assert (rows[0]["email"], rows[0]["spent_30_days_dollars"], rows[0]["requests_30_days"]) == (
        *(accounts[1].email, "9", "1"),
    )


def test_a_customer_is_added_with_group_and_credit_and_invited_by_a_link_that_is_shown_once(
    app: Flask, client: FlaskClient, make: Factories
):
    form = {"email": "New@example.com", "name": "New firm", "group": "gold", "credit": "12.50"}
    answer = post(client, LIST, f"{LIST}/new", **form)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    link = re.search(r"/reset\?ticket=[\w-]+", answer.text)
    assert link
    page = client.get(f"{LIST}?q=new@example.com").text
    assert "New firm" in page
    with app.app_context():
        member = find_by_email("new@example.com")
        assert member
        customer = find_customer(member.account_id)
    assert (customer.group, customer.name) == ("gold", "New firm")
    assert make.find_money(customer.account_id)[0] == 12_500_000_000
    browser = app.test_client()
    assert post(browser, "/reset", link[0], ticket=link[0].partition("=")[2], password=LONG).status_code == 303
    sign_in(browser, "new@example.com", LONG)
    assert browser.get("/dashboard/").status_code == 200


def test_an_added_customer_has_a_mail_where_mail_goes_out(app: Flask, client: FlaskClient):
    set_settings(app, smtp_url="smtp://127.0.0.1:9")
    assert post(client, LIST, f"{LIST}/new", email="new@example.com").status_code == 303
    with app.app_context():
        assert "new@example.com" in db.session.scalars(sa.select(Mail.recipient)).all()


@pytest.mark.parametrize(
    ("field", "form"),
    [
        ("email", {"email": "nonsense"}),
        ("email", {"email": "TAKEN"}),
        ("email", {}),
        ("group", {"group": "two words"}),
        ("name", {"name": "x" * 101}),
        ("credit", {"credit": "-1"}),
        ("credit", {"credit": "much"}),
    ],
)
def test_a_customer_who_can_t_be_added_leaves_nothing(
    app: Flask, client: FlaskClient, operator: MadeAccount, field: str, form: dict[str, str]
):
    sent = {"email": "new@example.com", "group": "default", "name": "", "credit": "", **form}
    if field == "email":
        sent["email"] = operator.email if form.get("email") == "TAKEN" else form.get("email", "")
    answer = post(client, LIST, f"{LIST}/new", **sent)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    with app.app_context():
        assert find_by_email("new@example.com") is None


def test_a_customer_s_keys_come_in_pages(app: Flask, client: FlaskClient, customer: MadeAccount):
    add_keys(app, customer, 2 * PAGE_SIZE + 5)
    path, found = f"{LIST}/{customer.id}/keys", []
    for count in (PAGE_SIZE, PAGE_SIZE, 5):
        page = client.get(path).text
        assert f">Keys {2 * PAGE_SIZE + 5}<" in page
        names = re.findall(r"<b>(key \d+)</b>", page)
        assert len(names) == count
        found += names
        older = re.search(rf'href="{LIST}/{customer.id}(/keys\?keys_before=\d+)">Older<', page)
        path = f"{LIST}/{customer.id}{older[1]}" if older else ""
    assert not path
    assert len(set(found)) == 2 * PAGE_SIZE + 5
    assert client.get(f"{LIST}/{customer.id}/keys?keys_before=x").status_code == 200


def test_no_page_grows_with_the_number_of_keys(
    app: Flask, client: FlaskClient, customers_client: FlaskClient, customer: MadeAccount
):
    """One key of them is used; it is the oldest, and still has its name."""
    most = 250
    add_keys(app, customer, 3 * most)
    with app.app_context():
        oldest = db.session.scalars(sa.select(sa.func.min(Key.id)).where(Key.account_id == customer.id)).one()
        add_record(customer.id, key_id=oldest)
    pages = [rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()) and not rule.arguments]
    for path in [*pages, f"{LIST}/{customer.id}", f"{LIST}/{customer.id}/keys", f"/dashboard/usage?key={oldest}"]:
        for browser in (client, customers_client):
            assert len(re.findall(r"key \d+<", browser.get(path).text)) <= most, path
    for path in ("/dashboard/", "/dashboard/usage", f"/dashboard/usage?key={oldest}"):
        assert "key 0<" in customers_client.get(path).text, path


def add_keys(app: Flask, account: MadeAccount, count: int) -> None:
    """Keys of the account, each with a budget that is used up."""
    with app.app_context(), transaction() as session:
        for number in range(count):
            values = {"digest": b"%032d" % number, "last_four": f"{number % 10_000:04}", "budget_day_nanos": 1}
            session.add(Key(account_id=account.id, name=f"key {number}", **values))


def test_a_credit_has_a_reason_and_its_maker(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount, operator: MadeAccount
):
    assert change(client, customer, amount="12.345678901", note="Paid by invoice 7").status_code == 303
    assert make.find_money(customer.id) == (10 * DOLLAR + 12_345_678_901, 0)
    entry = entries(app, customer.id)[-1]
    assert (entry.note, entry.made_by, entry.credit) == ("Paid by invoice 7", operator.email, "customer")
    page = client.get(f"{LIST}/{customer.id}").text
    assert "Paid by invoice 7" in page
    assert "+$12.345678901" in page


@pytest.mark.parametrize(("amount", "left"), [("5", 15), ("-5", 5), ("-25", -15)])
def test_a_form_sent_twice_books_once(
    client: FlaskClient, make: Factories, customer: MadeAccount, amount: str, left: int
):
    once = re.search(r'name="once" value="(\w+)"', client.get(f"{LIST}/{customer.id}").text)
    assert once
    for _ in range(2):
        answer = change(client, customer, amount=amount, note="x", once=once[1])
    assert make.find_money(customer.id) == (left * DOLLAR, 0)
    assert "nothing was changed a second time" in client.get(answer.location).text
    assert change(client, customer, amount=amount, note="x", once=once[1] + "1").status_code == 303
    assert make.find_money(customer.id)[0] != left * DOLLAR  # another form is another change


def test_money_can_be_taken_away_below_zero(client: FlaskClient, make: Factories, customer: MadeAccount):
    assert change(client, customer, amount="−12.50", note="Charge-back").status_code == 303
    assert make.find_money(customer.id) == (-2_500_000_000, 0)
    assert make.check_ledger() == []
    assert "−$2.50" in client.get(f"{LIST}/{customer.id}").text


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("amount", {"amount": "", "note": "why"}),
        ("amount", {"amount": "0", "note": "why"}),
        ("amount", {"amount": "five", "note": "why"}),
        ("amount", {"amount": "0.0000000001", "note": "why"}),
        ("note", {"amount": "5", "note": "  "}),
        ("note", {"amount": "-5", "note": ""}),
    ],
)
def test_an_error_stands_beside_its_field_and_no_money_moves(
    app: Flask, client: FlaskClient, customer: MadeAccount, field: str, fields: dict
):
    before = len(entries(app, customer.id))
    answer = change(client, customer, **fields)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert len(entries(app, customer.id)) == before


def give_back(client: FlaskClient, account: MadeAccount, **fields: str):
    return post(client, f"{LIST}/{account.id}/refund", f"{LIST}/{account.id}", **fields)


def test_a_request_is_refunded_once_and_its_payer_reads_why(
    app: Flask,
    client: FlaskClient,
    customers_client: FlaskClient,
    make: Factories,
    customer: MadeAccount,
    operator: MadeAccount,
):
    with app.app_context():
        record = add_record(customer.id)
    asked = {"request": record.request_id.replace("req_", "chatcmpl-"), "reason": "It was <b>empty</b>"}
    answer = give_back(client, customer, **asked)
    assert answer.status_code == 303
    page = client.get(answer.location).text
    assert "has $0.003 back for this request of gpt-4o" in page
    assert "+$0.003" in page
    entry = entries(app, customer.id)[-1]
    assert (entry.source, entry.made_by) == ("refund", operator.email)
    again = give_back(client, customer, **asked)
    assert again.status_code == 400
    assert "refunded before: $0.003 on" in again.text
    assert make.find_money(customer.id) == (10 * DOLLAR + 3_000_000, 0)
    for path in (f"/dashboard/usage/{record.request_id}", "/dashboard/billing"):
        shown = customers_client.get(path).text
        assert "Refund" in shown
        assert "It was &lt;b&gt;empty&lt;/b&gt;" in shown
        assert record.request_id in shown


def test_what_can_t_be_refunded_stands_beside_its_field(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount
):
    with app.app_context():
        foreign, free = add_record(make.make_account().id).request_id, add_failure(customer.id).request_id
    for asked, reason, field, said in (
        (foreign, "x", "request", "no settled request"),
        (free, "x", "request", "cost nothing"),
        ("nonsense", "x", "request", "no such request"),
        ("", "x", "request", "Give the id"),
        (free, " ", "reason", "Say why"),
        (free, "x" * 501, "reason", "at most 500 characters"),
    ):
        answer = give_back(client, customer, request=asked, reason=reason)
        assert answer.status_code == 400
        assert re.search(rf'id="{field}-error">[^<]*{said}', answer.text)
    assert make.find_money(customer.id) == (10 * DOLLAR, 0)


def test_an_accounts_limits_bind_its_keys_at_once(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount
):
    key, page = make.make_key(customer, rpm=1000), f"{LIST}/{customer.id}"
    form = f"{page}/terms"
    assert "default, no limit" in client.get(form).text
    given = {"rpm": "1", "tpm": "20,000", "concurrency": "", "spend_day": "25", "max_keys": "5"}
    assert post(client, f"{page}/limits", form, **given).status_code == 303
    assert 'name="tpm" type="text" value="20000"' in client.get(form).text
    assert 'name="spend_day" type="text" value="25.00"' in client.get(form).text
    assert "$25.00" in client.get(page).text
    headers = {**key.headers, "Content-Type": "application/json"}
    codes = [app.test_client().post("/v1/quote", data=b"{}", headers=headers).status_code for _ in range(2)]
    assert codes == [400, 429]
    wrong = post(client, f"{page}/limits", page, rpm="-5", tpm="7")
    assert wrong.status_code == 400
    assert 'id="rpm-error"' in wrong.text
    assert post(client, f"{page}/limits", page, rpm="", tpm="", concurrency="").status_code == 303
    with app.app_context():
        caller = read_caller(key.secret)
    assert caller
    assert (caller.rpm, caller.tpm, caller.account_rpm) == (1000, 0, 0)
    assert post(client, f"{LIST}/999999/limits", page, rpm="1").status_code == 404


def test_a_suspended_customers_keys_are_refused_at_once(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount
):
    key = make.make_key(customer)
    page = f"{LIST}/{customer.id}"
    assert post(client, f"{page}/suspend", page, suspend_reason="Chargeback on 17 Nov").status_code == 303
    refused = app.test_client().get("/v1/models", headers=key.headers)
    assert refused.status_code == 403
    assert refused.json
    assert refused.json["error"]["code"] == "account_suspended"
    assert refused.json["error"]["message"] == "This account is suspended: Chargeback on 17 Nov."
    customers_client = app.test_client()
    sign_in(customers_client, customer.email, customer.password)
    assert "This account is suspended: Chargeback on 17 Nov." in customers_client.get("/dashboard/").text
    with app.app_context():
        mails = db.session.scalars(sa.select(Mail.text).where(Mail.recipient == customer.email))
        assert any("Chargeback on 17 Nov" in text for text in mails)
    assert "Suspended" in client.get(page).text
    post(client, f"{page}/reactivate", page)
    with app.app_context():
        caller = read_caller(key.secret)
    assert caller
    assert caller.account_status == "active"


def test_who_is_not_there_is_not_found(client: FlaskClient):
    assert client.get(f"{LIST}/999").status_code == 404
    for action in ("balance", "refund", "suspend", "reactivate"):
        fields = {"amount": "1", "note": "x", "request": "x", "reason": "x"}
        assert post(client, f"{LIST}/999/{action}", LIST, **fields).status_code == 404


def test_a_customer_is_put_into_a_group(app: Flask, client: FlaskClient, customer: MadeAccount):
    page = f"{LIST}/{customer.id}"
    form = f"{page}/terms"
    assert 'value="default"' in client.get(form).text
    assert post(client, f"{page}/group", form, group="partners").status_code == 303
    assert 'value="partners"' in client.get(form).text
    refused = post(client, f"{page}/group", page, group="a b")
    assert refused.status_code == 400
    assert 'id="group-error"' in refused.text
    with app.app_context():
        assert db.session.get_one(Account, customer.id).group_name == "partners"


def test_a_customer_is_found_by_whatever_they_name(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount
):
    key = make.make_key(customer)
    payment_id = open_review(app, customer, 1500, "usd")
    with app.app_context():
        record = add_record(customer.id)
    named = (
        *(customer.email[:-4], str(customer.id), key.secret[-4:], key.secret, payment_id),
        *(record.request_id, record.request_id.replace("req_", "chatcmpl-")),
    )
    for text in named:
        found = client.get(LIST, query_string={"q": text}).text
        assert f'href="{LIST}/{customer.id}"' in found, text
    assert "Nobody found" in client.get(f"{LIST}?q=pay_0193a7b2c3").text
    assert f'href="{LIST}/{customer.id}"' not in client.get(f"{LIST}?state=suspended").text
    assert f'href="{LIST}/{customer.id}"' in client.get(f"{LIST}?state=new").text


def test_operators_note_and_no_customer_reads_it(
    app: Flask, client: FlaskClient, customers_client: FlaskClient, customer: MadeAccount, operator: MadeAccount
):
    page = f"{LIST}/{customer.id}"
    assert post(client, f"{page}/notes", page, note_text="5% off, agreed by mail").status_code == 303
    shown = client.get(page).text
    assert "5% off, agreed by mail" in shown
    assert operator.email in shown
    wrong = post(client, f"{page}/notes", page, note_text="  ")
    assert wrong.status_code == 400
    assert 'id="note_text-error"' in wrong.text
    for path in ("/dashboard/", "/dashboard/settings", "/dashboard/settings/security", "/dashboard/settings/data"):
        assert "agreed by mail" not in customers_client.get(path).text
    assert "agreed by mail" not in customers_client.get("/dashboard/settings/security").text


def test_a_member_is_signed_out_and_sent_a_link(
    app: Flask, client: FlaskClient, customers_client: FlaskClient, customer: MadeAccount
):
    page = f"{LIST}/{customer.id}/members"
    shown = client.get(page).text
    assert customer.email in shown
    [member_id] = set(re.findall(r"/members/(\d+)/sign-out", shown))
    assert post(client, f"{page}/{member_id}/reset-link", page).status_code == 303
    assert post(client, f"{page}/{member_id}/sign-out", page).status_code == 303
    assert customers_client.get("/dashboard/").status_code == 302
    with app.app_context():
        assert write_reset_mails(app.config["BRIDGE"]) == 1
    assert post(client, f"{LIST}/999/members/{member_id}/sign-out", page).status_code == 404


def test_a_price_of_its_own_is_entered_and_asked_about_below_cost(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount
):
    model, page = make.make_model(input_price=10 * DOLLAR, output_price=10 * DOLLAR), f"{LIST}/{customer.id}"
    form, action = f"{page}/terms", f"{page}/own-price"
    given = {"own_model": model, "whose": "account"}
    assert 'id="own_output-error"' in post(client, action, form, **given, own_input="5").text
    asked = post(client, action, form, **given, own_input="5", own_output="20")
    assert "This sells below cost" in asked.text
    done = post(client, action, form, **given, own_input="5", own_output="20", below_cost="yes")
    assert done.status_code == 303
    assert "$5.00 / $20.00" in client.get(page).text
    assert post(client, f"{action}/remove", form, **given).status_code == 303
    assert "$5.00 / $20.00" not in client.get(form).text


def test_no_page_of_customers_costs_more_than_ten_statements(
    app: Flask, client: FlaskClient, make: Factories, customer: MadeAccount
):
    """Whatever there is to show: many customers, keys, requests, refusals, notes, own prices of account and group."""
    model = make.make_model()
    make.make_key(customer)
    with app.app_context():
        for number in range(3):
            add_record(customer.id, model_id=f"model-{number}")
            add_note(customer.id, f"note {number}")
        set_own_price(Owner(account_id=customer.id), model, markup_bps=500)
        set_own_price(Owner(group="default"), model, markup_bps=600)
        with transaction() as session:
            session.add_all(Account(name=f"firm {number}") for number in range(2 * PAGE_SIZE))
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        tabs = [f"{LIST}/{customer.id}{tab}" for tab in ("", "/keys", "/money", "/terms", "/members")]
        lists = [LIST, f"{LIST}?state=low", f"{LIST}?state=suspended", f"{LIST}?q=firm", f"{LIST}?q=req_{'0' * 32}"]
        for path in (*tabs, *lists):
            client.get(path)  # the first one fills caches
            asked.clear()
            assert client.get(path).status_code == 200
            assert len(asked) <= 10, (path, asked)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
