"""Models: prices with their history, aliases, adding and retiring. A model is named by `id` in the query, since it may
contain slashes."""

from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.below_cost import asks_again, find_losing, is_confirmed
from bridge.admin.capability_form import FURTHER_INPUTS, read_capabilities, write_capabilities
from bridge.admin.door import admin, find_operator, needs_right
from bridge.admin.price_form import count_tiers, read_price, write_price
from bridge.catalogue.channel_state import find_model_state
from bridge.catalogue.editing import (
    add_alias,
    add_model,
    edit_model,
    enter_price,
    remove_alias,
    restore_model,
    retire_model,
    set_added_tokens,
    set_kinds,
    set_markup,
    set_openai_wire,
    set_patience,
    set_route_order,
)
from bridge.catalogue.listing import ListedModel, find_number, list_models, list_serving, newest_prices
from bridge.catalogue.model_fields import AS_NAMED
from bridge.catalogue.price_rows import list_prices, version_of
from bridge.catalogue.rates import FURTHER_CLASSES, PRICE_CLASSES
from bridge.catalogue.seed import find_label, load_seed
from bridge.conversation.kinds import CHAT, ENDPOINTS, writes_tokens
from bridge.db import now_utc
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger import margins
from bridge.money import format_percent
from bridge.providers import COMMON_DIALECT, PROVIDERS

KINDS = ", ".join(ENDPOINTS)


@admin.get("/models")
@needs_right("look")
def show_models() -> str:
    """All models whose id, name, alias or provider contains every word of `q`."""
    search = request.args.get("q", "").strip()[:100]
    number = find_number()
    everything = list_models(number=number)
    found = [model for model in everything if all(word in _searchable(model) for word in search.lower().split())]
    return render_template(
        "admin/models.html",
        models=found,
        total=len(everything),
        search=search,
        losing=find_losing(number),
        margins=margins.sum_by_model(),
        nothing=margins.NOTHING,
        days=margins.DAYS,
    )


@admin.get("/models/new")
@needs_right("models")
def show_new_model() -> str:
    """A new model's form, with what the address says of it, as a channel's page does of what its upstream lists."""
    return _render_new(FormReader({"provider": COMMON_DIALECT, "kinds": CHAT, **request.args.to_dict()}))


@admin.post("/models")
@needs_right("models")
def create_model() -> Any:
    form = FormReader(request.form)
    id_ = form.require("id", translate("Give the public name that clients ask for."))
    prices = {name: form.dollars(f"{name}_price") for name in PRICE_CLASSES}
    context, most = form.number("context_tokens"), form.number("max_output_tokens")
    capabilities = read_capabilities(form)
    kinds = form.names("kinds") or [CHAT]
    if not writes_tokens(kinds):
        prices["output"] = prices["output"] or 0
    for name in ("input", "output"):
        if prices[name] is None:
            form.errors.setdefault(f"{name}_price", translate("Give dollars per million tokens; 0 is free."))
    if context is None:
        form.errors.setdefault("context_tokens", translate("Give the window in tokens, such as 128000."))
    if prices["input"] is None or prices["output"] is None or context is None or form.errors:
        return _render_new(form), 400
    with form.collect_errors(), asks_again(form):
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
            kinds=kinds,
            below_cost=is_confirmed(form),
            actor=find_operator(),
            openai_wire=form.text("openai_wire") or AS_NAMED,
            **capabilities,
        )
        flash(translate("%(model)s is offered from now on, as far as a channel serves it.", model=id_))
        return redirect(url_for("admin.show_model", id=id_), 303)
    return _render_new(form), 400


@admin.get("/models/one")
@needs_right("look")
def show_model() -> str:
    number = find_number()
    model = _find_listed(request.args.get("id", ""), number)
    return _render_model(model, FormReader(_write_fields(model, number)), number)


@admin.post("/models/edit")
@needs_right("models")
def change_model() -> Any:
    """Set what the model takes, is called and holds, from the next request on."""
    model = _find_listed(request.form.get("id", ""))
    boxes = dict.fromkeys((*(f"takes_{kind}" for kind in FURTHER_INPUTS), "thinks"), "")
    form = FormReader({**write_capabilities(model), **boxes, **request.form})
    fields = read_capabilities(form)
    fields.pop("added_tokens", None)  # which has a form of its own
    fields.setdefault("image_tokens", 0)
    for name in ("context_tokens", "max_output_tokens"):
        fields[name] = form.number(name)
        if fields[name] is None:
            form.errors.setdefault(name, translate("Give a whole number of tokens."))
    if not form.errors:
        with form.collect_errors():
            texts = {name: form.text(name) for name in ("name", "upstream_id", "note")}
            edit_model(model.id, find_operator(), **texts, **fields)
            kinds = ", ".join(fields["input_modalities"])
            flash(translate("%(model)s takes %(kinds)s from now on.", model=model.id, kinds=kinds))
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/price")
@needs_right("prices")
def change_price() -> Any:
    """Set a new price from now on. Running requests keep theirs."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader(request.form)
    entered = read_price(form)
    if entered is not None:
        with form.collect_errors(), asks_again(form):
            enter_price(
                model.id,
                entered.tiers,
                costs=entered.costs,
                effective_at=entered.effective_at,
                source=entered.source,
                below_cost=is_confirmed(form),
                actor=find_operator(),
            )
            flash(_say_changed(model.id, later=entered.effective_at is not None) + _warn_of_coming(model.id))
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/markup")
@needs_right("prices")
def change_markup() -> Any:
    """Set the markup on the price, from the next request on."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    basis_points = form.percent("markup")
    if basis_points is None:
        form.errors.setdefault("markup", translate("Give a percentage; 0 is none."))
    if basis_points is not None and not form.errors:
        with form.collect_errors(), asks_again(form, "markup_below_cost"):
            set_markup(model.id, basis_points, below_cost=is_confirmed(form), actor=find_operator())
            flash(
                translate(
                    "%(model)s has another markup from now on. Running requests keep their price.", model=model.id
                )
            )
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/order")
@needs_right("models")
def change_route_order() -> Any:
    """Set which of several equal channels is asked first, from the next request on."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    with form.collect_errors():
        set_route_order(model.id, form.text("route_order"), find_operator())
        order = form.text("route_order")
        flash(translate("Channels of %(model)s are chosen by %(order)s from now on.", model=model.id, order=order))
        return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/wire")
@needs_right("models")
def change_openai_wire() -> Any:
    """Set by which of its dialects OpenAI is asked, from the next request on."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    with form.collect_errors():
        set_openai_wire(model.id, form.text("openai_wire"), find_operator())
        wire = form.text("openai_wire")
        flash(translate("OpenAI is asked for %(model)s by %(wire)s from now on.", model=model.id, wire=wire))
        return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/kinds")
@needs_right("models")
def change_kinds() -> Any:
    """Set which kinds of requests it takes, from the next request on."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    with form.collect_errors():
        set_kinds(model.id, form.names("kinds"), find_operator())
        kinds = ", ".join(_find_listed(model.id).kinds)
        flash(translate("%(model)s is asked for %(kinds)s from now on.", model=model.id, kinds=kinds))
        return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/added")
@needs_right("models")
def change_added_tokens() -> Any:
    """Set how many tokens the upstream adds to a prompt, from the next request on."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    tokens = form.number("added_tokens")
    if tokens is None:
        form.errors.setdefault("added_tokens", translate("Give a whole number of tokens; 0 is none."))
    if tokens is not None and not form.errors:
        with form.collect_errors():
            set_added_tokens(model.id, tokens, find_operator())
            flash(
                translate(
                    "Prompts of %(model)s now count with up to %(tokens)s tokens that the upstream adds.",
                    model=model.id,
                    tokens=format(tokens, ","),
                )
            )
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/patience")
@needs_right("models")
def change_patience() -> Any:
    """Set how long the first content may take, from the next request on; empty means the setting's value."""
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    seconds = form.number("patience")
    if not form.errors:
        with form.collect_errors():
            set_patience(model.id, seconds, find_operator())
            flash(
                translate("%(model)s is waited for %(num)s seconds from now on.", model=model.id, num=seconds)
                if seconds
                else translate("%(model)s is waited for as the settings say from now on.", model=model.id)
            )
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/aliases")
@needs_right("models")
def create_alias() -> Any:
    model = _find_listed(request.form.get("id", ""))
    form = FormReader({**_write_fields(model), **request.form})
    name = form.require("alias", translate("Give another name for this model."))
    if not form.errors:
        with form.collect_errors(name="alias"):
            add_alias(name, model.id, find_operator())
            flash(translate("%(alias)s now means %(model)s.", alias=name, model=model.id))
            return redirect(url_for("admin.show_model", id=model.id), 303)
    return _render_model(model, form), 400


@admin.post("/models/aliases/remove")
@needs_right("models")
def drop_alias() -> Response:
    model = _find_listed(request.form.get("id", ""))
    name = request.form.get("alias", "")
    if name not in model.aliases:
        raise NotFound(translate("%(model)s has no such alias.", model=model.id))
    remove_alias(name, find_operator())
    flash(translate("%(alias)s is removed: requests for it answer 404.", alias=name))
    return redirect(url_for("admin.show_model", id=model.id), 303)


@admin.post("/models/retire")
@needs_right("models")
def end_model() -> Response:
    model = retire_model(request.form.get("id", ""), find_operator())
    flash(translate("%(model)s is retired: requests for it are refused, and it stays listed.", model=model.id))
    return redirect(url_for("admin.show_model", id=model.id), 303)


@admin.post("/models/restore")
@needs_right("models")
def bring_model_back() -> Response:
    model = restore_model(request.form.get("id", ""), find_operator())
    flash(translate("%(model)s is served again.", model=model.id))
    return redirect(url_for("admin.show_model", id=model.id), 303)


def _say_changed(id_: str, *, later: bool) -> str:
    if later:
        return translate("%(model)s has a new price from then on. Running requests keep theirs.", model=id_)
    return translate("%(model)s has a new price from now on. Running requests keep theirs.", model=id_)


def _warn_of_coming(id_: str) -> str:
    """What replaces the price in effect by itself, for an operator who has just changed it."""
    coming = _find_listed(id_).to_come
    if not coming:
        return ""
    day = f"{coming[0].starts_at:%Y-%m-%d}"
    return " " + translate("From %(day)s on the next version replaces it, below.", day=day)


def _find_listed(id_: str, number: int | None = None) -> ListedModel:
    for model in list_models(number=find_number() if number is None else number, only=id_):
        return model
    raise NotFound(translate("There is no such model."))


def _searchable(model: ListedModel) -> str:
    return " ".join((model.id, model.name, model.provider_label, *model.aliases)).lower()


def _write_fields(model: ListedModel, number: int | None = None) -> dict[str, str]:
    """The forms' current fields: those of the price in effect, and the others."""
    prices = newest_prices(find_number() if number is None else number)
    return {**write_price(prices[model.id]), **_write_further_fields(model)}


def _write_further_fields(model: ListedModel) -> dict[str, str]:
    """The fields beside the price: the markup, the order of channels, OpenAI's dialect, the kinds, what the upstream
    adds, the time limit, and what it takes."""
    fields = write_capabilities(model) | {"markup": format_percent(model.markup_bps), "route_order": model.route_order}
    fields |= {"openai_wire": model.openai_wire or AS_NAMED, "kinds": ", ".join(model.kinds)}
    return {**fields, "added_tokens": str(model.added_tokens), "patience": str(model.patience_seconds or "")}


def _render_model(model: ListedModel, form: FormReader, number: int | None = None) -> str:
    moment = now_utc()
    prices = list_prices(model.id)
    return render_template(
        "admin/model.html",
        model=model,
        serving=[(channel.name, find_model_state(channel, name)) for channel, name in list_serving(model)],
        prices=prices,
        versions={price.id: version_of(price) for price in prices},
        upcoming={price.id for price in prices if price.effective_at and price.effective_at > moment},
        losing=find_losing(find_number() if number is None else number).get(model.id, []),
        margin=margins.sum_of_model(model.id),
        days=margins.DAYS,
        further=FURTHER_CLASSES,
        inputs=FURTHER_INPUTS,
        tiers=count_tiers(dict(form.values)),
        kinds=KINDS,
        values={**_write_further_fields(model), **form.values},
        errors=form.errors,
    )


def _render_new(form: FormReader) -> str:
    names = sorted({*PROVIDERS, *load_seed()})
    return render_template(
        "admin/model_form.html",
        values=form.values,
        errors=form.errors,
        inputs=FURTHER_INPUTS,
        providers=[(name, find_label(name)) for name in names],
        kinds=KINDS,
    )
