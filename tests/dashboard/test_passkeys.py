"""Passkeys: made and used by a device of software, as a browser would send its answers. A challenge is answered once,
by its own member, for this site."""

import base64
import hashlib
import json
import os
import re
import struct

import cbor2
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.tables import Passkey, Ticket
from bridge.acts import list_acts
from bridge.db import db
from tests.dashboard.pages import post, sign_in
from tests.dashboard.test_confirming import set_settings
from tests.dashboard.test_proof import age
from tests.dashboard.test_two_factor import enter
from tests.factories import Factories, MadeAccount

SITE = "https://gateway.example"
NEW, SECURITY = "/dashboard/settings/passkeys/new", "/dashboard/settings/security"
USER_PRESENT, USER_VERIFIED, HAS_CREDENTIAL = 1, 4, 64


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Device:
    """One passkey."""

    def __init__(self, host: str = "gateway.example", origin: str = SITE):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.id = os.urandom(32)
        self.count = 0
        self.host, self.origin = host, origin
        self.flags = USER_PRESENT | USER_VERIFIED

    def create(self, options: dict) -> str:
        """What the browser sends for a new passkey."""
        numbers = self.key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        held = bytes(16) + struct.pack(">H", len(self.id)) + self.id + cbor2.dumps(public)
        data = self._describe(self.flags | HAS_CREDENTIAL) + held
        made = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._write(self._say("webauthn.create", options), attestationObject=b64(made))

    def sign(self, options: dict) -> str:
        """What the browser sends when it is used."""
        self.count += 1
        said, data = self._say("webauthn.get", options), self._describe(self.flags)
        signature = self.key.sign(data + hashlib.sha256(said).digest(), ec.ECDSA(hashes.SHA256()))
        return self._write(said, authenticatorData=b64(data), signature=b64(signature))

    def _describe(self, flags: int) -> bytes:
        return hashlib.sha256(self.host.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _say(self, kind: str, options: dict) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def _write(self, said: bytes, **response: str) -> str:
        response |= {"clientDataJSON": b64(said)}
        return json.dumps({"id": b64(self.id), "rawId": b64(self.id), "type": "public-key", "response": response})


@pytest.fixture(autouse=True)
def _named_site(app: Flask) -> None:
    """A site with a name: browsers make no passkey for an address of numbers."""
    set_settings(app, public_base_url=SITE)


@pytest.fixture
def account(make: Factories) -> MadeAccount:
    return make.make_account()


def options_of(page: str) -> dict:
    found = re.search(r'data-options="([^"]+)"', page)
    assert found
    return json.loads(found[1].replace("&#34;", '"').replace("&quot;", '"').replace("&amp;", "&"))


def add(browser: FlaskClient, device: Device, name: str = "Mira's laptop"):
    credential = device.create(options_of(browser.get(NEW).get_data(as_text=True)))
    return post(browser, "/dashboard/settings/passkeys", SECURITY, name=name, credential=credential)


def challenge(browser: FlaskClient) -> dict:
    answer = post(browser, "/sign-in/passkey/options", "/sign-in")
    assert answer.status_code == 200
    return answer.json


def use(browser: FlaskClient, device: Device, options: dict | None = None, **fields: str):
    credential = device.sign(options or challenge(browser))
    return post(browser, "/sign-in/passkey", "/sign-in", credential=credential, **fields)


@pytest.fixture
def device(app: Flask, account: MadeAccount) -> Device:
    """A passkey of the member."""
    device = Device()
    assert add(enter(app, account), device).status_code == 303
    return device


def is_inside(browser: FlaskClient) -> bool:
    return browser.get("/dashboard/").status_code == 200


def test_a_passkey_signs_in_and_leads_where_one_wanted(app: Flask, account: MadeAccount, device: Device):
    browser = app.test_client()
    answer = use(browser, device, next="/dashboard/usage")
    assert (answer.status_code, answer.location) == (303, "/dashboard/usage")
    page = browser.get(SECURITY).text
    assert "Mira&#39;s laptop" in page or "Mira's laptop" in page
    with app.app_context():
        assert list_acts(account.id)[0].detail == "passkey"


def test_an_answer_is_taken_once(app: Flask, account: MadeAccount, device: Device):
    first, second = app.test_client(), app.test_client()
    options = challenge(first)
    credential = device.sign(options)
    assert post(first, "/sign-in/passkey", "/sign-in", credential=credential).location == "/dashboard/"
    assert post(second, "/sign-in/passkey", "/sign-in", credential=credential).location.startswith("/sign-in")
    assert not is_inside(second)


def test_a_challenge_is_good_for_what_it_was_drawn_for(app: Flask, account: MadeAccount, device: Device):
    options = options_of(enter(app, account).get(NEW).get_data(as_text=True))
    browser = app.test_client()
    assert use(browser, device, options).location.startswith("/sign-in")
    assert use(browser, device, {"challenge": b64(os.urandom(32))}).location.startswith("/sign-in")
    assert not is_inside(browser)


@pytest.mark.parametrize(
    "changes",
    [
        {"origin": "https://gateway.example.evil.test"},
        {"host": "evil.test"},
        {"flags": USER_PRESENT},
        {"key": ec.generate_private_key(ec.SECP256R1())},
        {"id": b"x" * 32},
    ],
    ids=["origin", "host", "unverified", "key", "unknown"],
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_no_sound_answer_opens_nothing(app: Flask, device: Device, changes: dict):
    for name, value in changes.items():
        setattr(device, name, value)
    browser = app.test_client()
    assert use(browser, device).location.startswith("/sign-in")
    assert not is_inside(browser)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_device_that_counts_backwards_is_a_copy(app: Flask, device: Device):
    device.count = 5
    assert use(app.test_client(), device).location == "/dashboard/"
    device.count = 4
    assert use(app.test_client(), device).location.startswith("/sign-in")


@pytest.mark.parametrize(
    "credential", ["", "{}", "[]", "no JSON", '{"response": {"clientDataJSON": "é"}}', "x" * 50_000]
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_whatever_is_sent_is_answered(app: Flask, credential: str):
    browser = app.test_client()
    answer = post(browser, "/sign-in/passkey", "/sign-in", credential=credential)
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/sign-in")


def test_a_passkey_belongs_to_one_member(app: Flask, make: Factories, account: MadeAccount, device: Device):
    other = make.make_account()
    browser = enter(app, other)
    assert add(browser, device).status_code == 400
    page = "/dashboard/settings/passkeys/1/remove"
    assert post(browser, page, SECURITY).status_code == 404
    assert use(app.test_client(), device).location == "/dashboard/"


def test_a_removed_passkey_opens_nothing(app: Flask, account: MadeAccount, device: Device):
    browser = enter(app, account)
    with app.app_context():
        passkey_id = db.session.scalar(sa.select(Passkey.id))
    assert post(browser, f"/dashboard/settings/passkeys/{passkey_id}/remove", SECURITY).status_code == 303
    assert use(app.test_client(), device).location.startswith("/sign-in")


def test_a_passkey_is_a_fresh_sign_in_for_its_own_member_alone(app: Flask, make: Factories, account, device: Device):
    browser, other = enter(app, account), make.make_account()
    foreign, stranger = Device(), enter(app, other)
    add(stranger, foreign)
    age(app)
    prove = "/dashboard/prove"
    for wrong in (foreign.sign(challenge(app.test_client())), device.sign(challenge(app.test_client()))):
        assert post(browser, prove, prove, credential=wrong, next=NEW).status_code == 401
    options = options_of(browser.get(prove).get_data(as_text=True))
    assert post(browser, prove, prove, credential=device.sign(options), next=NEW).location == NEW
    assert browser.get(NEW).status_code == 200


@pytest.mark.parametrize(("name", "status"), [("", 400), ("x" * 61, 400), ("YubiKey 5C", 303)])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_passkey_has_a_name(app: Flask, account: MadeAccount, name: str, status: int):
    assert add(enter(app, account), Device(), name).status_code == status


@pytest.mark.parametrize("site", ["http://127.0.0.1:8000", "http://gateway.example", "https://192.0.2.1"])
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_where_browsers_make_none_no_page_offers_one(app: Flask, account: MadeAccount, site: str):
    browser = enter(app, account)
    set_settings(app, public_base_url=site)
    assert "data-passkey=" not in browser.get(NEW).get_data(as_text=True)
    assert "data-passkey=" not in app.test_client().get("/sign-in").get_data(as_text=True)
    set_settings(app, public_base_url="")
    assert post(app.test_client(), "/sign-in/passkey/options", "/sign-in").status_code == 200  # localhost


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_challenges_are_kept_as_hashes(app: Flask):
    options = challenge(app.test_client())
    secret = base64.urlsafe_b64decode(options["challenge"] + "==")
    with app.app_context():
        (ticket,) = db.session.scalars(sa.select(Ticket))
        assert secret not in ticket.digest
    assert sign_in(app.test_client()).status_code == 401


@pytest.fixture
def operator(app: Flask, make: Factories) -> tuple[MadeAccount, Device]:
    """An operator whose only second factor is a passkey, where operators need one."""
    operator, device = make.make_account(is_operator=True), Device()
    assert add(enter(app, operator), device).status_code == 303
    set_settings(app, public_base_url=SITE, require_second_factor=True)
    return operator, device


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_operators_password_opens_no_page_of_theirs_without_their_passkey(app: Flask, operator):
    account, device = operator
    browser, prove = enter(app, account), "/dashboard/prove?next=/admin/customers?page%3D2"
    assert browser.get("/admin/customers?page=2").location == prove
    page = browser.get(prove)
    assert "Operators need their second factor here" in page.text
    assert 'name="password"' not in page.text
    assert post(browser, "/dashboard/prove", prove, password=account.password).status_code == 401
    assert browser.get("/admin/").status_code == 303
    assert browser.get("/dashboard/usage").status_code == 200  # they may do what a customer may
    credential = device.sign(options_of(page.text))
    answer = post(browser, "/dashboard/prove", prove, credential=credential, next="/admin/customers?page=2")
    assert answer.location == "/admin/customers?page=2"
    assert browser.get("/admin/customers").status_code == 200
    assert enter(app, account).get("/admin/").status_code == 303  # another session has not used it


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_password_adds_no_second_factor_beside_an_operators_own(app: Flask, operator):
    browser = enter(app, operator[0])
    for page in ("/dashboard/settings/two-factor", NEW, "/dashboard/keys/new"):
        assert browser.get(page).location == f"/dashboard/prove?next={page}"
    assert post(browser, "/dashboard/settings/passkeys", "/dashboard/usage", name="mine").status_code == 303
    with app.app_context():
        assert db.session.scalar(sa.select(sa.func.count()).select_from(Passkey)) == 1


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_operator_who_signs_in_by_a_passkey_is_asked_nothing_more(app: Flask, operator):
    browser = app.test_client()
    assert use(browser, operator[1]).location == "/admin/"
    assert browser.get("/admin/").status_code == 200
    assert browser.get(NEW).status_code == 200
