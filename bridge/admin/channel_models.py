"""The models of a channel beside those that its upstream lists: the difference, and what of it an operator confirms."""

from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.editing import find_channel
from bridge.catalogue.seed import find_label
from bridge.catalogue.upstream_models import change_models, compare_models
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.money import format_dollars
from bridge.providers.base import FoundModel

MOST_SHOWN = 500  # rows of each kind


@admin.post("/channels/<name>/models")
@needs_right("channels")
def compare_channel_models(name: str) -> Any:
    """Ask the upstream for its list, and show what is different. Nothing is changed."""
    channel = find_channel(name)
    label = find_label(channel.provider)
    try:
        comparison = compare_models(channel, current_app.config["BRIDGE"])
    except InvalidRequest as error:
        flash(error.message, "bad")
        return redirect(url_for("admin.show_channel", name=name, _anchor="upstream"), 303)
    return render_template(
        "admin/channel_models.html", name=name, label=label, found=comparison, most=MOST_SHOWN, prefill=_prefill
    )


@admin.post("/channels/<name>/models/change")
@needs_right("channels")
def change_channel_models(name: str) -> Response:
    """Add and take out what was ticked."""
    pairs = (each.partition("=") for each in request.form.getlist("add"))
    add, remove = {public: upstream for public, _, upstream in pairs}, request.form.getlist("remove")
    try:
        if not add and not remove:
            raise InvalidRequest(translate("Nothing was ticked, so nothing was changed."))
        models = change_models(name, add, remove, actor=find_operator())
    except InvalidRequest as error:
        flash(error.message, "bad")
    else:
        told = translate(
            "Channel %(name)s serves %(count)s models: %(added)s added, %(removed)s taken out.",
            name=name,
            count=len(models),
            added=len(add),
            removed=len(remove),
        )
        flash(told)
    return redirect(url_for("admin.show_channel", name=name, _anchor="upstream"), 303)


def _prefill(model: FoundModel) -> dict[str, str]:
    """What the upstream says of a model, for the form of a new one."""
    fields = {
        "id": model.id.rpartition("/")[2],
        "name": model.name,
        "context_tokens": str(model.context_tokens or ""),
        "max_output_tokens": str(model.max_output_tokens or ""),
        "input_price": "" if model.input_price_nanos is None else format_dollars(model.input_price_nanos),
        "output_price": "" if model.output_price_nanos is None else format_dollars(model.output_price_nanos),
    }
    return {name: value for name, value in fields.items() if value}
