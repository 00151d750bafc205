"""What operators see of channels: the list, the worst first; one channel with its last 24 hours, its timeline, its
limits and its test."""

import dataclasses
import datetime
from typing import Any

from flask import current_app, flash, redirect, render_template, request, url_for

from bridge.acts import OPERATORS_WORDS, Act, find_last_acts, list_acts_about
from bridge.admin.door import admin, find_operator, needs_right
from bridge.admin.key_states import describe_keys
from bridge.catalogue.channel_events import list_events
from bridge.catalogue.channel_state import STATES, find_state, list_failing_models, rank_state
from bridge.catalogue.editing import find_channel, list_channels
from bridge.catalogue.key_health import count_keys
from bridge.catalogue.listing import ListedModel, find_number, list_models
from bridge.catalogue.outcome_figures import (
    HOUR,
    NOTHING,
    ChannelFigures,
    Outcomes,
    add_up,
    find_lately,
    find_served,
    list_hours,
    list_states,
    read_figures,
)
from bridge.catalogue.own_calls import sum_own_calls
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel
from bridge.catalogue.testing import ChannelTest, probe_channel, rank_served
from bridge.config import Settings
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.inference.services import Services
from bridge.languages import to_translate, translate
from bridge.ledger.margins import NOTHING as NO_MARGIN
from bridge.ledger.margins import MarginFilter, sum_margins
from bridge.ledger.usage import count_last_hour
from bridge.limits.limits import InUse, read_channel_in_use
from bridge.line_chart import LineChart, Moment, draw_lines, draw_spark
from bridge.providers import stands_in
from bridge.turns import in_slices

NAME_EVERY = 3  # hours
SIZES = ((600, "wide"), (330, "slim"))
IN_USE = {
    "rpm": to_translate("Requests a minute"),
    "tpm": to_translate("Tokens a minute"),
    "concurrency": to_translate("At once"),
}
SHOWN_EVENTS = 50
ACTS = [what for what in OPERATORS_WORDS if what.startswith("channel_")]
# an event's dot and words in the timeline
TOLD = {
    "out": ("bad", to_translate("Out of service")),
    "cooling": ("warn", to_translate("Cooling down")),
    "misconfigured": ("bad", to_translate("Misconfigured")),
    "back": ("ok", to_translate("Healthy again")),
}
SHOWN = {
    "need": lambda state: state.needs_operator,
    "healthy": lambda state: state.kind == "ok",
    "off": lambda state: state.code == "disabled",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Happened:
    """A line of a channel's timeline: its dot ("" for what somebody changed), what it was, and who did or saw it."""

    at: datetime.datetime
    kind: str
    what: str
    why: str
    by: str
    seconds: int | None = None


@admin.get("/channels")
@needs_right("look")
def show_channels() -> str:
    """The filter is the URL: state (need, healthy or off) and q, a part of a channel's or a model's name."""
    channels, figures = list_channels(), read_figures()
    states = list_states(channels, figures)
    shown, wanted = request.args.get("state", ""), request.args.get("q", "").strip()[:128]
    fits = SHOWN.get(shown)
    listed = [each for each in channels if (fits is None or fits(states[each.name])) and _is_named(each, wanted)]
    listed.sort(key=lambda channel: rank_state(states[channel.name]))
    served = find_served(_list_models(channels), channels)
    return render_template(
        "admin/channels.html",
        channels=channels,
        listed=listed,
        states=states,
        counts={name: sum(map(fits, states.values())) for name, fits in SHOWN.items()},
        shown=shown if fits else "",
        wanted=wanted,
        meanings=STATES,
        labels={channel.provider: find_label(channel.provider) for channel in channels},
        stands_in=stands_in,
        bad=[channel for channel in listed if states[channel.name].kind == "bad"],
        figures={channel.name: figures.get(channel.id, NOTHING) for channel in channels},
        key_counts=count_keys(),
        switched_off=_find_who_switched_off(channels),
        sparks={channel.name: _draw_spark(figures.get(channel.id, NOTHING)) for channel in channels},
        lately=add_up(each.lately for each in figures.values()),
        before=add_up(each.before for each in figures.values()),
        since=find_lately(),
        served=served,
        sandbox_serves=served.is_made_up,
        traffic=count_last_hour(),
        probe_seconds=_settings().probe_seconds,
    )


def _list_models(channels: list[Channel]) -> list[ListedModel]:
    """All models, with all channels, which were read just now."""
    return list_models(number=find_number(), channels=channels)


def _list_alone(channel: Channel, models: list[ListedModel], channels: list[Channel]) -> list[str]:
    """The models that this channel serves and no other."""
    index = ChannelIndex(channels)
    return [
        model.id
        for model in in_slices(models)
        if model.status != "retired" and [each.id for each, _ in index.of(model)] == [channel.id]
    ]


def _find_who_switched_off(channels: list[Channel]) -> dict[str, Act]:
    """For each disabled channel, by its name, the line of the audit log that says who did that."""
    names = [channel.name for channel in channels if not channel.enabled]
    return find_last_acts("channel_disabled", names) if names else {}


def _is_named(channel: Channel, wanted: str) -> bool:
    names = (channel.name, find_label(channel.provider), *(channel.models or ()))
    return any(wanted.lower() in name.lower() for name in names)


@admin.get("/channels/<name>")
@needs_right("look")
def show_channel(name: str) -> str:
    return render_channel(name)


@admin.post("/channels/<name>/test")
@needs_right("channels")
def try_channel(name: str) -> Any:
    """Send one small real request through the channel, with one of its keys if it has several. Its page shows the whole
    answer and its cost."""
    form = FormReader(request.form)
    try:
        model, stream = form.text("model"), form.text("stream") == "1"
        test = probe_channel(name, model or None, stream, form.text("key"), by=find_operator().by)
    except InvalidRequest as error:
        flash(error.message, "bad")
        return redirect(url_for("admin.show_channel", name=name), 303)
    return render_channel(name, test, {"model": model, "stream": "1" if stream else ""})


def render_channel(
    name: str,
    test: ChannelTest | None = None,
    asked: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
) -> str:
    """The channel's page: with the test just made and what was asked, or what is wrong with one of its forms. Raises
    NotFound."""
    channels = list_channels()
    channel = next((each for each in channels if each.name == name), None) or find_channel(
        name
    )  # which raises NotFound
    models, figures = _list_models(channels), read_figures(channel.id).get(channel.id, NOTHING)
    state = find_state(channel, times_as_slow=figures.times_as_slow)
    month = now_utc().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    hours = list_hours()
    wanted = MarginFilter(hours[0], hours[-1] + HOUR, channel_name=channel.name)
    return render_template(
        "admin/channel.html",
        channel=channel,
        state=state,
        doubted=[one for one in list_failing_models(channel) if one.is_one_accounts],
        label=find_label(channel.provider),
        figures=figures,
        day=figures.whole_day,
        since=hours[-2],
        margin=sum_margins(wanted, span="hour").get((), NO_MARGIN),
        chart=_draw_hours(channel.name, figures, hours) if figures.hours else [],
        highest=max((_share_lost(one) for one in figures.hours.values()), default=0.0),
        in_use=_list_in_use(channel),
        timeline=_list_timeline(channel),
        served=[(id_, id_) for id_ in rank_served(channel, models, channels)],
        alone=_list_alone(channel, models, channels) if state.code != "partly" else [],
        test=test,
        asked=asked or {},
        errors=errors or {},
        keys=describe_keys(channel),
        own=sum_own_calls(month, channel_name=channel.name),
        probe_seconds=_settings().probe_seconds,
        made_up=stands_in(channel.provider),
    )


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings


def _list_in_use(channel: Channel) -> list[tuple[str, InUse]]:
    """The name of each of the channel's own limits, and how much of it is in use; [] where no limits are counted."""
    services: Services | None = current_app.extensions.get("bridge_services")
    if services is None:
        return []
    limits = (channel.rpm or 0, channel.tpm or 0, channel.concurrency or 0)
    return [(translate(IN_USE[each.kind]), each) for each in read_channel_in_use(services.counters, channel.id, limits)]


def _list_timeline(channel: Channel) -> list[Happened]:
    """What happened to the channel and what people changed of it, the newest first."""
    found = [_tell_event(event) for event in list_events(channel, SHOWN_EVENTS)]
    for act in list_acts_about(channel.name, ACTS, SHOWN_EVENTS):
        about = act.detail.removeprefix(channel.name).lstrip(":, ")
        what, by = translate(OPERATORS_WORDS[act.what]), translate("By %(name)s", name=act.made_by)
        found.append(Happened(act.created_at, "", what, about, by))
    return sorted(found, key=lambda each: each.at, reverse=True)[:SHOWN_EVENTS]


def _tell_event(event: Any) -> Happened:
    if event.what != "tested":
        kind, word = TOLD[event.what]
        by = translate("Seen by %(name)s", name=event.process)
        return Happened(event.at, kind, translate(word), event.why, by, event.seconds)
    result, _, said = event.why.partition(": ")
    passed = result == "Passed"
    kind, word = ("ok", translate("Test passed")) if passed else ("bad", translate("Test failed"))
    return Happened(event.at, kind, word, said or event.why, translate("By %(name)s", name=event.process))


def _draw_spark(figures: ChannelFigures) -> str:
    return draw_spark([figures.hours[hour].first_p50 if hour in figures.hours else None for hour in list_hours()])


def _draw_hours(name: str, figures: ChannelFigures, hours: list[datetime.datetime]) -> list[LineChart]:
    """First tokens and errors of 24 hours, in both widths."""
    moments = []
    for place, hour in enumerate(in_slices(hours)):
        one = figures.hours.get(hour, Outcomes())
        text = f"{hour:%H}:00: {_describe_hour(one)}"
        label = f"{hour:%H}" if place % NAME_EVERY == 0 else ""
        moments.append(Moment(label, (one.first_p50, one.first_p95), _share_lost(one), text, _find_address(name, hour)))
    return [draw_lines(moments, ("c1", "c2"), "c6", width=width, css=css) for width, css in SIZES]


def _share_lost(one: Outcomes) -> float:
    return one.lost / one.calls if one.calls else 0.0


def _describe_hour(one: Outcomes) -> str:
    """`first token 0.42 s, p95 1.10 s, 3 of 120 calls failed`"""
    if not one.calls:
        return translate("no calls")
    values = {"lost": f"{one.lost:,}", "calls": f"{one.calls:,}"}
    if one.first_p50 is None or one.first_p95 is None:
        return translate("%(lost)s of %(calls)s calls failed", **values)
    values |= {"p50": f"{one.first_p50:.2f}", "p95": f"{one.first_p95:.2f}"}
    return translate("first token %(p50)s s, p95 %(p95)s s, %(lost)s of %(calls)s calls failed", **values)


def _find_address(name: str, hour: datetime.datetime) -> str:
    """The usage of the channel on the hour's day."""
    query: dict[str, Any] = {"from": f"{hour:%Y-%m-%d}", "to": f"{hour:%Y-%m-%d}"}
    return url_for("admin.show_usage", channel=name, **query)
