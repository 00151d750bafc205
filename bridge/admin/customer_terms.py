"""A customer's prices and limits: over all of its keys, and of single models, for it and for groups."""

from typing import Any

from flask import current_app, flash, redirect, request, url_for

from bridge.accounts.customers import find_customer, set_account_group, set_account_limits, set_account_markup
from bridge.accounts.key_limits import LIMITS, OF_ACCOUNT, default_limits
from bridge.accounts.own_price_editing import Owner, list_groups, remove_own_price, say_own, set_own_price
from bridge.accounts.own_prices import list_own_prices, read_own
from bridge.admin.below_cost import asks_again, is_confirmed
from bridge.admin.customer_page import render_page, write_limit
from bridge.admin.customer_people import is_out_of_reach, refuses_price
from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.below_cost import list_live_models, require_margin_at
from bridge.catalogue.rates import Rates, make_rates
from bridge.db import DEFAULT_GROUP
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.money import format_percent


@admin.get("/customers/<int:account_id>/terms")
@needs_right("look")
def show_customer_terms(account_id: int) -> str:
    return _render(account_id, FormReader({}))


def _render(account_id: int, form: FormReader) -> str:
    customer = find_customer(account_id)
    values = {
        "markup": "" if customer.markup_bps is None else format_percent(customer.markup_bps),
        "group": customer.group,
        **{FIELDS.get(name, name): write_limit(name, getattr(customer, name)) for name in OF_ACCOUNT},
        **form.values,
    }
    own = list_own_prices(account_id, customer.group)
    return render_page(
        account_id,
        "terms",
        form,
        customer=customer,
        values=values,
        default_limits=default_limits(current_app.config["BRIDGE"]),
        own_prices=[(row, say_own(read_own(row))) for row in own],
        models=[model.id for model in list_live_models()],
        groups=list_groups(),
    )


FIELDS = {"spend_day_nanos": "spend_day"}  # a limit's field in the form, where it has another name


def _refuse(account_id: int, why: str) -> Any:
    return _done(account_id, why, "bad")


def _done(account_id: int, text: str, kind: str = "ok") -> Any:
    flash(text, kind)
    return redirect(url_for("admin.show_customer_terms", account_id=account_id), 303)


@admin.post("/customers/<int:account_id>/markup")
@needs_right("prices")
def change_account_markup(account_id: int) -> Any:
    """Set the account's own markup on every model, or (left empty) return to the models' own."""
    customer = find_customer(account_id)
    if why := refuses_price(account_id):
        return _refuse(account_id, why)
    form = FormReader(request.form)
    basis_points = form.percent("markup")
    if not form.errors:
        with form.collect_errors(), asks_again(form):
            if basis_points is not None and not is_confirmed(form):
                require_margin_at(basis_points, list_live_models(), "this customer")
            set_account_markup(account_id, basis_points, find_operator())
            name = customer.email or customer.name
            told = translate("%(name)s pays a markup of their own from now on.", name=name)
            if basis_points is None:
                told = translate("%(name)s pays the models' own markups from now on.", name=name)
            return _done(account_id, told)
    return _render(account_id, form), 400


@admin.post("/customers/<int:account_id>/group")
@needs_right("customers")
def change_account_group(account_id: int) -> Any:
    """Set the account's group: channels of that group and channels for all groups serve it, at the group's prices."""
    customer = find_customer(account_id)
    if is_out_of_reach(account_id):
        return _refuse(account_id, translate("This is an operator's account: only an owner can change its group."))
    if why := refuses_price(account_id):  # a group has prices
        return _refuse(account_id, why)
    form = FormReader(request.form)
    with form.collect_errors():
        set_account_group(account_id, form.text("group") or DEFAULT_GROUP, find_operator())
        told = translate("%(name)s is in another group from now on.", name=customer.email or customer.name)
        return _done(account_id, told)
    return _render(account_id, form), 400


@admin.post("/customers/<int:account_id>/limits")
@needs_right("customers")
def change_account_limits(account_id: int) -> Any:
    """Set the limits of all keys of the account together; an empty field means the gateway's default."""
    customer = find_customer(account_id)
    if is_out_of_reach(account_id):
        return _refuse(account_id, translate("This is an operator's account: only an owner can change its limits."))
    form = FormReader(request.form)
    limits = {name: form.number(name) for name in (*LIMITS, "max_keys")}
    limits["spend_day_nanos"] = form.dollars("spend_day")
    if not form.errors:
        with form.collect_errors():
            set_account_limits(account_id, limits, find_operator())
            told = translate("%(name)s has other limits from now on.", name=customer.email or customer.name)
            return _done(account_id, told)
    return _render(account_id, form), 400


@admin.post("/customers/<int:account_id>/own-price")
@needs_right("prices")
def change_own_price(account_id: int) -> Any:
    """Give the customer, or all of its group, a price of its own for one model."""
    customer = find_customer(account_id)
    form = FormReader(request.form)
    of_group = form.text("whose") == "group"
    owner = Owner(group=customer.group) if of_group else Owner(account_id=account_id)
    if why := refuses_price(account_id, owner.group):
        return _refuse(account_id, why)
    model = form.require("own_model", translate("Choose a model."))
    markup_bps, rates = form.percent("own_markup"), _read_rates(form)
    if not form.errors:
        with form.collect_errors(markup="own_markup", model="own_model"), asks_again(form, "own_below_cost"):
            set_own_price(
                owner,
                model,
                markup_bps=markup_bps,
                rates=rates,
                note=form.text("own_note"),
                actor=find_operator(),
                below_cost=is_confirmed(form),
            )
            name = customer.group if of_group else customer.email or customer.name
            told = translate("%(name)s has a price of its own for %(model)s from now on.", name=name, model=model)
            if of_group:
                told = translate(
                    "The group %(name)s has a price of its own for %(model)s from now on.", name=name, model=model
                )
            return _done(account_id, told)
    return _render(account_id, form), 400


def _read_rates(form: FormReader) -> Rates | None:
    """The unit prices of the form; None where it has none."""
    prices = {name: form.dollars(f"own_{name}") for name in ("input", "cached", "output")}
    if all(price is None for price in prices.values()):
        return None
    for name in ("input", "output"):
        if prices[name] is None:
            form.errors.setdefault(f"own_{name}", translate("Give dollars per million tokens; 0 is free."))
    for name, price in prices.items():
        if price is not None and price < 0:
            form.errors.setdefault(f"own_{name}", translate("A price is zero or more."))
    return None if form.errors else make_rates(prices)


@admin.post("/customers/<int:account_id>/own-price/remove")
@needs_right("prices")
def drop_own_price(account_id: int) -> Any:
    """Let the customer, or its group, pay for a model what others pay."""
    customer, form = find_customer(account_id), FormReader(request.form)
    of_group = form.text("whose") == "group"
    owner = Owner(group=customer.group) if of_group else Owner(account_id=account_id)
    if why := refuses_price(account_id, owner.group):
        return _refuse(account_id, why)
    remove_own_price(owner, form.text("own_model"), find_operator())
    told = translate("%(model)s has no price of its own here any more.", model=form.text("own_model"))
    return _done(account_id, told)
