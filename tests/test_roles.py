"""What a member may do in their account: every route of the dashboard, by every role, against the table below. The
routes are those of the app, so that a new one is tried without being named here."""

import html
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.roles import RIGHTS
from bridge.dashboard.door import find_right, require_rights
from bridge.errors import NotFound, RoleRefused
from tests.factories import Factories, MadeAccount
from tests.test_authorisation import enter, list_rules, make_owner, rows_of
from tests.test_authorisation import site as site  # the fixture

ROLES = ("owner", "admin", "developer", "billing", "viewer")
EVERYBODY = set(ROLES)
# what an address begins with, and who may open it; the first that fits counts
TABLE = (
    (r"/dashboard/team/(<int:member_id>/transfer|name)$", {"owner"}),
    (r"/dashboard/settings/(export|delete)$", {"owner"}),
    (r"/dashboard/team/leave$", EVERYBODY),
    (r"/dashboard/team", {"owner", "admin"}),
    (r"/dashboard/keys/<int:key_id>/owner$", {"owner", "admin"}),
    (r"/dashboard/(keys|playground)", {"owner", "admin", "developer"}),
    (r"/dashboard/(billing|settings/notices)", {"owner", "admin", "billing"}),
    (r"/dashboard/(usage.*)?$", EVERYBODY),
    (r"/dashboard/(settings|prove|switch|accounts)", EVERYBODY),
)


def who_may(address: str) -> set[str]:
    found = [roles for pattern, roles in TABLE if re.match(pattern, address)]
    assert found, f"say in TABLE who may open {address}"
    return found[0]


@pytest.fixture(scope="module")
def team(site: Flask) -> dict[str, MadeAccount]:
    """One of each role, of one account that has everything."""
    owner = make_owner(site).account
    return {"owner": owner} | {role: Factories(site).make_member(owner, role) for role in ROLES[1:]}


def passes_door(site: Flask, browser: FlaskClient, address: str, method: str) -> bool:
    """Whether a request of this browser gets as far as its view, which isn't called."""
    cookie = browser.get_cookie("bridge_session") or browser.get_cookie("session")
    assert cookie
    with site.test_request_context(address, method=method, headers={"Cookie": f"{cookie.key}={cookie.value}"}):
        try:
            answer = site.preprocess_request()
        except RoleRefused:
            return False
        except NotFound:  # somebody else's key, told only to a role that may have keys
            return True
    assert answer is None, (method, address)
    return True


@pytest.mark.parametrize("role", ROLES)
def test_each_role_opens_its_own_routes_and_no_other(site: Flask, team: dict[str, MadeAccount], role: str):
    owner, browser = make_owner(site), enter(site, team[role])
    before, refused = rows_of(site, team["owner"]), 0
    for rule, method in list_rules(site, among="dashboard."):
        address = owner.address(rule)
        if role in who_may(rule.rule):
            assert passes_door(site, browser, address, method), (role, method, rule.rule)
            continue
        answer, refused = browser.open(address, method=method, data={"name": "x"}), refused + 1
        assert answer.status_code == 403, (role, method, rule.rule)
        text = html.unescape(answer.text)
        assert f"is {role}." in text
        assert f"Ask {team['owner'].email}." in text  # who can do it
        assert "needs the role owner" in text
    assert rows_of(site, team["owner"]) == before
    assert (refused == 0) == (role == "owner")


@pytest.mark.parametrize("role", ROLES)
def test_members_are_offered_only_what_their_role_allows(site: Flask, team: dict[str, MadeAccount], role: str):
    browser, places, offered = enter(site, team[role]), site.url_map.bind("localhost"), set()
    pages = ("", "keys", "usage", "billing", "playground", "settings", "settings/security", "settings/data", "team")
    for name in (*pages, "team/log", "settings/notices", "accounts/new"):
        answer = browser.get(f"/dashboard/{name}")
        if answer.status_code == 403:
            continue
        page = html.unescape(answer.text)
        found = [("GET", link) for link in re.findall(r'href="(/dashboard[^"?#]*)', page)]
        for form in re.findall(r"<form[^>]*>", page):
            action = re.search(r'action="(/dashboard[^"?#]*)', form)
            if action:
                found.append(("POST" if 'method="post"' in form else "GET", action[1]))
        for used, path in found:
            rule = places.match(path, used, return_rule=True)[0]
            assert role in who_may(rule.rule), (role, name, used, path)
            offered.add(path)
    assert "/dashboard/settings" in offered
    assert ("/dashboard/team" in offered) == (role in ("owner", "admin"))


def test_a_view_that_names_no_right_is_not_registered():
    app = Flask("bare")
    app.add_url_rule("/dashboard/secrets", "dashboard.show_secrets", lambda: "")
    with pytest.raises(RuntimeError, match=r"show_secrets \(/dashboard/secrets\)"):
        require_rights(app)


def test_every_right_is_asked_for_by_some_route(site: Flask):
    asked = {find_right(site, rule.endpoint) for rule, _ in list_rules(site, among="dashboard.")}
    assert asked >= set(RIGHTS) - {"keys", "usage"}  # these two are asked for within a page
