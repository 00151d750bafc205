"""Incidents: what the status page and customers' banners say of trouble, opened by itself or by operators."""

from collections.abc import Mapping
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.channel_state import fails_for
from bridge.catalogue.editing import list_channels
from bridge.catalogue.incidents import (
    EFFECTS,
    RESOLVED,
    STATES,
    Told,
    correct_incident,
    correct_update,
    find_incident,
    list_incidents,
    open_incident,
    post_update,
)
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.tables import Model
from bridge.db import read_plain
from bridge.forms import FormReader
from bridge.languages import translate


@admin.get("/incidents")
@needs_right("look")
def show_incidents() -> str:
    """Those that are open, and those of the last 90 days."""
    return render_template("admin/incidents.html", incidents=list_incidents())


@admin.get("/incidents/new")
@needs_right("incidents")
def show_new_incident() -> str:
    """The form; `models` are those that it starts with."""
    return _render_new(FormReader({"models": request.args.get("models", "")[:2000]}))


@admin.post("/incidents")
@needs_right("incidents")
def create_incident() -> Any:
    form = FormReader(request.form)
    with form.collect_errors():
        incident_id = open_incident(
            form.text("title"),
            form.text("text"),
            find_operator(),
            models=form.names("models"),
            effect=form.text("effect"),
            state=form.text("state"),
        )
        flash(translate("Opened. The status page says so within seconds."))
        return redirect(url_for("admin.show_incident", incident_id=incident_id), 303)
    return _render_new(form), 400


@admin.get("/incidents/<int:incident_id>")
@needs_right("look")
def show_incident(incident_id: int) -> str:
    return _render(find_incident(incident_id), FormReader({}))


@admin.post("/incidents/<int:incident_id>/updates")
@needs_right("incidents")
def say_more(incident_id: int) -> Any:
    """Post an update; the state `resolved` closes the incident."""
    form = FormReader(request.form)
    with form.collect_errors():
        post_update(incident_id, form.text("state"), form.text("text"), find_operator())
        posted = translate("Posted. The status page has it within seconds.")
        flash(translate("Resolved.") if form.text("state") == RESOLVED else posted)
        return _back(incident_id)
    return _render(find_incident(incident_id), form), 400


@admin.post("/incidents/<int:incident_id>")
@needs_right("incidents")
def change_incident(incident_id: int) -> Any:
    """Put its title and effect right."""
    form = FormReader(request.form)
    with form.collect_errors():
        effect = form.text("effect") or find_incident(incident_id).effect
        correct_incident(incident_id, form.text("title"), effect, find_operator())
        flash(translate("Corrected."))
        return _back(incident_id)
    return _render(find_incident(incident_id), form), 400


@admin.post("/incidents/<int:incident_id>/updates/<int:update_id>")
@needs_right("incidents")
def change_update(incident_id: int, update_id: int) -> Any:
    """Put right what was said."""
    form = FormReader(request.form)
    with form.collect_errors():
        correct_update(update_id, form.text("text"), find_operator())
        flash(translate("Corrected. The audit log has both versions."))
        return _back(incident_id)
    return _render(find_incident(incident_id), form, update_id), 400


def _back(incident_id: int) -> Response:
    return redirect(url_for("admin.show_incident", incident_id=incident_id), 303)


def _list_choices(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, translate(text)) for name, text in texts.items()]


def _render_new(form: FormReader) -> str:
    return render_template(
        "admin/incident_form.html",
        values=form.values,
        errors=form.errors,
        effects=_list_choices(EFFECTS),
        states=_list_choices(STATES),
    )


def _render(told: Told, form: FormReader, wrong_update: int | None = None) -> str:
    return render_template(
        "admin/incident.html",
        told=told,
        channels=_list_failing(told),
        effects=_list_choices(EFFECTS),
        states=_list_choices(STATES),
        values=form.values,
        errors=form.errors,
        wrong_update=wrong_update,
    )


def _list_failing(told: Told) -> list[str]:
    """The channels by which the incident's models are not to be had now: operators alone read their names."""
    if not told.is_open or not told.troubled:
        return []
    index = ChannelIndex(list_channels())
    models = read_plain(Model, where=Model.id.in_(told.troubled))
    return sorted(
        {channel.name for model in models for channel, upstream in index.of(model) if fails_for(channel, upstream)}
    )
