"""Signing up, in and out: who gets a session, what it is worth, and what a stranger learns."""

import re
import time

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from bridge.accounts import emails
from bridge.accounts import sign_in as room
from bridge.accounts.tables import Account, Member
from bridge.dashboard.welcome import local_path
from bridge.db import db, transaction
from bridge.ledger import opening
from bridge.ledger.ledger import find_balance
from bridge.ledger.tables import Balance, Entry
from tests.dashboard.pages import EMAIL, PASSWORD, make_pages, post, sign_in, sign_up

FIVE_DOLLARS = 5_000_000_000


@pytest.fixture
def app(tmp_path):
    with make_pages(tmp_path, signup_credit="5.00") as app:
        yield app


@pytest.fixture
def client(app):
    return app.test_client()


def signed_in(client):
    return "Sign out" in client.get("/models").text


def test_signing_up_makes_an_account_with_its_owner_and_credit(app, client):
    answer = sign_up(client, email=" Mira@Example.com ")
    assert (answer.status_code, answer.location) == (303, "/dashboard/")
    with app.app_context():
        member = db.session.scalar(select(Member))
        assert (member.email, member.role, member.is_operator) == (EMAIL, "owner", False)
        assert member.password_hash.startswith("$argon2id$")
        assert find_balance(member.account_id).available_nanos == FIVE_DOLLARS
        entry = db.session.scalar(select(Entry))
        assert (entry.source, entry.external_id) == ("signup", f"signup:{member.account_id}")
    page = client.get("/models").text
    assert "$5.00 of starting credit" in page
    assert signed_in(client)


def test_an_account_without_starting_credit_has_an_empty_balance(tmp_path):
    with make_pages(tmp_path, signup_credit="0") as app:
        assert sign_up(app.test_client()).status_code == 303
        with app.app_context():
            assert db.session.scalar(select(Balance.balance_nanos)) == 0
            assert db.session.scalar(select(Entry)) is None


@pytest.mark.parametrize(
    ("email", "password", "complaint"),
    [
        ("nobody", PASSWORD, "@-sign"),
        ("a" * 250 + "@example.com", PASSWORD, "at most 254"),
        (EMAIL, "short", "at least 10"),
        (EMAIL, "x" * 129, "at most 128"),
    ],
)
def test_a_wrong_form_says_what_is_wrong_and_makes_nothing(app, client, email, password, complaint):
    answer = sign_up(client, email, password)
    assert answer.status_code == 400
    assert complaint in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert not signed_in(client)
    with app.app_context():
        assert db.session.scalar(select(Account)) is None


def test_an_address_is_taken_once(app, client):
    sign_up(client)
    answer = sign_up(app.test_client(), EMAIL.upper(), "another password")
    assert answer.status_code == 400
    with app.app_context():
        assert len(db.session.scalars(select(Account)).all()) == 1


def test_of_two_who_take_an_address_at_once_one_gets_it(app, monkeypatch):
    with app.app_context():
        opening.create_account(EMAIL, PASSWORD)
        monkeypatch.setattr(opening, "find_by_email", lambda _email: None)  # as each of the two saw it
        with pytest.raises(room.AddressTaken):
            opening.create_account(EMAIL, PASSWORD)
        assert len(db.session.scalars(select(Account)).all()) == 1


def test_closed_sign_up_lets_nobody_in_and_links_nowhere(tmp_path):
    with make_pages(tmp_path, signup="closed") as app:
        client = app.test_client()
        assert "/sign-up" not in client.get("/").text + client.get("/sign-in").text
        assert client.get("/sign-up").status_code == 403
        answer = post(client, "/sign-up", "/sign-in", email=EMAIL, password=PASSWORD)
        assert answer.status_code == 403
        with app.app_context():
            assert db.session.scalar(select(Account)) is None


def test_by_invitation_the_code_opens(tmp_path):
    with make_pages(tmp_path, signup="invite", signup_code="open sesame") as app:
        client = app.test_client()
        assert "/sign-up" in client.get("/").text
        refused = sign_up(client, code="guess")
        assert refused.status_code == 400
        assert "not the invitation code" in refused.text
        assert sign_up(client, code="open sesame").status_code == 303


def test_signing_in_leads_back_to_where_one_was(app, client):
    sign_up(client)
    newcomer = app.test_client()
    answer = sign_in(newcomer, next="/dashboard/usage?days=7")
    assert (answer.status_code, answer.location) == (303, "/dashboard/usage?days=7")
    assert signed_in(newcomer)
    with app.app_context():
        assert db.session.scalar(select(Member.last_sign_in_at)) is not None


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\..\\b",
        "javascript:alert(1)",
        "/\n/evil.example",
        "/\t/evil.example",
        "//[",
        "dashboard/keys",
        "",
        None,
    ],
)
def test_next_stays_on_this_site(target):
    assert local_path(target) == "/dashboard/"


def test_a_path_of_this_site_is_kept():
    assert local_path("/models?q=gpt") == "/models?q=gpt"
    assert local_path("/dashboard/keys?") == "/dashboard/keys"


def test_a_stranger_learns_nothing_about_addresses(app, client):
    sign_up(client)
    stranger = app.test_client()
    wrong_password = sign_in(stranger, EMAIL, "not the password")
    unknown = sign_in(stranger, EMAIL.replace("mira", "nora"), "not the password")
    assert wrong_password.status_code == unknown.status_code == 401
    bodies = [
        "".join(line for line in answer.text.replace("nora", "mira").splitlines() if "csrf_token" not in line)
        for answer in (wrong_password, unknown)
    ]
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
def test_every_try_costs_one_hash(app, client, monkeypatch, email):
    sign_up(client)
    checked = []

    def matches(password_hash, password):
        checked.append(password_hash)
        return False

    monkeypatch.setattr(room, "_matches", matches)
    assert sign_in(app.test_client(), email, "wrong password").status_code == 401
    assert len(checked) == 1
    parameters = checked[0].rsplit("$", 2)[0]
    assert parameters == room._hash_of_nobody.rsplit("$", 2)[0]


def test_a_password_of_any_length_is_cut_off_before_the_hash(app, client, monkeypatch):
    seen = []
    monkeypatch.setattr(room, "_matches", lambda _hash, password: seen.append(password) or False)
    assert sign_in(client, EMAIL, "x" * 100_000).status_code == 401
    assert seen == [""]


def test_an_old_hash_is_renewed_at_sign_in(app, client):
    sign_up(client)
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    with app.app_context(), transaction() as session:
        session.execute(update(Member).values(password_hash=weak))
    assert sign_in(app.test_client()).status_code == 303
    with app.app_context():
        renewed = db.session.scalar(select(Member.password_hash))
    assert renewed != weak
    assert not room._hasher.check_needs_rehash(renewed)


def test_signing_in_begins_a_new_session(app, client):
    sign_up(client)
    newcomer = app.test_client()
    with newcomer.session_transaction() as session:
        session["planted"] = "before"
    sign_in(newcomer)
    with newcomer.session_transaction() as session:
        assert "planted" not in session


def test_signing_out_ends_the_session_and_wants_a_form(app, client):
    sign_up(client)
    assert client.get("/sign-out").status_code == 405
    assert signed_in(client)
    assert post(client, "/sign-out", "/models").location == "/"
    assert not signed_in(client)


@pytest.mark.parametrize("user_id", ["", "1", "1:", ":0", "x:y", "99:0", "1:0", "é", "x" * 5000])
def test_a_session_that_names_nobody_is_none(app, client, user_id):
    sign_up(client)
    with client.session_transaction() as session:
        session["_user_id"] = user_id
    assert not signed_in(client)


@pytest.mark.parametrize("path", ["/sign-in", "/sign-up", "/sign-out", "/theme"])
def test_a_form_without_its_token_changes_nothing(app, client, path):
    answer = client.post(path, data={"email": EMAIL, "password": PASSWORD, "theme": "dark"})
    assert answer.status_code == 400
    assert "This form has expired" in answer.text
    assert "theme=" not in str(answer.headers)
    with app.app_context():
        assert db.session.scalar(select(Account)) is None


@pytest.mark.usefixtures("within_an_hour")
def test_wrong_passwords_for_one_address_are_limited_right_ones_are_not(app, client):
    sign_up(client)
    for _ in range(12):
        assert sign_in(app.test_client()).status_code == 303
    for _ in range(10):
        assert sign_in(app.test_client(), password="wrong password").status_code == 401
    limited = sign_in(app.test_client(), password="wrong password")
    assert limited.status_code == 429
    assert int(limited.headers["Retry-After"]) <= 15 * 60 + 1  # rounded up
    assert "Too many tries" in limited.text


@pytest.mark.usefixtures("within_an_hour")
def test_sign_up_is_limited_by_address(client, monkeypatch):
    monkeypatch.setattr(emails, "MAX_EMAIL_LENGTH", 1)  # refused before the hash: this test is about the limit
    codes = [sign_up(client, email=f"m{number}@example.com").status_code for number in range(11)]
    assert codes == [400] * 10 + [429]


SITE = "https://gateway.example"


@pytest.mark.parametrize("environment", ["production", "development"])
def test_behind_tls_every_cookie_is_this_hosts_alone(tmp_path, environment):
    with make_pages(tmp_path, bridge_env=environment, signup="open", public_base_url=SITE) as app:
        client, cookies = app.test_client(), {}
        for path, fields in (
            ("/sign-up", {"email": EMAIL, "password": PASSWORD}),
            ("/theme", {"theme": "dark"}),
        ):
            page = client.get("/" if path == "/theme" else path, base_url=SITE)
            token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]
            answer = client.post(path, data={**fields, "csrf_token": token}, base_url=SITE, headers={"Origin": SITE})
            assert answer.status_code == 303
            for line in (*page.headers.getlist("Set-Cookie"), *answer.headers.getlist("Set-Cookie")):
                cookies[line.partition("=")[0]] = {part.strip() for part in line.split(";")[1:]}
        assert client.get("/dashboard/", base_url=SITE).status_code == 200, "the same names are read again"
        assert ' data-bs-theme="dark"' in client.get("/", base_url=SITE).text
        assert 'data-theme="__Host-theme"' in client.get("/", base_url=SITE).text, "the script writes the same"
    assert set(cookies) == {"__Host-session", "__Host-known", "__Host-theme"}
    for name, flags in cookies.items():
        assert {"Secure", "SameSite=Lax", "Path=/"} <= flags
        assert ("HttpOnly" in flags) == (name != "__Host-theme"), "a script may change the theme, and nothing else"
        assert not any(flag.startswith("Domain") for flag in flags)


def test_on_plain_http_cookies_have_plain_names(client):
    sign_up(client)
    assert client.get_cookie("session")
    assert client.get_cookie("known")


@pytest.mark.parametrize(
    ("sent", "attribute"),
    [("dark", ' data-bs-theme="dark"'), ("light", ' data-bs-theme="light"'), ("auto", ""), ("neon", "")],
)
def test_the_theme_is_remembered_and_set_by_the_server(client, sent, attribute):
    answer = post(client, "/theme", theme=sent, next="/models")
    assert (answer.status_code, answer.location) == (303, "/models")
    assert f"theme={sent if attribute else 'auto'};" in answer.headers["Set-Cookie"]
    assert f'<html lang="en"{attribute}>' in client.get("/").text


def test_a_forged_theme_reaches_no_page(client):
    client.set_cookie("theme", "neon")
    assert '<html lang="en">' in client.get("/").text


def test_hashing_lets_the_worker_go_on(app, monkeypatch):
    import gevent

    ticks = []

    def tick():
        while len(ticks) < 1_000:
            ticks.append(time.monotonic())
            gevent.sleep(0)

    with app.app_context():
        other = gevent.spawn(tick)
        room.hash_password(PASSWORD)
        assert ticks, "nothing else ran while the password was hashed"
        other.kill()
