"""The names by which Claude Code finds models and asks for them, whoever makes them."""

from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.messages import say
from tests.replay import replies
from tests.replies import Reply
from tests.upstream import ScriptedUpstream, says
from tests.v1.test_messages import HELLO, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
DISCOVERY = "/v1/models?limit=1000"
DOORS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/messages": {"messages": HELLO, "max_tokens": 99},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/responses": {"input": "Hello!"},
    "/v1/responses/input_tokens": {"input": "Hello!"},
    "/v1/quote": {"messages": HELLO},
}
NAMES = ("anthropic/{}", "{}[1m]", "anthropic/{}[1m]")


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    found = Client(app, make, upstream)
    found.serve("openai")
    upstream.plays(says("Hi."))
    return found


def post(client: Client, path: str, body: dict[str, Any]) -> Any:
    return client._app.test_client().post(path, json=body, headers=client.key.headers)


def test_its_discovery_has_other_makers_models_under_names_that_it_keeps(client: Client):
    listed = client.get(DISCOVERY).json["data"]
    kept = [one for one in listed if one["id"].startswith(("claude", "anthropic"))]
    [ours] = [one for one in kept if one["id"] == f"anthropic/{client.model}"]
    assert ours["display_name"]
    [plain] = [one for one in listed if one["id"] == client.model]
    assert {**ours, "id": client.model} == plain
    assert not [one for one in listed if one["id"].startswith("anthropic/claude")]


def test_what_it_keeps_comes_before_what_it_leaves_out_of_the_renamed(client: Client):
    """A page has an end, also in a long catalogue."""
    ids = [one["id"] for one in client.get(DISCOVERY).json["data"]]
    renamed = [name for name in ids if name.startswith("anthropic/")]
    assert ids[: len(renamed)] == renamed


def test_no_other_list_has_these_names(client: Client):
    for path in ("/v1/models", "/v1/models?limit=999"):
        assert not [one for one in client.get(path).json["data"] if one["id"].startswith("anthropic/")]
    plain = client._app.test_client().get(DISCOVERY, headers=client.key.headers).json["data"]
    assert not [one for one in plain if one["id"].startswith("anthropic/")]
    assert client.model in [one["id"] for one in plain]


def test_a_model_is_found_by_such_a_name(client: Client):
    for name in (f"anthropic/{client.model}", client.model):
        assert client.get(f"/v1/models/{name}").json["id"] == client.model
        plain = client._app.test_client().get(f"/v1/models/{name}", headers=client.key.headers)
        assert plain.json["id"] == client.model


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("name", NAMES)
def test_every_door_takes_these_names(client: Client, path: str, name: str):
    answer = post(client, path, {"model": name.format(client.model), **DOORS[path]})
    assert answer.status_code == 200, answer.data


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
def test_it_is_charged_and_shown_under_the_models_own_name(client: Client, path: str):
    for name in (client.model, f"anthropic/{client.model}"):
        assert post(client, path, {"model": name, **DOORS[path]}).status_code == 200
    plain, renamed = client._make.list_usage(client.key.account_id)
    assert (renamed.model_id, renamed.price_id) == (plain.model_id, plain.price_id) == (client.model, plain.price_id)
    assert renamed.charge_nanos == plain.charge_nanos > 0
    receipt = client.get(f"/v1/requests/{renamed.request_id}").json
    assert client.model in str(receipt)


def test_a_key_may_use_by_such_a_name_what_it_may_use_by_the_true_one_and_no_more(client: Client):
    client.key = client._make.make_key(models=[client.model])
    assert say(client.ask(HELLO)) == "Hi."
    renamed = client.post({"model": f"anthropic/{client.model}", "messages": HELLO, "max_tokens": 9})
    assert renamed.status_code == 200
    client.key = client._make.make_key(models=["gpt-4o"])
    refused = client.post({"model": f"anthropic/{client.model}", "messages": HELLO, "max_tokens": 9})
    assert (refused.status_code, refused.json["error"]["type"]) == (403, "permission_error")


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("family", ["sonnet", "haiku", "opus", "sonnet[1m]", "anthropic/opus"])
def test_a_family_alone_means_its_newest_model_at_every_door(app: Flask, client: Client, path: str, family: str):
    client.upstream.plays(replies("anthropic", Reply("Hi.")))
    client._make.make_channel(client.upstream.base_url.removesuffix("/v1"), provider="anthropic")
    answer = post(client, path, {"model": family, **DOORS[path]})
    assert answer.status_code == 200, answer.data
    if client.upstream.requests:
        assert family.removeprefix("anthropic/").removesuffix("[1m]") in client.upstream.requests[-1].json["model"]


def test_a_name_that_somebody_entered_is_that_model_and_no_other(client: Client):
    other = client._make.make_model(id_=f"anthropic/{client.model}")
    client._make.make_channel(client.upstream.base_url, models={other: "theirs"})
    post(client, "/v1/chat/completions", {"model": other, "messages": HELLO})
    assert client.upstream.requests[-1].json["model"] == "theirs"
    assert client.booked().model_id == other


def test_an_unknown_name_stays_unknown(client: Client):
    for name in ("anthropic/nothing", "anthropic/", "[1m]", "anthropic/anthropic/x"):
        answer = client.post({"model": name, "messages": HELLO, "max_tokens": 9})
        assert (answer.status_code, answer.json["error"]["type"]) == (404, "not_found_error")


def test_a_retired_model_is_listed_only_to_who_asks_for_retired_ones(client: Client):
    def stages(query: str) -> set[str]:
        return {one["lifecycle"] for one in client.get(f"/v1/models?limit=999{query}").json["data"]}

    assert stages("") == {"active"}
    assert stages("&lifecycle=active") == {"active"}
    assert stages("&lifecycle=retired") <= {"retired"}
    assert stages("&lifecycle=active&lifecycle=retired") >= {"active"}
    assert client.get("/v1/models?lifecycle=odd").status_code == 400
