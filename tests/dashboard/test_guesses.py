"""Tries of passwords are counted before they are checked, and lock out only the client that makes them."""

from collections import Counter

import gevent
import pytest

from tests.dashboard.pages import EMAIL, make_pages, post, sign_in, sign_up

WRONG = "wrong password"
pytestmark = pytest.mark.usefixtures("within_an_hour")


@pytest.fixture
def app(tmp_path):
    with make_pages(tmp_path) as app:
        yield app


@pytest.fixture
def owner(app):
    """A browser in which the member has signed up."""
    client = app.test_client()
    sign_up(client)
    assert post(client, "/sign-out", "/models").status_code == 303
    return client


def from_address(app, address):
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


def guess(client, times, **fields):
    return Counter(sign_in(client, **({"password": WRONG} | fields)).status_code for _ in range(times))


@pytest.mark.usefixtures("owner")
def test_of_many_guesses_at_once_no_more_are_looked_at_than_of_as_many_one_by_one(app):
    asked = [gevent.spawn(sign_in, from_address(app, "198.51.100.1"), password=WRONG) for _ in range(24)]
    assert Counter(each.get(timeout=60).status_code for each in asked) == {401: 10, 429: 14}


def test_a_strangers_guesses_lock_out_neither_a_known_browser_nor_another_network(app, owner):
    assert guess(from_address(app, "198.51.100.1"), 30)[429] == 20
    assert sign_in(owner).status_code == 303
    assert sign_in(from_address(app, "203.0.113.9")).status_code == 303


def test_guesses_from_everywhere_end_and_the_known_browser_still_enters(app, owner):
    for number in range(12):
        guess(from_address(app, f"198.51.100.{number}"), 9)
    assert sign_in(from_address(app, "203.0.113.9")).status_code == 429
    assert sign_in(owner).status_code == 303


def test_a_known_browser_guesses_no_more_often_than_others(app, owner):
    assert guess(owner, 12) == {401: 10, 429: 2}


def test_a_forged_cookie_makes_no_browser_known(app, owner):
    cookie = owner.get_cookie("known").value
    strangers = [from_address(app, "198.51.100.1") for _ in range(12)]
    for number, client in enumerate(strangers):
        client.set_cookie("known", f"{number}{cookie}")
    assert Counter(sign_in(client, password=WRONG).status_code for client in strangers) == {401: 10, 429: 2}


@pytest.mark.usefixtures("owner")
def test_the_addresses_of_one_subscriber_are_one(app):
    clients = [from_address(app, f"2001:db8:1:2::{number}") for number in range(1, 13)]
    assert Counter(sign_in(client, password=WRONG).status_code for client in clients) == {401: 10, 429: 2}


@pytest.mark.parametrize("written", [EMAIL.upper(), f" {EMAIL} ", EMAIL.replace("example.com", "EXAMPLE.com.")])
def test_an_address_written_otherwise_is_the_same_one(app, owner, written):
    client = from_address(app, "198.51.100.1")
    guess(client, 10)
    assert sign_in(client, email=written, password=WRONG).status_code in (429, 401)
    assert guess(client, 1, email=EMAIL.upper())[429] == 1


@pytest.mark.usefixtures("owner")
def test_who_knows_the_password_may_come_as_often_as_they_like(app):
    codes = Counter(sign_in(from_address(app, "203.0.113.9")).status_code for _ in range(25))
    assert codes == {303: 25}
