"""Channels in bulk: secrets that are never shown again, several keys, an upstream's list confirmed, many changed."""

import json
import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from bridge import vault
from bridge.acts import Act
from bridge.catalogue.channel_wire import read_wire
from bridge.catalogue.editing import find_channel
from bridge.catalogue.key_health import list_keys
from bridge.catalogue.tables import Channel
from bridge.db import db
from tests.dashboard.pages import post
from tests.factories import Factories, MadeAccount
from tests.upstream import ScriptedUpstream, says, sends

LIST, NEW = "/admin/channels", "/admin/channels/new"
KEY, TOKEN = "sk-upstream-secret-9fQ2", "token-of-ours-Zq83hTr0"
WIRE = {
    "headers": f"api-key: {{key}}\nX-Gateway-Token: {TOKEN}",
    "query": f"api-version=2024-10-21\nsignature={TOKEN}",
    "proxy": f"socks5h://name:{TOKEN}@127.0.0.1:1080",
}


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    found = ScriptedUpstream()
    yield found
    found.close()


def add(client: FlaskClient, name: str = "main", **fields: str) -> str:
    """A new channel's page."""
    given = {"name": name, "provider": "openai", "api_key": KEY, "priority": "1", "weight": "1", **fields}
    assert post(client, LIST, NEW, **given).status_code == 303
    return f"{LIST}/{name}"


def find(app: Flask, name: str) -> Channel:
    with app.app_context():
        return find_channel(name)


def value_of(page: str, name: str) -> str:
    found = re.search(
        rf'<(?:textarea|input)[^>]*name="{name}"[^>]*?(?:value="([^"]*)"[^>]*>|>([^<]*)</textarea>)', page
    )
    assert found
    return found[1] or found[2] or ""


def list_details(app: Flask) -> str:
    with app.app_context():
        return "\n".join(db.session.scalars(sa.select(Act.detail)))


def test_a_channels_own_headers_are_sealed_and_kept_by_what_the_page_shows_in_their_place(
    app: Flask, client: FlaskClient
):
    path = add(client, **WIRE)
    page = client.get(f"{path}/edit").text
    assert TOKEN not in page
    assert TOKEN not in (find(app, "main").sealed_wire or "")
    shown = {name: value_of(page, name) for name in WIRE}
    assert shown["headers"] == "api-key: {key}\nx-gateway-token: …"
    assert shown["query"] == "api-version=2024-10-21\nsignature=…"
    assert shown["proxy"] == "socks5h://name:…@127.0.0.1:1080"
    wire = read_wire(find(app, "main").sealed_wire)
    changed = {**shown, "headers": "x-gateway-token: …\norganization: other"}
    assert post(client, path, path, priority="2", weight="1", **changed).status_code == 303
    after = read_wire(find(app, "main").sealed_wire)
    assert after.headers == {"x-gateway-token": TOKEN, "organization": "other"}
    assert (after.query, after.proxy) == (wire.query, wire.proxy)
    said = list_details(app)
    assert "header organization set; header api-key removed" in said
    assert TOKEN not in said


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("headers", "Transfer-Encoding: chunked", "belongs to the connection"),
        ("headers", "Host: elsewhere.example", "belongs to the connection"),
        ("headers", "two words: x", "a header a line"),
        ("headers", "token: …", "has no value yet"),
        ("headers", "token: a\nTOKEN: b", "there twice"),
        ("query", "a b=c", "a parameter a line"),
        ("proxy", "https://proxy.example:3128", "socks5://"),
        ("proxy", "socks5://proxy.example/path", "ends with its port"),
    ],
)
def test_what_no_channel_may_send_is_refused_at_its_field(client: FlaskClient, field: str, value: str, said: str):
    given = {"name": "main", "provider": "openai", "api_key": KEY, field: value}
    answer = post(client, LIST, NEW, **given)
    assert answer.status_code == 400
    assert said in re.sub(r"\s+", " ", answer.text.split(f'id="{field}-error"')[1])[:200]


def test_keys_are_added_replaced_and_removed_by_their_ends(app: Flask, client: FlaskClient):
    path = add(client)
    for key in ("sk-upstream-second-aa3R", "sk-upstream-third-Lm04"):
        assert post(client, f"{path}/keys", path, new_key=key, note="a project").status_code == 303
    with app.app_context():
        rows = {key.last_four: key for key in list_keys(find_channel("main"))}
    assert list(rows) == ["9fQ2", "aa3R", "Lm04"]
    assert "3 keys" in client.get(LIST).text
    page = client.get(path).text
    assert all(f"…{end}" in page for end in rows)
    assert 'name="api_key"' not in page
    again = post(client, f"{path}/keys", path, new_key="sk-upstream-third-Lm04")
    assert again.status_code == 400
    assert "has that key already" in again.text
    first = f"{path}/keys/{rows['9fQ2'].id}"
    assert post(client, f"{first}/replace", path, replacement="sk-upstream-other-Zz9z").status_code == 303
    assert vault.unseal(find(app, "main").sealed_key or "").endswith("Zz9z")
    for row in (rows["9fQ2"], rows["aa3R"]):
        assert post(client, f"{path}/keys/{row.id}/remove", path).status_code == 303
    with app.app_context():
        channel = find_channel("main")
        assert (list_keys(channel), channel.key_last_four) == ([], "Lm04")
    assert vault.unseal(find(app, "main").sealed_key or "").endswith("Lm04")


def test_an_upstreams_list_is_taken_over_only_where_it_was_confirmed(
    app: Flask, client: FlaskClient, make: Factories, upstream: ScriptedUpstream
):
    for name in ("small", "large", "gone"):
        make.make_model(id_=name)
    listed = ["small-2026-01-02", "maker/large", "nobody-knows"]
    body = {"data": [{"id": id_, "context_length": 9000} for id_ in listed]}
    upstream.plays(sends(json.dumps(body).encode()))
    path = add(client, base_url=upstream.base_url, models="small\ngone", headers=f"X-Gateway-Token: {TOKEN}")
    page = post(client, f"{path}/models", path).text
    assert upstream.requests[-1].headers["x-gateway-token"] == TOKEN
    assert re.findall(r'name="(add|remove)"\s+value="([^"]+)"', page) == [
        ("add", "large=maker/large"),
        ("remove", "gone"),
    ]
    prefilled = re.search(r'href="(/admin/models/new\?[^"]+)"', page)
    assert prefilled
    form = client.get(prefilled[1].replace("&amp;", "&")).text
    assert (value_of(form, "id"), value_of(form, "context_tokens")) == ("nobody-knows", "9000")
    assert set(find(app, "main").models or {}) == {"small", "gone"}
    assert post(client, f"{path}/models/change", path, add="large=maker/large", remove="gone").status_code == 303
    assert find(app, "main").models == {"small": "small", "large": "maker/large"}


def test_ticked_channels_change_all_or_none(app: Flask, client: FlaskClient, make: Factories):
    model = make.make_model()
    for name in ("one", "two", "three"):
        add(client, name, models=model, rpm="60")
    many = f"{LIST}/-/many"
    for name in ("one", "two"):
        assert f'value="{name}"' in client.get(LIST).text
    page = post(client, many, LIST, do="change", name=["one", "two"]).text
    assert "Change 2 channels" in page
    wanted = {"name": ["one", "two"], "priority": "5", "rpm": "0", "groups": "gold"}
    assert post(client, f"{many}/change", LIST, **wanted).status_code == 303
    found = {name: find(app, name) for name in ("one", "two", "three")}
    assert [(each.priority, each.rpm, each.groups) for each in found.values()] == [
        *[(5, None, ["gold"])] * 2,
        (1, 60, None),
    ]
    refused = post(client, f"{many}/change", LIST, name=["one", "three"], weight="0")
    assert refused.status_code == 400
    assert 'id="weight-error"' in refused.text
    post(client, many, LIST, do="disable", name=["one", "nobody"])
    assert find(app, "one").enabled
    post(client, many, LIST, do="disable", name=["one", "two"])
    assert [find(app, name).enabled for name in found] == [False, False, True]
    post(client, many, LIST, do="enable", all="yes")
    assert [find(app, name).enabled for name in found] == [True, True, True]


def test_ticked_channels_are_tested_at_once(client: FlaskClient, make: Factories, upstream: ScriptedUpstream):
    upstream.plays(says("Hello."))
    model = make.make_model()
    add(client, "good", base_url=upstream.base_url, models=model)
    add(client, "bad", base_url="http://127.0.0.1:9", models=model)
    post(client, f"{LIST}/-/many", LIST, do="test", name=["good", "bad"])
    page = client.get(LIST).text
    assert "1 of 2 answered their test." in page
    assert "bad: " in page


def test_a_copy_has_the_keys_still_sealed_and_serves_nobody_yet(app: Flask, client: FlaskClient):
    path = add(client, **WIRE, priority="4")
    post(client, f"{path}/keys", path, new_key="sk-upstream-second-aa3R", note="a project")
    answer = post(client, f"{path}/copy", path, new_name="spare")
    assert answer.location == f"{LIST}/spare"
    page = client.get(answer.location).text
    assert KEY not in page
    assert TOKEN not in page
    with app.app_context():
        copy = find_channel("spare")
        assert [key.last_four for key in list_keys(copy)] == ["9fQ2", "aa3R"]
        assert (copy.enabled, copy.priority, copy.from_environment) == (False, 4, False)
        assert read_wire(copy.sealed_wire) == read_wire(find_channel("main").sealed_wire)
