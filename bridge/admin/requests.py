"""The request log of all accounts: its page, what its live tail asks for, and its CSV."""

import dataclasses
import datetime
import json
from typing import Any

from flask import Response, redirect, render_template, request, stream_with_context, url_for

from bridge.accounts.customers import NamedKey, find_account_id, name_accounts, name_all_keys
from bridge.admin.door import admin, needs_right
from bridge.admin.log_csv import COLUMNS, write_log
from bridge.admin.log_filter import DAYS, MINUTES, PERIODS, REFUSED, Asked, read_filter
from bridge.catalogue.names import list_names
from bridge.chart import DAY, HOUR, MINUTE, Chart, SpanSum, draw
from bridge.errors import NotFound
from bridge.languages import translate
from bridge.ledger.request_log import (
    LOOKED_AT,
    PAGE_SIZE,
    LogPage,
    Minutes,
    count_minutes,
    find_by_reference,
    list_all_running,
    list_log,
    sum_log,
)
from bridge.ledger.tables import Hold, UsageRecord
from bridge.ledger.usage import normalise_id
from bridge.limits.refusal_log import count_refusals_by_hour, list_all_refusals
from bridge.limits.tables import Refusal
from bridge.spreadsheet import write_csv

WIDTH, PHONE_WIDTH = 1040, 330  # of the chart, so that its text keeps its size
COLOURS = {"answered": "c0", "failed": "c6", "refused": "c2"}  # from the bottom of a bar up


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the log: one of a settled request, a running one with its details, or refusals."""

    at: datetime.datetime
    key_id: int
    account_id: int
    record: UsageRecord | None = None
    hold: Hold | None = None
    refusal: Refusal | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    attempts: int = 0


@dataclasses.dataclass(frozen=True)
class Drawn:
    """The chart in both widths, each with its bars' addresses and texts, and what they add up to. `since` is the moment
    from which on the bars are whole, if that isn't the window's first."""

    charts: list[tuple[Chart, dict[datetime.datetime, tuple[str, str]]]]
    requests: int
    since: datetime.datetime | None


@admin.get("/requests")
@needs_right("look")
def show_requests() -> Any:
    """Every request, the newest first. The filter is the URL; `q` finds a request, an upstream's id or a customer;
    `before` is where the previous page ended."""
    asked, search = read_filter(request.args), request.args.get("q", "").strip()[:256]
    missing = ""
    if search:
        if address := _find_address(asked, search):
            return redirect(address)
        missing = translate(
            "No request or customer has that id or address, nor had one of the period’s newest %(count)s requests it "
            "from its upstream.",
            count=format(LOOKED_AT, ","),
        )
    before = request.args.get("before", "")
    minutes = count_minutes(asked.wanted) if asked.span == MINUTES and asked.asks_for_rows else None
    page, rows = _read_rows(asked, before, minutes)
    keys = name_all_keys(row.key_id for row in rows)
    channels, models = list_names()
    return render_template(
        "admin/requests.html",
        asked=asked,
        chosen=asked.fields,
        periods=PERIODS,
        rows=rows,
        page=page,
        keys=keys,
        account=_name_account(asked, keys),
        channels=channels,
        models=models,
        drawn=_draw(asked, minutes),
        older=_find_older(asked, page, rows),
        live=asked.may_live and not before and not asked.fields["live"],
        first_page=not before,
        search=search,
        missing=missing,
    )


@admin.get("/requests/rows")
@needs_right("look")
def show_rows() -> Any:
    """The newest rows of the filter, for the live tail. 202: ask again."""
    asked = read_filter(request.args)
    _, rows = _read_rows(asked, "", None)
    keys = name_all_keys(row.key_id for row in rows)
    return render_template("admin/request_rows.html", rows=rows, keys=keys, asked=asked), 202


@admin.get("/requests.csv")
@needs_right("requests")
def export_requests() -> Response:
    """The filter's settled requests, at most 50,000, and its refusals; dollars exact, times in UTC."""
    asked = read_filter(request.args)
    answer = Response(stream_with_context(write_csv(COLUMNS, write_log(asked))), mimetype="text/csv")
    name = f"requests-{asked.since:%Y-%m-%dT%H%M}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _find_address(asked: Asked, search: str) -> str | None:
    """Where a search leads: a request by its id, its answer's or its upstream's, or the log of one customer."""
    try:
        return url_for("admin.show_request", request_id=normalise_id(search))
    except NotFound:
        pass
    if (account_id := find_account_id(search)) is not None:
        return asked.address(account=str(account_id), key="")
    found = find_by_reference(search, asked.since, asked.until)
    return url_for("admin.show_request", request_id=found) if found else None


def _read_rows(asked: Asked, before: str, minutes: Minutes | None) -> tuple[LogPage, list[Row]]:
    """A page of the log: settled requests, and what was refused and still runs from the oldest of them on."""
    page = LogPage([])
    if asked.asks_for_rows:
        page = list_log(asked.wanted, older_than=before, minutes=minutes)
    rows = [
        Row(one.created_at, one.key_id, one.account_id, record=one, attempts=one.attempts.count('"outcome"'))
        for one in page.records
    ]
    if asked.asks_for_running and not before:
        rows += _list_running(asked)
    rows += _list_refused(asked, page, before)
    return page, sorted(rows, key=lambda row: row.at, reverse=True)


def _list_running(asked: Asked) -> list[Row]:
    found, fields = [], asked.fields
    for hold in list_all_running(asked.wanted.account_id, asked.wanted.key_id):
        details = json.loads(hold.details)
        names = {"model": details.get("model_id", ""), "end_user": details.get("end_user")}
        fits = all(not fields[name] or fields[name] == value for name, value in names.items())
        tagged = not fields["tag"] or fields["tag"] in json.loads(details.get("tags") or "[]")
        if fits and tagged and hold.created_at >= asked.since:
            found.append(Row(hold.created_at, hold.key_id, hold.account_id, hold=hold, details=details))
    return found[:PAGE_SIZE]


def _list_refused(asked: Asked, page: LogPage, before: str) -> list[Row]:
    """The refusals whose last one came before the page's beginning, and after its last request."""
    wanted = asked.refused
    if wanted is None:
        return []
    since, until = wanted.since, wanted.until
    if page.older is not None:
        since = max(since, page.looked_back_to or page.records[-1].created_at)
    if (end := page.before or _moment(before)) is not None:
        until = min(until, end)
    found = list_all_refusals(dataclasses.replace(wanted, since=since, until=until), PAGE_SIZE)
    return [Row(one.last_at, one.key_id, one.account_id, refusal=one) for one in found]


def _find_older(asked: Asked, page: LogPage, rows: list[Row]) -> str:
    """The address of the next page; "" if there is none."""
    if page.older is not None:
        return asked.address(before=page.older)
    if asked.fields["status"] == REFUSED and len(rows) == PAGE_SIZE:
        return asked.address(before=rows[-1].at.isoformat())
    return ""


def _moment(text: str) -> datetime.datetime | None:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _name_account(asked: Asked, keys: dict[int, NamedKey]) -> str:
    """The name of the account that the filter asks for; "" for all."""
    account_id = asked.wanted.account_id
    if account_id is None:
        return ""
    known = next((key.account for key in keys.values() if key.account_id == account_id), None)
    return known or name_accounts([account_id]).get(account_id, translate("account %(id)s", id=account_id))


def _draw(asked: Asked, minutes: Minutes | None) -> Drawn | None:
    """The chart; None where the filter has none: for a minute, and for what roll-ups don't know."""
    counts: dict[tuple[datetime.datetime, str], int] = {}
    if minutes is not None:
        for (start, ending), requests in minutes.counts.items():
            _add(counts, start, ending, requests)
    elif asked.span and asked.span != MINUTES and asked.wanted.is_rolled_up:
        if asked.asks_for_rows:
            for (start, ending), sums in sum_log(asked.wanted, asked.span).items():
                _add(counts, start, ending, sums.requests)
        for hour, requests in count_refusals_by_hour(asked.refused).items() if asked.refused else ():
            _add(counts, hour.replace(hour=0) if asked.span == DAYS else hour, "refused", requests)
    if not counts:
        return None
    starts = asked.list_starts()
    parts = [SpanSum(start, name, requests, 0) for (start, name), requests in counts.items()]
    links = {start: (asked.address_of(start), _say(asked, start, counts)) for start in starts}
    form = {MINUTES: MINUTE, DAYS: DAY}.get(asked.span, HOUR)
    sizes = ((WIDTH, max(1, len(starts) // 10), "wide"), (PHONE_WIDTH, max(1, len(starts) // 5), "slim"))
    charts = [
        (draw(parts, starts, form, width=width, name_every=every, css=css, colours=COLOURS, counts=True), links)
        for width, every, css in sizes
    ]
    return Drawn(charts, sum(counts.values()), minutes.since if minutes else None)


def _add(counts: dict[tuple[datetime.datetime, str], int], start: datetime.datetime, ending: str, more: int) -> None:
    name = ending if ending in ("failed", "refused") else "answered"
    counts[start, name] = counts.get((start, name), 0) + more


def _say(asked: Asked, start: datetime.datetime, counts: dict[tuple[datetime.datetime, str], int]) -> str:
    """What a bar says: the minute's or the hour's counts; refusals have no minute."""
    when = start.strftime(translate("%-d %b")) if asked.span == DAYS else f"{start:%H:%M}"
    names = ("answered", "failed") if asked.span == MINUTES else COLOURS
    values = {name: f"{counts.get((start, name), 0):,}" for name in names}
    if asked.span == MINUTES:
        return translate("%(when)s: %(answered)s answered, %(failed)s failed", when=when, **values)
    return translate("%(when)s: %(answered)s answered, %(failed)s failed, %(refused)s refused", when=when, **values)
