"""Many prices at once: shown before they change, all or none, and never below cost unless that is confirmed."""

import datetime
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from bridge.catalogue.listing import newest_prices
from bridge.catalogue.model_editing import enter_price, set_markup
from bridge.catalogue.price_rows import list_prices, version_of
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Model
from bridge.db import db, now_utc
from tests.dashboard.pages import post
from tests.factories import DOLLAR, Factories, MadeAccount

PAGE = "/admin/models/bulk"


@pytest.fixture(autouse=True)
def _operator(operator: MadeAccount) -> None:
    """Every test here is the operator's."""


@pytest.fixture
def models(app: Flask, make: Factories) -> list[str]:
    """Two models at 2 and 4 dollars, which cost 1 and 2."""
    found = [make.make_model(), make.make_model()]
    with app.app_context():
        for id_ in found:
            rates, costs = (make_rates({"input": n * DOLLAR, "output": 2 * n * DOLLAR}) for n in (2, 1))
            enter_price(id_, [rates], costs=[costs])
    return found


def send(client: FlaskClient, models: list[str], do: str = "apply", **fields: str) -> TestResponse:
    """Send the form as a browser that has shown the preview."""
    values: dict[str, Any] = {"model": models, "kind": "markup", "percent": "50", **fields}
    if do == "apply" and "seen" not in values:
        preview = post(client, PAGE, **{**values, "do": "preview"}).text
        values["seen"] = re.search('name="seen" value="([^"]+)"', preview)[1]
    return post(client, PAGE, **{**values, "do": do})


def find_markups(app: Flask, models: list[str]) -> list[int]:
    with app.app_context():
        return [db.session.get_one(Model, id_).markup_bps for id_ in models]


def test_the_preview_changes_nothing_and_shows_old_and_new_prices_and_margins(
    app: Flask, client: FlaskClient, models: list[str]
):
    page = re.sub(r"<[^>]+>|\s+", " ", send(client, models, "preview").text)
    assert "$3.00 was $2.00" in re.sub(" +", " ", page)
    assert "66.7% was 50.0%" in re.sub(" +", " ", page)
    assert find_markups(app, models) == [0, 0]


def test_what_was_shown_is_done_for_all(app: Flask, client: FlaskClient, models: list[str]):
    assert send(client, models).status_code == 303
    assert find_markups(app, models) == [5000, 5000]


def test_a_price_that_changed_meanwhile_is_shown_again(app: Flask, client: FlaskClient, models: list[str]):
    preview = send(client, models, "preview").text
    seen = re.search('name="seen" value="([^"]+)"', preview)[1]
    with app.app_context():
        set_markup(models[0], 700)
    answer = send(client, models, seen=seen)
    assert (answer.status_code, "changed meanwhile" in answer.text) == (400, True)
    assert send(client, models, seen=seen, percent="60").status_code == 400  # nor is another change than was shown done
    assert find_markups(app, models) == [700, 0]


def test_below_cost_nothing_is_changed_until_that_is_confirmed(app: Flask, client: FlaskClient, models: list[str]):
    answer = send(client, models, percent="-60")
    assert (answer.status_code, "This sells below cost" in answer.text) == (400, True)
    assert find_markups(app, models) == [0, 0]
    assert send(client, models, percent="-60", below_cost="yes").status_code == 303
    assert find_markups(app, models) == [-6000, -6000]


def test_prices_go_up_from_a_day_on_and_costs_stay(app: Flask, client: FlaskClient, models: list[str]):
    day = (now_utc() + datetime.timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert send(client, models, kind="prices", percent="10", effective_at=f"{day:%Y-%m-%dT%H:%M}").status_code == 303
    with app.app_context():
        assert newest_prices()[models[0]].input_nanos_per_mtok == 2 * DOLLAR
        later = list_prices(models[0])[0]
        assert (later.effective_at, later.input_nanos_per_mtok) == (day, 2_200_000_000)
        assert version_of(later).costs[0].input == DOLLAR


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"percent": ""}, "Give a percentage"),
        ({"percent": "0", "kind": "prices"}, "not by 0"),
        ({"effective_at": "2001-01-01T00:00", "kind": "prices"}, "has passed"),
    ],
)
def test_a_wrong_field_is_named(client: FlaskClient, models: list[str], fields: dict[str, str], said: str):
    answer = send(client, models, "preview", **fields)
    assert (answer.status_code, said in answer.text) == (400, True)


def test_the_command_shows_first_and_does_it_with_yes(app: Flask, models: list[str]):
    run = app.test_cli_runner().invoke
    shown = run(args=["price", "markup", "-10", *models])
    assert (shown.exit_code, "2.00 -> 1.80" in shown.output) == (0, True), shown.output
    assert find_markups(app, models) == [0, 0]
    assert "add --below-cost" in run(args=["price", "markup", "-60", *models, "--yes"]).output
    assert run(args=["price", "markup", "-10", *models, "--yes"]).exit_code == 0
    assert find_markups(app, models) == [-1000, -1000]
