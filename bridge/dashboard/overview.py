"""The overview: money, spend by model, the first steps, the last requests."""

import datetime
from typing import Any

from flask import g, render_template, request, url_for

from bridge.accounts.keys import has_keys, name_keys
from bridge.chart import DAY, HOUR, SpanSum, draw, rank_parts
from bridge.dashboard.banner import count_days_left, find_money
from bridge.dashboard.door import dashboard
from bridge.dashboard.refused import find_remedy
from bridge.dashboard.usage_filter import OWN_DATES
from bridge.db import now_utc
from bridge.ledger.journal import find_first_credit, list_keys_near_budget
from bridge.ledger.usage import UsageFilter, find_first_request, list_requests, read_usage, sum_usage
from bridge.limits.refusals import RefusalFilter, list_refusals

PERIODS = {"today": (1, "Today"), "7": (7, "7 days"), "14": (14, "14 days"), "30": (30, "30 days")}
LAST_REQUESTS = 5
MOST_REFUSED = 3  # kinds of refused calls; the usage page has all
BESIDE_WIDTH, ALONE_WIDTH, PHONE_WIDTH = 640, 1040, 330  # of the chart, so that its text keeps its size


@dashboard.get("/")
def show_overview() -> str:
    period = request.args.get("period", "14")
    period = period if period in PERIODS else "14"
    days, period_name = PERIODS[period]
    today = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - datetime.timedelta(days=days - 1)
    wanted = UsageFilter(g.account_id, since=since)
    totals, _, sums = read_usage(wanted, "model", "hour" if days == 1 else "day", 0)
    yesterday = today - datetime.timedelta(days=1)
    before = sum_usage(UsageFilter(g.account_id, since=yesterday, until=today)).charge_nanos if days == 1 else None
    steps, near = _list_first_steps(), list_keys_near_budget(g.account_id)
    money = find_money()
    last = list_requests(UsageFilter(g.account_id), limit=LAST_REQUESTS).records
    refused = list_refusals(RefusalFilter(g.account_id, since), limit=None)
    return render_template(
        "dashboard/overview.html",
        period=period,
        period_name=period_name,
        periods=PERIODS,
        money=money,
        totals=totals,
        spent_today=_sum_charges(sums, since=today),
        spent_yesterday=_sum_charges(sums, since=yesterday, until=today) if before is None else before,
        days_left=count_days_left(money.available_nanos, totals.charge_nanos, days),
        chart=_draw_spend(sums, since, days, BESIDE_WIDTH if steps or near else ALONE_WIDTH),
        steps=steps,
        near=near,
        refused=[(each, find_remedy(each)) for each in refused[:MOST_REFUSED]],
        refused_url=f"{url_for('dashboard.show_usage')}?period={OWN_DATES}&from={since:%Y-%m-%d}&status=refused",
        refused_total=sum(each.requests for each in refused),
        last=last,
        key_names=name_keys(g.account_id, {record.key_id for record in last} | {each.key_id for each in refused}),
    )


def _sum_charges(sums: list[SpanSum], since: datetime.datetime, until: datetime.datetime | None = None) -> int:
    return sum(each.charge_nanos for each in sums if since <= each.start and (until is None or each.start < until))


def _draw_spend(sums: list[SpanSum], since: datetime.datetime, days: int, width: int) -> dict[str, Any] | None:
    """The chart in both widths, with the table that is its legend; None if the period has no requests."""
    hourly = days == 1
    if not sums:
        return None
    spans = [since + datetime.timedelta(**{"hours" if hourly else "days": n}) for n in range(24 if hourly else days)]
    form = HOUR if hourly else DAY
    sparse = 3 if len(spans) < 20 else 6
    return {
        "series": rank_parts(sums),
        "drawings": [
            draw(sums, spans, form, width=width, name_every=1 if len(spans) < 20 else 3, css="wide"),
            draw(sums, spans, form, width=PHONE_WIDTH, name_every=sparse if len(spans) > 7 else 1, css="slim"),
        ],
        "hourly": hourly,
    }


def _list_first_steps() -> dict[str, Any] | None:
    """Which of the first steps (key, call, credit) are done; None if all are."""
    first_request = find_first_request(g.account_id)
    first_credit = find_first_credit(g.account_id)
    has_key = has_keys(g.account_id)
    if has_key and first_request and first_credit:
        return None
    return {"has_key": has_key, "request": first_request, "credit": first_credit}
