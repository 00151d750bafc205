"""Every route against everybody: strangers, another account, a suspended one, customers at the operators' doors, a key
instead of a session, a session instead of a key, a form without its token. The routes are those of the app, so that a
new one is tried without being named here."""

import dataclasses
import datetime
import html
import re
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app import create_app
from bridge.accounts.customers import reactivate_account, suspend_account
from bridge.accounts.emails import find_by_email
from bridge.accounts.operator_notes import add_note
from bridge.accounts.operators import ROLES, may
from bridge.accounts.sessions import list_sessions, name_session
from bridge.accounts.tables import Identity, Invitation, Member, Passkey
from bridge.acts import COMMAND
from bridge.admin.door import find_right, require_rights
from bridge.catalogue.incidents import find_incident, open_incident
from bridge.dashboard.viewing import LEAVE, SHOWN
from bridge.db import db, now_utc, transaction
from bridge.extensions import limiter
from bridge.ledger.alerts import make_off_token
from bridge.payments.codes import create_batch
from bridge.payments.plan_tables import Subscription
from bridge.payments.plans import Offer, create_plan
from bridge.payments.tables import Payment
from tests.factories import DOLLAR, Factories, MadeAccount, MadeKey
from tests.ledger.records import make_record
from tests.rooms import close_rooms, make_settings
from tests.services import Databases

# open to everybody on purpose; whatever else a stranger asks for leads to the sign-in page
PUBLIC = {
    *("public.show_landing", "public.show_models", "public.show_model", "public.show_docs", "public.show_doc"),
    *("public.show_status", "public.show_status_json", "public.show_status_feed", "metrics.show_metrics"),
    *("public.search_docs", "public.show_llms"),
    *("welcome.show_sign_in", "welcome.enter", "welcome.show_sign_up", "welcome.sign_up", "welcome.sign_out"),
    *("welcome.choose_theme", "welcome.choose_language", "half_way.show_code", "half_way.take_code"),
    *("connected.go_there", "connected.come_back"),
    *("joining.ask_for_password", "joining.open_account"),
    *("invited.show_invitation", "invited.join", "accounts.show_no_account", "accounts.open_first_account"),
    *("first_operator.show_first_operator", "first_operator.become_operator"),
    *("passkeys.offer_challenge", "passkeys.enter_by_passkey", "forgotten.show_forgot", "forgotten.ask_for_link"),
    *("forgotten.show_reset", "forgotten.set_new_password", "confirming.ask_to_confirm", "confirming.confirm"),
    *("alerts.ask_to_turn_off", "alerts.turn_off", "health.show_livez", "health.show_readyz", "webhooks.hear_stripe"),
}
# what a suspended account may still send: it ends something, or concerns its people alone
LEFT_TO_SUSPENDED = {
    *("end_own_plan", "open_own_portal"),
    *("switch_key_off", "end_key", "end_old_key", "change_rule", "change_alert", "end_all_sessions", "save_notices"),
    *("end_other_sessions", "end_one_session", "save_password", "change_name", "change_time_zone", "keep_email"),
    *("prove", "switch", "withdraw_invitation", "end_membership", "leave_team"),
    "change_language",
}
# routes whose address names what belongs to no account: there is nothing foreign about it
OWNERLESS = {"dashboard.go_and_connect", "dashboard.go_and_prove", "dashboard.take_away"}
OWNERLESS |= {"dashboard.show_statement", "dashboard.export_statement"}
# steps of the setup, which are of the channel that their query names
OF_A_CHANNEL = {"admin.show_models_setup", "admin.show_try_setup", "admin.show_setup_done"}
SIGNED = {"webhooks.hear_stripe", "alerts.turn_off"}  # a signature in body or address stands for the form's token
MARK = "a name that only its owner may read"
CHALLENGE = "passkey_add"  # what a page asks a device to sign; it gives nobody anything


@dataclasses.dataclass(frozen=True)
class Owner:
    """An account with one of each thing that an address can name; `places` has them by the parameter's name."""

    account: MadeAccount
    key: MadeKey
    places: dict[str, Any]

    def address(self, rule: Rule) -> str:
        """The route's address, with this account's things in it. Raises a failure for a parameter nobody knows."""
        values = dict(self.places, name="sandbox") if rule.endpoint.startswith("admin.") else self.places
        for name in rule.arguments:
            if name not in values:
                pytest.fail(f"{rule.rule}: say in make_owner (places) which thing of the account <{name}> names.")
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(values[match[1]]), rule.rule)


def make_owner(app: Flask, *, is_operator: bool = False) -> Owner:
    """A new account that has everything."""
    make = Factories(app)
    account = make.make_account(is_operator=is_operator)
    key = make.make_key(account, name=MARK)
    with app.app_context():
        member = find_by_email(account.email)
        assert member
        record, payment_id = make_record(account.id, key_id=key.id), f"pay_{secrets.token_hex(16)}"
        amounts = {"amount_minor": 1000, "currency": "usd", "credit_nanos": 10 * DOLLAR}
        passkey = Passkey(member_id=member.id, credential_id=secrets.token_bytes(8), public_key=b"k", sign_count=0)
        passkey.name, passkey.created_at = MARK, now_utc()
        elsewhere = Identity(service="github", subject=account.email, member_id=member.id, label=MARK)
        elsewhere.created_at = now_utc()
        incident_id = open_incident("Slow answers", "We look into it.", COMMAND)
        update_id = find_incident(incident_id).updates[0].id
        plan = create_plan(app.config["BRIDGE"], Offer(f"{MARK} {account.id}", 2000, rpm=60, is_listed=False))
        subscription = Subscription(id=f"sbs_{account.id}", account_id=account.id, plan_id=plan.id, made_by="a test")
        subscription.state, subscription.stripe_subscription = "active", f"sub_{account.id}"
        batch, note = create_batch(DOLLAR, 1, made_by="a test"), add_note(account.id, MARK)
        assert batch
        with transaction() as session:
            payment = Payment(id=payment_id, account_id=account.id, kind="checkout", **amounts)
            invitation = Invitation(account_id=account.id, email=f"new-{account.email}", role="viewer")
            invitation.invited_by, invitation.digest = account.email, secrets.token_bytes(32)
            invitation.ends_at = now_utc() + datetime.timedelta(days=7)
            session.add_all([record, payment, passkey, elsewhere, subscription, invitation])
            session.flush()
            places = {
                "which": 1,
                "key_id": key.id,
                "request_id": record.request_id,
                "payment_id": payment_id,
                "passkey_id": passkey.id,
                "account_id": account.id,
                "member_id": member.id,
                "note_id": note.id,
                "invitation_id": invitation.id,
                "secret": "that of no invitation",
                "batch_id": batch.batch_id,
                "plan_id": plan.id,
                "subscription_id": subscription.id,
                "operator_id": member.id,
                "approval_id": 1,
                "incident_id": incident_id,
                "update_id": update_id,
                "token": make_off_token(app.config["BRIDGE"], account.id),
                "name": "github",  # the sign-in service
                "slug": "claude-code",  # of a guide
                "month": f"{now_utc():%Y-%m}",  # of one's own statement, whoever asks
            }
    return Owner(account, key, places)


@pytest.fixture(scope="module")
def site(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The whole product with everything configured that adds routes. Forms need no token, since no guard may lean on
    that: the test of the tokens turns them on."""
    settings = make_settings(
        tmp_path_factory.mktemp("authorisation"),
        database_url=databases.open("sqlite"),
        stripe_secret_key="sk_test_1",
        stripe_webhook_secret="whsec_1",
        stripe_api_base="http://127.0.0.1:9",
        github_client_id="ours",
        github_client_secret="ours",
    )
    app = create_app(settings)
    app.config["WTF_CSRF_ENABLED"] = False
    app.config["RATELIMIT_ENABLED"] = limiter.enabled = False
    yield app
    limiter.enabled = True
    close_rooms(app)


@pytest.fixture(scope="module")
def owner(site: Flask) -> Owner:
    """The account whose things everybody else is after."""
    return make_owner(site)


def list_rules(app: Flask, *, among: str = "") -> list[tuple[Rule, str]]:
    """Each route with each of its methods."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith(among) and rule.endpoint != "static"]
    found = [(rule, method) for rule in rules for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]
    assert found
    return found


def enter(app: Flask, account: MadeAccount) -> FlaskClient:
    """A browser in which the account's owner has just signed in."""
    browser = app.test_client()
    assert browser.post("/sign-in", data={"email": account.email, "password": account.password}).status_code == 303
    return browser


def rows_of(app: Flask, account: MadeAccount) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the account, of its members and of its keys, by table; not when somebody was seen last."""
    with app.app_context():
        member = db.session.scalars(sa.select(Member).where(Member.email == account.email)).one()
        owned = {"account_id": account.id, "member_id": member.id, "id": account.id}
        found = {}
        for table in db.metadata.sorted_tables:
            column = next((name for name in ("account_id", "member_id") if name in table.c), "")
            column = "id" if table.name == "accounts" else column
            if column and table.name != "sessions":  # they have a test of their own, and move when they are used
                told = [each for each in table.c if each.name != "seen_at"]
                rows = db.session.execute(sa.select(*told).where(table.c[column] == owned[column]))
                found[table.name] = sorted((tuple(row) for row in rows if CHALLENGE not in row), key=repr)
        db.session.rollback()
        return found


def says_to_sign_in(answer: TestResponse) -> bool:
    return answer.status_code == 302 and answer.location.startswith("/sign-in")


def test_a_stranger_is_sent_to_sign_in_from_everywhere_that_is_not_public(site: Flask, owner: Owner):
    before = rows_of(site, owner.account)
    marked = {name for name, view in site.view_functions.items() if getattr(view, "anyone_may_enter", False)}
    assert marked == PUBLIC  # a new public route is named here, on purpose
    for rule, method in list_rules(site):
        if rule.endpoint not in PUBLIC:
            answer = site.test_client().open(owner.address(rule), method=method)
            assert says_to_sign_in(answer), (method, rule.rule)
    assert rows_of(site, owner.account) == before


def test_another_account_finds_none_of_it_and_changes_nothing(site: Flask, owner: Owner):
    intruder = make_owner(site)
    enter(site, owner.account)
    with site.app_context():
        member = find_by_email(owner.account.email)
        assert member
        session = name_session(list_sessions(member.id)[0])
    before, browser = rows_of(site, owner.account), enter(site, intruder.account)
    # ids that forms carry in their bodies
    body = {"session": session, "key_id": owner.key.id, "account_id": owner.account.id, "name": "x", "confirm": MARK}
    for rule, method in list_rules(site, among="dashboard."):
        address = owner.address(rule)
        answer = browser.open(address, method=method, data=body if method == "POST" else None)
        if says_to_sign_in(answer):  # an earlier one has ended this browser's session
            browser = enter(site, intruder.account)
            answer = browser.open(address, method=method, data=body if method == "POST" else None)
        if rule.arguments and rule.endpoint not in OWNERLESS:
            assert answer.status_code == 404, (method, rule.rule)
        said = answer.data.replace(address.encode(), b"")
        assert owner.account.email.encode() not in said, rule.rule
        assert owner.places["request_id"].encode() not in said, rule.rule
        assert rows_of(site, owner.account) == before, (method, rule.rule)
    with site.app_context():
        assert name_session(list_sessions(member.id)[0]) == session


def test_a_suspended_account_reads_all_of_its_own_and_creates_nothing(site: Flask):
    suspended = make_owner(site)
    with site.app_context():
        suspend_account(suspended.account.id)
    browser = enter(site, suspended.account)
    before = rows_of(site, suspended.account)
    views = {name: getattr(view, "suspended_may_too", False) for name, view in site.view_functions.items()}
    assert {name for name, may in views.items() if may} == {f"dashboard.{name}" for name in LEFT_TO_SUSPENDED}
    for rule, method in list_rules(site, among="dashboard."):
        if views[rule.endpoint]:
            continue
        answer = browser.open(suspended.address(rule), method=method, data={"name": "x", "amount": "10"})
        if method == "GET":
            assert answer.status_code in (200, 204, 205, 302, 303), rule.rule
        else:
            assert answer.status_code == 403, rule.rule
            assert "Nothing was changed. Write to the operator" in answer.text, rule.rule
            assert rows_of(site, suspended.account) == before, rule.rule


def test_operators_pages_do_not_exist_for_customers_nor_for_suspended_operators(site: Flask, owner: Owner):
    suspended = make_owner(site, is_operator=True)
    with site.app_context():
        suspend_account(suspended.account.id)
    for account in (owner.account, suspended.account):
        browser, before = enter(site, account), rows_of(site, owner.account)
        for rule, method in list_rules(site, among="admin."):
            form = {"amount": "5", "note": "me", "reason": "me"} if method == "POST" else None
            assert browser.open(owner.address(rule), method=method, data=form).status_code == 404, (method, rule.rule)
        assert "/admin" not in browser.get("/dashboard/").text
        assert rows_of(site, owner.account) == before
    with site.app_context():
        reactivate_account(suspended.account.id)
    assert enter(site, suspended.account).get("/admin/customers").status_code == 200


def test_an_operator_opens_every_operators_page_and_nobody_elses_dashboard(site: Flask, owner: Owner):
    browser = enter(site, make_owner(site, is_operator=True).account)
    for rule, method in list_rules(site):
        if method != "GET" or rule.endpoint in PUBLIC:
            continue
        status = browser.get(owner.address(rule), query_string={"id": "gpt-4o"}).status_code
        if rule.endpoint.startswith("admin."):
            assert status in (200, 202) or rule.endpoint in OF_A_CHANNEL, rule.rule
        elif rule.arguments and rule.endpoint not in OWNERLESS:
            assert status == 404, rule.rule
    assert 'href="/admin/"' in browser.get("/dashboard/").text


@pytest.mark.parametrize("role", ROLES)
def test_each_operators_role_opens_its_own_routes_and_no_other(site: Flask, role: str):
    """Every route of the operators' pages, also those that are added later, with the right that it asks for."""
    browser, owner = enter(site, Factories(site).make_operator(role)), make_owner(site)
    before, opened = rows_of(site, owner.account), set()
    for rule, method in list_rules(site, among="admin."):
        right = find_right(site, rule.endpoint)
        assert right
        allowed = may(role, right)
        if method == "POST" and allowed:
            continue  # what the forms do has tests of its own
        answer = browser.open(owner.address(rule), method=method, query_string={"id": "gpt-4o"}, data={"id": "gpt-4o"})
        if not allowed:
            assert answer.status_code == 403, (role, method, rule.rule)
            assert f"and yours is {role}." in answer.text
            assert 'href="/admin/channels"' in answer.text  # the operators' shell is around it
        else:
            assert answer.status_code in (200, 202, 302) or rule.endpoint in OF_A_CHANNEL, (role, method, rule.rule)
            assert answer.text or answer.status_code == 202  # also of files that are written while they are read
            opened.add(right)
    assert "look" in opened
    assert rows_of(site, owner.account) == before


@pytest.mark.parametrize("role", ROLES)
def test_operators_are_offered_only_what_their_role_allows(site: Flask, role: str):
    browser, owner = enter(site, Factories(site).make_operator(role)), make_owner(site)
    places, offered = site.url_map.bind("localhost"), set()
    for rule, method in list_rules(site, among="admin."):
        if method != "GET" or not may(role, find_right(site, rule.endpoint) or ""):
            continue
        page = html.unescape(
            browser.get(owner.address(rule), query_string={"id": "gpt-4o"}, follow_redirects=True).text
        )
        found = [("GET", link) for link in re.findall(r'href="(/admin[^"?#]*)', page)]
        for form in re.findall(r"<form[^>]*>", page):
            action = re.search(r'action="(/admin[^"?#]*)', form)
            if action:
                found.append(("POST" if 'method="post"' in form else "GET", action[1]))
        for used, path in found:
            right = find_right(site, places.match(path, used)[0])
            assert right
            assert may(role, right), (role, rule.rule, used, path)
            offered.add((used, right))
    assert {used for used, _ in offered} == ({"GET"} if role == "viewer" else {"GET", "POST"})


def test_an_operator_who_views_a_customers_pages_changes_nothing_anywhere(site: Flask, owner: Owner):
    """Every route of the product, also those that are added later. What is not named to be shown is not shown."""
    operator = make_owner(site, is_operator=True)
    browser = enter(site, operator.account)
    assert browser.post(f"/admin/customers/{owner.account.id}/view").status_code == 303
    before = rows_of(site, owner.account), rows_of(site, operator.account)
    shown = set()
    for rule, method in list_rules(site):
        if rule.endpoint == LEAVE:
            continue
        form = {"name": "x", "amount": "5", "note": "me", "confirm": MARK} if method != "GET" else None
        answer = browser.open(
            owner.address(rule), method=method, data=form, query_string={"id": "gpt-4o"}, buffered=True
        )
        if method != "GET":
            assert answer.status_code == 403, (method, rule.rule)
            assert "nothing can be changed" in answer.text, rule.rule
        elif rule.endpoint.startswith("dashboard."):
            assert answer.status_code in (200, 204, 205, 403), rule.rule
            assert (answer.status_code != 403) == (rule.endpoint in SHOWN), rule.rule
            shown.add(rule.endpoint)
            assert owner.key.secret not in answer.text, rule.rule
            assert "<main" not in answer.text or "You are viewing as" in answer.text
        assert (rows_of(site, owner.account), rows_of(site, operator.account)) == before, (method, rule.rule)
    assert shown >= SHOWN
    assert browser.post("/admin/view/leave").status_code == 303
    assert operator.account.email in browser.get("/dashboard/").text


@pytest.mark.parametrize("role", ROLES)
def test_an_operators_account_is_viewed_by_an_owner_alone(site: Flask, owner: Owner, role: str):
    operator, other = Factories(site).make_operator(role), make_owner(site, is_operator=True)
    browser = enter(site, operator)
    for account, mays in ((owner.account, role in ("owner", "support")), (other.account, role == "owner")):
        answer = browser.post(f"/admin/customers/{account.id}/view")
        assert (answer.status_code == 303 and answer.location == "/dashboard/") == mays
        browser.post("/admin/view/leave")
    assert browser.post(f"/admin/customers/{operator.id}/view").location != "/dashboard/"


def test_an_operators_view_without_a_right_is_not_registered(site: Flask):
    def show_secrets() -> str:
        return ""

    app = Flask("bare")
    app.add_url_rule("/admin/secrets", "admin.show_secrets", show_secrets)
    with pytest.raises(RuntimeError, match=r"show_secrets \(/admin/secrets\)"):
        require_rights(app)


def test_a_role_taken_away_ends_at_the_next_request(site: Flask):
    operator = make_owner(site, is_operator=True)
    browser = enter(site, operator.account)
    with site.app_context(), transaction() as session:  # as an update that leaves the session alone
        session.execute(sa.update(Member).where(Member.email == operator.account.email).values(operator_role="viewer"))
    assert browser.get("/admin/system").status_code == 403
    assert browser.post("/admin/channels/sandbox/disable").status_code == 403
    assert browser.get("/admin/channels").status_code == 200
    with site.app_context(), transaction() as session:
        session.execute(sa.update(Member).where(Member.email == operator.account.email).values(operator_role="unknown"))
    assert browser.get("/admin/channels").status_code == 403


def test_a_key_opens_no_page(site: Flask, owner: Owner):
    before = rows_of(site, owner.account)
    for rule, method in list_rules(site):
        if rule.endpoint not in PUBLIC:
            answer = site.test_client().open(owner.address(rule), method=method, headers=owner.key.headers)
            assert says_to_sign_in(answer) or answer.mimetype == "application/json", (method, rule.rule)
            assert answer.status_code != 200, (method, rule.rule)
    assert rows_of(site, owner.account) == before


def test_a_session_opens_no_endpoint_of_the_api_and_another_accounts_key_no_receipt(site: Flask, owner: Owner):
    api: Flask = site.extensions["bridge_api"]
    places = {"name": "gpt-4o", "request_id": owner.places["request_id"]}
    signed_in = enter(site, owner.account)
    for rule, method in list_rules(api):
        if rule.endpoint == "openapi":
            continue
        answer = signed_in.open(dataclasses.replace(owner, places=places).address(rule), method=method)
        assert answer.status_code == 401, (method, rule.rule)
        assert answer.json
        assert answer.json["error"]["type"] == "authentication_error", (method, rule.rule)
    stranger = make_owner(site)
    receipt = f"/v1/requests/{owner.places['request_id']}"
    assert site.test_client().get(receipt, headers=owner.key.headers).status_code == 200
    assert site.test_client().get(receipt, headers=stranger.key.headers).status_code == 404


def test_no_form_is_taken_without_its_token(site: Flask):
    operator = make_owner(site, is_operator=True)
    browser, before = enter(site, operator.account), rows_of(site, operator.account)
    site.config["WTF_CSRF_ENABLED"] = True
    try:
        for rule, method in list_rules(site):
            if method == "GET" or rule.endpoint in SIGNED:
                continue
            answer = browser.open(operator.address(rule), method=method, data={"amount": "5", "confirm": MARK})
            assert answer.status_code == 400, (method, rule.rule)
            assert "This form has expired" in answer.text, (method, rule.rule)
    finally:
        site.config["WTF_CSRF_ENABLED"] = False
    assert rows_of(site, operator.account) == before
