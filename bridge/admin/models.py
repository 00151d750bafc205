"""Models: prices with their history, aliases, adding and retiring. A model is named by `id` in the query: it may
contain slashes."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.door import admin
from bridge.catalogue.editing import add_alias, add_model, remove_alias, restore_model, retire_model, set_price
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.price_rows import list_prices
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.seed import find_label, load_seed
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.money import format_dollars
from bridge.providers import PROVIDERS

REQUIRED_PRICES = ("input", "cached", "output")


@admin.get("/models")
def show_models() -> str:
    """All models whose id, name, alias or provider contains every word of `q`."""
    search = request.args.get("q", "").strip()[:100]
    everything = list_models()
    found = [model for model in everything if all(word in _searchable(model) for word in search.lower().split())]
    return render_template("admin/models.html", models=found, total=len(everything), search=search)


@admin.get("/models/new")
def show_new_model() -> str:
    return _render_new(FormReader({"provider": "openai"}))


@admin.post("/models")
def create_model() -> Any:
    form = FormReader(request.form)
    id_ = form.require("id", "Give the public name that clients ask for.")
    prices = {name: form.dollars(f"{name}_price") for name in PRICE_CLASSES}
    context, most = form.number("context_tokens"), form.number("max_output_tokens")
    for name in ("input", "output"):
        if prices[name] is None:
            form.errors.setdefault(f"{name}_price", "Give dollars per million tokens; 0 is free.")
    if context is None:
        form.errors.setdefault("context_tokens", "Give the window in tokens, such as 128000.")
    if prices["input"] is None or prices["output"] is None or context is None or form.errors:
        return _render_new(form), 400
    with form.complaints():
        add_model(
            id_,
            provider=form.text("provider"),
            input_price_nanos=prices["input"],
            output_price_nanos=prices["output"],
            cached_price_nanos=prices["cached"],
            cache_write_price_nanos=prices["cache_write"],
            cache_write_hour_price_nanos=prices["cache_write_hour"],
            context_tokens=context,
            max_output_tokens=most,
            name=form.text("name") or None,
        )
        flash(f"{id_} is offered from now on, as far as a channel serves it.")
        return redirect(url_for("admin.show_model", id=id_), 303)
    return _render_new(form), 400


@admin.get("/models/one")
def show_model() -> str:
    model = _find_listed(request.args.get("id", ""))
    return _render_model(model, FormReader(_write_prices(model)))


@admin.post("/models/price")
def change_price() -> Any:
    """A new price from now on. Requests that run keep theirs."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader(request.form)
    prices = {name: form.dollars(f"{name}_price") for name in PRICE_CLASSES}
    for name in REQUIRED_PRICES:
        if prices[name] is None:
            form.errors.setdefault(f"{name}_price", "Give dollars per million tokens; 0 is free.")
    if not form.errors:
        with form.complaints():
            set_price(
                model.id,
                input_nanos=prices["input"] or 0,
                cached_nanos=prices["cached"] or 0,
                output_nanos=prices["output"] or 0,
                cache_write_nanos=prices["cache_write"],
                cache_write_hour_nanos=prices["cache_write_hour"],
            )
            flash(f"{model.id} has a new price from now on. Running requests keep theirs.")
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/aliases")
def create_alias() -> Any:
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_prices(model), **request.form})
    name = form.require("alias", "Give another name for this model.")
    if not form.errors:
        with form.complaints(name="alias"):
            add_alias(name, model.id)
            flash(f"{name} now means {model.id}.")
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/aliases/remove")
def drop_alias() -> Response:
    model = _find_listed(request.form.get("id", ""))
    name = request.form.get("alias", "")
    if name not in model.aliases:
        raise NotFound(f"{model.id} has no such alias.")
    remove_alias(name)
    flash(f"{name} is removed: requests for it answer 404.")
    return redirect(url_for("admin.show_model", id=model.id), 303)


@admin.post("/models/retire")
def end_model() -> Response:
    model = retire_model(request.form.get("id", ""))
    flash(f"{model.id} is retired: requests for it are refused, and it stays listed.")
    return redirect(url_for("admin.show_model", id=model.id), 303)


@admin.post("/models/restore")
def bring_model_back() -> Response:
    model = restore_model(request.form.get("id", ""))
    flash(f"{model.id} is served again.")
    return redirect(url_for("admin.show_model", id=model.id), 303)


def _find_listed(id_: str) -> ListedModel:
    for model in list_models():
        if model.id == id_:
            return model
    raise NotFound("There is no such model.")


def _searchable(model: ListedModel) -> str:
    return " ".join((model.id, model.name, model.provider_label, *model.aliases)).lower()


def _write_prices(model: ListedModel) -> dict[str, str]:
    """The prices as the form has them: what cache writes cost is empty where it follows another."""
    written = {f"{name}_price": format_dollars(getattr(model, f"{name}_nanos_per_mtok"), 2) for name in PRICE_CLASSES}
    if model.cache_write_hour_nanos_per_mtok == model.cache_write_nanos_per_mtok:
        written["cache_write_hour_price"] = ""
    if model.cache_write_nanos_per_mtok == model.input_nanos_per_mtok:
        written["cache_write_price"] = ""
    return written


def _render_model(model: ListedModel, form: FormReader) -> str:
    return render_template(
        "admin/model.html",
        model=model,
        prices=list_prices(model.id),
        values=form.values,
        errors=form.errors,
    )


def _render_new(form: FormReader) -> str:
    names = sorted({*PROVIDERS, *load_seed()})
    return render_template(
        "admin/model_form.html",
        values=form.values,
        errors=form.errors,
        providers=[(name, find_label(name)) for name in names],
    )
