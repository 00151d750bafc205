"""Home: what came in today, in 7 and in 30 days, what needs a decision, who runs low. Until the first real channel has
answered, it is the list of what there is to set up."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import current_app, render_template, request, url_for

from bridge import versions
from bridge.accounts.customers import select_account_count
from bridge.admin.attention import find_unserved, list_matters
from bridge.admin.door import admin, needs_right
from bridge.admin.setup import list_real
from bridge.catalogue.below_cost import select_known_losing
from bridge.catalogue.editing import list_channels
from bridge.catalogue.incidents import TOPIC as INCIDENTS
from bridge.catalogue.key_health import select_refused
from bridge.catalogue.listing import TOPIC, list_models
from bridge.catalogue.tables import Channel
from bridge.chart import SpanSum, draw
from bridge.config import Settings
from bridge.daily import LEDGER_CHECK, list_days
from bridge.db import db, now_utc
from bridge.languages import to_translate, translate
from bridge.ledger import sweep
from bridge.ledger.totals import Total, add_up, list_busiest, list_first_content_ms, list_running_low, sum_hours
from bridge.mail import outbox
from bridge.payments import figures
from bridge.payments.approvals import select_waiting_count
from bridge.providers import stands_in

PERIODS = {"today": (1, to_translate("Today")), "7": (7, to_translate("7 days")), "30": (30, to_translate("30 days"))}

CHART_DAYS = 30
LOW_WITHIN_DAYS, LISTED = 3, 4
SAMPLED_ANSWERS = 1000
LATE = datetime.timedelta(minutes=10)  # of a job that looks every few seconds
WIDTH, PHONE_WIDTH = 600, 330  # of the chart, so that its text keeps its size
COLOURS = {"cost": "c0", "margin": "c1", "loss": "c6"}
ONE_DAY, ONE_HOUR = datetime.timedelta(days=1), datetime.timedelta(hours=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """The sums of a period up to now, and those of the period before up to the same moment."""

    now: Total
    before: Total


@admin.get("/")
@needs_right("look")
def show_home() -> str:
    channels = list_channels()
    real = list_real(channels)
    if not any(channel.last_answer_at for channel in real):
        return render_setup(channels, real)
    period = request.args.get("period", "today")
    period = period if period in PERIODS else "today"
    days, now = PERIODS[period][0], now_utc()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - (days - 1) * ONE_DAY
    hours = sum_hours(today - (max(CHART_DAYS, 2 * days) - 1) * ONE_DAY)
    month, pulse = _list_days(hours, today), _read_pulse(since, now)
    models = list_models(number=pulse["catalogue"] or 0, channels=channels)
    last_check = next(iter(list_days(LEDGER_CHECK, limit=1)), None)
    low = list_running_low(today - ONE_DAY, LOW_WITHIN_DAYS, LISTED)
    return render_template(
        "admin/home.html",
        period=period,
        periods=PERIODS,
        days=days,
        compared=compare(hours, now, days),
        paid={name: pulse[name] for name in ("paid_nanos", "paid", "declined")},
        speed=_find_speed(list_first_content_ms(SAMPLED_ANSWERS)),
        unserved=find_unserved(channels, models),
        matters=list_matters(channels, models, last_check, pulse),
        month=add_up(month.values()),
        links=_link_days(month),
        name_day=_name_day,
        chart=_draw(month),
        low=low,
        rules=figures.list_rules(one.account_id for one in low),
        busiest=list_busiest(today, LISTED),
        last_check=last_check,
        jobs_late=bool(pulse["holds_overdue"] or pulse["mails_overdue"]),
        mail=_describe_mail(_settings(), pulse["mails_failed"]),
    )


@admin.get("/setup")
@needs_right("channels")
def show_setup() -> str:
    """The list of what there is to set up, at any time."""
    channels = list_channels()
    return render_setup(channels, list_real(channels))


def render_setup(channels: Sequence[Channel], real: Sequence[Channel]) -> str:
    """What is set up and what is not, each open step with its link."""
    settings = _settings()
    sandbox = any(stands_in(channel.provider) and channel.enabled for channel in channels)
    chosen = next((channel for channel in real if channel.models is not None), None)
    return render_template(
        "admin/setup.html",
        channel=chosen or next(iter(real), None),
        chosen=chosen,
        answered=any(channel.last_answer_at for channel in real),
        sandbox=sandbox,
        settings=settings,
        customers=db.session.scalar(select_account_count()),
    )


def compare(hours: Mapping[datetime.datetime, Total], now: datetime.datetime, days: int) -> Compared:
    """The last `days` days, today among them, beside as many before that, as far as they had come by this time of day.
    The hour in which that was counts in part."""
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - (days - 1) * ONE_DAY
    earlier, until = start - days * ONE_DAY, now - days * ONE_DAY
    before = [
        total if until - at >= ONE_HOUR else total.part((until - at) / ONE_HOUR)
        for at, total in hours.items()
        if earlier <= at < until
    ]
    return Compared(add_up(total for at, total in hours.items() if at >= start), add_up(before))


def _read_pulse(since: datetime.datetime, now: datetime.datetime) -> dict[str, Any]:
    """Single figures of many rooms, by one statement."""
    queries: dict[str, sa.Select[Any]] = {
        "catalogue": versions.select_number(TOPIC),
        "incidents": versions.select_number(INCIDENTS),
        "paid_nanos": figures.select_paid_nanos(since),
        "paid": figures.select_paid_count(since),
        "declined": figures.select_declined_count(since),
        "reviews": figures.select_review_count(),
        "approvals": select_waiting_count(),
        "losing": select_known_losing(),
        "refused_keys": select_refused(),
        "mails_failed": outbox.select_failed_count(now - ONE_DAY),
        "mails_overdue": outbox.select_overdue_count(now - LATE),
        "holds_overdue": sweep.select_overdue_count(now - LATE),
        "suspended": select_account_count("suspended"),
    }
    columns = (query.scalar_subquery().label(name) for name, query in queries.items())
    return dict(db.session.execute(sa.select(*columns)).one()._mapping)


def _find_speed(sampled_ms: list[int]) -> tuple[int, int] | None:
    """Median and 95th percentile."""
    if not sampled_ms:
        return None
    return sampled_ms[len(sampled_ms) // 2], sampled_ms[len(sampled_ms) * 95 // 100]


def _list_days(hours: Mapping[datetime.datetime, Total], today: datetime.datetime) -> dict[datetime.datetime, Total]:
    """The totals of each of the chart's days."""
    days: dict[datetime.datetime, list[Total]] = {
        today - number * ONE_DAY: [] for number in reversed(range(CHART_DAYS))
    }
    for at, total in hours.items():
        if (day := at.replace(hour=0)) in days:
            days[day].append(total)
    return {day: add_up(totals) for day, totals in days.items()}


def _draw(days: Mapping[datetime.datetime, Total]) -> list[Any]:
    """Revenue a day as cost and margin, in both widths."""
    parts = [
        SpanSum(at, name, total.requests, nanos)
        for at, total in days.items()
        for name, nanos in (
            ("cost", min(total.charge_nanos, total.cost_nanos)),
            ("margin", max(0, total.margin_nanos)),
            ("loss", max(0, -total.margin_nanos)),
        )
    ]
    return [
        draw(parts, list(days), translate("%-d %b"), width=width, name_every=every, css=css, colours=COLOURS)
        for width, every, css in ((WIDTH, 4, "wide"), (PHONE_WIDTH, 8, "slim"))
    ]


def _name_day(day: datetime.datetime) -> str:
    return day.strftime(translate("%-d %b"))


def _link_days(days: Mapping[datetime.datetime, Total]) -> dict[datetime.datetime, tuple[str, Total]]:
    usage = url_for("admin.show_usage")
    return {day: (f"{usage}?from={day:%Y-%m-%d}&to={day:%Y-%m-%d}", total) for day, total in days.items()}


def _describe_mail(settings: Settings, failed: int) -> tuple[str, str]:
    if not settings.mails_go_out:
        return "off" if settings.development else "warn", translate("No mail server")
    return ("warn", translate("%(count)s emails failed", count=failed)) if failed else ("ok", translate("Mail works"))


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings
