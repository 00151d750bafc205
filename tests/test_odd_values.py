"""NUL, broken UTF-8, lone surrogates and very long values, wherever a client may put them, are never our fault."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from tests.factories import PASSWORD, Factories
from tests.rooms import close_rooms, make_settings
from tests.test_house import ROOT

ODD = {
    "NUL": "%00",
    "broken UTF-8": "%ff%fe",
    "surrogate": "%ed%a0%80",
    "half a sequence": "%e2%82",
    "no hex": "%zz%",
    "long": "a" * 1_000,
    "long number": "9" * 400,
    "negative": "-9223372036854775809",
    "wide digits": "%ef%bc%91",  # a digit to Python, and none to a database
}
READS = re.compile(
    r"""(?:args|form|values|fields)(?:\.get|\.getlist)?[\[(]\s*["'](\w+)["']|"""
    r"""form\.(?:text|number|dollars|percent|names|moment|require)\(\s*["'](\w+)["']"""
)


def list_names() -> list[str]:
    """Every name of a field that a page reads of its address or its form, or writes into one."""
    found = {"csrf_token"}
    for path in (ROOT / "bridge").rglob("*.py"):
        found |= {first or second for first, second in READS.findall(path.read_text())}
    for path in (ROOT / "templates").rglob("*.html"):
        found |= set(re.findall(r'\bname="(\w+)"', path.read_text()))
    return sorted(found)


@pytest.fixture(scope="module")
def site(databases, tmp_path_factory) -> Iterator[tuple[Flask, Factories]]:
    """The whole product on PostgreSQL, which takes no NUL; without tokens in forms and limits of pages."""
    folder: Path = tmp_path_factory.mktemp("odd")
    settings = make_settings(folder, database_url=databases.open("postgresql"), stripe_webhook_secret="whsec_tests")
    app = create_app(settings)
    app.config.update(WTF_CSRF_ENABLED=False, RATELIMIT_ENABLED=False)
    yield app, Factories(app)
    close_rooms(app)


@pytest.fixture(scope="module")
def operator(site):
    """A client of pages and API that everything is open to, and the headers of its key."""
    app, make = site
    account = make.make_account(is_operator=True)
    client = app.test_client()
    assert client.post("/sign-in", data={"email": account.email, "password": PASSWORD}).status_code == 303
    return client, make.make_key(account).headers


def fill(path: str, value: str) -> str:
    """The route with the value for whatever varies in it."""
    return re.sub(r"<(\w+:)?\w+>", value, path)


def all_routes(site) -> list[tuple[str, str]]:
    app, _make = site
    rules = [rule for each in (app, app.extensions["bridge_api"]) for rule in each.url_map.iter_rules()]
    found = {(method, rule.rule) for rule in rules for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}}
    return sorted(route for route in found if route[1] not in ("/sign-out", "/dashboard/settings/sign-out-everywhere"))


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_no_odd_value_in_an_address_or_a_form_is_our_fault(site, operator, value):
    client, headers = operator
    query = "&".join(f"{name}={value}" for name in list_names())
    form = "application/x-www-form-urlencoded"
    for method, rule in all_routes(site):
        path = fill(rule, value)
        for address, body in ((path, b""), (f"{fill(rule, '1')}?{query}", query.encode()), (f"{path}?{query}", b"")):
            kind = "application/json" if rule.startswith("/v1") else form
            answer = client.open(address, method=method, data=body, content_type=kind, headers=headers, buffered=True)
            assert answer.status_code < 500, (method, address[:200], answer.text[:500])
            assert answer.headers["x-request-id"], rule
            if answer.status_code == 404 and "?" not in address:
                break
