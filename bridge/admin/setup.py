"""The setup: connect a provider, choose models and a markup, make one real call. Customers see nothing of a new channel
before its call was answered."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from flask import current_app, flash, g, redirect, render_template, request, url_for

from bridge.admin.below_cost import asks_again, is_confirmed
from bridge.admin.door import admin, find_operator, needs_right
from bridge.catalogue.discovery import NoModelList, list_upstream_models, make_candidate
from bridge.catalogue.editing import (
    add_channel,
    check_api_key,
    check_base_url,
    find_channel,
    list_channels,
    set_channel_enabled,
)
from bridge.catalogue.offering import Chosen, Offer, check_margins, list_offers, offer_models
from bridge.catalogue.rules import is_connected
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel
from bridge.catalogue.testing import list_served_models, probe_channel
from bridge.config import Settings
from bridge.db import db
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.languages import to_translate, translate, translate_plural
from bridge.money import format_dollars, format_percent
from bridge.providers import COMMON_DIALECT, COMPANIES, PROVIDERS, stands_in
from bridge.providers.base import FoundModel

USUAL_MARKUP_BPS = 2500
MOST_NEW = 150  # rows of models that the catalogue doesn't have
SAMPLE_IN, SAMPLE_OUT = 1842, 512  # tokens of the call that shows what a markup brings


@dataclasses.dataclass(frozen=True, slots=True)
class Preset:
    """A button of the first step: which dialect is spoken there, and where."""

    label: str
    provider: str
    base_url: str = ""


PRESETS = {
    **{name: Preset(PROVIDERS[name].label, name) for name in COMPANIES},
    "openrouter": Preset("OpenRouter", COMMON_DIALECT, "https://openrouter.ai/api/v1"),
    "ollama": Preset("Ollama", COMMON_DIALECT, "http://127.0.0.1:11434/v1"),
    "other": Preset(to_translate("Other"), COMMON_DIALECT),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A model in the second step's table. Prices are nano-dollars a million tokens, in and out; None: not known."""

    offer: Offer
    cost: tuple[int, int] | None
    pays: tuple[int, int] | None
    chosen: bool
    typed: tuple[str, str]

    @property
    def margin(self) -> tuple[int, int] | None:
        """What is left of what customers pay for a million tokens in and out, and what they pay."""
        return (sum(self.pays) - sum(self.cost), sum(self.pays)) if self.cost and self.pays else None


def list_real(channels: Sequence[Channel]) -> list[Channel]:
    """Those of these channels that have an upstream, switched on or not."""
    return [channel for channel in channels if not stands_in(channel.provider) and is_connected(channel)]


@admin.get("/setup/connect")
@needs_right("channels")
def show_connect() -> str:
    return _render_connect(FormReader({"preset": COMPANIES[0]}))


@admin.post("/setup/connect")
@needs_right("channels")
def connect_provider() -> Any:
    """Ask the upstream for its models, which checks the key, and connect it: switched off until its call."""
    form = FormReader(request.form)
    preset = PRESETS.get(form.text("preset"))
    if preset is None:
        form.errors["preset"] = translate("Choose a provider.")
        return _render_connect(form), 400
    with form.collect_errors():
        base_url, key = _read_address(form, preset)
        found = _count_models(preset.provider, base_url, key)
        name = form.text("name") or _find_name(form.text("preset"))
        add_channel(name, preset.provider, base_url=base_url, api_key=key, enabled=False, actor=find_operator())
        label = translate(preset.label)
        said = translate("%(provider)s answers.", provider=label)
        if key:
            said = translate("%(provider)s accepts this key.", provider=label)
        flash(" ".join((said, found)))
        return redirect(url_for("admin.show_models_setup", channel=name), 303)
    return _render_connect(form), 400


def _read_address(form: FormReader, preset: Preset) -> tuple[str | None, str | None]:
    """The base URL and the key, checked as far as they can be without asking. Raises InvalidRequest."""
    base_url, key = form.text("base_url") or preset.base_url, form.text("api_key")
    if not base_url and form.text("preset") == "other":
        raise InvalidRequest(
            translate("Give the server's base URL, such as https://llm.example.com/v1."), param="base_url"
        )
    if not base_url and not key:
        raise InvalidRequest(
            translate("Paste an API key of %(provider)s.", provider=translate(preset.label)), param="api_key"
        )
    return check_base_url(base_url) if base_url else None, check_api_key(key) if key else None


def _count_models(provider: str, base_url: str | None, key: str | None) -> str:
    """How many models the upstream has, as a sentence. Raises InvalidRequest for what keeps us from asking."""
    settings = _settings()
    db.session.commit()  # gives the connection back: an upstream may take its time
    try:
        found = list_upstream_models(make_candidate(provider, base_url, key), settings)
    except NoModelList:
        return translate("It has no list of models, so name those that you want to offer.")
    return translate_plural("It has %(num)s model.", "It has %(num)s models.", len(found))


def _find_name(preset: str) -> str:
    """The first free name: openai-main, openai-main-2 …"""
    taken = {channel.name for channel in list_channels()}
    names = (f"{preset}-main{f'-{number}' if number > 1 else ''}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


@admin.get("/setup/models")
@needs_right("channels")
def show_models_setup() -> Any:
    """The upstream's own list, asked for anew, with what each model costs and will bring."""
    channel = find_channel(request.args.get("channel", ""))
    offers, problem = _ask_for_offers(channel, request.args.get("names", ""))
    known = [offer for offer in offers if offer.price]
    markups = {offer.markup_bps for offer in known}
    markup_bps = markups.pop() if len(markups) == 1 and markups != {0} else USUAL_MARKUP_BPS
    form = FormReader({"markup": format_percent(markup_bps), "names": request.args.get("names", "")})
    ticked = {offer.upstream_id for offer in known if channel.models is None or offer.model_id in channel.models}
    return _render_models(channel, offers, ticked, form, problem)


@admin.post("/setup/models")
@needs_right("channels")
def choose_models() -> Any:
    """Offer the ticked models at this markup; or only show the prices that it makes."""
    form = FormReader(request.form)
    channel = find_channel(form.text("channel"))
    offers, problem = _ask_for_offers(channel, form.text("names"))
    ticked = set(request.form.getlist("offer"))
    markup_bps = form.percent("markup")
    if markup_bps is None:
        form.errors.setdefault("markup", translate("Give a percentage, such as 25. 0 sells at the provider's price."))
    if form.text("do") == "preview":
        return _render_models(channel, offers, ticked, form, problem)
    chosen = _read_chosen(form, offers, ticked)
    if not chosen and not form.errors:
        form.errors["offer"] = translate("Choose at least one model.")
    if markup_bps is not None and not form.errors:
        with asks_again(form), form.collect_errors():
            if not is_confirmed(form):
                check_margins(chosen, markup_bps)
            offer_models(channel.name, chosen, markup_bps, find_operator())
        if not form.errors:
            return redirect(url_for("admin.show_try_setup", channel=channel.name), 303)
    return _render_models(channel, offers, ticked, form, problem), 400


def _ask_for_offers(channel: Channel, names: str) -> tuple[list[Offer], InvalidRequest | None]:
    """What the upstream has, with the names that the operator typed; and why its list could not be read."""
    problem, found = None, [FoundModel(name) for name in names.replace(",", " ").split()[:MOST_NEW]]
    settings = _settings()
    db.session.commit()
    try:
        found += list_upstream_models(channel, settings)
    except InvalidRequest as error:
        problem = error
    found = list({one.id: one for one in reversed(found)}.values())[::-1]
    return list_offers(channel, found), problem


def _read_chosen(form: FormReader, offers: Sequence[Offer], ticked: set[str]) -> list[Chosen]:
    """The ticked models, with the prices that were typed for new ones; a missing one is an error at its field."""
    chosen = []
    for offer in offers:
        if offer.upstream_id not in ticked:
            continue
        if offer.price is not None:
            chosen.append(Chosen(offer))
            continue
        for side in ("in", "out"):
            form.require(f"{side}:{offer.upstream_id}", translate("Set a price; 0 is free."))
        typed = [form.dollars(f"{side}:{offer.upstream_id}") for side in ("in", "out")]
        chosen.append(Chosen(offer, typed[0] or 0, typed[1] or 0))
    return chosen


def _render_models(
    channel: Channel, offers: Sequence[Offer], ticked: set[str], form: FormReader, problem: InvalidRequest | None
) -> str:
    markup_bps = form.percent("markup") or 0
    known = [offer for offer in offers if offer.price]
    new = [offer for offer in offers if not offer.price]
    shown = [*known, *new[:MOST_NEW]]
    rows = [_make_row(offer, offer.upstream_id in ticked, markup_bps, form) for offer in shown]
    sample = next((row for row in rows if row.cost and row.pays), None)
    return render_template(
        "admin/setup_models.html",
        channel=channel,
        label=find_label(channel.provider),
        rows=rows,
        known=len(known),
        total=len(offers),
        hidden=len(offers) - len(shown),
        ticked=sum(row.chosen for row in rows),
        sample=sample and _price_sample(sample),
        problem=problem,
        lists=not isinstance(problem, NoModelList),
        price_fields=[f"{side}:{offer.upstream_id}" for offer in shown for side in ("in", "out")],
        values=form.values,
        errors=form.errors,
    )


def _make_row(offer: Offer, chosen: bool, markup_bps: int, form: FormReader) -> Row:
    typed = form.text(f"in:{offer.upstream_id}"), form.text(f"out:{offer.upstream_id}")
    if offer.price is None:
        told = offer.found.input_price_nanos, offer.found.output_price_nanos
        shown = (_show(told[0]), _show(told[1])) if not any(typed) else typed
        return Row(offer, None, None, chosen, shown)
    cost, price = offer.price.costs[0], offer.price.base.marked_up(markup_bps)
    return Row(offer, (cost.input, cost.output), (price.input, price.output), chosen, typed)


def _show(nanos: int | None) -> str:
    return "" if nanos is None else format_dollars(nanos, 2)


def _price_sample(row: Row) -> dict[str, Any]:
    """What a usual call costs us and brings, in nano-dollars."""
    costs, pays = row.cost or (0, 0), row.pays or (0, 0)
    amounts = [(each[0] * SAMPLE_IN + each[1] * SAMPLE_OUT) // 1_000_000 for each in (costs, pays)]
    return {"model": row.offer.model_id, "cost": amounts[0], "pays": amounts[1], "in": SAMPLE_IN, "out": SAMPLE_OUT}


@admin.get("/setup/try")
@needs_right("channels")
def show_try_setup() -> str:
    return _render_try(find_channel(request.args.get("channel", "")))


@admin.post("/setup/try")
@needs_right("channels")
def try_setup() -> Any:
    """Make one real call. Once it is answered, customers may use the channel."""
    form = FormReader(request.form)
    channel = find_channel(form.text("channel"))
    try:
        test = probe_channel(channel.name, form.text("model") or None, by=find_operator().by)
        if test.ok:
            set_channel_enabled(channel.name, True, find_operator())
    except InvalidRequest as error:
        return _render_try(find_channel(channel.name), error.message), 400
    if not test.ok:
        return _render_try(find_channel(channel.name), test.detail), 400
    took = translate("It took %(num)s ms.", num=test.took_ms)
    flash(f"{test.detail} {took} {test.cost}".strip())
    return redirect(url_for("admin.show_setup_done", channel=channel.name), 303)


def _render_try(channel: Channel, problem: str = "") -> str:
    served = list_served_models(channel)
    return render_template(
        "admin/setup_try.html", channel=channel, served=[(id_, id_) for id_ in served], problem=problem
    )


@admin.get("/setup/done")
@needs_right("channels")
def show_setup_done() -> str:
    """What is live now, and what comes next."""
    channel = find_channel(request.args.get("channel", ""))
    return render_template(
        "admin/setup_done.html",
        channel=channel,
        served=list_served_models(channel),
        account_id=g.member.account_id,
        settings=_settings(),
    )


def _render_connect(form: FormReader) -> str:
    return render_template(
        "admin/setup_connect.html",
        presets=PRESETS,
        channels=list_real(list_channels()),
        label=find_label,
        values=form.values,
        errors=form.errors,
    )


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings
