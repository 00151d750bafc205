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
from bridge.providers import stands_in

MOST_CHANNELS = 5  # named one by one
NAMED = 3
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
    action: str = "Review"
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
        said = "No operator has written of it yet." if is_silent else f"{one.updates[0].word}: {one.updates[0].text}"
        kind, title = ("bad", "Incident: calls fail") if one.effect == DOWN else ("warn", "Incident open")
        url = url_for("admin.show_incident", incident_id=one.id)
        yield Matter(kind, title, f"{one.title}. {said}", url, "Open", f"incident {one.id}")


def _tell_channels(channels: Sequence[Channel]) -> Iterator[Matter]:
    told = 0
    for channel in channels:
        state = find_state(channel)
        if state.kind not in ("bad", "warn") or stands_in(channel.provider):
            continue
        told += 1
        if told <= MOST_CHANNELS:
            title = f"{channel.name}: {state.word[0].lower()}{state.word[1:]}"
            why = state.why or channel.last_error or "it has not answered since."
            detail = f"{why[0].upper()}{why[1:]}"
            url = url_for("admin.show_channel", name=channel.name)
            yield Matter(state.kind, title, detail, url, "Open", channel.name)
    if told > MOST_CHANNELS:
        title = f"{told - MOST_CHANNELS} more channels have trouble"
        yield Matter(
            "bad", title, "Requests go to other channels where there are some.", url_for("admin.show_channels")
        )


def _tell_keys(refused: str) -> Iterator[Matter]:
    if names := sorted(filter(None, refused.split(","))):
        of = sorted(set(names))
        title = f"{len(names)} keys are refused" if len(names) > 1 else f"{names[0]}: a key is refused"
        detail = f"{_name(of)}. The other keys serve on: check the key and the credit behind it, or remove it."
        url = url_for("admin.show_channel", name=of[0]) if len(of) == 1 else url_for("admin.show_channels")
        yield Matter("warn", title, detail, url, "Open", of[0] if len(of) == 1 else "Channels")


def _tell_ledger(last: DailyJob | None) -> Iterator[Matter]:
    url = url_for("admin.show_system")
    if last is not None and last.finished_at and last.complaints:
        count = len(last.complaints)
        title = f"The ledger has {count} difference{'s' if count != 1 else ''}"
        yield Matter("bad", title, last.complaints[0], url, what="the differences")
    elif last is not None and now_utc() - last.started_at > UNCHECKED_AFTER:
        detail = f"The last check began on {last.started_at:%-d %b}. It runs every night while a worker does."
        yield Matter("bad", "The ledger is not being checked", detail, url, "Open", "System")


def _tell_jobs(pulse: Mapping[str, Any]) -> Iterator[Matter]:
    late = [
        f"{count} {word}{'s' if count != 1 else ''} overdue"
        for count, word in ((pulse["holds_overdue"], "hold"), (pulse["mails_overdue"], "email"))
        if count
    ]
    if late:
        detail = f"{', '.join(late)}. The log has why, as background_task_failed."
        yield Matter("bad", "Background jobs are late", detail, url_for("admin.show_system"), "Open", "System")


def _tell_prices(channels: Sequence[Channel], models: Sequence[ListedModel], losing: str) -> Iterator[Matter]:
    if ids := sorted(filter(None, losing.split(","))):
        title = f"{_count(ids, 'model')} sold below cost"
        url = url_for("admin.show_model", id=ids[0]) if len(ids) == 1 else url_for("admin.show_models")
        yield Matter("warn", title, f"{_name(ids)}: the provider takes more than customers pay.", url, what="prices")
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
        title = f"{len(ids)} price{'s' if len(ids) != 1 else ''} will change"
        detail = f"{_name(ids)}, from {first:%-d %b} on."
        url = url_for("admin.show_model", id=ids[0]) if len(ids) == 1 else url_for("admin.show_models")
        yield Matter("warn", title, detail, url, what="the prices to come")


def _tell_reviews(count: int) -> Iterator[Matter]:
    if count:
        title = f"{count} payment{'s need' if count != 1 else ' needs'} review"
        detail = "What came differs from what was asked for. Settle or close it."
        yield Matter("warn", title, detail, url_for("admin.show_payments"), what="payments")


def _tell_approvals(count: int) -> Iterator[Matter]:
    if count:
        title = f"{count} amount{'s wait' if count != 1 else ' waits'} for approval"
        detail = "Another operator than the one who asked has to approve or refuse it."
        yield Matter("warn", title, detail, url_for("admin.show_approvals"), what="approvals")


def _tell_mails(count: int) -> Iterator[Matter]:
    if count:
        title = f"{count} email{'s' if count != 1 else ''} could not be sent"
        yield Matter(
            "warn",
            title,
            "In the last 24 hours. Check the mail server.",
            url_for("admin.show_system"),
            "Open",
            "System",
        )


def _tell_suspended(count: int) -> Iterator[Matter]:
    if count:
        title = f"{count} customer{'s are' if count != 1 else ' is'} suspended"
        detail = "Their keys answer 403 until you reactivate them."
        yield Matter("off", title, detail, url_for("admin.show_customers"), "Open", "Customers")


def _tell_unconnected(models: Sequence[ListedModel]) -> Iterator[Matter]:
    ids = [model.id for model in models if model.shown_status == UNAVAILABLE]
    if ids:
        title = f"{len(ids)} model{'s have' if len(ids) != 1 else ' has'} no channel"
        detail = f"{_name(ids)}. Customers see them as unavailable."
        yield Matter("off", title, detail, url_for("admin.show_connect"), "Connect", "a provider")


def _count(ids: Sequence[str], word: str) -> str:
    return f"{len(ids)} {word}s are" if len(ids) != 1 else f"1 {word} is"


def _name(ids: Iterable[str]) -> str:
    """The first few, and how many more."""
    ids = list(ids)
    more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
    return ", ".join(ids[:NAMED]) + more
