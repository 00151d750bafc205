"""The setup: a key is checked at once, models come from the upstream's own list, and customers see nothing of a channel
before its first call was answered."""

import json
import re

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge import vault
from bridge.acts import Act
from bridge.catalogue.connect import connect_environment
from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.listing import list_models
from bridge.catalogue.model_editing import find_model
from bridge.catalogue.tables import Channel
from bridge.db import db
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.upstream import Received, Scenario, ScriptedUpstream, fails, says, sends

CONNECT, MODELS, TRY = "/admin/setup/connect", "/admin/setup/models", "/admin/setup/try"
KEY = "sk-upstream-secret-9fQ2"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def offers(*ids: str, says_first: str = "Hello") -> Scenario:
    """An upstream that lists these models, and answers whatever else it is asked."""
    listed = json.dumps({"object": "list", "data": [{"id": id_, "object": "model"} for id_ in ids]}).encode()

    def play(request: Received) -> object:
        return (sends(listed) if request.method == "GET" else says(says_first))(request)

    return play  # type: ignore[return-value]


def connect(client: FlaskClient, upstream: ScriptedUpstream, **fields: str) -> TestResponse:
    given = {"preset": "openai", "api_key": KEY, "base_url": upstream.base_url}
    return post(client, CONNECT, CONNECT, **{**given, **fields})


def choose(client: FlaskClient, *ids: str, channel: str = "openai-main", **fields: str) -> TestResponse:
    page = client.get(f"{MODELS}?channel={channel}").text
    token = re.findall(r'name="csrf_token" value="([^"]+)"', page)
    form = {"csrf_token": token[0] if token else "", "channel": channel, "offer": list(ids), "markup": "25"}
    return client.post(MODELS, data={**form, "do": "offer", **fields})


def statuses(app: Flask) -> dict[str, str]:
    with app.app_context():
        return {model.id: model.status for model in list_models()}


def test_a_key_connects_models_are_chosen_and_the_first_call_opens_the_channel(
    app: Flask, client: FlaskClient, upstream: ScriptedUpstream
):
    upstream.plays(offers("gpt-4o", "gpt-4o-mini", "gpt-9-preview"))
    home = client.get("/admin/").text
    assert "No provider is connected yet." in home
    assert f'href="{CONNECT}"' in home
    connected = connect(client, upstream)
    assert connected.location == f"{MODELS}?channel=openai-main"
    page = client.get(connected.location).text
    assert "OpenAI accepts this key. It has 3 models." in page
    assert KEY not in page
    assert "2 in the catalogue, 1 new" in page
    assert "$3.125" in page  # $2.50 and the usual markup
    with app.app_context():
        channel = find_channel("openai-main")
        assert (channel.enabled, vault.unseal(channel.sealed_key or "")) == (False, KEY)
    before = statuses(app)["gpt-4o"]
    assert choose(client, "gpt-4o", markup="30").location == f"{TRY}?channel=openai-main"
    with app.app_context():
        assert find_channel("openai-main").models == {"gpt-4o": "gpt-4o"}
        assert (find_model("gpt-4o").markup_bps, find_model("gpt-4o-mini").markup_bps) == (3000, 0)
    assert statuses(app)["gpt-4o"] == before  # customers see nothing yet
    tried = post(client, TRY, f"{TRY}?channel=openai-main", channel="openai-main", model="gpt-4o")
    assert tried.location == "/admin/setup/done?channel=openai-main"
    done = client.get(tried.location).text
    assert "gpt-4o answered." in done
    assert "serves 1 model at" in done
    assert statuses(app)["gpt-4o"] == "live"
    assert "Revenue" in client.get("/admin/").text
    with app.app_context():
        acts = set(db.session.scalars(sa.select(Act.what)))
        assert {"channel_added", "channel_changed", "channel_enabled", "price"} <= acts
        assert KEY not in str(list(db.session.scalars(sa.select(Act.detail))))


def test_a_wrong_key_is_told_at_its_field_and_nothing_is_connected(
    app: Flask, client: FlaskClient, upstream: ScriptedUpstream
):
    upstream.plays(fails(401, f"Incorrect API key provided: {KEY}"))
    page = connect(client, upstream, name="mine")
    assert page.status_code == 400
    assert 'id="api_key-error">' in page.text
    assert "refuses this key" in page.text
    assert 'value="mine"' in page.text
    assert KEY not in page.text
    with app.app_context():
        assert [channel.name for channel in list_channels() if channel.provider != "sandbox"] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"preset": "nobody"}, "preset"),
        ({"preset": "anthropic", "api_key": "", "base_url": ""}, "api_key"),
        ({"preset": "other", "base_url": ""}, "base_url"),
        ({"api_key": "two words"}, "api_key"),
        ({"base_url": "ftp://example.com"}, "base_url"),
        ({"name": "two words"}, "name"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    client: FlaskClient, upstream: ScriptedUpstream, fields: dict[str, str], field: str
):
    upstream.plays(offers("gpt-4o"))
    page = connect(client, upstream, **fields)
    assert page.status_code == 400
    assert f'href="#{field}"' in page.text


def test_a_new_model_is_offered_at_the_price_that_was_typed_and_not_without_one(
    app: Flask, client: FlaskClient, upstream: ScriptedUpstream
):
    upstream.plays(offers("qwen/new-embed-1", "gpt-4o"))
    connect(client, upstream, preset="other", name="server")
    new = {"channel": "server", "in:qwen/new-embed-1": "0.10"}
    refused = choose(client, "qwen/new-embed-1", **new)
    assert (refused.status_code, "Set both prices" in refused.text) == (400, True)
    assert 'value="0.10"' in refused.text
    assert choose(client, "qwen/new-embed-1", **new, **{"out:qwen/new-embed-1": "0"}).status_code == 303
    with app.app_context():
        model = find_model("qwen/new-embed-1")
        assert (model.provider, model.markup_bps, model.kinds) == ("local", 2500, ["embeddings"])
        priced = next(one for one in list_models() if one.id == model.id)
        assert priced.input_nanos_per_mtok == DOLLAR // 8
        assert find_channel("server").models == {"qwen/new-embed-1": "qwen/new-embed-1"}


def test_a_discount_is_asked_for_again_and_a_preview_changes_nothing(
    app: Flask, client: FlaskClient, upstream: ScriptedUpstream
):
    upstream.plays(offers("gpt-4o"))
    connect(client, upstream)
    shown = choose(client, "gpt-4o", do="preview", markup="100")
    assert (shown.status_code, "$5.00" in shown.text) == (200, True)
    asked = choose(client, "gpt-4o", markup="-20")
    assert (asked.status_code, "This sells below cost" in asked.text) == (400, True)
    with app.app_context():
        assert find_channel("openai-main").models is None
        assert find_model("gpt-4o").markup_bps == 0
    assert choose(client, "gpt-4o", markup="-20", below_cost="yes").status_code == 303
    assert (choose(client).status_code, choose(client, "gpt-4o", markup="much").status_code) == (400, 400)


def test_a_server_without_a_list_is_offered_by_names(app: Flask, client: FlaskClient, upstream: ScriptedUpstream):
    upstream.plays(fails(404))
    connect(client, upstream, preset="other", name="server")
    page = client.get(f"{MODELS}?channel=server").text
    assert "Name models yourself" in page
    named = client.get(f"{MODELS}?channel=server&names=my-model,gpt-4o").text
    assert 'value="my-model"' in named
    typed = {"names": "my-model", "in:my-model": "0", "out:my-model": "0"}
    assert choose(client, "my-model", channel="server", **typed).status_code == 303
    with app.app_context():
        assert find_channel("server").models == {"my-model": "my-model"}


def test_a_failed_call_says_why_and_keeps_the_channel_from_customers(
    app: Flask, client: FlaskClient, upstream: ScriptedUpstream
):
    upstream.plays(offers("gpt-4o"))
    connect(client, upstream)
    choose(client, "gpt-4o")
    upstream.plays(fails(402, "You have no credit."))
    failed = post(client, TRY, f"{TRY}?channel=openai-main", channel="openai-main", model="gpt-4o")
    assert (failed.status_code, "No answer yet." in failed.text) == (400, True)
    with app.app_context():
        assert not find_channel("openai-main").enabled
    assert "has not answered yet" in client.get("/admin/").text


def test_the_environments_key_is_recognised(app: Flask, client: FlaskClient):
    with app.app_context():
        connect_environment(app.config["BRIDGE"], {"OPENAI_API_KEY": "sk-environment-Tt8a"})
    page = client.get(CONNECT).text
    assert "openai-env" in page
    assert "…Tt8a, from the environment" in page
    assert f"{MODELS}?channel=openai-env" in client.get("/admin/").text


def test_the_next_channel_gets_the_next_free_name(app: Flask, client: FlaskClient, upstream: ScriptedUpstream):
    upstream.plays(offers("gpt-4o"))
    for _ in range(2):
        connect(client, upstream)
    with app.app_context():
        names = list(
            db.session.scalars(sa.select(Channel.name).where(Channel.provider == "openai").order_by(Channel.id))
        )
        assert names == ["openai-main", "openai-main-2"]


def test_an_unknown_channel_is_not_found(client: FlaskClient, make: Factories):
    for path in (MODELS, TRY, "/admin/setup/done"):
        assert client.get(f"{path}?channel=nobody").status_code == 404
