"""Robots are kept from signing up: by work that counts once, or by another company's word; a form without it makes no
account."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from gevent.pywsgi import WSGIServer

from bridge.accounts import bot_check
from bridge.accounts.bot_check import LASTS, count_zeros, set_work
from bridge.accounts.tables import Member
from bridge.db import db
from tests.dashboard.pages import EMAIL, PASSWORD, post, sign_up
from tests.dashboard.test_confirming import set_settings

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BITS = 8


@pytest.fixture
def working(app: Flask) -> FlaskClient:
    set_settings(app, signup_work_bits=BITS)
    return app.test_client()


def count_members(app: Flask) -> int:
    with app.app_context():
        return db.session.scalar(sa.select(sa.func.count()).select_from(Member)) or 0


def find_work(page: str) -> str:
    found = re.search(r'name="work" value="([^"]+)"', page)
    assert found
    return found[1]


def do(work: str, *, wrong: bool = False) -> str:
    return next(str(number) for number in range(10**7) if (count_zeros(work, str(number)) >= BITS) != wrong)


def test_work_that_was_done_opens_an_account(app: Flask, working: FlaskClient):
    page = working.get("/sign-up").get_data(as_text=True)
    assert f'data-bits="{BITS}"' in page
    assert "needs JavaScript" in page
    work = find_work(page)
    assert sign_up(working, work=work, answer=do(work)).status_code == 303
    assert count_members(app) == 1


def test_work_counts_once(app: Flask, working: FlaskClient):
    work = find_work(working.get("/sign-up").get_data(as_text=True))
    sign_up(app.test_client(), work=work, answer=do(work))
    again = sign_up(app.test_client(), email="another@example.com", work=work, answer=do(work))
    assert again.status_code == 400
    assert "used before" in again.text
    assert count_members(app) == 1


@pytest.mark.parametrize("answer", ["", "wrong", "-1", "é", "9" * 30])
@ON_SQLITE
def test_no_work_no_account(app: Flask, working: FlaskClient, answer: str):
    work = find_work(working.get("/sign-up").get_data(as_text=True))
    answer = do(work, wrong=True) if answer == "wrong" else answer
    assert sign_up(working, work=work, answer=answer).status_code == 400
    assert count_members(app) == 0


@pytest.mark.parametrize("work", ["", "x", "WyJhIiwwXQ.aaaaaa.bbbb"])
@ON_SQLITE
def test_work_that_we_did_not_set_is_none(app: Flask, working: FlaskClient, work: str):
    assert sign_up(working, work=work, answer=do(work)).status_code == 400
    assert count_members(app) == 0


@ON_SQLITE
def test_work_is_over_after_an_hour(app: Flask, working: FlaskClient, monkeypatch: pytest.MonkeyPatch):
    with app.app_context():
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda: 1_000_000_000)
        work = set_work(app.config["BRIDGE"])
        monkeypatch.undo()
        set_settings(app, signup_work_bits=BITS)
    assert LASTS.total_seconds() == 3600
    assert "too old" in sign_up(working, work=work, answer=do(work)).text


@ON_SQLITE
def test_a_form_that_is_wrong_otherwise_costs_no_work(app: Flask, working: FlaskClient):
    work = find_work(working.get("/sign-up").get_data(as_text=True))
    assert sign_up(working, password="short", work=work, answer=do(work)).status_code == 400
    assert sign_up(working, work=work, answer=do(work)).status_code == 303


class Company:
    """Turnstile's and hCaptcha's end."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self._server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/siteverify"

    def close(self) -> None:
        self._server.stop(timeout=1)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        form = {name: values[0] for name, values in parse_qs(environ["wsgi.input"].read().decode()).items()}
        self.asked.append(form)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({"success": form["response"] == "a person"}).encode()]


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Iterator[Company]:
    company = Company()
    for name in ("TURNSTILE", "HCAPTCHA"):
        widget = getattr(bot_check, name)
        fields = {field: getattr(widget, field) for field in ("script", "css", "field", "hosts")}
        monkeypatch.setattr(bot_check, name, bot_check.Widget(verify_url=company.url, **fields))
    yield company
    company.close()


@pytest.mark.parametrize(
    ("name", "field", "host"),
    [
        ("turnstile", "cf-turnstile-response", "https://challenges.cloudflare.com"),
        ("hcaptcha", "h-captcha-response", "https://hcaptcha.com"),
    ],
)
@ON_SQLITE
def test_a_companys_word_is_verified_there(app: Flask, company: Company, name: str, field: str, host: str):
    set_settings(app, **{f"{name}_site_key": "site", f"{name}_secret_key": "secret"})
    browser = app.test_client()
    page = browser.get("/sign-up")
    policy = page.headers["Content-Security-Policy"]
    assert host in policy
    assert "unsafe" not in policy
    assert host not in browser.get("/sign-in").headers["Content-Security-Policy"]
    assert 'data-sitekey="site"' in page.get_data(as_text=True)
    for word in ("", "a robot"):
        assert sign_up(browser, **{field: word}).status_code == 400
    assert count_members(app) == 0
    assert sign_up(browser, **{field: "a person"}).status_code == 303
    assert [(asked["secret"], asked["response"]) for asked in company.asked] == [
        ("secret", "a robot"),
        ("secret", "a person"),
    ]


@ON_SQLITE
def test_while_the_company_is_away_nobody_passes(app: Flask, company: Company):
    set_settings(app, turnstile_site_key="site", turnstile_secret_key="secret")
    company.close()
    browser = app.test_client()
    fields = {"email": EMAIL, "password": PASSWORD, "cf-turnstile-response": "a person"}
    answer = post(browser, "/sign-up", "/sign-up", **fields)
    assert answer.status_code == 400
    assert "be reached at the moment" in answer.text
    assert count_members(app) == 0
