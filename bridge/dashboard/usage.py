"""The usage list with its filters, its CSV, and the receipt of a request."""

import collections
import dataclasses
import datetime
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response, abort, current_app, g, redirect, render_template, request, stream_with_context, url_for
from flask_login import current_user

from bridge.accounts.key_search import list_all_keys, name_keys
from bridge.accounts.tables import Key
from bridge.catalogue.listing import list_priced_ids
from bridge.chart import DAY, HOUR, RANKED, Chart, SpanSum, draw, rank_parts
from bridge.config import Settings
from bridge.conversation.usage import Usage
from bridge.dashboard.account import find_account_state, list_own_models
from bridge.dashboard.banner import keep_used_lately
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.filters import count, spend
from bridge.dashboard.key_owner import name_owners
from bridge.dashboard.refused import find_remedy
from bridge.dashboard.scope import find_seen_member
from bridge.dashboard.usage_csv import COLUMNS, GROUP_COLUMNS, write_groups, write_refusal, write_request
from bridge.dashboard.usage_filter import GROUPS, PERIODS, REFUSED, RUNNING, Asked, read_filter
from bridge.dates import SHORT_DAY, write_date
from bridge.errors import NotFound
from bridge.languages import translate
from bridge.ledger.choices import Choices, read_choices
from bridge.ledger.label_rollups import KINDS, MOST_LABELS
from bridge.ledger.parts import Parts
from bridge.ledger.receipt import make_receipt
from bridge.ledger.refunds import list_refunds
from bridge.ledger.rollups import Sums
from bridge.ledger.tables import Hold, UsageRecord
from bridge.ledger.usage import (
    MOST_GROUPS,
    UsagePage,
    export_requests,
    find_request,
    find_running_request,
    group_usage,
    list_requests,
    list_running,
    measure_first_content,
    normalise_id,
    read_usage,
)
from bridge.limits.refusals import (
    Refusals,
    list_codes,
    list_refusals,
    read_refusals,
    sum_refusals_by_key,
    sum_refusals_by_model,
)
from bridge.money import round_up
from bridge.spreadsheet import write_csv

WIDTH, PHONE_WIDTH = 1040, 330  # of the chart, so that its text keeps its size
WIDE_NAMES, PHONE_NAMES = 16, 7  # of days below it


@dataclasses.dataclass(frozen=True)
class Instead:
    """What a filter's requests would have cost on another model, from their counts alone."""

    model_id: str
    charge_nanos: int


@dashboard.get("/usage")
@needs("own_usage")
def show_usage() -> Any:
    """The usage page. Its filter is the URL: period or dates, key, whose keys (`of`),
    model, status, end user, tag; `by` what it is
    grouped by; `instead` a model to compare with; `before` and `after` are the requests at the page's edges."""
    wanted = request.args.get("q", "").strip()
    missing = ""
    if wanted:
        try:
            return redirect(url_for("dashboard.show_receipt", request_id=normalise_id(wanted)))
        except NotFound:
            missing = translate("That is not the id of a request (req_…) or of an answer (chatcmpl-…).")
    asked = read_filter(request.args)
    status, state = asked.fields["status"], find_account_state()
    running = list_running(g.account_id, asked.wanted.key_id, asked.member_id)
    page = UsagePage([], False, False)
    if status not in (REFUSED, RUNNING):
        page = list_requests(asked.wanted, older_than=request.args.get("before"), newer_than=request.args.get("after"))
    refused = _read_refused(asked)
    used = read_usage(asked.wanted, asked.by, "hour" if _is_hourly(asked) else "day", RANKED)
    if asked.is_whole:
        keep_used_lately(used.spans, asked.first)
    shown = _list_keys(asked, page, running, refused)
    choices = read_choices(
        g.account_id,
        asked.first,
        shown | (set(map(int, used.groups)) if asked.by == "key" else set()),
        find_seen_member(),
    )
    key_names = choices.newest_keys | choices.asked_keys
    return render_template(
        "dashboard/usage.html",
        asked=asked,
        chosen=asked.fields,
        periods=PERIODS,
        models=choices.models,
        key_names=choices.newest_keys | {key_id: key_names[key_id] for key_id in shown if key_id in key_names},
        totals=used.totals,
        timing=measure_first_content(asked.wanted),
        refused=[(each, find_remedy(each)) for each in refused.kinds],
        refused_total=refused.requests if asked.refused else None,
        members=name_owners(),
        codes=list_codes(g.account_id, asked.first, asked.member_id) if status == REFUSED else [],
        running=[(hold, json.loads(hold.details)) for hold in running],
        groups=_group(asked, used, refused, key_names) if used.totals.requests else None,
        chart=_draw(asked, used.spans, _sum_by_day(refused)) if used.totals.requests else [],
        group_names=GROUPS,
        labels=choices.labels if _has_labels(asked, choices) else {},
        most_groups=MOST_GROUPS,
        most_labels=MOST_LABELS,
        instead=_price_instead(used.totals, request.args.get("instead", "")),
        priced=list_priced_ids(state.catalogue_number),
        page=page,
        id_asked=wanted,
        missing=missing,
    )


def _read_refused(asked: Asked) -> Refusals:
    """The filter's refusals, by model or key if the page is grouped by that."""
    if asked.refused is None:
        return Refusals([], {}, {})
    return read_refusals(asked.refused, "" if asked.by in KINDS else asked.by)


def _list_keys(asked: Asked, page: UsagePage, running: list[Hold], refused: Refusals) -> set[int]:
    """The keys of the rows on the page, and the one that was chosen."""
    named = {row.key_id for rows in (page.records, running, refused.kinds) for row in rows}
    return named | ({int(asked.fields["key"])} if asked.fields["key"] else set())


def _has_labels(asked: Asked, choices: Choices) -> bool:
    """Whether to offer end users and tags: not to an account that names none."""
    return any(choices.labels.values()) or any(asked.fields[kind] for kind in KINDS)


@dashboard.get("/usage.csv")
@needs("own_usage")
def export_usage() -> Response:
    """The filter's requests as CSV, at most 50,000, times in UTC and costs exact, and its refusals; or, with `sums`,
    what they come to in each group."""
    asked = read_filter(request.args)
    key_names = name_keys(g.account_id, member_id=find_seen_member())
    if request.args.get("sums"):
        names = {str(key_id): name for key_id, name in key_names.items()} if asked.by == "key" else {}
        groups = write_groups(group_usage(asked.wanted, asked.by), names, _sum_refused(asked))
        return _send_csv(asked, write_csv((asked.by, *GROUP_COLUMNS), groups))
    records: Iterable[UsageRecord] = ()
    if asked.fields["status"] not in (REFUSED, RUNNING):
        records = export_requests(asked.wanted)
    refused = list_refusals(asked.refused, limit=None) if asked.refused else []
    rows = itertools.chain(
        (write_refusal(each, key_names) for each in refused), (write_request(record, key_names) for record in records)
    )
    return _send_csv(asked, write_csv(COLUMNS, rows))


def _send_csv(asked: Asked, pieces: Iterator[str]) -> Response:
    answer = Response(stream_with_context(pieces), mimetype="text/csv")
    name = f"usage-{asked.first:%Y-%m-%d}-{asked.last:%Y-%m-%d}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


@dashboard.get("/usage/<request_id>")
@needs("own_usage")
def show_receipt(request_id: str) -> Any:
    """One request, explained to the nano-dollar; while it runs, its hold."""
    try:
        record = find_request(g.account_id, request_id, find_seen_member())
    except NotFound:
        return _show_running(request_id)
    key = next(iter(list_all_keys(g.account_id, Key.id == record.key_id)), None)
    receipt = make_receipt(record, list_refunds(g.account_id, record.request_id))
    settings: Settings = current_app.config["BRIDGE"]
    return render_template(
        "dashboard/receipt.html",
        receipt=receipt,
        key=key,
        with_channels=settings.show_channel_names or current_user.is_operator,
    )


def _group(
    asked: Asked, used: Parts, refused: Refusals, key_names: dict[int, str]
) -> list[tuple[str, str, str, Sums, int | None]]:
    """The filter's sums by what it is grouped by: value, name, colour in the chart, sums, and how many were refused:
    None for end users and tags, which nobody read then."""
    colours = {series.name: series.colour for series in rank_parts(used.spans)}
    names = {str(key_id): name for key_id, name in key_names.items()} if asked.by == "key" else {}
    counts = asked.refused is not None and asked.by not in KINDS
    return [
        (
            group,
            names.get(group, group),
            colours.get(group, "c0"),
            sums,
            refused.by_part.get(group, 0) if counts else None,
        )
        for group, sums in used.groups.items()
    ]


def _sum_refused(asked: Asked) -> dict[str, int] | None:
    """How many requests of each group were refused; None for end users and tags, which nobody read then."""
    if asked.refused is None or asked.by in KINDS:
        return None
    if asked.by == "model":
        return sum_refusals_by_model(asked.refused)
    return {str(key_id): requests for key_id, requests in sum_refusals_by_key(asked.refused).items()}


def _sum_by_day(refused: Refusals) -> dict[datetime.datetime, int]:
    days: dict[datetime.datetime, int] = collections.defaultdict(int)
    for hour, requests in refused.by_hour.items():
        days[hour.replace(hour=0)] += requests
    return days


def _is_hourly(asked: Asked) -> bool:
    return asked.days == 1 and asked.by not in KINDS


def _draw(
    asked: Asked, sums: list[SpanSum], refused: dict[datetime.datetime, int]
) -> list[tuple[Chart, dict[Any, Any]]]:
    """The chart in both widths; of days, each with its address and its figures."""
    hourly = _is_hourly(asked)
    step = datetime.timedelta(hours=1) if hourly else datetime.timedelta(days=1)
    spans = [asked.first + number * step for number in range(24 if hourly else asked.days)]
    links = {} if hourly else _link_days(asked, spans, sums, refused)
    return [
        (
            draw(
                sums,
                spans,
                HOUR if hourly else DAY,
                width=width,
                name_every=-(-len(spans) // most_names),
                css=css,
            ),
            links,
        )
        for width, most_names, css in ((WIDTH, WIDE_NAMES, "wide"), (PHONE_WIDTH, PHONE_NAMES, "slim"))
    ]


def _link_days(
    asked: Asked, days: list[datetime.datetime], sums: list[SpanSum], refused: dict[datetime.datetime, int]
) -> dict[datetime.datetime, tuple[str, str]]:
    """Where each day's bar leads, and what it says."""
    requests: dict[datetime.datetime, int] = collections.defaultdict(int)
    charged: dict[datetime.datetime, int] = collections.defaultdict(int)
    for one in sums:
        requests[one.start] += one.requests
        charged[one.start] += one.charge_nanos
    found = {}
    for day in days:
        said = {
            "day": write_date(day, SHORT_DAY),
            "amount": spend(charged[day]),
            "count": count(requests[day]),
        }
        text = translate("%(day)s: %(amount)s, %(count)s requests", **said)
        if refused.get(day):
            count_refused = count(refused[day])
            text = translate(
                "%(day)s: %(amount)s, %(count)s requests, %(refused)s refused", refused=count_refused, **said
            )
        found[day] = asked.address_of_day(day), text
    return found


def _price_instead(totals: Sums, model_id: str) -> Instead | None:
    """What these tokens cost at another model's ordinary prices; None without such a model."""
    if not model_id or not totals.requests:
        return None
    model = next((each for each in list_own_models() if each.id == model_id), None)
    if model is None:
        return None
    usage = Usage(
        totals.prompt_tokens,
        totals.completion_tokens,
        cached_tokens=totals.cached_tokens,
        reasoning_tokens=totals.reasoning_tokens,
    )
    return Instead(model.id, round_up(model.price.base.sum(usage, totals.requests)))


def _show_running(request_id: str) -> str:
    try:
        hold = find_running_request(g.account_id, request_id, find_seen_member())
    except NotFound:
        abort(404)
    key_names = name_keys(g.account_id, [hold.key_id])
    return render_template("dashboard/running.html", hold=hold, details=json.loads(hold.details), key_names=key_names)
