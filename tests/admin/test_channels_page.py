"""Channels: an added channel serves, its key is never shown, and its health is shown in words."""

import datetime
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge import vault
from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.tables import Channel, ChannelEvent
from bridge.db import now_utc, transaction
from bridge.errors import NotFound
from tests.dashboard.pages import post
from tests.factories import Factories, MadeAccount
from tests.upstream import ScriptedUpstream

LIST, NEW = "/admin/channels", "/admin/channels/new"
KEY = "sk-upstream-secret-9fQ2"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def add(client: FlaskClient, **fields: str):
    given = {"name": "openai-main", "provider": "openai", "api_key": KEY, "priority": "1", "weight": "1"}
    return post(client, LIST, NEW, **{**given, **fields})


def row(client: FlaskClient, name: str) -> str:
    """The channel's row, without markup."""
    page = client.get(LIST).text
    found = re.search(
        rf'<tr><th scope="row">(?:<input[^>]*>)?<a href="/admin/channels/{name}">.*?</tr>', page, re.DOTALL
    )
    assert found
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", found[0]))


def set_health(app: Flask, **columns: object) -> None:
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Channel).where(Channel.name == "openai-main").values(**columns))


def test_only_operators_are_told_that_answers_are_made_up_and_only_while_they_are(app: Flask, client: FlaskClient):
    note = "made up on this machine"
    with app.app_context(), transaction() as session:
        if session.scalar(sa.select(Channel).where(Channel.provider == "sandbox")) is None:
            session.add(Channel(name="sandbox", provider="sandbox"))
    assert note in client.get(LIST).text
    assert note not in client.get("/models").text
    with app.app_context(), transaction() as session:
        session.execute(sa.update(Channel).where(Channel.provider == "sandbox").values(enabled=False))
    assert note not in client.get(LIST).text


def test_an_added_channel_is_listed_with_its_key_masked(app: Flask, client: FlaskClient):
    models = "gpt-4o=gpt-4o-2024-11-20\ngpt-4o-mini"
    assert (
        add(client, models=models, base_url="https://api.example.com/v1/", priority="3", weight="7").status_code == 303
    )
    with app.app_context():
        channel = find_channel("openai-main")
    assert vault.unseal(channel.sealed_key or "") == KEY
    assert channel.base_url == "https://api.example.com/v1"
    assert channel.models == {"gpt-4o": "gpt-4o-2024-11-20", "gpt-4o-mini": "gpt-4o-mini"}
    assert (channel.priority, channel.weight) == (3, 7)
    for page in (LIST, "/admin/channels/openai-main"):
        assert KEY not in client.get(page).text
    assert "key …9fQ2" in row(client, "openai-main")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "two words"),
        ("name", "openai-env"),
        ("base_url", "ftp://example.com"),
        ("api_key", "two words"),
        ("models", "gpt-9"),
        ("priority", "first"),
        ("weight", "0"),
        ("provider", "nobody"),
    ],
)
def test_an_error_stands_beside_its_field_and_the_key_is_not_sent_back(
    app: Flask, client: FlaskClient, field: str, value: str
):
    answer = add(client, **{"models": "gpt-4o", field: value})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert KEY not in answer.text
    with app.app_context():
        assert [channel.name for channel in list_channels() if channel.provider != "sandbox"] == []


def test_a_change_without_a_key_keeps_the_key(app: Flask, client: FlaskClient):
    add(client, base_url="https://api.example.com/v1")
    path = f"{LIST}/openai-main"
    moved = "https://api.example.com/v2"
    assert post(client, path, path, base_url=moved, models="gpt-4o", priority="2", weight="5").status_code == 303
    with app.app_context():
        channel = find_channel("openai-main")
    assert vault.unseal(channel.sealed_key or "") == KEY
    assert (channel.base_url, list(channel.models or {}), channel.priority, channel.weight) == (moved, ["gpt-4o"], 2, 5)


def test_a_new_host_gets_no_stored_key(app: Flask, client: FlaskClient):
    add(client, base_url="https://api.example.com/v1")
    path = f"{LIST}/openai-main"
    for other in ("https://evil.example/v1", "https://api.example.com:8443/v1", ""):
        refused = post(client, path, path, base_url=other, priority="1", weight="1")
        assert refused.status_code == 400
        assert "Type the key again" in refused.text
    with app.app_context():
        assert find_channel("openai-main").base_url == "https://api.example.com/v1"
    given = {"base_url": "https://other.example/v1", "api_key": "sk-for-the-other-host", "priority": "1", "weight": "1"}
    assert post(client, path, path, **given).status_code == 303
    with app.app_context():
        channel = find_channel("openai-main")
    assert vault.unseal(channel.sealed_key or "") == "sk-for-the-other-host"


def test_a_form_that_comes_back_has_no_typed_secret_in_it(client: FlaskClient):
    typed = {
        "headers": "x-team: secret-of-the-team\nuser-agent: bridge\nlonely-secret-line\napi-key: {key}",
        "query": "code=secret-of-the-query",
        "proxy": "http://name:secret-of-the-proxy@proxy.example:3128",
        "base_url": "https://name:secret-of-the-url@api.example.com",
    }
    answer = add(client, **typed, weight="no number")
    assert answer.status_code == 400
    assert "secret-" not in answer.text
    assert KEY not in answer.text
    assert "x-team:\nuser-agent: bridge\napi-key: {key}" in answer.text
    assert "Type the values again" in answer.text


def test_an_environments_channel_keeps_its_key_and_address(app: Flask, client: FlaskClient):
    with app.app_context(), transaction() as session:
        session.add(Channel(name="openai-env", provider="openai", sealed_key=vault.seal(KEY), from_environment=True))
    path = f"{LIST}/openai-env"
    assert 'name="api_key"' not in client.get(f"{path}/edit").text
    assert (
        post(client, path, path, base_url="https://evil.example", api_key="x", priority="4", weight="1").status_code
        == 303
    )
    with app.app_context():
        channel = find_channel("openai-env")
    assert (channel.base_url, channel.priority) == (None, 4)
    assert vault.unseal(channel.sealed_key or "") == KEY
    refused = post(client, f"{path}/remove", path, confirm="openai-env")
    assert "OPENAI_API_KEY connects this channel" in client.get(refused.location).text


@pytest.mark.parametrize(
    ("health", "cooling", "said"),
    [
        ("unknown", None, "Not tested"),
        ("healthy", None, "Healthy"),
        ("cooling", 24, "Cooling down, 2"),
        ("cooling", 600, "Cooling down"),
        ("cooling", -5, "Unsteady"),
        ("out", None, "Out of service"),
        ("out", 30, "Out of service"),
    ],
)
def test_health_is_told_in_words(app: Flask, client: FlaskClient, health: str, cooling: int | None, said: str):
    add(client)
    until = now_utc() + datetime.timedelta(seconds=cooling) if cooling else None
    set_health(app, health=health, cooling_until=until, last_error="402: top up", last_error_at=now_utc())
    shown = row(client, "openai-main")
    assert said in shown
    assert health == "unknown" or "402: top up, just now" in shown
    assert ("openai-main is out of service." in client.get(LIST).text) == (health == "out")


def test_a_channel_is_switched_off_and_on(app: Flask, client: FlaskClient):
    add(client)
    post(client, f"{LIST}/openai-main/disable", LIST)
    assert "Disabled" in row(client, "openai-main")
    with app.app_context():
        assert not find_channel("openai-main").enabled
    post(client, f"{LIST}/openai-main/enable", LIST)
    with app.app_context():
        assert find_channel("openai-main").enabled


def test_removing_asks_for_the_name(app: Flask, client: FlaskClient):
    add(client)
    path = f"{LIST}/openai-main"
    refused = post(client, f"{path}/remove", path, confirm="openai")
    assert refused.status_code == 400
    assert "Nothing was removed" in refused.text
    assert post(client, f"{path}/remove", path, confirm="openai-main").status_code == 303
    with app.app_context(), pytest.raises(NotFound):
        find_channel("openai-main")


def test_a_test_says_what_the_channel_answered_and_what_it_cost(
    app: Flask, client: FlaskClient, make: Factories, upstream: ScriptedUpstream
):
    name = make.make_channel(upstream.base_url, make.make_model())
    answer = post(client, f"{LIST}/{name}/test", LIST)
    page = re.sub(r"\s+", " ", answer.text)
    assert "Test passed" in page
    assert "It said: “Hello there”" in page
    assert "7 tokens in, 2 out: $0.000011." in page
    broken = make.make_channel("http://127.0.0.1:9", make.make_model())
    answer = post(client, f"{LIST}/{broken}/test", LIST)
    assert "Test failed" in answer.text
    assert "Nothing answers at http://127.0.0.1:9" in answer.text
    assert "failing" in row(client, broken).lower()


def test_a_channel_s_own_page_tests_the_model_that_is_chosen_streamed_too(
    client: FlaskClient, make: Factories, upstream: ScriptedUpstream
):
    models = [make.make_model(), make.make_model()]
    name = make.make_channel(upstream.base_url, *models)
    path = f"{LIST}/{name}"
    page = client.get(path).text
    assert all(f'<option value="{model}"' in page for model in models)
    answer = post(client, f"{path}/test", path, model=models[1], stream="1")
    assert "its first words after" in answer.text
    assert (upstream.requests[-1].json["model"], upstream.requests[-1].streams) == (models[1], True)
    answer = post(client, f"{path}/test", path, model="gpt-4o")
    assert f"{name} does not serve gpt-4o" in client.get(answer.location).text


def test_an_unknown_channel_is_not_found(client: FlaskClient):
    assert client.get(f"{LIST}/nothing").status_code == 404
    for action in ("", "/test", "/enable", "/disable", "/remove"):
        assert post(client, f"{LIST}/nothing{action}", LIST, confirm="nothing").status_code == 404


def test_a_channel_says_which_fields_it_lets_through(app: Flask, client: FlaskClient):
    assert add(client, pass_fields="chat_template_kwargs, their.own").status_code == 303
    page = "/admin/channels/openai-main/edit"
    assert 'value="chat_template_kwargs, their.own"' in client.get(page).text
    assert "passes chat_template_kwargs, their.own" in row(client, "openai-main")
    same = {"priority": "1", "weight": "1", "base_url": "", "models": "", "api_key": ""}
    for field in ("web_search_options", "max_new_tokens", "lora_path"):
        answer = post(client, "/admin/channels/openai-main", page, **same, pass_fields=field)
        assert answer.status_code == 400
        assert 'id="pass_fields-error"' in answer.text
        assert f"{field} can&#39;t be let through" in answer.text
    with app.app_context():
        assert find_channel("openai-main").pass_fields == ["chat_template_kwargs", "their.own"]
    post(client, "/admin/channels/openai-main", page, **same, pass_fields="")
    with app.app_context():
        assert find_channel("openai-main").pass_fields is None


def test_a_channel_has_groups_a_cost_and_limits_of_the_operators_own(app: Flask, client: FlaskClient):
    fields = {"groups": "partners, default", "cost": "82.5", "rpm": "600", "tpm": "", "concurrency": "32"}
    assert add(client, **fields).status_code == 303
    with app.app_context():
        channel = find_channel("openai-main")
    assert (channel.groups, channel.cost_bps) == (["default", "partners"], 8250)
    assert (channel.rpm, channel.tpm, channel.concurrency) == (600, None, 32)
    assert "for default, partners, costs 82.5%, 600 RPM, 32 at once" in row(client, "openai-main")
    page = "/admin/channels/openai-main"
    assert 'value="82.5"' in client.get(f"{page}/edit").text
    same = {"priority": "1", "weight": "1", "base_url": "", "models": "", "api_key": ""}
    for field, value in (("groups", "a/b"), ("cost", "cheap"), ("rpm", "many")):
        answer = post(client, page, page, **same, **{**fields, field: value})
        assert answer.status_code == 400
        assert f'id="{field}-error"' in answer.text
    post(client, page, page, **same, **dict.fromkeys(fields, ""))
    with app.app_context():
        channel = find_channel("openai-main")
    assert (channel.groups, channel.cost_bps, channel.rpm, channel.concurrency) == (None, 10_000, None, None)


def test_the_timeline_says_why_a_channel_was_left_and_taken_back(app: Flask, client: FlaskClient):
    add(client)
    path = f"{LIST}/openai-main"
    assert "Channel added" in client.get(path).text  # who did it is there too
    with app.app_context():
        id_, now = find_channel("openai-main").id, now_utc()
        with transaction() as session:
            for ago, what, why in ((60, "out", "401 <b>"), (5, "back", "It answers again.")):
                at = now - datetime.timedelta(seconds=ago)
                session.add(ChannelEvent(channel_id=id_, at=at, what=what, why=why, seconds=300, process="host:7"))
    page = client.get(path).text
    assert "401 &lt;b&gt;" in page
    assert "for 300 s" in page
    assert page.index("It answers again.") < page.index("401 &lt;b&gt;")


def test_a_channel_that_needs_the_operator_is_shown_wherever_operators_look(app: Flask, client: FlaskClient):
    add(client)
    assert "needs you" not in client.get("/admin/system").text
    set_health(app, refused_models=["gpt-9"], last_error="404")
    assert "Misconfigured" in row(client, "openai-main")
    page = client.get(LIST).text
    assert "openai-main is misconfigured." in page
    assert "Its upstream has no gpt-9." in page
    assert "<b>openai-main needs you.</b>" in client.get("/admin/system").text
