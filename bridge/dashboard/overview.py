"""The overview: money, spend by model, the first steps, the last requests."""

import datetime
from typing import Any

from flask import g, render_template, request, url_for

from bridge.accounts.key_search import name_keys
from bridge.chart import DAY, HOUR, SpanSum, draw, rank_parts
from bridge.dashboard.account import find_account_state
from bridge.dashboard.banner import count_days_left, keep_used_lately
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.refused import find_remedy
from bridge.dashboard.scope import find_seen_member, list_near_budget
from bridge.dashboard.usage_filter import OWN_DATES
from bridge.db import now_utc
from bridge.languages import to_translate
from bridge.ledger.first_steps import FirstSteps, find_first_steps
from bridge.ledger.usage import UsageFilter, list_requests, read_usage, sum_usage
from bridge.limits.refusals import RefusalFilter, read_refusals

PERIODS = {
    "today": (1, to_translate("Today")),
    "7": (7, to_translate("7 days")),
    "14": (14, to_translate("14 days")),
    "30": (30, to_translate("30 days")),
}
LAST_REQUESTS = 5
MOST_REFUSED = 3  # kinds of refused calls; the usage page has all
BESIDE_WIDTH, ALONE_WIDTH, PHONE_WIDTH = 640, 1040, 330  # of the chart, so that its text keeps its size


@dashboard.get("/")
@needs("own_usage")
def show_overview() -> str:
    period = request.args.get("period", "14")
    period = period if period in PERIODS else "14"
    days, period_name = PERIODS[period]
    today = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - datetime.timedelta(days=days - 1)
    state, steps, seen = find_account_state(), _find_first_steps(), find_seen_member()
    used = read_usage(
        UsageFilter(g.account_id, since=since, member_id=seen), "model", "hour" if days == 1 else "day", 0
    )
    keep_used_lately(used.spans, since)
    yesterday = today - datetime.timedelta(days=1)
    earlier = UsageFilter(g.account_id, since=yesterday, until=today, member_id=seen)
    before = sum_usage(earlier).charge_nanos if days == 1 else None
    last = list_requests(UsageFilter(g.account_id, member_id=seen), limit=LAST_REQUESTS).records
    refused = read_refusals(RefusalFilter(g.account_id, since, member_id=seen), limit=MOST_REFUSED)
    near = list_near_budget()
    width = BESIDE_WIDTH if steps or near else ALONE_WIDTH
    return render_template(
        "dashboard/overview.html",
        period=period,
        period_name=period_name,
        periods=PERIODS,
        money=state.money,
        totals=used.totals,
        spent_today=_sum_charges(used.spans, since=today),
        spent_yesterday=_sum_charges(used.spans, since=yesterday, until=today) if before is None else before,
        # what the others spend, who share the balance, isn't for those to know who see their own keys alone
        days_left=None if seen else count_days_left(state.money.available_nanos, used.totals.charge_nanos, days),
        chart=_draw_spend(used.spans, since, days, width),
        steps=steps,
        near=near,
        refused=[(each, find_remedy(each)) for each in refused.kinds],
        refused_url=f"{url_for('dashboard.show_usage')}?period={OWN_DATES}&from={since:%Y-%m-%d}&status=refused",
        refused_total=refused.requests,
        last=last,
        key_names=name_keys(g.account_id, {each.key_id for each in last} | {each.key_id for each in refused.kinds}),
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


def _find_first_steps() -> FirstSteps | None:
    """The account's first steps; None if all are done."""
    steps = find_first_steps(g.account_id, find_seen_member())
    g.first_credit = steps.credit  # for the banner
    return None if steps.are_done else steps
