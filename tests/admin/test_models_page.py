"""Models: a new price is a new version, an alias is one name more, a retired model stays listed."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge import versions
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.price_rows import list_prices
from bridge.db import db
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.upstream import ScriptedUpstream
from tests.v1.test_providers_sdk import PIXEL

PICTURE = f"data:image/png;base64,{PIXEL}"
LIST, NEW, ONE = "/admin/models", "/admin/models/new", "/admin/models/one?id="


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def find(app: Flask, id_: str) -> ListedModel | None:
    with app.app_context():
        return next((model for model in list_models() if model.id == id_), None)


def add(client: FlaskClient, **fields: str):
    given = {"id": "house/model:1", "provider": "openai", "input_price": "2.50", "output_price": "10"}
    return post(client, LIST, NEW, **{**given, "context_tokens": "128,000", **fields})


def test_models_are_listed_with_price_source_and_day(client: FlaskClient):
    page = client.get(f"{LIST}?q=gpt-4o-mini").text
    assert "gpt-4o-mini" in page
    assert "genai-prices" in page
    assert "checked " in page
    assert "claude" not in re.findall(r"<tbody>.*</tbody>", page, re.DOTALL)[0]
    assert "No model found" in client.get(f"{LIST}?q=nothing-of-the-kind").text


def test_an_added_model_is_offered_at_its_price(app: Flask, client: FlaskClient):
    answer = add(client, cached_price="1.25", max_output_tokens="16384")
    assert answer.status_code == 303
    model = find(app, "house/model:1")
    assert model
    assert (model.input_nanos_per_mtok, model.cached_nanos_per_mtok, model.output_nanos_per_mtok) == (
        *(2_500_000_000, 1_250_000_000, 10 * DOLLAR),
    )
    assert (model.context_tokens, model.max_output_tokens, model.source) == (128_000, 16_384, "operator")
    assert "house/model:1" in client.get(answer.location).text


CAPABLE = {"takes_image": "yes", "takes_audio": "yes", "thinks": "yes", "image_tokens": "900", "added_tokens": "40"}


def test_what_a_model_takes_and_does_is_ticked_when_it_is_added_and_later(app: Flask, client: FlaskClient):
    def read() -> tuple[object, ...]:
        model = find(app, "house/model:1")
        assert model
        return model.input_modalities, model.thinks, model.image_tokens, model.added_tokens, model.openai_wire

    assert add(client, **CAPABLE, openai_wire="chat").status_code == 303
    assert read() == (("text", "image", "audio"), True, 900, 40, "chat")
    page = client.get(ONE + "house/model:1").text
    assert set(re.findall(r'name="(\w+)" value="yes" checked', page)) == {"takes_image", "takes_audio", "thinks"}
    sizes = {"context_tokens": "64,000", "max_output_tokens": "8000", "name": "House", "upstream_id": "theirs/house"}
    sizes["note"] = "Ours"
    given = {"id": "house/model:1", "takes_file": "yes", "image_tokens": "", **sizes}
    assert post(client, f"{LIST}/edit", ONE + "house/model:1", **given).status_code == 303
    assert read() == (("text", "file"), False, 0, 40, "chat")
    model = find(app, "house/model:1")
    assert model
    assert (model.context_tokens, model.max_output_tokens) == (64_000, 8_000)
    assert (model.name, model.upstream_id, model.note) == ("House", "theirs/house", "Ours")


@pytest.mark.parametrize("by", ["page", "command"])
def test_a_vision_model_of_the_operator_s_own_gets_its_pictures(
    app: Flask, client: FlaskClient, make: Factories, upstream: ScriptedUpstream, by: str
):
    key, caller, id_ = make.make_key(), app.test_client(), "house/model:1"
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": PICTURE}}]

    def ask(model: str) -> TestResponse:
        body = {"model": model, "messages": [{"role": "user", "content": parts}], "max_tokens": 9}
        return caller.post("/v1/chat/completions", json=body, headers=key.headers)

    if by == "page":
        assert add(client, takes_image="yes", image_tokens="900").status_code == 303
    else:
        options = "--input-price 2.50 --output-price 10 --context 128000 --takes text,image --image-tokens 900"
        assert app.test_cli_runner().invoke(args=["model", "add", id_, *options.split()]).exit_code == 0
    blind = make.make_model()
    make.make_channel(upstream.base_url, id_, blind)
    assert ask(blind).json["error"]["message"] == f"{blind} takes no image input."
    assert ask(id_).status_code == 200
    assert [request.json["messages"][0]["content"] for request in upstream.requests] == [parts]
    if by == "page":
        sizes = {"context_tokens": "32768", "max_output_tokens": "4096", "name": blind, "upstream_id": blind}
        answer = post(client, f"{LIST}/edit", ONE + blind, id=blind, takes_image="yes", **sizes)
        assert answer.status_code == 303
    else:
        assert app.test_cli_runner().invoke(args=["model", "edit", blind, "--takes", "text,image"]).exit_code == 0
    with app.app_context():
        versions.poll(db.engine)
    assert ask(blind).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("context_tokens", ""),
        ("max_output_tokens", "128,001"),
        ("image_tokens", "many"),
        ("image_tokens", "128,000"),
        ("name", ""),
        ("upstream_id", "x" * 129),
    ],
)
def test_a_change_that_makes_no_sense_is_said_beside_its_field(app: Flask, client: FlaskClient, field: str, value: str):
    add(client)
    answer = post(
        client, f"{LIST}/edit", ONE + "house/model:1", id="house/model:1", takes_video="yes", **{field: value}
    )
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert 'name="takes_video" value="yes" checked' in answer.text
    model = find(app, "house/model:1")
    assert model
    assert model.input_modalities == ("text",)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_tokens", "few"),
        ("added_tokens", "128000"),
        ("id", ""),
        ("id", "gpt-4o"),
        ("id", "two words"),
        ("provider", "nobody"),
        ("input_price", ""),
        ("output_price", "free"),
        ("cached_price", "-1"),
        ("cache_write_price", "-1"),
        ("cache_write_hour_price", "1000001"),
        ("context_tokens", ""),
        ("max_output_tokens", "128001"),
    ],
)
def test_an_error_stands_beside_its_field_and_values_stay(app: Flask, client: FlaskClient, field: str, value: str):
    answer = add(client, name="House model", **{field: value})
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert "House model" in answer.text
    assert find(app, "house/model:1") is None


def test_what_cache_writes_cost_is_set_seen_and_else_follows(app: Flask, client: FlaskClient):
    prices = {"input_price": "3", "cached_price": "0.3", "output_price": "15"}
    written = {"cache_write_price": "3.75", "cache_write_hour_price": "6", "below_cost": "yes"}
    post(client, f"{LIST}/price", ONE + "gpt-4o", id="gpt-4o", **prices, **written)
    page = client.get(ONE + "gpt-4o").text
    assert re.findall(r'name="cache_write(?:_hour)?_price" type="text" value="([^"]*)"', page) == ["3.75", "6.00"]
    assert "1 hour: $6.00" in page
    assert "1 hour: $6.00" in client.get(f"{LIST}?q=gpt-4o").text
    written = {"cache_write_price": "", "cache_write_hour_price": "", "below_cost": "yes"}
    post(client, f"{LIST}/price", ONE + "gpt-4o", id="gpt-4o", **prices, **written)
    model = find(app, "gpt-4o")
    assert model
    assert (model.cache_write_nanos_per_mtok, model.cache_write_hour_nanos_per_mtok) == (3 * DOLLAR, 3 * DOLLAR)
    page = client.get(ONE + "gpt-4o").text
    assert re.findall(r'name="cache_write(?:_hour)?_price" type="text" value="([^"]*)"', page) == ["", ""]


def test_an_added_model_may_say_what_cache_writes_cost(app: Flask, client: FlaskClient):
    add(client, cache_write_price="3.125", cache_write_hour_price="5")
    model = find(app, "house/model:1")
    assert model
    assert (model.cache_write_nanos_per_mtok, model.cache_write_hour_nanos_per_mtok) == (3_125_000_000, 5 * DOLLAR)


def test_a_new_price_is_a_new_version(app: Flask, client: FlaskClient):
    with app.app_context():
        (before,) = list_prices("gpt-4o")
    prices = {"input_price": "3", "cached_price": "0.075", "output_price": "12.000000001", "below_cost": "yes"}
    assert post(client, f"{LIST}/price", ONE + "gpt-4o", id="gpt-4o", **prices).status_code == 303
    with app.app_context():
        now, old = list_prices("gpt-4o")
    assert (now.input_nanos_per_mtok, now.cached_nanos_per_mtok, now.output_nanos_per_mtok) == (
        *(3 * DOLLAR, 75_000_000, 12_000_000_001),
    )
    assert (old.id, old.input_nanos_per_mtok) == (before.id, before.input_nanos_per_mtok)
    page = client.get(ONE + "gpt-4o").text
    assert re.search(rf">{now.id} <span class=\"badge\">in effect", page)
    assert f">{old.id}</th>" in page


PRICES_GONE_WRONG = [("input_price", ""), ("cached_price", "x"), ("output_price", "1000001")]
PRICES_GONE_WRONG += [("cache_write_price", "x"), ("cache_write_hour_price", "-1")]


@pytest.mark.parametrize(("field", "value"), PRICES_GONE_WRONG)
def test_a_wrong_price_changes_nothing(app: Flask, client: FlaskClient, field: str, value: str):
    prices = {"input_price": "3", "cached_price": "1", "output_price": "12", field: value}
    answer = post(client, f"{LIST}/price", ONE + "gpt-4o", id="gpt-4o", **prices)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    with app.app_context():
        assert len(list_prices("gpt-4o")) == 1


def test_an_alias_comes_and_goes(app: Flask, client: FlaskClient):
    page = ONE + "gpt-4o"
    assert post(client, f"{LIST}/aliases", page, id="gpt-4o", alias="default").status_code == 303
    model = find(app, "gpt-4o")
    assert model
    assert "default" in model.aliases
    taken = post(client, f"{LIST}/aliases", page, id="gpt-4o", alias="gpt-4o-mini")
    assert taken.status_code == 400
    assert 'id="alias-error"' in taken.text
    assert post(client, f"{LIST}/aliases/remove", page, id="gpt-4o-mini", alias="default").status_code == 404
    assert post(client, f"{LIST}/aliases/remove", page, id="gpt-4o", alias="default").status_code == 303
    model = find(app, "gpt-4o")
    assert model
    assert "default" not in model.aliases


def test_a_retired_model_stays_listed_and_comes_back(app: Flask, client: FlaskClient):
    post(client, f"{LIST}/retire", ONE + "gpt-4o", id="gpt-4o")
    model = find(app, "gpt-4o")
    assert model
    assert model.status == "retired"
    assert "Offer again" in client.get(ONE + "gpt-4o").text
    post(client, f"{LIST}/restore", ONE + "gpt-4o", id="gpt-4o")
    model = find(app, "gpt-4o")
    assert model
    assert model.status != "retired"


def test_an_unknown_model_is_not_found(client: FlaskClient):
    assert client.get(ONE + "nothing").status_code == 404
    assert client.get("/admin/models/one").status_code == 404
    for action in ("price", "aliases", "aliases/remove", "retire", "restore"):
        assert post(client, f"{LIST}/{action}", LIST, id="nothing", alias="x").status_code == 404


def test_an_order_of_channels_is_chosen(app: Flask, client: FlaskClient):
    page = "/admin/models/one?id=gpt-4o"
    assert post(client, "/admin/models/order", page, id="gpt-4o", route_order="latency").status_code == 303
    with app.app_context():
        assert next(model for model in list_models() if model.id == "gpt-4o").route_order == "latency"
    assert '<option value="latency" selected>' in client.get(page).text
    assert post(client, "/admin/models/order", page, id="gpt-4o", route_order="luck").status_code == 400


def test_an_operator_says_by_which_dialect_openai_is_asked(app: Flask, client: FlaskClient):
    page = "/admin/models/one?id=gpt-4o"
    assert '<option value="auto" selected>' in client.get(page).text
    assert post(client, "/admin/models/wire", page, id="gpt-4o", openai_wire="responses_with_tools").status_code == 303
    with app.app_context():
        assert next(model for model in list_models() if model.id == "gpt-4o").openai_wire == "responses_with_tools"
    assert '<option value="responses_with_tools" selected>' in client.get(page).text
    assert post(client, "/admin/models/wire", page, id="gpt-4o", openai_wire="telegraph").status_code == 400
    assert post(client, "/admin/models/wire", page, id="gpt-4o", openai_wire="auto").status_code == 303
    with app.app_context():
        assert next(model for model in list_models() if model.id == "gpt-4o").openai_wire is None


def test_an_operator_says_what_an_upstream_adds_to_a_prompt(app: Flask, client: FlaskClient):
    page = "/admin/models/one?id=gpt-4o"
    assert post(client, "/admin/models/added", page, id="gpt-4o", added_tokens="1,000").status_code == 303
    with app.app_context():
        assert next(model for model in list_models() if model.id == "gpt-4o").added_tokens == 1000
    assert 'value="1000"' in client.get(page).text
    for wrong in ("", "-1", "128000", "many"):
        assert post(client, "/admin/models/added", page, id="gpt-4o", added_tokens=wrong).status_code == 400


def test_an_operator_says_what_a_model_is_asked_for(app: Flask, client: FlaskClient):
    page = "/admin/models/one?id=gpt-4o"
    assert post(client, "/admin/models/kinds", page, id="gpt-4o", kinds="completions, chat").status_code == 303
    with app.app_context():
        assert next(model for model in list_models() if model.id == "gpt-4o").kinds == ("chat", "completions")
    assert 'value="chat, completions"' in client.get(page).text
    for wrong in ("", "pictures", "chat pictures"):
        assert post(client, "/admin/models/kinds", page, id="gpt-4o", kinds=wrong).status_code == 400


def test_a_model_of_embeddings_is_added_without_a_price_of_output(app: Flask, client: FlaskClient):
    fields = {"id": "my-vectors", "provider": "openai", "input_price": "0.01", "context_tokens": "512"}
    assert post(client, "/admin/models", "/admin/models/new", **fields).status_code == 400
    assert post(client, "/admin/models", "/admin/models/new", **fields, kinds="embeddings").status_code == 303
    page = client.get("/admin/models/one?id=my-vectors").text
    assert "embeddings" in page
    assert "For embeddings only" in client.get("/models").text


def test_an_operator_says_how_long_a_model_is_waited_for(app: Flask, client: FlaskClient):
    page = "/admin/models/one?id=gpt-4o"
    for seconds, kept in (("3", 3), ("", None)):
        assert post(client, "/admin/models/patience", page, id="gpt-4o", patience=seconds).status_code == 303
        with app.app_context():
            assert next(model for model in list_models() if model.id == "gpt-4o").patience_seconds == kept
        assert f'name="patience" type="text" value="{seconds}"' in client.get(page).text
    for wrong in ("0", "-1", "1000000", "many"):
        assert post(client, "/admin/models/patience", page, id="gpt-4o", patience=wrong).status_code == 400


def test_what_is_wrong_with_one_form_leaves_the_others_as_they_stand(client: FlaskClient):
    page = "/admin/models/one?id=gpt-4o"
    post(client, "/admin/models/markup", page, id="gpt-4o", markup="7.5")
    refused = post(client, "/admin/models/price", page, id="gpt-4o", input_price="-1", output_price="1")
    assert refused.status_code == 400
    for field, value in (("markup", "7.5"), ("added_tokens", "0"), ("input_price", "-1")):
        assert re.search(rf'name="{field}"[^>]* value="{value}"', refused.text)
