"""The operators' page: let in, another role, removed; it ends at once, and the last owner stays."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import find_customer, set_account_group
from bridge.accounts.emails import find_by_email
from bridge.accounts.operators import find_role
from bridge.accounts.own_prices import list_own_prices
from bridge.acts import list_acts
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import set_settings
from tests.factories import Factories, MadeAccount

PAGE = "/admin/operators"


@pytest.fixture
def member_id(app: Flask, customer: MadeAccount) -> int:
    return find_id(app, customer)


def find_id(app: Flask, account: MadeAccount) -> int:
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        return member.id


def role_of(app: Flask, account: MadeAccount) -> str | None:
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        return find_role(member)


def test_an_owner_lets_a_member_in_changes_the_role_and_removes_them(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, member_id: int
):
    theirs = app.test_client()
    assert post(client, PAGE, PAGE, email=customer.email, role="finance").status_code == 303
    assert customer.email in client.get(PAGE).text
    sign_in(theirs, customer.email, customer.password)
    assert theirs.get("/admin/payments").status_code == 200
    assert theirs.get(PAGE).status_code == 403
    post(client, f"{PAGE}/{member_id}/role", PAGE, role="support")
    assert theirs.get("/admin/payments").status_code == 302  # the session has ended
    post(client, f"{PAGE}/{member_id}/remove", PAGE)
    assert role_of(app, customer) is None
    with app.app_context():
        details = [act.detail for act in list_acts(customer.id) if act.what.startswith("operator_")]
    changes = ["role support → none", "role finance → support", "role none → finance"]
    assert details == [f"{customer.email}, {change}" for change in changes]
    assert post(client, f"{PAGE}/{member_id}/remove", PAGE).status_code == 404


def test_the_last_owner_is_neither_removed_nor_demoted(
    app: Flask, client: FlaskClient, operator: MadeAccount, make: Factories
):
    make.make_operator("finance")
    own = find_id(app, operator)
    for path, form in ((f"{PAGE}/{own}/remove", {}), (f"{PAGE}/{own}/role", {"role": "viewer"})):
        answer = post(client, path, PAGE, **form)
        assert answer.status_code == 400
        assert "This is the last owner" in answer.text
    assert role_of(app, operator) == "owner"
    make.make_operator("owner")
    assert post(client, f"{PAGE}/{own}/role", PAGE, role="viewer").location == "/sign-in"
    assert role_of(app, operator) == "viewer"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"email": "nobody@example.com", "role": "viewer"}, "Nobody signs in with this address."),
        ({"email": "", "role": "viewer"}, "Give the address"),
        ({"email": "their own", "role": "viewer"}, "They are an operator already."),
        ({"email": "customer", "role": "emperor"}, "The roles are owner, finance, support, viewer."),
    ],
)
def test_a_wrong_form_says_what_is_wrong_and_changes_nothing(
    app: Flask, client: FlaskClient, operator: MadeAccount, customer: MadeAccount, form: dict[str, str], said: str
):
    email = {"their own": operator.email, "customer": customer.email}.get(form["email"], form["email"])
    answer = post(client, PAGE, PAGE, email=email, role=form["role"])
    assert answer.status_code == 400
    assert said in answer.text
    assert (role_of(app, operator), role_of(app, customer)) == ("owner", None)


def test_only_an_owner_suspends_an_operator(app: Flask, client: FlaskClient, operator: MadeAccount, make: Factories):
    supporter, browser = make.make_operator("support"), app.test_client()
    sign_in(browser, supporter.email, supporter.password)
    page = f"/admin/customers/{operator.id}"
    post(browser, f"{page}/suspend", page)
    assert "only an owner can suspend it" in browser.get(page).text
    assert client.get(PAGE).status_code == 200


@pytest.mark.parametrize(("path", "form"), [("reactivate", {}), ("limits", {"rpm": "7"}), ("group", {"group": "gold"})])
def test_only_an_owner_restores_an_operators_account_or_changes_its_terms(
    app: Flask, client: FlaskClient, operator: MadeAccount, make: Factories, path: str, form: dict[str, str]
):
    supporter, other, browser = make.make_operator("support"), make.make_operator("viewer"), app.test_client()
    sign_in(browser, supporter.email, supporter.password)
    page = f"/admin/customers/{other.id}"
    if path == "reactivate":
        post(client, f"{page}/suspend", page, suspend_reason="A lost laptop")
    post(browser, f"{page}/{path}", page, **form)
    assert "only an owner can" in browser.get(page).text
    with app.app_context():
        assert path not in {act.what for act in list_acts(other.id)}
        before = find_customer(other.id)
    post(client, f"{page}/{path}", page, **form)
    with app.app_context():
        assert find_customer(other.id) != before


PRICES = [
    ("markup", {"markup": "-50"}),
    ("own-price", {"own_model": "MODEL", "own_markup": "-50"}),
    ("own-price", {"own_model": "MODEL", "own_markup": "-50", "whose": "group"}),
    ("own-price/remove", {"own_model": "MODEL"}),
]


@pytest.mark.parametrize(("path", "form"), PRICES)
def test_an_operators_account_gets_its_prices_from_another_owner_alone(
    app: Flask, client: FlaskClient, operator: MadeAccount, make: Factories, path: str, form: dict[str, str]
):
    """Finance has the right to set prices, and an operator's account is not theirs to favour."""
    financier, other, browser = make.make_operator("finance"), make.make_operator("viewer"), app.test_client()
    sign_in(browser, financier.email, financier.password)
    sent = {name: make.make_model() if value == "MODEL" else value for name, value in form.items()}
    with app.app_context():
        for account in (financier, other, operator):
            set_account_group(account.id, "staff")
    for account in (financier, other):
        page = f"/admin/customers/{account.id}"
        post(browser, f"{page}/{path}", page, **sent)
        assert "only an owner can" in browser.get(page).text
    set_settings(app, four_eyes_dollars="100")
    page = f"/admin/customers/{operator.id}"
    post(client, f"{page}/{path}", page, **sent)
    assert "This is your own account" in client.get(page).text
    with app.app_context():
        assert list_own_prices(operator.id, "staff") == []
        assert find_customer(other.id).markup_bps is find_customer(operator.id).markup_bps is None
