"""The usage page's filter: read from the URL, and written as one."""

import dataclasses
import datetime
from collections.abc import Mapping
from urllib.parse import quote_plus

from flask import g

from bridge.dashboard.account import path_of
from bridge.dashboard.scope import find_seen_member, read_member_id
from bridge.db import now_utc
from bridge.languages import to_translate
from bridge.ledger.usage import OUTCOME_GROUPS, UsageFilter
from bridge.limits.refusals import RefusalFilter

PERIODS = {
    "today": (1, to_translate("Today")),
    "7": (7, to_translate("7 days")),
    "30": (30, to_translate("30 days")),
    "90": (90, to_translate("90 days")),
}
DEFAULT_PERIOD, OWN_DATES = "7", "dates"
MOST_DAYS = 366
GROUPS = {
    "model": to_translate("Model"),
    "key": to_translate("Key"),
    "end_user": to_translate("End user"),
    "tag": to_translate("Tag"),
}
REFUSED, RUNNING = "refused", "running"
STATUSES = (*OUTCOME_GROUPS, REFUSED, RUNNING)
FIELDS = ("period", "from", "to", "key", "of", "model", "status", "code", "end_user", "tag", "by", "instead")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the URL asks for. `fields` are its fields without unknown values; `first` and `last` are days in UTC."""

    fields: dict[str, str]
    first: datetime.datetime
    last: datetime.datetime

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.last - self.first).days + 1

    @property
    def by(self) -> str:
        """What usage is grouped by."""
        return self.fields["by"] or "model"

    @property
    def wanted(self) -> UsageFilter:
        """The requests. Those that were refused or still run have no rows: then the status chooses none of them."""
        status = self.fields["status"]
        return UsageFilter(
            g.account_id,
            since=self.first,
            until=self.last + datetime.timedelta(days=1) if self.fields["period"] == OWN_DATES else None,
            key_id=self._key_id,
            model_id=self.fields["model"] or None,
            outcome=status if status in OUTCOME_GROUPS else None,
            end_user=self.fields["end_user"] or None,
            tag=self.fields["tag"] or None,
            member_id=self.member_id,
        )

    @property
    def refused(self) -> RefusalFilter | None:
        """The refusals; None where the filter asks for something that they don't have."""
        status = self.fields["status"]
        if status not in ("", REFUSED) or self.fields["end_user"] or self.fields["tag"]:
            return None
        return RefusalFilter(
            g.account_id,
            since=self.first,
            until=self.last + datetime.timedelta(days=1),
            key_id=self._key_id,
            model_id=self.fields["model"] or None,
            code=self.fields["code"] or None,
            member_id=self.member_id,
        )

    @property
    def is_whole(self) -> bool:
        """Whether it chooses all requests of its period, up to now, by model."""
        narrowing = ("key", "of", "model", "status", "end_user", "tag", "to")
        return self.by == "model" and not any(self.fields[name] for name in narrowing)

    @property
    def member_id(self) -> int | None:
        """Of whose keys: of those who don't see all, their own."""
        seen = find_seen_member()
        return read_member_id(self.fields["of"]) if seen is None else seen

    @property
    def _key_id(self) -> int | None:
        return int(self.fields["key"]) if self.fields["key"] else None

    def address(self, endpoint: str = "dashboard.show_usage", **changes: str) -> str:
        """The URL of this filter with changes."""
        query = {name: value for name, value in {**self.fields, **changes}.items() if value}
        fields = "&".join([f"{name}={quote_plus(value)}" for name, value in query.items()])  # a page has hundreds
        return f"{path_of(endpoint)}?{fields}"

    def address_of_day(self, day: datetime.datetime, **changes: str) -> str:
        """The URL of one day of this filter."""
        date = f"{day:%Y-%m-%d}"
        return self.address(**{"period": OWN_DATES, "from": date, "to": date, **changes})


def read_filter(arguments: Mapping[str, str]) -> Asked:
    """The filter of a URL's query. What it can't mean counts as absent."""
    fields = {name: arguments.get(name, "").strip() for name in FIELDS}
    today = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    first, last = _read_day(fields["from"]), _read_day(fields["to"])
    if fields["period"] == OWN_DATES or (first and not fields["period"]):
        fields["period"] = OWN_DATES
        last = last or first or today
        first = first or last
        first, last = min(first, last), max(first, last)
        first = max(first, last - datetime.timedelta(days=MOST_DAYS - 1))
        fields["from"], fields["to"] = f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"
    else:
        if fields["period"] not in PERIODS:
            fields["period"] = DEFAULT_PERIOD
        fields["from"] = fields["to"] = ""
        first, last = today - datetime.timedelta(days=PERIODS[fields["period"]][0] - 1), today
    if not (fields["key"].isascii() and fields["key"].isdigit() and len(fields["key"]) < 18):
        fields["key"] = ""
    if read_member_id(fields["of"]) is None:
        fields["of"] = ""
    if fields["status"] not in STATUSES:
        fields["status"] = ""
    if fields["status"] != REFUSED:
        fields["code"] = ""
    if fields["by"] not in GROUPS:
        fields["by"] = ""
    return Asked(fields, first, last)


def _read_day(text: str) -> datetime.datetime | None:
    try:
        day = datetime.date.fromisoformat(text)
    except ValueError:
        return None
    if not 2000 <= day.year < 2200:
        return None
    return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
