"""The usage list with its filters, its CSV, and the receipt of a request."""

import collections
import dataclasses
import datetime
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response, abort, g, redirect, render_template, request, stream_with_context, url_for

from bridge.accounts.customers import find_terms
from bridge.accounts.keys import list_all_keys, name_keys
from bridge.accounts.tables import Key
from bridge.catalogue.listing import list_models, list_priced_ids
from bridge.chart import DAY, HOUR, RANKED, Chart, SpanSum, draw, rank_parts
from bridge.conversation.usage import Usage
from bridge.dashboard.door import dashboard
from bridge.dashboard.filters import count, spend
from bridge.dashboard.receipt import make_receipt
from bridge.dashboard.refused import find_remedy
from bridge.dashboard.usage_csv import COLUMNS, GROUP_COLUMNS, write_groups, write_refusal, write_request
from bridge.dashboard.usage_filter import GROUPS, PERIODS, REFUSED, RUNNING, Asked, read_filter
from bridge.errors import NotFound
from bridge.ledger.label_rollups import KINDS, MOST_LABELS
from bridge.ledger.refunds import find_refund
from bridge.ledger.rollups import Sums
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import (
    MOST_GROUPS,
    UsageFilter,
    UsagePage,
    export_requests,
    find_request,
    find_running_request,
    group_usage,
    list_models_used,
    list_requests,
    list_running,
    measure_first_content,
    normalise_id,
    read_usage,
)
from bridge.limits.refusals import (
    RefusalFilter,
    list_codes,
    list_refusals,
    sum_refusals_by_hour,
    sum_refusals_by_key,
    sum_refusals_by_model,
)
from bridge.money import round_up
from bridge.spreadsheet import write_csv

MOST_KEYS = 200  # in the filter's list
WIDTH, PHONE_WIDTH = 1040, 330  # of the chart, so that its text keeps its size
WIDE_NAMES, PHONE_NAMES = 16, 7  # of days below it


@dataclasses.dataclass(frozen=True)
class Instead:
    """What a filter's requests would have cost on another model, from their counts alone."""

    model_id: str
    charge_nanos: int


@dashboard.get("/usage")
def show_usage() -> Any:
    """The usage page. Its filter is the URL: period or dates, key, model, status, end user, tag; `by` what it is
    grouped by; `instead` a model to compare with; `before` and `after` are the requests at the page's edges."""
    wanted = request.args.get("q", "").strip()
    missing = ""
    if wanted:
        try:
            return redirect(url_for("dashboard.show_receipt", request_id=normalise_id(wanted)))
        except NotFound:
            missing = "That is not the id of a request (req_…) or of an answer (chatcmpl-…)."
    asked = read_filter(request.args)
    status = asked.fields["status"]
    running = list_running(g.account_id, asked.wanted.key_id)
    page = UsagePage([], False, False)
    if status not in (REFUSED, RUNNING):
        page = list_requests(asked.wanted, older_than=request.args.get("before"), newer_than=request.args.get("after"))
    refused = list_refusals(asked.refused) if asked.refused else []
    refused_by_day = _sum_by_day(asked.refused)
    totals, groups, spans = read_usage(asked.wanted, asked.by, "hour" if _is_hourly(asked) else "day", RANKED)
    shown = [record.key_id for record in page.records]
    shown += [hold.key_id for hold in running] + [each.key_id for each in refused]
    key_names = _name_keys(shown, asked.fields["key"])
    return render_template(
        "dashboard/usage.html",
        asked=asked,
        chosen=asked.fields,
        periods=PERIODS,
        models=list_models_used(g.account_id),
        key_names=key_names,
        totals=totals,
        timing=measure_first_content(asked.wanted),
        refused=[(each, find_remedy(each)) for each in refused],
        refused_total=sum(refused_by_day.values()) if asked.refused else None,
        codes=list_codes(g.account_id, asked.first) if status == REFUSED else [],
        running=[(hold, json.loads(hold.details)) for hold in running],
        groups=_group(asked, groups, spans, key_names) if totals.requests else None,
        chart=_draw(asked, spans, refused_by_day) if totals.requests else [],
        group_names=GROUPS,
        labels=_list_labels(asked),
        most_groups=MOST_GROUPS,
        most_labels=MOST_LABELS,
        instead=_price_instead(totals, request.args.get("instead", "")),
        priced=list_priced_ids(),
        page=page,
        id_asked=wanted,
        missing=missing,
    )


@dashboard.get("/usage.csv")
def export_usage() -> Response:
    """The filter's requests as CSV, at most 50,000, times in UTC and costs exact, and its refusals; or, with `sums`,
    what they come to in each group."""
    asked = read_filter(request.args)
    key_names = name_keys(g.account_id)
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
def show_receipt(request_id: str) -> Any:
    """One request, explained to the nano-dollar; while it runs, its hold."""
    try:
        record = find_request(g.account_id, request_id)
    except NotFound:
        return _show_running(request_id)
    key = next(iter(list_all_keys(g.account_id, Key.id == record.key_id)), None)
    receipt = make_receipt(record, find_refund(g.account_id, record.request_id))
    return render_template("dashboard/receipt.html", receipt=receipt, key=key)


def _group(
    asked: Asked, groups: dict[str, Sums], spans: list[SpanSum], key_names: dict[int, str]
) -> list[tuple[str, str, str, Sums, int | None]]:
    """The filter's sums by what it is grouped by: value, name, colour in the chart, sums, and how many were refused."""
    refused = _sum_refused(asked)
    colours = {series.name: series.colour for series in rank_parts(spans)}
    names = {str(key_id): name for key_id, name in key_names.items()} if asked.by == "key" else {}
    if asked.by == "key":
        names |= {str(key_id): name for key_id, name in name_keys(g.account_id, map(int, groups)).items()}
    return [
        (
            group,
            names.get(group, group),
            colours.get(group, "c0"),
            sums,
            None if refused is None else refused.get(group, 0),
        )
        for group, sums in groups.items()
    ]


def _sum_refused(asked: Asked) -> dict[str, int] | None:
    """How many requests of each group were refused; None for end users and tags, which nobody read then."""
    if asked.refused is None or asked.by in KINDS:
        return None
    if asked.by == "model":
        return sum_refusals_by_model(asked.refused)
    return {str(key_id): requests for key_id, requests in sum_refusals_by_key(asked.refused).items()}


def _sum_by_day(wanted: RefusalFilter | None) -> dict[datetime.datetime, int]:
    days: dict[datetime.datetime, int] = collections.defaultdict(int)
    if wanted is not None:
        for hour, requests in sum_refusals_by_hour(wanted).items():
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
        text = f"{day.day} {day:%b}: {spend(charged[day])}, {count(requests[day])} requests"
        if refused.get(day):
            text += f", {count(refused[day])} refused"
        found[day] = asked.address_of_day(day), text
    return found


def _price_instead(totals: Sums, model_id: str) -> Instead | None:
    """What these tokens cost at another model's ordinary prices; None without such a model."""
    if not model_id or not totals.requests:
        return None
    model = next((each for each in list_models(*find_terms(g.account_id)) if each.id == model_id), None)
    if model is None:
        return None
    usage = Usage(
        totals.prompt_tokens,
        totals.completion_tokens,
        cached_tokens=totals.cached_tokens,
        reasoning_tokens=totals.reasoning_tokens,
    )
    return Instead(model.id, round_up(model.price.base.sum(usage, totals.requests)))


def _list_labels(asked: Asked) -> dict[str, list[str]]:
    """The period's dearest end users and tags, to be offered; {} for an account that names none."""
    period = UsageFilter(g.account_id, asked.first)
    found = {kind: [label for label in group_usage(period, kind) if label] for kind in KINDS}
    return found if any(found.values()) or any(asked.fields[kind] for kind in KINDS) else {}


def _show_running(request_id: str) -> str:
    try:
        hold = find_running_request(g.account_id, request_id)
    except NotFound:
        abort(404)
    key_names = name_keys(g.account_id, [hold.key_id])
    return render_template("dashboard/running.html", hold=hold, details=json.loads(hold.details), key_names=key_names)


def _name_keys(key_ids: Iterable[int], chosen: str) -> dict[int, str]:
    """The filter's keys: the newest ones, and those that the page shows."""
    offered = {key.id: key.name for key in list_all_keys(g.account_id, ~Key.is_drill, limit=MOST_KEYS)}
    others = (set(key_ids) | ({int(chosen)} if chosen else set())) - offered.keys()
    return offered | name_keys(g.account_id, others) if others else offered
