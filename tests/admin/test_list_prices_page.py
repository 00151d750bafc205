"""The list's prices beside ours: adopted one by one or all, now or from a day; prices to come may be withdrawn."""

import datetime
import json

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge.catalogue.editing import add_channel
from bridge.catalogue.listing import newest_prices
from bridge.catalogue.model_editing import enter_price
from bridge.catalogue.price_rows import list_prices, list_prices_to_come, version_of
from bridge.catalogue.rates import make_rates
from bridge.catalogue.sync import list_differences
from bridge.catalogue.tables import Price
from bridge.catalogue.upstream_prices import ask_for_prices
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from tests.dashboard.pages import post
from tests.factories import DOLLAR, MadeAccount
from tests.upstream import ScriptedUpstream, sends

PAGE = "/admin/prices"
DEAR = make_rates({"input": 50 * DOLLAR, "output": 90 * DOLLAR})
CHEAP = make_rates({"input": 1000, "output": 1000})
MODELS = ("gpt-4o", "gpt-4o-mini")


@pytest.fixture(autouse=True)
def _different(operator: MadeAccount, app: Flask) -> None:
    """Two models whose provider, as far as we believe, takes what we ask."""
    with app.app_context():
        for id_ in MODELS:
            enter_price(id_, [DEAR], costs=[CHEAP])


def list_rows(app: Flask) -> set[str]:
    with app.app_context():
        return {one.row for one in list_differences()}


def find_price(app: Flask, id_: str) -> Price:
    with app.app_context():
        return newest_prices()[id_]


def test_one_row_is_adopted_and_the_others_stay(app: Flask, client: FlaskClient):
    page = client.get(PAGE).text
    assert all(id_ in page for id_ in MODELS)
    assert post(client, f"{PAGE}/adopt", PAGE, one="gpt-4o@").status_code == 303
    assert list_rows(app) == {"gpt-4o-mini@"}
    price = version_of(find_price(app, "gpt-4o"))
    assert price.base == DEAR  # the operator's own stays
    assert price.costs[0].input > CHEAP.input


def test_all_are_adopted_from_a_day_on(app: Flask, client: FlaskClient):
    day = (now_utc() + datetime.timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    fields = {"do": "all", "effective_at": f"{day:%Y-%m-%dT%H:%M}"}
    assert post(client, f"{PAGE}/adopt", PAGE, **fields).status_code == 303
    with app.app_context():
        assert {id_: list_prices(id_)[0].effective_at for id_ in MODELS} == dict.fromkeys(MODELS, day)
        assert version_of(newest_prices()["gpt-4o"]).costs[0] == CHEAP


def test_what_would_sell_below_cost_is_left_unless_confirmed(app: Flask, client: FlaskClient):
    with app.app_context():
        enter_price("gpt-4o", [CHEAP], costs=[CHEAP])
    post(client, f"{PAGE}/adopt", PAGE, row="gpt-4o@")
    assert "gpt-4o@" in list_rows(app)
    assert "tick “Also where that sells below cost”" in client.get(PAGE).text
    with app.app_context():
        enter_price("gpt-4o", [CHEAP], costs=[make_rates({"input": 2000, "output": 2000})])
    post(client, f"{PAGE}/adopt", PAGE, row="gpt-4o@", below_cost="yes")
    assert "gpt-4o@" not in list_rows(app)


def test_nothing_ticked_and_a_moment_that_has_passed_are_told(client: FlaskClient):
    assert "Tick the prices to adopt." in post(client, f"{PAGE}/adopt", PAGE, do="ticked").text
    answer = post(client, f"{PAGE}/adopt", PAGE, do="all", effective_at="2001-01-01T00:00")
    assert (answer.status_code, "has passed" in answer.text) == (400, True)


def test_a_price_is_withdrawn_before_its_day_and_not_after(app: Flask, client: FlaskClient):
    with app.app_context():
        later = enter_price("gpt-4o", [DEAR], effective_at=now_utc() + datetime.timedelta(days=1)).id
    assert post(client, f"{PAGE}/withdraw", PAGE, price=str(later)).status_code == 303
    with app.app_context():
        assert "gpt-4o" not in list_prices_to_come()
    begun = find_price(app, "gpt-4o").id
    assert post(client, f"{PAGE}/withdraw", PAGE, price=str(begun)).status_code == 400
    assert find_price(app, "gpt-4o").id == begun


def test_the_commands_do_the_same(app: Flask):
    run = app.test_cli_runner().invoke
    assert run(args=["catalogue", "adopt", "gpt-4o"]).exit_code == 0
    assert list_rows(app) == {"gpt-4o-mini@"}
    with app.app_context():
        later = enter_price("gpt-4o", [DEAR], effective_at=now_utc() + datetime.timedelta(days=1)).id
    assert run(args=["price", "remove", str(later)]).exit_code == 0
    assert "has begun" in run(args=["price", "remove", str(find_price(app, "gpt-4o").id)]).output


def test_a_list_of_ones_own_is_compared_and_adopted(app: Flask, client: FlaskClient):
    file = '[openai.models.gpt-4o]\ncontext = 128000\nprice = ["7", "3", "11"]\n'
    page = post(client, f"{PAGE}/compare", PAGE, file=file).text
    assert ("$7.00" in page, "gpt-4o-mini@" in page) == (True, False)
    assert post(client, f"{PAGE}/adopt", PAGE, file=file, do="all").status_code == 303
    assert version_of(find_price(app, "gpt-4o")).costs[0].output == 11 * DOLLAR
    wrong = post(client, f"{PAGE}/compare", PAGE, file=file.replace("context", "contexts"))
    assert (wrong.status_code, "is none of its fields" in wrong.text) == (400, True)


def tell_prices(upstream: ScriptedUpstream, *models: dict[str, object]) -> None:
    listed = sends(json.dumps({"object": "list", "data": list(models)}).encode())
    upstream.plays(*[listed] * 4)


def test_an_upstream_s_own_list_is_compared_and_adopted(app: Flask, client: FlaskClient, upstream: ScriptedUpstream):
    with app.app_context():
        add_channel("router", "openai", base_url=upstream.base_url, api_key="sk-x", models={"gpt-4o": "openai/gpt-4o"})
        (before,) = version_of(newest_prices()["gpt-4o"]).costs
    told = {"prompt": "0.000007", "completion": "0.000011"}
    tell_prices(upstream, {"id": "openai/gpt-4o", "pricing": told}, {"id": "gpt-4o-mini", "pricing": told})
    page = post(client, f"{PAGE}/ask", PAGE, channel="router").text
    assert ("$7.00" in page, "list of router" in page, "gpt-4o-mini@" in page) == (True, True, False)
    run = app.test_cli_runner().invoke
    shown = run(args=["catalogue", "diff", "--channel", "router"]).output
    assert ("7.00" in shown, "gpt-4o-mini" in shown) == (True, False)
    assert post(client, f"{PAGE}/adopt", PAGE, channel="router", one="gpt-4o@").status_code == 303
    price = version_of(find_price(app, "gpt-4o"))
    assert price.base == DEAR  # the operator's own stays
    (costs,) = price.costs
    assert (costs.input, costs.output, costs.cached) == (7 * DOLLAR, 11 * DOLLAR, 7 * DOLLAR)
    assert before.cached == before.input  # why cached prompts went along
    answer = run(args=["catalogue", "adopt", "gpt-4o", "--channel", "router"])
    assert (answer.exit_code, "the list's already" in answer.output) == (1, True)


def test_an_upstream_whose_list_tells_no_prices_is_told_so(app: Flask, client: FlaskClient, upstream: ScriptedUpstream):
    with app.app_context():
        add_channel("plain", "openai", base_url=upstream.base_url, api_key="sk-x")
    tell_prices(upstream, {"id": "gpt-4o"})
    answer = post(client, f"{PAGE}/ask", PAGE, channel="plain")
    assert (answer.status_code, "tells no prices." in answer.text) == (400, True)
    assert "gpt-4o@" not in answer.text
    assert "Choose a channel." in post(client, f"{PAGE}/ask", PAGE).text
    assert post(client, f"{PAGE}/ask", PAGE, channel="nowhere").status_code == 404
    with app.app_context(), pytest.raises(InvalidRequest, match="tells no prices"):
        ask_for_prices("plain", app.config["BRIDGE"])
