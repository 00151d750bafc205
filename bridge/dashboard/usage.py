"""The usage list with its filters, its CSV, and the receipt of a request."""

import datetime
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from flask import Response, abort, g, redirect, render_template, request, stream_with_context, url_for

from bridge.accounts.keys import list_all_keys, name_keys
from bridge.accounts.tables import Key
from bridge.conversation.labels import split_tags
from bridge.dashboard.door import dashboard
from bridge.dashboard.receipt import make_receipt
from bridge.db import now_utc
from bridge.errors import NotFound
from bridge.ledger.label_rollups import MOST_LABELS
from bridge.ledger.refunds import find_refund
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import (
    MOST_GROUPS,
    OUTCOME_GROUPS,
    UsageFilter,
    export_requests,
    find_request,
    find_running_request,
    group_usage,
    list_models_used,
    list_requests,
    measure_first_content,
    normalise_id,
    sum_usage,
)
from bridge.money import format_dollars
from bridge.spreadsheet import write_csv

PERIODS = {"today": (1, "Today"), "7": (7, "7 days"), "30": (30, "30 days"), "90": (90, "90 days")}
DEFAULT_PERIOD = "7"
FIELDS = ("period", "key", "model", "status", "end_user", "tag", "by")
MOST_KEYS = 200  # in the filter's list
CSV_COLUMNS = (
    *("request_id", "created_at", "key", "endpoint", "model_asked", "model", "status", "outcome", "error_code"),
    *("prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens", "reasoning_tokens"),
    *("tokens_source", "cost_dollars", "price_version", "stream", "first_content_ms", "total_ms"),
    *("end_user", "tags", "stop_at_dollars"),
)
GROUPS = {"end_user": "By end user", "tag": "By tag"}


@dashboard.get("/usage")
def show_usage() -> Any:
    """The usage list. Its filter is the URL: period, key, model, status, end user, tag; `by` what it is grouped by;
    `before` and `after` are the requests at the page's edges."""
    wanted = request.args.get("q", "").strip()
    missing = ""
    if wanted:
        try:
            return redirect(url_for("dashboard.show_receipt", request_id=normalise_id(wanted)))
        except NotFound:
            missing = "That is not the id of a request (req_…) or of an answer (chatcmpl-…)."
    chosen, wanted_filter = _read_filter()
    page = list_requests(wanted_filter, older_than=request.args.get("before"), newer_than=request.args.get("after"))
    return render_template(
        "dashboard/usage.html",
        chosen=chosen,
        address=_address,
        periods=PERIODS,
        models=list_models_used(g.account_id),
        key_names=_name_keys(page.records, chosen["key"]),
        totals=sum_usage(wanted_filter),
        timing=measure_first_content(wanted_filter),
        groups=group_usage(wanted_filter, chosen["by"]) if chosen["by"] else None,
        group_names=GROUPS,
        labels=_list_labels(chosen, wanted_filter),
        most_groups=MOST_GROUPS,
        most_labels=MOST_LABELS,
        page=page,
        asked=wanted,
        missing=missing,
    )


@dashboard.get("/usage.csv")
def export_usage() -> Response:
    """The filter's requests as CSV, at most 50,000, times in UTC and costs exact."""
    chosen, wanted = _read_filter()
    key_names = name_keys(g.account_id)
    rows = (csv_row(record, key_names) for record in export_requests(wanted))
    answer = Response(stream_with_context(write_csv(CSV_COLUMNS, rows)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="usage-{chosen["period"]}.csv"'
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


def _list_labels(chosen: dict[str, str], wanted: UsageFilter) -> dict[str, list[str]]:
    """The period's dearest end users and tags, to be offered; {} for an account that names none."""
    period = UsageFilter(wanted.account_id, wanted.since)
    found = {kind: [label for label in group_usage(period, kind) if label] for kind in GROUPS}
    return found if any(found.values()) or any(chosen[kind] for kind in (*GROUPS, "by")) else {}


def _show_running(request_id: str) -> str:
    try:
        hold = find_running_request(g.account_id, request_id)
    except NotFound:
        abort(404)
    key_names = name_keys(g.account_id, [hold.key_id])
    return render_template("dashboard/running.html", hold=hold, details=json.loads(hold.details), key_names=key_names)


def _name_keys(records: Iterable[UsageRecord], chosen: str) -> dict[int, str]:
    """The filter's keys: the newest ones, and those that the page shows."""
    offered = {key.id: key.name for key in list_all_keys(g.account_id, limit=MOST_KEYS)}
    shown = {record.key_id for record in records} | ({int(chosen)} if chosen else set())
    return offered | name_keys(g.account_id, shown - offered.keys())


def _read_filter() -> tuple[dict[str, str], UsageFilter]:
    """The URL's fields, without unknown values, and the filter made from them."""
    asked = {name: request.args.get(name, "").strip() for name in FIELDS}
    if asked["period"] not in PERIODS:
        asked["period"] = DEFAULT_PERIOD
    if not (asked["key"].isascii() and asked["key"].isdigit() and len(asked["key"]) < 18):
        asked["key"] = ""
    if asked["status"] not in OUTCOME_GROUPS:
        asked["status"] = ""
    if asked["by"] not in GROUPS:
        asked["by"] = ""
    today = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = UsageFilter(
        g.account_id,
        since=today - datetime.timedelta(days=PERIODS[asked["period"]][0] - 1),
        key_id=int(asked["key"]) if asked["key"] else None,
        model_id=asked["model"] or None,
        outcome=asked["status"] or None,
        end_user=asked["end_user"] or None,
        tag=asked["tag"] or None,
    )
    return asked, wanted


def _address(chosen: dict[str, str], endpoint: str = "dashboard.show_usage", **changes: str) -> str:
    """The URL of a filter with changes."""
    query = {name: value for name, value in {**chosen, **changes}.items() if value}
    return f"{url_for(endpoint)}?{urlencode(query)}"


def csv_row(record: UsageRecord, key_names: dict[int, str]) -> list[object]:
    """A request as CSV_COLUMNS say."""
    return [
        record.request_id,
        f"{record.created_at:%Y-%m-%dT%H:%M:%S.%f}Z",
        key_names.get(record.key_id, str(record.key_id)),
        record.endpoint,
        record.model_asked,
        record.model_id,
        record.status,
        record.outcome,
        record.error_code or "",
        record.prompt_tokens,
        record.cached_tokens,
        record.cache_write_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.tokens_source,
        format_dollars(record.charge_nanos),
        record.price_id,
        "true" if record.stream else "false",
        "" if record.first_content_ms is None else record.first_content_ms,
        record.total_ms,
        record.end_user or "",
        ", ".join(f"{name}={value}" for name, value in split_tags(record.tags).items()),
        "" if record.stop_at_nanos is None else format_dollars(record.stop_at_nanos),
    ]
