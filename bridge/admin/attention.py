"""What needs an operator's attention: each matter with the one thing to do about it."""

import dataclasses
import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from flask import url_for

from bridge.admin.door import may_open
from bridge.catalogue.channel_state import UNAVAILABLE, find_state
from bridge.catalogue.incidents import AUTOMATIC, DOWN, list_open
from bridge.catalogue.listing import FAILING, ListedModel
from bridge.catalogue.rules import ChannelIndex
from bridge.catalogue.tables import Channel
from bridge.daily import DailyJob
from bridge.db import now_utc
from bridge.languages import to_translate, translate, translate_plural
from bridge.providers import stands_in

MOST_CHANNELS = 5  # named one by one
NAMED = 3
REVIEW, OPEN, CONNECT = to_translate("Review"), to_translate("Open"), to_translate("Connect")
PRICES_WITHIN = datetime.timedelta(days=14)
UNCHECKED_AFTER = datetime.timedelta(days=2)


@dataclasses.dataclass(frozen=True, slots=True)
class Matter:
    """Something to decide: how bad it is (bad, warn, off), what it is, and one link. `what` names the link's aim for
    those who hear the page."""

    kind: str
    title: str
    detail: str
    url: str
    action: str = REVIEW
    what: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Unserved:
    """Models that no channel answers for now, and the channel to look at."""

    models: list[str]
    channel: Channel


def list_matters(
    channels: Sequence[Channel],
    models: Sequence[ListedModel],
    last_check: DailyJob | None,
    pulse: Mapping[str, Any],
) -> list[Matter]:
    """All whose page the operator may open, the worst first."""
    found = [
        *_tell_incidents(pulse["incidents"] or 0),
        *_tell_channels(channels),
        *_tell_keys(pulse["refused_keys"] or ""),
        *_tell_ledger(last_check),
        *_tell_jobs(pulse),
        *_tell_prices(channels, models, pulse["losing"] or ""),
        *_tell_reviews(pulse["reviews"]),
        *_tell_approvals(pulse["approvals"]),
        *_tell_mails(pulse["mails_failed"]),
        *_tell_suspended(pulse["suspended"]),
        *_tell_unconnected(models),
    ]
    mine = [matter for matter in found if may_open(matter.url)]
    return sorted(mine, key=lambda matter: ("bad", "warn", "off").index(matter.kind))


def find_unserved(channels: Sequence[Channel], models: Sequence[ListedModel]) -> Unserved | None:
    """The models whose channels all fail: customers see errors."""
    failing = [model for model in models if model.shown_status == FAILING]
    if not failing:
        return None
    serving = ChannelIndex(channels).of(failing[0])
    return Unserved([model.id for model in failing], serving[0][0]) if serving else None


def _tell_incidents(number: int) -> Iterator[Matter]:
    for one in list_open(number):
        is_silent = all(each.made_by == AUTOMATIC for each in one.updates)
        silent = translate("No operator has written of it yet.")
        said = silent if is_silent else f"{one.updates[0].word}: {one.updates[0].text}"
        kind, title = "warn", translate("Incident open")
        if one.effect == DOWN:
            kind, title = "bad", translate("Incident: calls fail")
        url, what = url_for("admin.show_incident", incident_id=one.id), translate("incident %(id)s", id=one.id)
        yield Matter(kind, title, translate("%(title)s. %(said)s", title=one.title, said=said), url, OPEN, what)


def _tell_channels(channels: Sequence[Channel]) -> Iterator[Matter]:
    told = 0
    for channel in channels:
        state = find_state(channel)
        if state.kind not in ("bad", "warn") or stands_in(channel.provider):
            continue
        told += 1
        if told <= MOST_CHANNELS:
            title = f"{channel.name}: {state.word[0].lower()}{state.word[1:]}"
            why = state.why or channel.last_error or translate("it has not answered since.")
            detail = f"{why[0].upper()}{why[1:]}"
            url = url_for("admin.show_channel", name=channel.name)
            yield Matter(state.kind, title, detail, url, OPEN, channel.name)
    if told > MOST_CHANNELS:
        title = translate("%(count)s more channels have trouble", count=told - MOST_CHANNELS)
        detail = translate("Requests go to other channels where there are some.")
        yield Matter("bad", title, detail, url_for("admin.show_channels"))


def _tell_keys(refused: str) -> Iterator[Matter]:
    if names := sorted(filter(None, refused.split(","))):
        of = sorted(set(names))
        title = translate("%(count)s keys are refused", count=len(names))
        if len(names) == 1:
            title = translate("%(channel)s: a key is refused", channel=names[0])
        detail = translate(
            "%(channels)s. The other keys serve on: check the key and the credit behind it, or remove it.",
            channels=_name(of),
        )
        url = url_for("admin.show_channel", name=of[0]) if len(of) == 1 else url_for("admin.show_channels")
        yield Matter("warn", title, detail, url, OPEN, of[0] if len(of) == 1 else translate("Channels"))


def _tell_ledger(last: DailyJob | None) -> Iterator[Matter]:
    url = url_for("admin.show_system")
    if last is not None and last.finished_at and last.complaints:
        title = translate_plural(
            "The ledger has %(num)s difference", "The ledger has %(num)s differences", len(last.complaints)
        )
        yield Matter("bad", title, last.complaints[0], url, what=translate("the differences"))
    elif last is not None and now_utc() - last.started_at > UNCHECKED_AFTER:
        detail = translate(
            "The last check began on %(day)s. It runs every night while a worker does.", day=_name_day(last.started_at)
        )
        yield Matter("bad", translate("The ledger is not being checked"), detail, url, OPEN, translate("System"))


def _tell_jobs(pulse: Mapping[str, Any]) -> Iterator[Matter]:
    late = []
    if holds := pulse["holds_overdue"]:
        late.append(translate_plural("%(num)s hold overdue", "%(num)s holds overdue", holds))
    if mails := pulse["mails_overdue"]:
        late.append(translate_plural("%(num)s email overdue", "%(num)s emails overdue", mails))
    if late:
        detail = translate("%(late)s. The log has why, as background_task_failed.", late=", ".join(late))
        title, url = translate("Background jobs are late"), url_for("admin.show_system")
        yield Matter("bad", title, detail, url, OPEN, translate("System"))


def _tell_prices(channels: Sequence[Channel], models: Sequence[ListedModel], losing: str) -> Iterator[Matter]:
    if ids := sorted(filter(None, losing.split(","))):
        title = translate_plural("%(num)s model is sold below cost", "%(num)s models are sold below cost", len(ids))
        url = url_for("admin.show_model", id=ids[0]) if len(ids) == 1 else url_for("admin.show_models")
        detail = translate("%(models)s: the provider takes more than customers pay.", models=_name(ids))
        yield Matter("warn", title, detail, url, what=translate("prices"))
    soon = now_utc() + PRICES_WITHIN
    index = ChannelIndex([channel for channel in channels if not stands_in(channel.provider)])
    coming = {
        model.id: step.starts_at
        for model in models
        for step in model.to_come[:1]
        if step.starts_at <= soon and index.of(model)
    }
    if coming:
        ids = sorted(coming)
        first = min(coming.values())
        title = translate_plural("%(num)s price will change", "%(num)s prices will change", len(ids))
        detail = translate("%(models)s, from %(day)s on.", models=_name(ids), day=_name_day(first))
        url = url_for("admin.show_model", id=ids[0]) if len(ids) == 1 else url_for("admin.show_models")
        yield Matter("warn", title, detail, url, what=translate("the prices to come"))


def _tell_reviews(count: int) -> Iterator[Matter]:
    if count:
        title = translate_plural("%(num)s payment needs review", "%(num)s payments need review", count)
        detail = translate("What came differs from what was asked for. Settle or close it.")
        yield Matter("warn", title, detail, url_for("admin.show_payments"), what=translate("payments"))


def _tell_approvals(count: int) -> Iterator[Matter]:
    if count:
        title = translate_plural("%(num)s amount waits for approval", "%(num)s amounts wait for approval", count)
        detail = translate("Another operator than the one who asked has to approve or refuse it.")
        yield Matter("warn", title, detail, url_for("admin.show_approvals"), what=translate("approvals"))


def _tell_mails(count: int) -> Iterator[Matter]:
    if count:
        title = translate_plural("%(num)s email could not be sent", "%(num)s emails could not be sent", count)
        detail = translate("In the last 24 hours. Check the mail server.")
        yield Matter("warn", title, detail, url_for("admin.show_system"), OPEN, translate("System"))


def _tell_suspended(count: int) -> Iterator[Matter]:
    if count:
        title = translate_plural("%(num)s customer is suspended", "%(num)s customers are suspended", count)
        detail = translate("Their keys answer 403 until you reactivate them.")
        yield Matter("off", title, detail, url_for("admin.show_customers"), OPEN, translate("Customers"))


def _tell_unconnected(models: Sequence[ListedModel]) -> Iterator[Matter]:
    ids = [model.id for model in models if model.shown_status == UNAVAILABLE]
    if ids:
        title = translate_plural("%(num)s model has no channel", "%(num)s models have no channel", len(ids))
        detail = translate("%(models)s. Customers see them as unavailable.", models=_name(ids))
        yield Matter("off", title, detail, url_for("admin.show_connect"), CONNECT, translate("a provider"))


def _name_day(at: datetime.datetime) -> str:
    return at.strftime(translate("%-d %b"))


def _name(ids: Iterable[str]) -> str:
    """The first few, and how many more."""
    ids = list(ids)
    first = ", ".join(ids[:NAMED])
    if len(ids) <= NAMED:
        return first
    return translate("%(names)s and %(num)s more", names=first, num=len(ids) - NAMED)
