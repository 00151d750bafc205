"""Teams: invitations by mail, roles that nobody gives themselves, members who leave with their keys, and one person in
several accounts."""

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import suspend_account
from bridge.accounts.emails import find_by_email
from bridge.accounts.memberships import add_member, find_main_account, find_membership
from bridge.accounts.operators import set_operator
from bridge.accounts.standing import list_owners
from bridge.accounts.tables import Invitation, Key, Membership
from bridge.acts import COMMAND, Actor, record_act
from bridge.db import db, now_utc, transaction
from bridge.ledger.ledger import find_balance
from bridge.payments.leaving import delete_account
from bridge.payments.merging import merge_accounts
from tests.dashboard.letters import read_mails
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import set_settings
from tests.factories import DOLLAR, PASSWORD, Factories, MadeAccount

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
TEAM = "/dashboard/team"


@pytest.fixture
def owner(make: Factories) -> MadeAccount:
    return make.make_account()


@pytest.fixture
def inside(app: Flask, owner: MadeAccount) -> FlaskClient:
    """A browser in which the owner is signed in."""
    return enter(app, owner)


def enter(app: Flask, account: MadeAccount) -> FlaskClient:
    browser = app.test_client()
    assert sign_in(browser, account.email, account.password).status_code == 303
    return browser


def invite(browser: FlaskClient, email: str, role: str = "developer", budget: str = "") -> str:
    """What the page says after inviting somebody."""
    post(browser, f"{TEAM}/invitations", TEAM, email=email, role=role, budget=budget)
    return browser.get(TEAM).text


def find_secret(app: Flask, email: str) -> str:
    """The address of the newest link that somebody was invited by."""
    found = re.search(r"/join/\S+", read_mails(app, email)[0])
    assert found
    return found[0]


def id_of(app: Flask, account: MadeAccount) -> int:
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        return member.id


def role_of(app: Flask, account_id: int, member: MadeAccount) -> str | None:
    member_id = id_of(app, member)
    with app.app_context():
        found = find_membership(account_id, member_id)
        return found.role if found else None


def give_key(app: Flask, make: Factories, account: MadeAccount, member: MadeAccount) -> int:
    """A key that belongs to this member; its id."""
    key, member_id = make.make_key(account), id_of(app, member)
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Key).where(Key.id == key.id).values(member_id=member_id))
    return key.id


def find_key(app: Flask, key_id: int) -> Key:
    with app.app_context():
        return db.session.get_one(Key, key_id, populate_existing=True)


def test_somebody_new_joins_by_the_mailed_link_and_has_no_account_of_their_own(
    app: Flask, inside: FlaskClient, owner: MadeAccount
):
    invite(inside, "Tom@Holt.example", budget="25")
    link, browser = find_secret(app, "tom@holt.example"), app.test_client()
    page = browser.get(link)
    assert page.headers["Cache-Control"] == "no-store"
    assert "Choose a password" in page.text
    assert post(browser, link, link, password="short").status_code == 400
    assert post(browser, link, link, password=PASSWORD).location == "/dashboard/"
    assert browser.get("/dashboard/keys").status_code == 200
    assert browser.get("/dashboard/billing").status_code == 403
    with app.app_context():
        member = find_by_email("tom@holt.example")
        assert member
        assert find_main_account(member) == owner.id
        found = find_membership(owner.id, member.id)
        assert found
        assert (found.role, found.budget_month_nanos) == ("developer", 25 * DOLLAR)
    assert app.test_client().get(link).status_code == 404  # once
    assert "tom@holt.example" in inside.get(TEAM).text


def test_somebody_with_an_account_signs_in_first_and_switches_between_both(
    app: Flask, make: Factories, inside: FlaskClient, owner: MadeAccount
):
    tom = make.make_account(7 * DOLLAR)
    invite(inside, tom.email, "admin")
    link, browser = find_secret(app, tom.email), app.test_client()
    page = browser.get(link).text
    assert "Sign in to" in page
    assert 'type="password"' not in page
    assert browser.post(link, data={"password": PASSWORD}).status_code == 400  # no token; and nobody is signed in
    assert sign_in(browser, tom.email, tom.password, next=link).location == link
    before = re.search(r'name="csrf_token" value="([^"]+)"', browser.get(link).text)
    assert before
    assert post(browser, link, link).location == "/dashboard/"
    page = browser.get("/dashboard/").text
    assert owner.email in page
    assert "$7.00" in page  # of their own, in the list
    # a form that was opened for one account never reaches the other
    stale = browser.post("/dashboard/billing/alert", data={"csrf_token": before[1], "alert_threshold": "5"})
    assert stale.status_code == 400
    assert role_of(app, owner.id, tom) == "admin"
    assert post(browser, "/dashboard/switch", "/dashboard/", account_id=str(tom.id)).location == "/dashboard/"
    assert tom.email in browser.get(TEAM).text
    assert owner.email not in browser.get(TEAM).text.split("</details>")[1]  # below the list of accounts
    other = make.make_account()
    assert post(browser, "/dashboard/switch", "/dashboard/", account_id=str(other.id)).status_code == 404


def test_a_form_that_is_open_in_another_browser_never_reaches_the_account_that_was_switched_to(
    app: Flask, make: Factories, inside: FlaskClient
):
    tom = make.make_account()
    invite(inside, tom.email, "admin")
    link, laptop, phone = find_secret(app, tom.email), enter(app, tom), enter(app, tom)
    token = re.search(r'name="csrf_token" value="([^"]+)"', laptop.get(TEAM).text)
    assert token
    assert post(phone, link, link).location == "/dashboard/"  # they look at that account now, in every browser
    fields = {"csrf_token": token[1], "email": "kim@holt.example", "role": "admin"}
    for _ in range(2):  # the first has passed the check of its token, the second does not
        assert laptop.post(f"{TEAM}/invitations", data=fields).status_code == 400
    assert read_mails(app, "kim@holt.example") == []
    invite(laptop, "kim@holt.example")  # from a page that was opened since
    assert read_mails(app, "kim@holt.example")


def test_a_link_is_for_its_address_alone_and_a_newer_one_takes_its_place(
    app: Flask, make: Factories, inside: FlaskClient
):
    invite(inside, "tom@holt.example")
    link, stranger = find_secret(app, "tom@holt.example"), enter(app, make.make_account())
    assert "This invitation is for tom@holt.example" in stranger.get(link).text
    assert post(stranger, link, "/dashboard/billing").status_code == 200
    assert stranger.get(TEAM).text.count("<tr>") < 12  # they are still in their own account
    assert "tom@holt.example" not in stranger.get(TEAM).text
    with app.app_context():
        invitation = db.session.scalars(sa.select(Invitation)).one().id
    post(inside, f"{TEAM}/invitations/{invitation}/send", TEAM)
    newer = find_secret(app, "tom@holt.example")
    assert newer != link
    assert app.test_client().get(link).status_code == 404
    with app.app_context(), transaction() as session:
        one = session.scalars(sa.select(Invitation)).one()
        invitation, one.ends_at = one.id, now_utc()
    assert app.test_client().get(newer).status_code == 404
    assert "Expired" in inside.get(TEAM).text
    post(inside, f"{TEAM}/invitations/{invitation}/cancel", TEAM)
    assert "Nobody is invited now" in inside.get(TEAM).text


def test_inviting_does_not_tell_whether_an_address_has_an_account(app: Flask, make: Factories, inside: FlaskClient):
    known, said = make.make_account().email, []
    for email in (known, "nobody-yet@example.com"):
        page = invite(inside, email)
        mail = read_mails(app, email)[0]
        said.append([re.sub(r"/join/\S+", "", text).replace(email, "") for text in (mail, page.split("<main")[1])])
        with app.app_context(), transaction() as session:
            session.execute(sa.delete(Invitation))
    assert said[0][0] == said[1][0]
    steady = re.compile(r'value="[^"]+"|invitations/\d+|<time[^>]+>')
    assert steady.sub("", said[0][1]) == steady.sub("", said[1][1])


def test_nobody_raises_themselves_and_the_last_owner_stays(
    app: Flask, make: Factories, inside: FlaskClient, owner: MadeAccount
):
    admin, viewer = make.make_member(owner, "admin"), make.make_member(owner, "viewer")
    ids = {one.email: id_of(app, one) for one in (owner, admin, viewer)}
    browser = enter(app, admin)

    def change(who: FlaskClient, whom: MadeAccount, role: str) -> int:
        return post(who, f"{TEAM}/{ids[whom.email]}/role", TEAM, role=role).status_code

    assert change(browser, admin, "owner") == 403
    assert change(browser, admin, "viewer") == 403
    assert change(browser, owner, "viewer") == 403
    assert change(browser, viewer, "owner") == 403
    assert post(browser, f"{TEAM}/{ids[owner.email]}/remove", TEAM).status_code == 403
    assert post(browser, f"{TEAM}/invitations", TEAM, email="x@example.com", role="owner").status_code == 400
    assert change(inside, owner, "admin") == 403
    post(inside, f"{TEAM}/leave", TEAM)
    assert "last owner" in inside.get("/dashboard/settings").text
    assert role_of(app, owner.id, owner) == "owner"
    assert change(browser, viewer, "billing") == 303
    assert role_of(app, owner.id, viewer) == "billing"
    assert post(inside, f"{TEAM}/{ids[admin.email]}/transfer", TEAM).status_code == 303
    assert (role_of(app, owner.id, owner), role_of(app, owner.id, admin)) == ("admin", "owner")
    with app.app_context():
        assert [email for _, email in list_owners(db.session(), owner.id)] == [admin.email]
    assert change(inside, admin, "viewer") == 403  # at once
    assert post(inside, f"{TEAM}/leave", TEAM).status_code == 303


def test_a_role_without_keys_disables_them_and_removal_revokes_them_and_ends_the_view(
    app: Flask, make: Factories, inside: FlaskClient, owner: MadeAccount
):
    developer = make.make_member(owner, "developer")
    member_id, of_team = id_of(app, developer), make.make_key(owner)
    key_id, browser = give_key(app, make, owner, developer), enter(app, developer)
    assert post(inside, f"{TEAM}/{member_id}/role", TEAM, role="viewer").status_code == 303
    assert find_key(app, key_id).disabled_at is not None
    assert browser.get("/dashboard/keys").status_code == 403  # in the session that was open
    assert post(inside, f"{TEAM}/{member_id}/remove", TEAM).status_code == 303
    assert find_key(app, key_id).revoked_at is not None
    assert find_key(app, of_team.id).revoked_at is None
    assert "You no longer belong" in read_mails(app, developer.email)[0]
    # their last account: a stranger everywhere but on the page that offers another
    assert browser.get("/dashboard/usage").location == "/no-account"
    assert "Sign in" in browser.get("/models").text
    assert post(browser, "/no-account", "/no-account", account_name="Tom's").location == "/dashboard/"
    page = browser.get("/dashboard/").text
    assert "Tom&#39;s" in page
    with app.app_context():
        member = find_by_email(developer.email)
        assert member
        assert find_balance(member.account_id).balance_nanos == 0  # no second starting credit
        assert find_main_account(member) != owner.id


def test_accounts_are_opened_by_people_only_where_sign_up_is_open(app: Flask, inside: FlaskClient):
    answer = post(inside, "/dashboard/accounts", "/dashboard/accounts/new", account_name="Lab")
    assert answer.location == "/dashboard/"
    assert "$10.00" in inside.get("/dashboard/").text  # the first one, in the list
    post(inside, f"{TEAM}/name", TEAM, account_name=" The   lab ")
    assert "The lab" in inside.get(TEAM).text
    assert post(inside, f"{TEAM}/name", TEAM, account_name="see http://evil.example").status_code == 400
    set_settings(app, signup="closed")
    assert "opened by the operator" in inside.get("/dashboard/accounts/new").text
    assert post(inside, "/dashboard/accounts", TEAM, account_name="Another").status_code == 400


def test_a_deleted_account_erases_only_those_whose_last_it_was(app: Flask, make: Factories, owner: MadeAccount):
    stays, gone = make.make_account(), make.make_member(owner, "viewer")
    member_id = id_of(app, stays)
    with app.app_context():
        with transaction() as session:
            add_member(session, owner.id, member_id, "developer")
        delete_account(app.config["BRIDGE"], owner.id, COMMAND)
        assert find_by_email(owner.email) is None
        assert find_by_email(gone.email) is None
        member = find_by_email(stays.email)
        assert member
        assert member.account_id == stays.id
    assert "your other accounts stay" in read_mails(app, stays.email)[0]
    assert sign_in(app.test_client(), stays.email, stays.password).status_code == 303


def test_a_deleted_account_is_not_given_to_somebody_who_was_taken_out_of_it_before(
    app: Flask, make: Factories, inside: FlaskClient, owner: MadeAccount
):
    gone = make.make_member(owner, "viewer")
    browser = enter(app, gone)
    assert post(inside, f"{TEAM}/{id_of(app, gone)}/remove", TEAM).status_code == 303
    with app.app_context():
        delete_account(app.config["BRIDGE"], owner.id, COMMAND)
    assert browser.get("/dashboard/billing").location == "/no-account"
    assert role_of(app, owner.id, gone) is None


def test_a_merge_leaves_the_higher_role(app: Flask, make: Factories, owner: MadeAccount):
    into = make.make_account()
    ids = {one.email: id_of(app, one) for one in (owner, into)}
    with app.app_context():
        with transaction() as session:
            add_member(session, into.id, ids[owner.email], "viewer")
        merge_accounts(app.config["BRIDGE"], owner.id, into.id)
    assert role_of(app, into.id, owner) == "owner"
    assert role_of(app, owner.id, owner) is None
    assert enter(app, owner).get(TEAM).status_code == 200


def test_an_operator_whose_account_is_suspended_is_none_in_another_account_either(app: Flask, make: Factories):
    operator, team = make.make_operator("owner"), make.make_account()
    make.make_operator("owner")
    member_id = id_of(app, operator)
    with app.app_context():
        with transaction() as session:
            add_member(session, team.id, member_id, "viewer")
        suspend_account(operator.id)
    browser = enter(app, operator)
    assert browser.get("/dashboard/usage").status_code == 200
    assert browser.get("/admin/").status_code == 404
    with app.app_context():
        set_operator(member_id, None)


def test_the_teams_log_names_no_operator_and_is_filtered_and_exported(
    app: Flask, make: Factories, inside: FlaskClient, owner: MadeAccount
):
    admin = make.make_member(owner, "admin")
    enter(app, admin)
    with app.app_context(), transaction() as session:
        record_act(session, owner.id, "refund", Actor("boss@gateway.example", is_operator=True), "$1.00")
        record_act(session, owner.id, "note_added", Actor("boss@gateway.example", is_operator=True), "a secret")
    page = inside.get(f"{TEAM}/log").text
    assert "the operator" in page
    assert "Request refunded" in page
    assert "boss@gateway.example" not in page
    assert "a secret" not in page
    of_admin = inside.get(f"{TEAM}/log?by={admin.email}&kind=sign-in").text.split("<tbody>")[1]
    assert "Signed in" in of_admin
    assert "Request refunded" not in of_admin
    assert "Request refunded" in inside.get(f"{TEAM}/log?by=operator").text
    assert "Nothing found" in inside.get(f"{TEAM}/log?by=boss@gateway.example").text
    rows = inside.get(f"{TEAM}/log.csv?kind=money&by=operator").text.splitlines()
    assert [row.split(",")[4] for row in rows] == ["act", "refund", "balance"]
    assert "the operator" in rows[1]


def test_an_account_that_an_older_worker_opened_is_its_persons(app: Flask, owner: MadeAccount):
    with app.app_context(), transaction() as session:
        session.execute(sa.delete(Membership).where(Membership.account_id == owner.id))
    browser = enter(app, owner)
    assert browser.get(TEAM).status_code == 200
    with app.app_context():
        assert [email for _, email in list_owners(db.session(), owner.id)] == [owner.email]
