"""Channels: list with health, add, change, test, switch on and off, remove."""

from collections.abc import Callable
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.acts import Actor
from bridge.admin.below_cost import find_losing
from bridge.admin.door import admin, find_operator
from bridge.catalogue.channel_events import list_events
from bridge.catalogue.editing import (
    add_channel,
    find_channel,
    list_channels,
    remove_channel,
    set_channel_enabled,
    update_channel,
)
from bridge.catalogue.listing import list_models, sandbox_serves
from bridge.catalogue.routing import FULL_COST_BPS
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel
from bridge.catalogue.testing import list_served_models, probe_channel
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.ledger.usage import count_last_hour
from bridge.money import format_percent
from bridge.providers import COMMON_DIALECT, PROVIDERS, stands_in
from bridge.turns import in_slices

LAST_SECONDS = 60
LIMITS = ("rpm", "tpm", "concurrency")
TOLD = {
    "out": ("bad", "Out"),
    "cooling": ("warn", "Rate limit"),
    "misconfigured": ("bad", "Misconfigured"),
    "back": ("ok", "Back"),
    "tested": ("off", "Tested"),
}


@admin.get("/")
def show_console() -> Response:
    return redirect(url_for("admin.show_channels"))


@admin.get("/channels")
def show_channels() -> str:
    channels = list_channels()
    states = {channel.name: find_state(channel) for channel in in_slices(channels)}
    statuses = [model.status for model in list_models()]
    return render_template(
        "admin/channels.html",
        channels=channels,
        states=states,
        labels={channel.provider: find_label(channel.provider) for channel in channels},
        stands_in=stands_in,
        out=[channel for channel in channels if states[channel.name][0] == "bad"],
        kinds=[kind for kind, _ in states.values()],
        statuses=statuses,
        traffic=count_last_hour(),
        losing=find_losing(),
        sandbox_serves=sandbox_serves(),
    )


@admin.get("/channels/new")
def show_new_channel() -> str:
    return _render_form(FormReader({"priority": "1", "weight": "1", "cost": "100", "provider": COMMON_DIALECT}))


@admin.post("/channels")
def create_channel() -> Any:
    form = FormReader(request.form)
    name = form.require("name", "Give the channel a name, such as openai-main.")
    fields = _read_fields(form)
    if not form.errors:
        with form.collect_errors(cost_bps="cost"):
            channel = add_channel(
                *(name, form.text("provider")),
                actor=find_operator(),
                **{"base_url": None, "api_key": None, "models": None, **fields},
            )
            flash(f"Channel {channel.name} is added. Test it before customers do.")
            return redirect(url_for("admin.show_channels"), 303)
    return _render_form(form), 400


@admin.get("/channels/<name>")
def show_channel(name: str) -> str:
    channel = find_channel(name)
    return _render_form(FormReader(_write_fields(channel)), channel)


@admin.post("/channels/<name>")
def change_channel(name: str) -> Any:
    channel = find_channel(name)
    form = FormReader(request.form)
    fields = _read_fields(form)
    if channel.from_environment:
        fields = {field: value for field, value in fields.items() if field not in ("base_url", "api_key")}
    if not form.errors:
        with form.collect_errors(cost_bps="cost"):
            update_channel(name, actor=find_operator(), **fields)
            flash(f"Channel {name} is changed.")
            return redirect(url_for("admin.show_channels"), 303)
    return _render_form(form, channel), 400


@admin.post("/channels/<name>/test")
def try_channel(name: str) -> Response:
    """Send one small real request through the channel. The list shows its result and its cost."""
    form = FormReader(request.form)
    try:
        test = probe_channel(name, form.text("model") or None, stream=form.text("stream") == "1")
    except InvalidRequest as error:
        flash(error.message, "bad")
        return redirect(url_for("admin.show_channels"), 303)
    if test.ok:
        said = f" It said: “{test.text}”" if test.text else ""
        flash(f"Channel {name} works: {test.detail} It took {test.took_ms} ms.{said} {test.cost}")
    else:
        flash(f"Channel {name} failed its test. {test.detail}", "bad")
    return redirect(url_for("admin.show_channels"), 303)


@admin.post("/channels/<name>/enable")
def switch_channel_on(name: str) -> Response:
    return _run_and_flash(f"Channel {name} is enabled.", lambda by: set_channel_enabled(name, True, by))


@admin.post("/channels/<name>/disable")
def switch_channel_off(name: str) -> Response:
    return _run_and_flash(
        f"Channel {name} is disabled. No new request goes to it.",
        lambda by: set_channel_enabled(name, False, by),
    )


@admin.post("/channels/<name>/remove")
def drop_channel(name: str) -> Any:
    """Remove the channel, if its name was typed."""
    channel = find_channel(name)
    if request.form.get("confirm", "").strip() != channel.name:
        form = FormReader(_write_fields(channel))
        form.errors["confirm"] = f"Nothing was removed: type {channel.name} to confirm."
        return _render_form(form, channel), 400
    return _run_and_flash(f"Channel {name} is removed, and its key with it.", lambda by: remove_channel(name, by))


def _run_and_flash(done: str, action: Callable[[Actor], object]) -> Response:
    """Run the action, which the operator does, and flash that it is done, or why not; then return to the list."""
    try:
        action(find_operator())
    except InvalidRequest as error:
        flash(error.message, "bad")
    else:
        flash(done)
    return redirect(url_for("admin.show_channels"), 303)


def find_state(channel: Channel) -> tuple[str, str]:
    """A channel's state as a dot and a word."""
    if not channel.enabled:
        return "off", "Disabled"
    now = now_utc()
    resting = channel.cooling_until is not None and channel.cooling_until > now
    if channel.health == "out":
        return "bad", "Out of service"
    if channel.refused_models:
        return "bad", "Misconfigured"
    if channel.health == "cooling" and channel.cooling_until is not None and resting:
        seconds = (channel.cooling_until - now).seconds + 1
        return "warn", f"Cooling down, {seconds} s" if seconds < LAST_SECONDS else "Cooling down"
    if channel.health == "failing":
        return "warn", "Failing"
    if channel.health == "healthy":
        return "ok", "Healthy"
    if stands_in(channel.provider):
        return "ok", "Stands in"
    if channel.health == "unknown":
        return "off", "Not answered yet" if channel.last_error else "Not tried yet"
    return "off", "Not tried since"


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
        **{limit: form.number(limit) or None for limit in LIMITS},
    }
    if key := form.text("api_key"):
        fields["api_key"] = key
    return fields


def _read_models(text: str) -> dict[str, str] | None:
    """Models as `public=upstream`, separated by lines or commas; without `=` the catalogue's upstream name is used."""
    pairs = (part.partition("=") for part in text.replace(",", "\n").splitlines() if part.strip())
    return {public.strip(): upstream.strip() for public, _, upstream in pairs} or None


def _write_fields(channel: Channel) -> dict[str, str]:
    models = channel.models or {}
    return {
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
        **{limit: str(value) for limit in LIMITS if (value := getattr(channel, limit)) is not None},
    }


def _render_form(form: FormReader, channel: Channel | None = None) -> str:
    return render_template(
        "admin/channel_form.html",
        channel=channel,
        state=find_state(channel) if channel else None,
        values=form.values,
        errors=form.errors,
        providers=[(name, find_label(name)) for name in PROVIDERS],
        label=find_label,
        events=list_events(channel) if channel else [],
        told=TOLD,
        served=[(id_, id_) for id_ in list_served_models(channel)] if channel else [],
    )
