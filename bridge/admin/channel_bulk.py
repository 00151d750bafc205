"""Many channels at once: switched, tested, changed and copied."""

from collections.abc import Callable
from typing import Any

import gevent.pool
from flask import Flask, current_app, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.channels import LIMITS
from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.channel_bulk import change_channels, copy_channel, copy_channels, switch_channels
from bridge.catalogue.editing import list_channels
from bridge.catalogue.testing import ChannelTest, probe_channel
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.languages import to_translate, translate

MOST_TESTED = 24
TESTED_AT_ONCE = 8


@admin.post("/channels/-/many")
@needs_right("channels")
def change_many() -> Any:
    """Do with the ticked channels what the pressed button says."""
    names = _read_names()
    if not names:
        flash(translate("Tick at least one channel first."), "bad")
        return _go_to_list()
    action: Callable[[list[str]], Any] | None = ACTIONS.get(request.form.get("do", ""))
    if action is None:
        flash(translate("Choose what to do with the ticked channels."), "bad")
        return _go_to_list()
    try:
        return action(names)
    except InvalidRequest as error:
        flash(translate("%(why)s Nothing was changed.", why=error.message), "bad")
        return _go_to_list()


@admin.post("/channels/-/many/change")
@needs_right("channels")
def edit_many() -> Any:
    names, form = _read_names(), FormReader(request.form)
    fields = _read_fields(form)
    if not fields and not form.errors:
        form.errors[""] = translate("Nothing to change: fill in at least one field.")
    if not form.errors:
        with form.collect_errors(cost_bps="cost"):
            change_channels(names, fields, actor=find_operator())
            _flash_done(
                names, to_translate("Channel %(name)s is changed."), to_translate("%(count)s channels are changed.")
            )
            return _go_to_list()
    return _render_change(names, form), 400


@admin.post("/channels/<name>/copy")
@needs_right("channels")
def copy_one(name: str) -> Response:
    form = FormReader(request.form)
    try:
        copy = copy_channel(name, form.text("new_name"), actor=find_operator())
    except InvalidRequest as error:
        flash(error.message, "bad")
        return redirect(url_for("admin.show_channel", name=name), 303)
    told = translate(
        "Channel %(copy)s is a copy of %(name)s, with its keys. It is disabled: change it, then enable it.",
        copy=copy.name,
        name=name,
    )
    flash(told)
    return redirect(url_for("admin.show_channel", name=copy.name), 303)


def _enable(names: list[str]) -> Response:
    switch_channels(names, True, actor=find_operator())
    _flash_done(names, to_translate("Channel %(name)s is enabled."), to_translate("%(count)s channels are enabled."))
    return _go_to_list()


def _disable(names: list[str]) -> Response:
    switch_channels(names, False, actor=find_operator())
    _flash_done(
        names,
        to_translate("Channel %(name)s is disabled. No new request goes to it."),
        to_translate("%(count)s channels are disabled. No new request goes to them."),
    )
    return _go_to_list()


def _copy(names: list[str]) -> Response:
    made = copy_channels(names, "-copy", actor=find_operator())
    flash(translate("Copied, with keys, and disabled: %(names)s.", names=", ".join(made)))
    return _go_to_list()


def _test(names: list[str]) -> Response:
    """Ask all of them at once: one after the other, dead ones would take half a minute each."""
    if len(names) > MOST_TESTED:
        raise InvalidRequest(translate("At most %(count)s channels are tested at once.", count=MOST_TESTED))
    by = find_operator().by
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined] # the proxy ends with the request
    tests = gevent.pool.Pool(TESTED_AT_ONCE).map(lambda name: _probe(app, name, by), names)
    failed = [f"{name}: {said}" for name, (ok, said) in zip(names, tests, strict=True) if not ok]
    if len(failed) < len(names):
        answered = len(names) - len(failed)
        flash(translate("%(part)s of %(all)s answered their test.", part=answered, all=len(names)))
    for said in failed:
        flash(said, "bad")
    return _go_to_list()


def _probe(app: Flask, name: str, by: str) -> tuple[bool, str]:
    with app.app_context():
        try:
            test: ChannelTest = probe_channel(name, by=by)
        except InvalidRequest as error:
            return False, error.message
        return test.ok, test.detail


def _ask_fields(names: list[str]) -> str:
    return _render_change(names, FormReader({}))


ACTIONS: dict[str, Callable[[list[str]], Any]] = {
    "enable": _enable,
    "disable": _disable,
    "test": _test,
    "copy": _copy,
    "change": _ask_fields,
}


def _read_names() -> list[str]:
    if request.form.get("all") == "yes":
        return [channel.name for channel in list_channels()]
    return list(dict.fromkeys(request.form.getlist("name")))


def _read_fields(form: FormReader) -> dict[str, Any]:
    """What is filled in. What is empty stays as it is with each channel; 0 ends a limit."""
    fields: dict[str, Any] = {}
    numbers = {name: form.number(name) for name in ("priority", "weight", *LIMITS)}
    for name, value in numbers.items():
        if value is not None:
            fields[name] = (value or None) if name in LIMITS else value
    if (cost := form.percent("cost")) is not None:
        fields["cost_bps"] = cost
    if groups := form.names("groups"):
        fields["groups"] = groups
    elif form.text("open") == "yes":
        fields["groups"] = None
    return fields


def _render_change(names: list[str], form: FormReader) -> str:
    return render_template("admin/channels_change.html", names=names, values=form.values, errors=form.errors)


def _flash_done(names: list[str], one: str, many: str) -> None:
    flash(translate(one, name=names[0]) if len(names) == 1 else translate(many, count=len(names)))


def _go_to_list() -> Response:
    return redirect(url_for("admin.show_channels"), 303)
