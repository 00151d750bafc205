"""Prices as operators enter them: tiers, classes, costs and later prices; markups; and the resulting margins."""

import datetime
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.accounts.customers import find_terms
from bridge.accounts.keys import read_caller
from bridge.catalogue.listing import list_models, newest_prices
from bridge.catalogue.price_rows import list_prices, version_of
from bridge.catalogue.prices import PriceVersion
from bridge.catalogue.tables import Model
from bridge.db import now_utc, transaction
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount
from tests.ledger.records import add_record

LIST, ONE = "/admin/models", "/admin/models/one?id=gpt-4o"
PRICES = {"id": "gpt-4o", "input_price": "3", "cached_price": "1", "output_price": "12"}
LONG = {"tier1_above": "200,000", "tier1_input_price": "6", "tier1_cached_price": "2", "tier1_output_price": "18"}


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


def version(app: Flask, id_: str = "gpt-4o") -> PriceVersion:
    with app.app_context():
        return version_of(newest_prices()[id_])


def enter(client: FlaskClient, **fields: str):
    """Enter a new price, confirmed even if it is below cost."""
    return post(client, f"{LIST}/price", ONE, **{**PRICES, "below_cost": "yes", **fields})


def test_long_prompts_and_further_classes_get_prices_of_their_own(app: Flask, client: FlaskClient):
    assert enter(client, **LONG, audio_input_price="40", request_price="0.001", picture_price="0.04").status_code == 303
    base, longer = version(app).tiers
    assert (base.input, base.output, base.audio_input, base.cached_audio) == (
        3 * DOLLAR,
        12 * DOLLAR,
        *[40 * DOLLAR] * 2,
    )
    assert (base.reasoning, base.request) == (base.output, 1_000_000)
    assert (base.picture, base.picture_low, base.image_output) == (40_000_000, 40_000_000, base.output)
    assert (longer.above_tokens, longer.input, longer.cached, longer.output) == (
        200_000,
        6 * DOLLAR,
        2 * DOLLAR,
        18 * DOLLAR,
    )


def test_the_form_holds_what_is_in_effect_so_that_sending_it_changes_nothing(app: Flask, client: FlaskClient):
    enter(
        client,
        **LONG,
        audio_input_price="40",
        cost_input_price="2",
        cost_output_price="9",
        tier1_cost_input_price="4",
        tier1_cost_output_price="11",
    )
    before = version(app)
    page = client.get(ONE).text
    fields = dict(re.findall(r'<input class="form-control" id="\w+" name="(\w+)" type="[a-z-]+" value="([^"]*)"', page))
    del fields["alias"], fields["markup"]
    assert post(client, f"{LIST}/price", ONE, id="gpt-4o", **fields, below_cost="yes").status_code == 303
    after = version(app)
    assert after.id != before.id
    assert (after.listed, after.costs) == (before.listed, before.costs)


def test_what_the_provider_takes_is_kept_apart_from_the_price(app: Flask, client: FlaskClient):
    enter(client, cost_input_price="2", cost_output_price="9")
    found = version(app)
    assert (found.listed[0].input, found.costs[0].input, found.costs[0].output) == (3 * DOLLAR, 2 * DOLLAR, 9 * DOLLAR)
    assert "provider takes" in client.get(ONE).text


def test_a_price_to_come_is_shown_and_takes_effect_at_its_moment(app: Flask, client: FlaskClient):
    tomorrow = now_utc() + datetime.timedelta(days=1)
    assert enter(client, effective_at=tomorrow.strftime("%Y-%m-%dT%H:%M"), source="their page").status_code == 303
    with app.app_context():
        to_come, current = list_prices("gpt-4o")
        assert newest_prices()["gpt-4o"].id == current.id
    page = client.get(ONE).text
    assert re.search(rf">{to_come.id} <span class=\"badge\">to come", page)
    assert re.search(rf">{current.id} <span class=\"badge\">in effect", page)
    assert "their page" in page
    announced = f"From {tomorrow:%Y-%m-%d}: $3.00 in, $1.00 cached, $12.00 out"
    for path in (f"{LIST}?q=gpt-4o", "/models"):
        assert announced in " ".join(re.sub(r"<[^>]+>", "", client.get(path).text).split()), path
    enter(client, input_price="4")
    assert f"From {tomorrow:%Y-%m-%d} on the next version replaces it" in client.get(ONE).text
    passed = enter(client, effective_at="2020-01-01T00:00")
    assert passed.status_code == 400
    assert 'id="effective_at-error"' in passed.text


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("tier1_above", {"tier1_input_price": "6"}),
        ("tier1_input_price", {"tier1_above": "9", "tier1_output_price": "6"}),
        ("tier1_output_price", {**LONG, "tier1_output_price": "-1"}),
        ("audio_input_price", {"audio_input_price": "x"}),
        ("cost_output_price", {"cost_input_price": "1"}),
        (
            "tier1_cost_output_price",
            {**LONG, "cost_input_price": "1", "cost_output_price": "1", "tier1_cost_input_price": "1"},
        ),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_changes_nothing(
    app: Flask, client: FlaskClient, field: str, fields: dict[str, str]
):
    answer = enter(client, **fields)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    with app.app_context():
        assert len(list_prices("gpt-4o")) == 1


def test_a_model_s_markup_is_on_its_price_and_not_on_what_the_provider_takes(app: Flask, client: FlaskClient):
    assert post(client, f"{LIST}/markup", ONE, id="gpt-4o", markup="12.5%").status_code == 303
    with app.app_context():
        model = next(model for model in list_models() if model.id == "gpt-4o")
    assert (model.markup_bps, model.price.markup_rule) == (1_250, "model")
    assert model.input_nanos_per_mtok == 2_500_000_000 * 9 // 8
    assert model.price.costs[0].input == 2_500_000_000
    page = client.get(ONE).text
    assert "+12.5%" in page
    assert 'name="input_price" type="text" value="2.50"' in page  # the form has the price before it


@pytest.mark.parametrize("text", ["", "x", "0.001", "-101", "10001"])
def test_no_markup_is_no_markup(app: Flask, client: FlaskClient, text: str):
    answer = post(client, f"{LIST}/markup", ONE, id="gpt-4o", markup=text)
    assert answer.status_code == 400
    assert 'id="markup-error"' in answer.text
    assert version(app).markup_bps == 0


def test_an_account_s_markup_reaches_its_keys_and_goes_again(app: Flask, client: FlaskClient, customer: MadeAccount):
    key, page = Factories(app).make_key(customer), f"/admin/customers/{customer.id}"
    for text, bps in (("-5", -500), ("0", 0), ("", None)):
        assert post(client, f"{page}/markup", page, markup=text, below_cost="yes").status_code == 303
        with app.app_context():
            caller = read_caller(key.secret)
            assert caller
            assert (caller.price_terms.markup_bps, find_terms(customer.id)[0]) == (bps, bps)
    assert post(client, f"{page}/markup", page, markup="-101").status_code == 400


def test_margins_are_what_customers_paid_less_what_providers_take(
    app: Flask, client: FlaskClient, customer: MadeAccount
):
    with app.app_context():
        add_record(customer.id, charge_nanos=5 * DOLLAR, cost_nanos=4 * DOLLAR)
        add_record(customer.id, charge_nanos=0, cost_nanos=DOLLAR // 2, loss_nanos=DOLLAR // 2)
        add_record(customer.id, charge_nanos=99 * DOLLAR, cost_nanos=0, ago=datetime.timedelta(days=31))
    shown = r'title="paid \$5\.00, provider \$4\.50">\$0\.50</span> <span class="ink3">10\.0%'
    for page in (LIST, ONE, "/admin/customers", f"/admin/customers/{customer.id}"):
        assert re.search(shown, client.get(page).text), page


def test_a_price_below_cost_asks_again_with_both_figures_before_it_is_taken(app: Flask, client: FlaskClient):
    low = {"input_price": "0.25", "output_price": "12", "cached_price": "0.20"}
    asked = enter(client, below_cost="", **low)
    assert asked.status_code == 400
    assert "gpt-4o, input: customers pay $0.25, it costs $2.50" in asked.text
    assert 'name="below_cost" value="yes"' in asked.text
    assert 'value="0.25"' in asked.text  # what was typed is still there
    with app.app_context():
        assert len(list_prices("gpt-4o")) == 1
    for page in (LIST, "/admin/usage"):
        assert "sold below cost" not in client.get(page).text
    assert enter(client, below_cost="yes", **low).status_code == 303
    for page in (LIST, "/admin/usage", ONE):
        assert "gpt-4o, input: customers pay $0.25, it costs $2.50" in client.get(page).text


def test_markups_and_new_models_below_cost_ask_again_too(app: Flask, client: FlaskClient, customer: MadeAccount):
    page = f"/admin/customers/{customer.id}"
    for path, back, fields, said in (
        (f"{LIST}/markup", ONE, {"id": "gpt-4o", "markup": "-10"}, "customers pay $2.25, it costs $2.50"),
        (f"{page}/markup", page, {"markup": "-10"}, "this customer pays $"),
    ):
        asked = post(client, path, back, **fields)
        assert asked.status_code == 400
        assert said in asked.text
        assert post(client, path, back, **fields, below_cost="yes").status_code == 303
    with app.app_context(), transaction() as session:
        session.delete(session.get_one(Model, "o3"))
    new = {"id": "o3", "provider": "openai", "input_price": "0", "output_price": "0", "context_tokens": "9000"}
    asked = post(client, LIST, f"{LIST}/new", **new)
    assert (asked.status_code, "it costs $" in asked.text) == (400, True)
    assert post(client, LIST, f"{LIST}/new", **new, below_cost="yes").status_code == 303
