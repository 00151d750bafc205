"""Prices that differ from the list's, to be adopted one by one or all, and prices to come, which may be withdrawn."""

from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for
from gevent import get_hub
from werkzeug.wrappers import Response

from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.editing import list_channels
from bridge.catalogue.listing import find_number
from bridge.catalogue.model_editing import withdraw_price
from bridge.catalogue.price_list import load_list
from bridge.catalogue.price_rows import list_prices_to_come, version_of
from bridge.catalogue.sync import adopt_differences, list_differences
from bridge.catalogue.upstream_prices import AskedPrices, ask_for_prices
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.languages import translate

MOST_ROWS = 2000
MOST_TOLD = 5
COMMANDS_WORDS, PAGES_WORDS = "add --below-cost", "tick “Also where that sells below cost”"


@admin.get("/prices")
@needs_right("prices")
def show_prices() -> str:
    return _render(FormReader({}))


@admin.post("/prices/compare")
@needs_right("prices")
def compare_prices() -> Any:
    """Compare with the operator's own list, whose text the form carries from then on."""
    form = FormReader(request.form)
    form.require("file", translate("Paste the text of a price file."))
    page = _render(form)
    return page, 400 if form.errors else 200


@admin.post("/prices/ask")
@needs_right("prices")
def ask_upstream() -> Any:
    """Compare with what the upstream of a channel asks, which the form names from then on."""
    form = FormReader(request.form)
    form.require("channel", translate("Choose a channel."))
    page = _render(form)
    return page, 400 if form.errors else 200


@admin.post("/prices/adopt")
@needs_right("prices")
def adopt_prices() -> Any:
    """Adopt the list's price of the ticked rows, of one, or of all, now or from a moment."""
    form, ticked = FormReader(request.form), set(request.form.getlist("row")[:MOST_ROWS])
    effective_at, one = form.moment("effective_at"), form.text("one")
    rows = None if form.text("do") == "all" else {one} if one else ticked
    if rows is not None and not rows:
        form.errors["row"] = translate("Tick the prices to adopt.")
    if not form.errors:
        get_hub().threadpool.apply(load_list)
        with form.collect_errors():
            asked = _ask(form)
            lines = adopt_differences(
                rows,
                file=form.text("file") or None,
                asked=asked,
                below_cost=form.text("below_cost") == "yes",
                effective_at=effective_at,
                actor=find_operator(),
            )
            _tell(lines)
            return redirect(url_for("admin.show_prices"), 303)
    return _render(form, ticked), 400


def _ask(form: FormReader) -> AskedPrices | None:
    """The prices of the upstream that the form names, read anew; None where it names none."""
    name = form.text("channel")
    return ask_for_prices(name, current_app.config["BRIDGE"]) if name else None


def _tell(lines: list[str]) -> None:
    """Say what was adopted and what was left, the first few of each."""
    left = [line.replace(COMMANDS_WORDS, PAGES_WORDS) for line in lines if COMMANDS_WORDS in line]
    for several, kind in ((left, "warn"), ([line for line in lines if COMMANDS_WORDS not in line], "message")):
        for line in several[:MOST_TOLD]:
            flash(line, kind)
        if len(several) > MOST_TOLD:
            more = len(several) - MOST_TOLD
            left_too = translate("And %(count)s more are left as they were.", count=more)
            flash(left_too if kind == "warn" else translate("And %(count)s more.", count=more), kind)


@admin.post("/prices/withdraw")
@needs_right("prices")
def withdraw() -> Response:
    """Remove a price before its day."""
    number = FormReader(request.form).number("price")
    if number is None:
        raise NotFound(translate("There is no such price."))
    price = withdraw_price(number, find_operator())
    flash(
        translate(
            "%(model)s keeps its price: the one for %(day)s is withdrawn.",
            model=price.model_id,
            day=format(price.effective_at, "%Y-%m-%d"),
        )
    )
    return redirect(url_for("admin.show_prices"), 303)


def _render(form: FormReader, ticked: set[str] | None = None) -> str:
    get_hub().threadpool.apply(load_list)  # its import takes half a second, in which others go on
    number = find_number()
    coming = [(id_, price, version_of(price)) for id_, rows in list_prices_to_come().items() for price in rows]
    differences, channels = [], [channel.name for channel in list_channels()]
    if "channel" not in form.errors:
        with form.collect_errors():
            differences = list_differences(file=form.text("file") or None, asked=_ask(form), number=number)
    return render_template(
        "admin/prices.html",
        differences=differences,
        coming=sorted(coming, key=lambda one: (one[1].effective_at, one[0])),
        ticked=ticked or set(),
        channels=[("", translate("Choose a channel")), *((name, name) for name in channels)] if channels else [],
        values=form.values,
        errors=form.errors,
        labels={
            "effective_at": translate("From"),
            "file": translate("Price file"),
            "channel": translate("Channel"),
        },
    )
