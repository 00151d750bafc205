"""The filter of the operator's log: read from the URL, and written as one."""

import dataclasses
import datetime
from collections.abc import Mapping
from urllib.parse import urlencode

from flask import url_for

from bridge.db import now_utc
from bridge.languages import to_translate
from bridge.ledger.request_log import LogFilter
from bridge.ledger.usage import OUTCOME_GROUPS
from bridge.limits.refusal_log import RefusedFilter

PERIODS = {"hour": to_translate("1 hour"), "today": to_translate("Today"), "7": to_translate("7 days")}
DEFAULT_PERIOD, OWN_DATES, AT = "hour", "dates", "at"
MOST_DAYS = 92
REFUSED, RUNNING = "refused", "running"
STATUSES = (*OUTCOME_GROUPS, REFUSED, RUNNING)
FIELDS = (
    *("period", "from", "to", "at", "account", "key", "model", "channel"),
    *("status", "code", "end_user", "tag", "live"),
)
MINUTES, HOURS, DAYS = "minute", "hour", "day"  # what a bar of the chart stands for
STEPS = {span: datetime.timedelta(**{f"{span}s": 1}) for span in (MINUTES, HOURS, DAYS)}
FORMS = {MINUTES: "%Y-%m-%dT%H:%M", HOURS: "%Y-%m-%dT%H", DAYS: "%Y-%m-%d"}  # of `at`
ONE_MINUTE, ONE_DAY = STEPS[MINUTES], STEPS[DAYS]


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the URL asks for: its fields without what they can't mean, the window from `since` until before `until`, and
    what a bar of its chart stands for ("": one minute has no chart)."""

    fields: dict[str, str]
    since: datetime.datetime
    until: datetime.datetime
    span: str
    _paths: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def wanted(self) -> LogFilter:
        """The settled requests. Those that were refused or still run have no rows."""
        status, code = self.fields["status"], self.fields["code"]
        return LogFilter(
            self.since,
            self.until,
            account_id=self._number("account"),
            key_id=self._number("key"),
            model_id=self.fields["model"] or None,
            channel_name=self.fields["channel"] or None,
            ending=status if status in OUTCOME_GROUPS else None,
            status=int(code) if code.isdigit() else None,
            code=code if code and not code.isdigit() else None,
            end_user=self.fields["end_user"] or None,
            tag=self.fields["tag"] or None,
        )

    @property
    def refused(self) -> RefusedFilter | None:
        """The refusals; None where the filter asks for something that they don't have."""
        if self.fields["status"] not in ("", REFUSED):
            return None
        if any(self.fields[name] for name in ("channel", "end_user", "tag")):
            return None
        code = self.fields["code"]
        return RefusedFilter(
            self.since,
            self.until,
            account_id=self._number("account"),
            key_id=self._number("key"),
            model_id=self.fields["model"] or None,
            code=code if code and not code.isdigit() else None,
            status=int(code) if code.isdigit() else None,
        )

    @property
    def asks_for_rows(self) -> bool:
        """Whether settled requests can be among what it chooses."""
        return self.fields["status"] not in (REFUSED, RUNNING)

    @property
    def asks_for_running(self) -> bool:
        """Whether running requests can be: they have no channel, status or code yet."""
        if self.fields["status"] not in ("", RUNNING) or self.fields["channel"] or self.fields["code"]:
            return False
        return self.until > now_utc()

    @property
    def may_live(self) -> bool:
        """Whether new requests can still come into its window."""
        return self.until > now_utc()

    @property
    def further(self) -> int:
        """How many of the filters are set that stand in the fold."""
        return sum(bool(self.fields[name]) for name in ("account", "key", "code", "end_user", "tag"))

    def address(self, endpoint: str = "admin.show_requests", **changes: str) -> str:
        """The URL of this filter with changes."""
        query = {name: value for name, value in {**self.fields, **changes}.items() if value}
        path = self._paths.get(endpoint) or self._paths.setdefault(endpoint, url_for(endpoint))  # a page has hundreds
        return f"{path}?{urlencode(query)}"

    def address_of(self, start: datetime.datetime) -> str:
        """The URL of one bar of the chart."""
        return self.address(**{"period": AT, "from": "", "to": "", "at": f"{start:{FORMS[self.span]}}"})

    def list_starts(self) -> list[datetime.datetime]:
        """The chart's bars, in order."""
        if not self.span:
            return []
        step = STEPS[self.span]
        return [self.since + step * place for place in range(-(-(self.until - self.since) // step))]

    def _number(self, name: str) -> int | None:
        return int(self.fields[name]) if self.fields[name] else None


def read_filter(arguments: Mapping[str, str]) -> Asked:
    """The filter of a URL's query. What it can't mean counts as absent."""
    fields = {name: arguments.get(name, "").strip()[:256] for name in FIELDS}
    for name in ("account", "key"):
        if not (fields[name].isascii() and fields[name].isdigit() and len(fields[name]) < 18):
            fields[name] = ""
    code = fields["code"].lower()
    if code.isdigit() and not (code.isascii() and len(code) == 3):
        code = ""
    fields["code"] = code
    if fields["status"] not in STATUSES:
        fields["status"] = ""
    if fields["live"] != "off":
        fields["live"] = ""
    since, until, span = _read_window(fields)
    return Asked(fields, since, until, span)


def _read_window(fields: dict[str, str]) -> tuple[datetime.datetime, datetime.datetime, str]:
    """The window, and what its bars stand for. Fields that say nothing of it are emptied."""
    now = now_utc()
    if fields["period"] == AT and (found := _read_at(fields["at"])):
        fields["from"] = fields["to"] = ""
        return found
    fields["at"] = ""
    first, last = _read_day(fields["from"]), _read_day(fields["to"])
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if fields["period"] == OWN_DATES or (first and not fields["period"]):
        last = min(last or first or today, today)
        first = min(first or last, last)
        first = max(first, last - (MOST_DAYS - 1) * ONE_DAY)
        fields.update({"period": OWN_DATES, "from": f"{first:%Y-%m-%d}", "to": f"{last:%Y-%m-%d}"})
        return first, last + ONE_DAY, HOURS if first == last else DAYS
    fields["from"] = fields["to"] = ""
    if fields["period"] not in PERIODS:
        fields["period"] = DEFAULT_PERIOD
    if fields["period"] == "hour":
        until = now.replace(second=0, microsecond=0) + ONE_MINUTE
        return until - 60 * ONE_MINUTE, until, MINUTES
    if fields["period"] == "today":
        return today, today + ONE_DAY, HOURS
    return today - 6 * ONE_DAY, today + ONE_DAY, DAYS


def _read_at(text: str) -> tuple[datetime.datetime, datetime.datetime, str] | None:
    """The window of one bar, and the next finer bars in it."""
    finer = {MINUTES: "", HOURS: MINUTES, DAYS: HOURS}
    for span, form in FORMS.items():
        try:
            start = datetime.datetime.strptime(text, form).replace(tzinfo=datetime.UTC)
        except ValueError:
            continue
        return (start, start + STEPS[span], finer[span]) if 2000 <= start.year < 2200 else None
    return None


def _read_day(text: str) -> datetime.datetime | None:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return None
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC) if 2000 <= day.year < 2200 else None
