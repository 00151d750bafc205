"""PUBLIC_BASE_URL decides which forms are accepted; the Host header, which a proxy may write, decides nothing."""

import re

import pytest

from tests.dashboard.pages import EMAIL, PASSWORD, make_pages

SITE = "https://gateway.example"


@pytest.fixture
def app(tmp_path):
    with make_pages(tmp_path, bridge_env="production", signup="open", public_base_url=f"{SITE}/") as app:
        yield app


def send(app, *, host="gateway.example", **headers):
    """Send a sign-up through a proxy that terminates TLS and sends this Host."""
    client = app.test_client()
    via = {"base_url": f"https://{host}"}
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sign-up", **via).text)[1]
    form = {"csrf_token": token, "email": EMAIL, "password": PASSWORD}
    return client.post("/sign-up", data=form, headers=headers, **via)


@pytest.mark.parametrize("host", ["gateway.example", "app:8000", "10.0.0.7", "gateway.example:8443"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Referer": f"{SITE}/sign-up"},
        {"Origin": SITE},
        {"Origin": f"{SITE}:443", "Referer": "about:blank"},
        {"Origin": "null"},
        {"Referer": "android-app://com.example/ ]["},
        {"Referer": "http://[bad", "X-Forwarded-Host": "gateway.example"},
    ],
)
def test_a_form_of_our_own_is_taken_whatever_host_and_referer_say(app, host, headers):
    assert send(app, host=host, **headers).status_code == 303


@pytest.mark.parametrize("origin", ["https://evil.example", "http://gateway.example", f"{SITE}:8443", "http://[", "x"])
def test_a_form_of_another_site_is_refused_in_words_that_name_the_cause(app, origin):
    answer = send(app, Origin=origin)
    assert answer.status_code == 400
    assert "another address" in answer.text
    assert SITE in answer.text


def test_a_form_without_its_token_is_refused_all_the_same(app):
    answer = app.test_client().post("/sign-up", data={"email": EMAIL, "password": PASSWORD}, headers={"Origin": SITE})
    assert answer.status_code == 400
    assert "expired" in answer.text
