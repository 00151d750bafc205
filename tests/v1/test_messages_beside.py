"""What stands beside Messages for Anthropic's clients: counting tokens, and the list of models."""

from typing import Any

import pytest
from flask import Flask

from bridge.limits import token_counts
from tests.factories import Factories
from tests.upstream import ScriptedUpstream, says
from tests.v1.test_messages import EVERY, HELLO, PICTURE, TOOLS, Client

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
COUNT = "/v1/messages/count_tokens"


@pytest.fixture
def client(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Client:
    return Client(app, make, upstream)


def count(client: Client, **body: Any) -> int:
    answer = client.post({"model": client.model, "messages": HELLO, **body}, COUNT)
    assert answer.status_code == 200, answer.data
    assert list(answer.json) == ["input_tokens"]
    found: int = answer.json["input_tokens"]
    return found


@EVERY
def test_tokens_are_counted_for_any_model_and_rather_too_many(client: Client, provider: str):
    client.serve(provider)
    assert count(client) >= 5
    assert 1000 <= count(client, messages=[{"role": "user", "content": "word " * 1000}]) <= 2500


def test_counting_is_free_and_has_no_receipt(client: Client, make: Factories):
    client.serve("openai")
    before = make.find_money(client.key.account_id)
    answer = client.post({"model": client.model, "messages": HELLO}, COUNT)
    assert make.find_money(client.key.account_id) == before
    assert not make.list_usage(client.key.account_id)
    assert client.get(f"/v1/requests/{answer.headers['request-id']}").status_code == 404


def test_agents_count_tools_alone_and_pictures(client: Client):
    client.serve("anthropic")
    foo = count(client, messages=[{"role": "user", "content": "foo"}])
    assert count(client, messages=[{"role": "user", "content": "foo"}], tools=TOOLS) > foo
    assert count(client, messages=[{"role": "user", "content": [PICTURE]}]) > foo
    assert count(client, system="Be short. " * 50) > foo + 50


def test_t9_counting_wants_no_cap_and_takes_nothing_of_the_keys_requests(client: Client, make: Factories):
    client.serve("openai")
    client.key = make.make_key(rpm=1)
    for _ in range(15):
        count(client)
    client.upstream.plays(says("Hi."))
    client.ask()


def test_counting_has_a_limit_of_its_own(client: Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(token_counts, "COUNTS_A_MINUTE", 2)
    client.serve("openai")
    count(client)
    count(client)
    answer = client.post({"model": client.model, "messages": HELLO}, COUNT)
    assert (answer.status_code, answer.json["error"]["type"]) == (429, "rate_limit_error")
    assert answer.headers["retry-after"]


def test_what_is_wrong_with_a_count_is_said_as_of_a_message(client: Client):
    answer = client.post({"model": "nothing", "messages": HELLO}, COUNT)
    assert (answer.status_code, answer.json["error"]["type"]) == (404, "not_found_error")
    answer = client.post({"model": client.model, "messages": []}, COUNT)
    assert answer.json["error"]["message"] == "messages: at least one message is required"
    assert (
        client.post({"model": client.model, "messages": HELLO}, "/messages/count_tokens?beta=true").status_code == 200
    )


def test_t34_models_are_listed_with_their_window_in_anthropics_shape_where_its_version_is_sent(client: Client):
    client.serve("openai")
    answer = client.get("/v1/models?limit=1000")
    assert set(answer.json) == {"data", "has_more", "first_id", "last_id"}
    [model] = [one for one in answer.json["data"] if one["id"] == client.model]
    assert model["type"] == "model"
    assert (model["max_input_tokens"], model["max_tokens"]) == (32_768, 4096)
    assert model["lifecycle"] == "active"
    assert model["created_at"].endswith("Z")
    assert model["display_name"]
    ids = [one["id"] for one in answer.json["data"]]
    assert (answer.json["first_id"], answer.json["last_id"]) == (ids[0], ids[-1])
    assert answer.json["has_more"] is False
    plain = client._app.test_client().get("/v1/models", headers=client.key.headers)
    assert plain.json["object"] == "list"


def test_models_come_in_pages(client: Client):
    ids = [one["id"] for one in client.get("/v1/models?limit=999").json["data"]]
    first = client.get("/v1/models?limit=3").json
    assert ([one["id"] for one in first["data"]], first["has_more"]) == (ids[:3], True)
    second = client.get(f"/v1/models?limit=3&after_id={ids[2]}").json
    assert [one["id"] for one in second["data"]] == ids[3:6]
    back = client.get(f"/v1/models?limit=2&before_id={ids[3]}").json
    assert ([one["id"] for one in back["data"]], back["has_more"]) == (ids[1:3], True)
    assert len(client.get("/v1/models").json["data"]) == min(20, len(ids))
    for limit in ("0", "1001", "x", "-1", "²"):
        assert client.get(f"/v1/models?limit={limit}").status_code == 400


def test_one_model_and_its_errors_have_that_shape_too(client: Client):
    model = client.get(f"/v1/models/{client.model}").json
    assert (model["type"], model["id"]) == ("model", client.model)
    missing = client.get("/v1/models/nothing")
    assert (missing.status_code, missing.json["error"]) == (
        404,
        {"type": "not_found_error", "message": "model: nothing"},
    )
    client.key.headers.clear()
    refused = client._app.test_client().get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    assert (refused.status_code, refused.json["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize("suffix", ["", "[1m]"])
def test_a_mark_on_the_models_name_is_no_part_of_it(client: Client, suffix: str):
    client.serve("openai")
    client.upstream.plays(says("Hi."))
    answer = client.post({"model": client.model + suffix, "max_tokens": 9, "messages": HELLO})
    assert (answer.status_code, answer.json["model"]) == (200, client.model)


@pytest.mark.parametrize("family", ["sonnet", "haiku", "opus"])
def test_a_family_alone_means_its_newest_model(client: Client, family: str):
    answer = client.post({"model": family, "messages": HELLO}, COUNT)
    assert answer.status_code == 200


def test_the_answers_id_finds_its_receipt(client: Client):
    client.serve("openai")
    client.upstream.plays(says("Hi."))
    message = client.ask()
    receipt = client._app.test_client().get(f"/v1/requests/{message['id']}", headers=client.key.headers)
    assert (receipt.status_code, receipt.json["endpoint"]) == (200, "messages")
