"""Channels: add, change, switch on and off, remove. Their list and their pages are `channel_pages.py`."""

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.acts import Actor
from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.channel_wire import blank_typed, hide_login, read_lines, read_wire, write_lines
from bridge.catalogue.editing import (
    SWITCHES,
    add_channel,
    find_channel,
    remove_channel,
    set_channel_enabled,
    update_channel,
)
from bridge.catalogue.key_health import list_keys
from bridge.catalogue.routing import FULL_COST_BPS
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.money import format_percent
from bridge.providers import COMMON_DIALECT, PROVIDERS

SEPARATORS = {"headers": ": ", "query": "="}
LIMITS = ("rpm", "tpm", "concurrency")
USUAL = {"priority": "1", "weight": "1", "cost": "100", "probes": "yes"}


@admin.get("/channels/new")
@needs_right("channels")
def show_new_channel() -> str:
    return _render_form(FormReader({**USUAL, "provider": COMMON_DIALECT}))


@admin.post("/channels")
@needs_right("channels")
def create_channel() -> Any:
    form = FormReader(request.form)
    name = form.require("name", translate("Give the channel a name, such as openai-main."))
    fields = _read_fields(form)
    if not form.errors:
        with form.collect_errors(cost_bps="cost"):
            channel = add_channel(
                *(name, form.text("provider")),
                actor=find_operator(),
                **{"base_url": None, "api_key": None, "models": None, **fields},
            )
            flash(translate("Channel %(name)s is added. Test it before customers do.", name=channel.name))
            return redirect(url_for("admin.show_channel", name=channel.name), 303)
    return _render_form(_blank_secrets(form)), 400


@admin.get("/channels/<name>/edit")
@needs_right("channels")
def show_channel_form(name: str) -> str:
    channel = find_channel(name)
    return _render_form(FormReader(_write_fields(channel)), channel)


@admin.post("/channels/<name>")
@needs_right("channels")
def change_channel(name: str) -> Any:
    channel = find_channel(name)
    form = FormReader(request.form)
    fields = _read_fields(form)
    if channel.from_environment:
        fields = {field: value for field, value in fields.items() if field not in ("base_url", "api_key")}
    if not form.errors:
        with form.collect_errors(cost_bps="cost"):
            update_channel(name, actor=find_operator(), **fields)
            flash(translate("Channel %(name)s is changed.", name=name))
            return redirect(url_for("admin.show_channel", name=name), 303)
    return _render_form(_blank_secrets(form), channel), 400


@admin.post("/channels/<name>/enable")
@needs_right("channels")
def switch_channel_on(name: str) -> Response:
    done = translate("Channel %(name)s is enabled.", name=name)
    return _run_and_flash(done, lambda by: set_channel_enabled(name, True, by))


@admin.post("/channels/<name>/disable")
@needs_right("channels")
def switch_channel_off(name: str) -> Response:
    done = translate("Channel %(name)s is disabled. No new request goes to it.", name=name)
    return _run_and_flash(done, lambda by: set_channel_enabled(name, False, by))


@admin.post("/channels/<name>/remove")
@needs_right("channels")
def drop_channel(name: str) -> Any:
    """Remove the channel, if its name was typed."""
    channel = find_channel(name)
    if request.form.get("confirm", "").strip() != channel.name:
        form = FormReader(_write_fields(channel))
        form.errors["confirm"] = translate("Nothing was removed: type %(name)s to confirm.", name=channel.name)
        return _render_form(form, channel), 400
    done = translate("Channel %(name)s is removed, and its key with it.", name=name)
    return _run_and_flash(done, lambda by: remove_channel(name, by))


def _run_and_flash(done: str, action: Callable[[Actor], object]) -> Response:
    """Run the action, which the operator does, and flash that it is done, or why not; then return to the list."""
    try:
        action(find_operator())
    except InvalidRequest as error:
        flash(error.message, "bad")
    else:
        flash(done)
    return redirect(url_for("admin.show_channels"), 303)


def _read_fields(form: FormReader) -> dict[str, Any]:
    """The form's fields for `update_channel`. An empty key is left out: the stored one stays."""
    priority, weight, cost = form.number("priority"), form.number("weight"), form.percent("cost")
    fields: dict[str, Any] = {
        "base_url": form.text("base_url") or None,
        "models": _read_models(form.text("models")),
        "priority": 1 if priority is None else priority,
        "weight": 1 if weight is None else weight,
        "groups": form.names("groups") or None,
        "pass_fields": form.names("pass_fields") or None,
        "cost_bps": FULL_COST_BPS if cost is None else cost,
        **{switch: form.text(switch) == "yes" for switch in SWITCHES},
        **{limit: form.number(limit) or None for limit in LIMITS},
    }
    if key := form.text("api_key"):
        fields["api_key"] = key
    return fields | _read_wire(form)


def _read_wire(form: FormReader) -> dict[str, Any]:
    """The fields of `channel_wire.html`, as far as they were sent."""
    fields: dict[str, Any] = {}
    for name, separator in SEPARATORS.items():
        if name in form.values:
            with form.collect_errors():
                fields[name] = read_lines(form.text(name), separator, name)
    if "proxy" in form.values:
        fields["proxy"] = form.text("proxy") or None
    return fields


def _blank_secrets(form: FormReader) -> FormReader:
    """The form with its errors as it goes back to the browser: without the secrets that were typed."""
    values = dict(form.values)
    for name, separator in SEPARATORS.items():
        if name in values:
            values[name] = blank_typed(typed := values[name], separator)
            if "".join(values[name].split()) != "".join(typed.split()):
                why = translate("Type the values again: they are secrets, and not sent back.")
                form.errors.setdefault(name, why)
    for name in ("proxy", "base_url"):
        if name in values:
            values[name] = _hide_password(values[name])
    form.values = values
    return form


def _hide_password(url: str) -> str:
    try:
        return hide_login(url)
    except ValueError:  # no URL: what it is can't be told
        return ""


def _read_models(text: str) -> dict[str, str] | None:
    """Models as `public=upstream`, separated by lines or commas; without `=` the catalogue's upstream name is used."""
    pairs = (part.partition("=") for part in text.replace(",", "\n").splitlines() if part.strip())
    return {public.strip(): upstream.strip() for public, _, upstream in pairs} or None


def _write_fields(channel: Channel) -> dict[str, str]:
    models, wire = channel.models or {}, read_wire(channel.sealed_wire)
    return {
        "headers": write_lines(wire.headers, ": "),
        "query": write_lines(wire.query, "="),
        "proxy": hide_login(wire.proxy),
        "name": channel.name,
        "provider": channel.provider,
        "base_url": channel.base_url or "",
        "models": "\n".join(
            public if public == upstream else f"{public}={upstream}" for public, upstream in models.items()
        ),
        "priority": str(channel.priority),
        "weight": str(channel.weight),
        "groups": ", ".join(channel.groups or ()),
        "pass_fields": ", ".join(channel.pass_fields or ()),
        "cost": format_percent(channel.cost_bps),
        **{switch: "yes" if getattr(channel, switch) else "" for switch in SWITCHES},
        **{limit: str(value) for limit in LIMITS if (value := getattr(channel, limit)) is not None},
    }


def _render_form(form: FormReader, channel: Channel | None = None) -> str:
    return render_template(
        "admin/channel_form.html",
        channel=channel,
        several_keys=channel is not None and len(list_keys(channel)) > 1,
        values=form.values,
        errors=form.errors,
        providers=[(name, find_label(name)) for name in PROVIDERS],
        label=find_label,
    )
