"""The keys of a channel: one more, another in the place of one, one less."""

from typing import Any

from flask import flash, redirect, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.channel_pages import render_channel
from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.breaker_states import KEY_MARK
from bridge.catalogue.channel_keys import ONLY, add_key, remove_key, replace_key
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.languages import translate


@admin.post("/channels/<name>/keys")
@needs_right("channels")
def create_channel_key(name: str) -> Any:
    form = FormReader(request.form)
    try:
        add_key(name, form.text("new_key"), form.text("note"), actor=find_operator())
    except InvalidRequest as error:
        field = "new_note" if error.param == "note" else "new_key"
        return render_channel(name, errors={field: error.message}), 400
    flash(translate("Channel %(name)s has one key more. Test it before customers do.", name=name))
    return _go_back(name)


@admin.post("/channels/<name>/keys/<which>/replace")
@needs_right("channels")
def change_channel_key(name: str, which: str) -> Any:
    form = FormReader(request.form)
    try:
        replace_key(name, _read(which), form.text("replacement"), actor=find_operator())
    except InvalidRequest as error:
        return render_channel(name, errors={f"replace-{which}": error.message}), 400
    flash(translate("Channel %(name)s uses the new key from now on.", name=name))
    return _go_back(name)


@admin.post("/channels/<name>/keys/<which>/remove")
@needs_right("channels")
def drop_channel_key(name: str, which: str) -> Response:
    try:
        remove_key(name, _read(which), actor=find_operator())
    except InvalidRequest as error:
        flash(error.message, "bad")
    else:
        flash(translate("Channel %(name)s has one key less. Running requests end with it.", name=name))
    return _go_back(name)


def _read(which: str) -> str:
    """A key as the room names it, from a form's address: its number, or the word for an only one."""
    return which if which == ONLY else f"{KEY_MARK}{which}"


def _go_back(name: str) -> Response:
    return redirect(url_for("admin.show_channel", name=name, _anchor="keys"), 303)
