"""Which language a reader gets: their settings', then the browser's cookie's, then the one that the browser asks for.

The pages need no translations here: the language that they say they are in is enough."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from bridge.accounts.standing import tell_suspension
from bridge.accounts.tables import Member
from bridge.dashboard.status import draw_ticks
from bridge.dashboard.status_snapshot import forget_status
from bridge.db import db
from bridge.languages import ENGLISH, LANGUAGES, find_language, join_names, translate
from tests.dashboard.pages import make_pages, post, sign_up

CHINESE = {"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"}
SETTINGS = "/dashboard/settings"


@pytest.fixture
def engine() -> str:
    return "sqlite"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    forget_status()
    with make_pages(tmp_path) as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def spoken(client: FlaskClient, path: str = "/", asked: str = "") -> str:
    found = re.search(r'<html lang="([^"]*)"', client.get(path, headers={"Accept-Language": asked}).text)
    assert found
    return found[1]


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
        ("zh", "zh-Hans"),
        ("fr,de;q=0.9,zh-Hans;q=0.5", "zh-Hans"),
        ("en-GB,zh-CN;q=0.9", "en"),
        ("zh-CN;q=0.3,en;q=0.9", "en"),
        ("tlh,*;q=0.1", "en"),
        ("../../etc/passwd", "en"),
        ("zh_Hans;;q=é", "en"),
    ],
)
def test_a_stranger_gets_what_their_browser_asks_for(client: FlaskClient, asked: str, language: str):
    assert spoken(client, "/sign-in", asked) == language


def test_the_cookie_goes_before_the_browser_and_lasts_a_year(client: FlaskClient):
    answer = post(client, "/language", "/sign-in", language="zh_Hans", next="/models?q=a")
    assert (answer.status_code, answer.location) == (303, "/models?q=a")
    assert "Max-Age=31536000" in answer.headers["Set-Cookie"]
    assert spoken(client, asked="en") == "zh-Hans"
    assert 'value="zh_Hans" lang="zh-Hans" aria-current="true"' in re.sub(r"\s+", " ", client.get("/").text)


@pytest.mark.parametrize("language", ["", "zh", "xx", "../en", "é" * 50])
def test_a_language_that_nobody_speaks_is_not_kept(client: FlaskClient, language: str):
    assert "Set-Cookie" not in post(client, "/language", "/sign-in", language=language).headers
    client.set_cookie("language", language)
    assert spoken(client) == "en"


def test_nobody_is_led_away_by_it(client: FlaskClient):
    assert post(client, "/language", "/sign-in", language="en", next="//evil.example").location == "/"


def test_settings_go_before_the_cookie_and_are_the_members_in_every_browser(app: Flask, client: FlaskClient):
    sign_up(client)
    assert read_setting(app) == "", "the browser decides until they do"
    answer = post(client, f"{SETTINGS}/language", SETTINGS, language="zh_Hans")
    assert (answer.status_code, read_setting(app)) == (303, "zh_Hans")
    client.set_cookie("language", "en")
    assert spoken(client, SETTINGS, "en") == "zh-Hans"


def test_the_menu_of_a_member_changes_their_settings_too(app: Flask, client: FlaskClient):
    sign_up(client)
    post(client, "/language", SETTINGS, language="zh_Hans")
    assert read_setting(app) == "zh_Hans"


def test_as_the_browser_forgets_the_cookie_too(app: Flask, client: FlaskClient):
    sign_up(client)
    post(client, "/language", SETTINGS, language="zh_Hans")
    assert post(client, f"{SETTINGS}/language", SETTINGS, language="").status_code == 303
    assert spoken(client, SETTINGS) == "en"
    assert (read_setting(app), client.get_cookie("language")) == ("", None)


def test_a_setting_that_is_no_language_is_refused(app: Flask, client: FlaskClient):
    sign_up(client)
    assert post(client, f"{SETTINGS}/language", SETTINGS, language="xx").status_code == 400
    assert read_setting(app) == ""


def test_a_cache_tells_languages_apart(client: FlaskClient):
    for path in ("/", "/status", "/models", "/docs", "/nothing"):
        kept = client.get(path).headers["Vary"]
        assert "Accept-Language" in kept
        assert "Cookie" in kept


def test_a_browser_that_changes_its_language_is_not_told_that_the_status_is_the_same(client: FlaskClient):
    client.get("/sign-in")
    tag = client.get("/status").headers["ETag"]
    assert client.get("/status", headers={"If-None-Match": tag}).status_code == 304
    assert client.get("/status", headers={"If-None-Match": tag, **CHINESE}).status_code == 200


def test_ticks_are_drawn_once_for_each_language(app: Flask):
    drawn = []
    for language in LANGUAGES:
        with app.test_request_context():
            g.language = language
            g.texts = Spelled(language)
            drawn.append(draw_ticks("...", "gpt-4o"))
    assert len(set(drawn)) == len(LANGUAGES)


class Spelled:
    """Texts that show whose they are."""

    def __init__(self, language: str):
        self.language = language

    def gettext(self, text: str) -> str:
        return f"{self.language}: {text}"


def test_pages_speak_chinese_to_whoever_asks_for_it(client: FlaskClient):
    said = {"/sign-in": "登录", "/models": "模型", "/docs": "文档"}
    sign_up(client)
    for path, word in {**said, "/dashboard/": "概览", "/dashboard/team": "邀请成员"}.items():
        stranger = path in said
        answer = (client.application.test_client() if stranger else client).get(path, headers=CHINESE)
        assert (answer.status_code, '<html lang="zh-Hans"' in answer.text, word in answer.text) == (200, True, True), (
            path
        )


def test_what_programs_read_is_english(client: FlaskClient):
    everyone = client.get("/status.json").json
    assert everyone is not None
    assert client.get("/status.json", headers=CHINESE).json == everyone
    assert client.get("/status.atom", headers=CHINESE).data == client.get("/status.atom").data


def test_the_api_answers_in_english():
    """It is an app of its own, whose requests have no reader."""
    api = Flask("api")
    with api.test_request_context(headers=CHINESE):
        assert find_language() == ENGLISH
        assert translate("Sign in") == "Sign in"
        assert tell_suspension("").startswith("This account is suspended.")


@pytest.mark.parametrize(("names", "said"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ([*"abc"], "a, b and c")])
def test_names_are_joined_as_people_do(names: list[str], said: str):
    assert join_names(names) == said


def read_setting(app: Flask) -> str:
    with app.app_context():
        return db.session.query(Member.language).scalar()
