"""The list of models and prices, and the page of each model."""

from collections.abc import Callable, Sequence
from typing import Any

from flask import current_app, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.catalogue.kinship import (
    by_id,
    find_listed,
    find_successor,
    is_past,
    list_near,
    list_predecessors,
    list_similar,
)
from bridge.catalogue.listing import ListedModel
from bridge.catalogue.parameters import parameters_by_kind
from bridge.catalogue.rules import channels_of
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.conversation.kinds import CHAT, list_endpoints
from bridge.dashboard.account import find_account_state
from bridge.dashboard.error_pages import show_error
from bridge.dashboard.model_facts import (
    find_first_tokens,
    find_typical_charge,
    list_capabilities,
    list_price_rows,
)
from bridge.dashboard.public import list_seen_models, public
from bridge.dashboard.snippets import quick_start
from bridge.dashboard.status import PHONE_DAYS, draw_ticks, share
from bridge.dashboard.status_snapshot import Row, find_status
from bridge.db import DEFAULT_GROUP, now_utc, read_plain
from bridge.extensions import anyone_may_enter
from bridge.languages import to_translate, translate

INPUTS = [("image", to_translate("Images")), ("file", to_translate("Files")), ("audio", to_translate("Audio"))]
PAGE_SIZE = 100
# what the list may be sorted by, as its address says it; a minus sign before it turns it round
SORTS: dict[str, Callable[[ListedModel], Any]] = {
    "model": lambda model: model.id,
    "provider": lambda model: model.provider_label.lower(),
    "window": lambda model: model.context_tokens,
    "input": lambda model: model.input_nanos_per_mtok,
    "cached": lambda model: model.cached_nanos_per_mtok,
    "write": lambda model: model.cache_write_nanos_per_mtok,
    "output": lambda model: model.output_nanos_per_mtok,
}


@public.get("/models")
@anyone_may_enter
def show_models() -> str:
    """The models that match the filter, which is the URL: q, provider, input, sort, page. Those that are past come
    last."""
    everything = list_seen_models()
    known = by_id(everything)
    found = sorted(_sort(_filter(everything)), key=lambda model: is_past(model, known))
    page = request.args.get("page", "")
    number = max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 6 else 1
    shown = found[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]
    past = [model for model in shown if is_past(model, known)]
    return render_template(
        "public/models.html",
        models=shown[: len(shown) - len(past)],
        past=past,
        successors={model.id: other.id for model in past if (other := find_successor(model, known)) is not None},
        found=len(found),
        total=len(everything),
        page=number,
        has_more=len(found) > number * PAGE_SIZE,
        sort=_read_sort(),
        providers=sorted({(model.provider, model.provider_label) for model in everything}, key=lambda one: one[1]),
        inputs=[
            (kind, translate(name))
            for kind, name in INPUTS
            if any(kind in model.input_modalities for model in everything)
        ],
        checked_on=max((model.checked_on for model in everything if model.checked_on), default=None),
    )


@public.get("/models/<path:name>")
@anyone_may_enter
def show_model(name: str) -> str | Response:
    """One model's page. Its aliases and longer names lead to it; a name that no model has is answered with those that
    look like it."""
    channels = list(read_plain(Channel))
    models = list_seen_models(channels)
    model = find_listed(name, models)
    if model is None:
        text = translate("No model of this gateway is called so. Its name is wrong, or the operator has removed it.")
        return show_error(404, translate("No such model"), text, near=list_near(name[:128], models))
    if model.id != name:
        return redirect(url_for("public.show_model", name=model.id))
    known, row = by_id(models), _find_measured(model)
    serving = channels_of(model, channels, _find_group())
    first = [(channel.provider, upstream_id) for channel, upstream_id in serving][:1]
    provider, upstream_id = first[0] if first else (model.provider, model.id)
    fields = parameters_by_kind(model.kinds, provider, upstream_id, model.openai_wire or "")
    similar = list_similar(model, known)
    return render_template(
        "public/model.html",
        model=model,
        successor=find_successor(model, known),
        predecessors=list_predecessors(model, known),
        similar=similar,
        prices=list_price_rows(model, model.price),
        to_come=[(one, list_price_rows(model, one.price)) for one in model.to_come],
        typical=find_typical_charge(model),
        snippets=quick_start(model=model.id, kind=model.kinds[0]),
        capabilities=list_capabilities(model, fields),
        fields=fields,
        endpoints=list_endpoints(model.kinds),
        channels=len(serving),
        row=row,
        first_tokens=find_first_tokens(model.id, now_utc().date()) if row else None,
        may_be_tried=CHAT in model.kinds,
        draw_ticks=draw_ticks,
        share=share,
        phone_days=PHONE_DAYS,
    )


def _filter(models: Sequence[ListedModel]) -> list[ListedModel]:
    words = request.args.get("q", "").strip().lower()[:100].split()
    provider, takes = request.args.get("provider", ""), request.args.get("input", "")
    return [
        model
        for model in models
        if (not provider or model.provider == provider)
        and (not takes or takes in model.input_modalities)
        and all(word in _searchable(model) for word in words)
    ]


def _searchable(model: ListedModel) -> str:
    return " ".join((model.id, model.name, model.provider_label, *model.aliases)).lower()


def _read_sort() -> str:
    """What the address sorts by, with its minus sign; "": by provider and id, as the catalogue has them."""
    sort = request.args.get("sort", "")
    return sort if sort.removeprefix("-") in SORTS else ""


def _sort(models: list[ListedModel]) -> list[ListedModel]:
    sort = _read_sort()
    return sorted(models, key=SORTS[sort.removeprefix("-")], reverse=sort.startswith("-")) if sort else models


def _find_group() -> str:
    """The group whose channels serve the visitor."""
    return find_account_state().account.group if current_user.is_authenticated else DEFAULT_GROUP


def _find_measured(model: ListedModel) -> Row | None:
    """How the model fares, as the status page tells everyone; None where it tells nothing of it."""
    settings: Settings = current_app.config["BRIDGE"]
    if not settings.status_page:
        return None
    return next((row for row in find_status().rows if row.state.id == model.id), None)
