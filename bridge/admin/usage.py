"""Usage and margin: what customers paid, what providers charge and what is left, by day, model, channel, account."""

import dataclasses
import datetime
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import Response, render_template, request, stream_with_context, url_for

from bridge import versions
from bridge.accounts.customers import find_account_id, name_accounts
from bridge.admin.below_cost import find_losing
from bridge.admin.door import admin, needs_right
from bridge.catalogue.listing import TOPIC
from bridge.catalogue.own_calls import OwnCalls, sum_own_calls
from bridge.chart import DAY, HOUR, SpanSum, draw
from bridge.dates import MONTH
from bridge.db import db, now_utc
from bridge.languages import to_translate, translate
from bridge.ledger.margins import NOTHING, Margin, MarginFilter, sum_margins
from bridge.ledger.rollups import PROGRESS, add_up, note_progress
from bridge.money import format_dollars
from bridge.spreadsheet import write_csv

PERIODS = {
    "today": to_translate("Today"),
    "7": to_translate("7 days"),
    "30": to_translate("30 days"),
    "month": to_translate("This month"),
    "last": to_translate("Last month"),
}
DEFAULT_PERIOD = "30"
MOST_DAYS = 366
MONTHS_FROM_DAYS = 62  # a longer period is shown by month
LISTED = 20
WIDTH, PHONE_WIDTH = 1040, 330  # of the chart, so that its text keeps its size
CHANNEL_NONE = "-"  # in the URL: requests that reached no channel
# the parts of a bar, from the bottom up: cost and margin make the revenue, a loss is above it
COLOURS = {"cost": "c0", "margin": "c1", "loss": "c6"}
CSV_COLUMNS = (
    *("day", "account_id", "account", "model", "channel", "requests", "failed"),
    *("prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"),
    *("revenue_dollars", "provider_cost_dollars", "margin_dollars", "unpaid_dollars"),
    *("uncharged_tokens", "uncharged_dollars"),  # counted by providers beyond what was charged: given away
)
ONE_DAY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the URL asks for: its fields as they are shown, the filter made from them, and their errors."""

    fields: dict[str, str]
    wanted: MarginFilter
    first: datetime.date
    last: datetime.date
    errors: dict[str, str]


@admin.get("/usage")
@needs_right("look")
def show_usage() -> str:
    """The filter is the URL: period (or from and to), account, model, channel."""
    number = _read_numbers()
    asked = _read_filter()
    days = (asked.last - asked.first).days + 1
    by_channel = sum_margins(asked.wanted, "channel_name")
    total = _add(by_channel.values())
    spans = _sum_spans(asked, days) if total.requests else {}
    accounts = _rank(sum_margins(asked.wanted, "account_id", dearest=LISTED), total)
    return render_template(
        "admin/usage.html",
        asked=asked,
        address=_address,
        periods=PERIODS,
        total=total,
        own=_sum_own_calls(asked.wanted),
        spans=sorted(spans.items(), key=lambda item: item[0], reverse=True),
        by_month=days > MONTHS_FROM_DAYS,
        hourly=days == 1,
        chart=_draw(asked, days, spans) if total.requests else [],
        models=_rank(sum_margins(asked.wanted, "model_id", dearest=LISTED), total),
        channels=_rank(by_channel, total),
        accounts=accounts,
        account_names=name_accounts(account_id for account_id, _ in accounts if account_id is not None),
        no_channel=CHANNEL_NONE,
        losing=find_losing(number),
        name_month=_name_month,
    )


@admin.get("/usage.csv")
@needs_right("export")
def export_usage() -> Response:
    """The filter's figures by day, account, model and channel; dollars exact, days in UTC."""
    asked = _read_filter()
    answer = Response(stream_with_context(write_csv(CSV_COLUMNS, _csv_rows(asked.wanted))), mimetype="text/csv")
    name = f"margin-{asked.first:%Y-%m-%d}-to-{asked.last:%Y-%m-%d}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _read_numbers() -> int:
    """The catalogue's number; how far the roll-ups reach comes along, which the sums need."""
    queries = versions.select_number(TOPIC), PROGRESS
    number, progress = db.session.execute(sa.select(*(query.scalar_subquery() for query in queries))).one()
    note_progress(db.session(), progress)
    return number or 0


def _sum_own_calls(wanted: MarginFilter) -> OwnCalls:
    """What tests and checks of channels cost the operator: no account has any, nor a model."""
    if wanted.account_id is not None or wanted.model_id is not None:
        return OwnCalls(0, 0)
    return sum_own_calls(wanted.since, wanted.until, wanted.channel_name)


def _read_filter() -> Asked:
    """Read the filter from the URL. A field that can't be read is left out, and has an error."""
    fields = {name: request.args.get(name, "").strip()[:254] for name in ("period", "from", "to")}
    fields |= {name: request.args.get(name, "").strip()[:254] for name in ("account", "model", "channel")}
    errors: dict[str, str] = {}
    first, last = _read_days(fields, errors)
    account_id = find_account_id(fields["account"]) if fields["account"] else None
    if fields["account"] and account_id is None:
        errors["account"] = translate("No account has that address or id. All of them are shown.")
        fields["account"] = ""
    channel = "" if fields["channel"] == CHANNEL_NONE else fields["channel"] or None
    wanted = MarginFilter(_midnight(first), _midnight(last + ONE_DAY), account_id, fields["model"] or None, channel)
    return Asked(fields, wanted, first, last, errors)


def _read_days(fields: dict[str, str], errors: dict[str, str]) -> tuple[datetime.date, datetime.date]:
    """The first and the last day; given days override a period."""
    today = now_utc().date()
    if fields["from"] or fields["to"]:
        try:
            last = min(datetime.date.fromisoformat(fields["to"]), today) if fields["to"] else today
            first = datetime.date.fromisoformat(fields["from"]) if fields["from"] else last
        except ValueError:
            errors["from"] = translate("Give days such as 2026-03-31. The last 30 days are shown.")
        else:
            if last - first < MOST_DAYS * ONE_DAY and first <= last:
                fields.update({"period": "", "from": str(first), "to": str(last)})
                return first, last
            errors["from"] = translate(
                "Give a first day and a later last one, %(days)s days at most. 30 days are shown.", days=MOST_DAYS
            )
    fields.update({"from": "", "to": ""})
    if fields["period"] not in PERIODS:
        fields["period"] = DEFAULT_PERIOD
    month = today.replace(day=1)
    return {
        "today": (today, today),
        "7": (today - 6 * ONE_DAY, today),
        "30": (today - 29 * ONE_DAY, today),
        "month": (month, today),
        "last": ((month - ONE_DAY).replace(day=1), month - ONE_DAY),
    }[fields["period"]]


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)


def _address(fields: dict[str, str], endpoint: str = "admin.show_usage", **changes: str) -> str:
    """The URL of a filter with changes."""
    query = {name: value for name, value in {**fields, **changes}.items() if value}
    return f"{url_for(endpoint)}?{urlencode(query)}"


def _rank(found: dict[tuple[Any, ...], Margin], total: Margin) -> list[tuple[Any, Margin]]:
    """The margins with the most revenue first; the last, named None, is what is left of all beyond the first LISTED."""
    ranked = sorted(found.items(), key=lambda item: (-item[1].charge_nanos, -item[1].requests, item[0]))[:LISTED]
    listed: list[tuple[Any, Margin]] = [(name, margin) for (name,), margin in ranked]
    shown = _add([margin for _, margin in listed])
    if total.requests > shown.requests:
        listed.append((None, Margin(*(whole - part for whole, part in zip(_read(total), _read(shown), strict=True)))))
    return listed


def _read(margin: Margin) -> tuple[int, ...]:
    return dataclasses.astuple(margin)


def _add(margins: Collection[Margin]) -> Margin:
    return Margin(**dataclasses.asdict(add_up(margins))) if margins else NOTHING


def _sum_spans(asked: Asked, days: int) -> dict[datetime.datetime, Margin]:
    """Margins by hour for one day, by month for long periods, otherwise by day; spans without requests are absent."""
    span = "hour" if days == 1 else "day"
    found = {start: margin for (start,), margin in sum_margins(asked.wanted, "start", span=span).items()}
    if days <= MONTHS_FROM_DAYS:
        return found
    months: dict[datetime.datetime, list[Margin]] = {}
    for start, margin in found.items():
        months.setdefault(start.replace(day=1), []).append(margin)
    return {month: _add(margins) for month, margins in months.items()}


def _draw(asked: Asked, days: int, spans: Mapping[datetime.datetime, Margin]) -> list[Any]:
    """The chart in both widths."""
    start = _midnight(asked.first)
    if days > MONTHS_FROM_DAYS:
        form = MONTH
        starts = sorted({_midnight((asked.first + n * ONE_DAY).replace(day=1)) for n in range(days)})
    elif days == 1:
        form, starts = HOUR, [start + datetime.timedelta(hours=n) for n in range(24)]
    else:
        form, starts = DAY, [start + n * ONE_DAY for n in range(days)]
    parts = [
        SpanSum(at, name, margin.requests, nanos)
        for at, margin in spans.items()
        for name, nanos in (
            ("cost", min(margin.charge_nanos, margin.cost_nanos)),
            ("margin", max(0, margin.nanos)),
            ("loss", max(0, -margin.nanos)),
        )
    ]
    sizes = ((WIDTH, 1 if len(starts) <= 31 else 3, "wide"), (PHONE_WIDTH, -(-len(starts) // 8), "slim"))
    return [
        draw(parts, starts, form, width=width, name_every=every, css=css, colours=COLOURS)
        for width, every, css in sizes
    ]


def _name_month(month: datetime.datetime) -> str:
    return month.strftime(translate("%b %Y"))


def _csv_rows(wanted: MarginFilter) -> Iterator[tuple[object, ...]]:
    found = sum_margins(wanted, "start", "account_id", "model_id", "channel_name")
    names = name_accounts({account_id for _, account_id, _, _ in found})
    for (start, account_id, model_id, channel_name), margin in found.items():
        yield (
            f"{start:%Y-%m-%d}",
            account_id,
            names.get(account_id, ""),
            model_id,
            channel_name,
            margin.requests,
            margin.failed,
            margin.prompt_tokens,
            margin.cached_tokens,
            margin.completion_tokens,
            margin.reasoning_tokens,
            format_dollars(margin.charge_nanos),
            format_dollars(margin.cost_nanos),
            format_dollars(margin.nanos),
            format_dollars(margin.loss_nanos),
            margin.uncharged_tokens,
            format_dollars(margin.uncharged_nanos),
        )
