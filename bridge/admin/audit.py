"""The audit log: who changed what, before and after, found by the filter in the URL, as a page and as CSV."""

import dataclasses
import datetime
from urllib.parse import urlencode

from flask import Response, render_template, request, stream_with_context, url_for

from bridge.accounts.audit import (
    CSV_COLUMNS,
    KIND_NAMES,
    MOST_COUNTED,
    PAGE_SIZE,
    WHO,
    ActFilter,
    count_lines,
    list_lines,
    list_rows,
)
from bridge.accounts.customers import find_account_id, name_accounts
from bridge.acts import COMMAND, KEPT
from bridge.admin.door import admin, needs_right
from bridge.db import now_utc
from bridge.languages import to_translate, translate
from bridge.spreadsheet import write_csv

PERIODS = {
    "today": (to_translate("Today"), 1),
    "7": (to_translate("7 days"), 7),
    "30": (to_translate("30 days"), 30),
    "all": (to_translate("All"), KEPT.days + 1),
}
DEFAULT_PERIOD = "7"
FIELDS = ("q", "period", "from", "to", "who", "kind", "by", "account")
MAX_FIELD_LENGTH = 254
ONE_DAY = datetime.timedelta(days=1)


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the URL asks for: its fields as they are shown, the filter made from them, and their errors."""

    fields: dict[str, str]
    wanted: ActFilter
    errors: dict[str, str]


@admin.get("/audit")
@needs_right("audit")
def show_audit() -> str:
    """The filter is the URL: text, period (or from and to), who, kind, actor, account; `before` is the last line of the
    previous page."""
    asked, before = _read_filter(), request.args.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None
    found = list_lines(asked.wanted, before_id=before_id, limit=PAGE_SIZE + 1)
    account_id = asked.wanted.account_id
    return render_template(
        "admin/audit.html",
        asked=asked,
        address=_address,
        lines=found[:PAGE_SIZE],
        older=found[PAGE_SIZE - 1].act.id if len(found) > PAGE_SIZE else None,
        first_page=before_id is None,
        total=count_lines(asked.wanted),
        most_counted=MOST_COUNTED,
        periods={name: text for name, (text, _) in PERIODS.items()},
        who=[("", translate("Anyone")), *((name, translate(text)) for name, text in WHO.items())],
        kinds=[("", translate("Anything")), *((name, translate(text)) for name, text in KIND_NAMES.items())],
        account_name=name_accounts([account_id]).get(account_id, "") if account_id is not None else "",
        command=COMMAND.by,
    )


@admin.get("/audit.csv")
@needs_right("audit")
def export_audit() -> Response:
    """All lines of the filter; times in UTC."""
    asked = _read_filter()
    answer = Response(stream_with_context(write_csv(CSV_COLUMNS, list_rows(asked.wanted))), mimetype="text/csv")
    name = f"audit-{asked.wanted.start:%Y-%m-%d}-to-{asked.wanted.end - ONE_DAY:%Y-%m-%d}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _read_filter() -> Asked:
    """Read the filter from the URL. A field that can't be read is left out, and has an error."""
    fields = {name: request.args.get(name, "").strip()[:MAX_FIELD_LENGTH] for name in FIELDS}
    errors: dict[str, str] = {}
    first, last = _read_days(fields, errors)
    account_id = find_account_id(fields["account"]) if fields["account"] else None
    if fields["account"] and account_id is None:
        errors["account"] = translate("No account has that address or id. All of them are shown.")
        fields["account"] = ""
    fields["who"] = fields["who"] if fields["who"] in WHO else ""
    fields["kind"] = fields["kind"] if fields["kind"] in KIND_NAMES else ""
    wanted = ActFilter(
        *(_midnight(first), _midnight(last + ONE_DAY)),
        who=fields["who"],
        kind=fields["kind"],
        by=fields["by"],
        account_id=account_id,
        text=fields["q"],
    )
    return Asked(fields, wanted, errors)


def _read_days(fields: dict[str, str], errors: dict[str, str]) -> tuple[datetime.date, datetime.date]:
    """The first and the last day, in UTC; given days override a period."""
    today = now_utc().date()
    if fields["from"] or fields["to"]:
        try:
            last = datetime.date.fromisoformat(fields["to"]) if fields["to"] else today
            first = datetime.date.fromisoformat(fields["from"]) if fields["from"] else last
        except ValueError:
            errors["from"] = translate("Give days such as 2026-03-31. The last 7 days are shown.")
        else:
            last = min(last, today)
            if first <= last:
                fields.update({"period": "", "from": str(first), "to": str(last)})
                return first, last
            errors["from"] = translate("The first day is after the last one. The last 7 days are shown.")
    fields.update({"from": "", "to": ""})
    if fields["period"] not in PERIODS:
        fields["period"] = DEFAULT_PERIOD
    return today - (PERIODS[fields["period"]][1] - 1) * ONE_DAY, today


def _midnight(day: datetime.date) -> datetime.datetime:
    return datetime.datetime.combine(day, datetime.time(), datetime.UTC)


def _address(fields: dict[str, str], endpoint: str = "admin.show_audit", **changes: str) -> str:
    """The URL of a filter with changes."""
    query = {name: value for name, value in {**fields, **changes}.items() if value}
    return f"{url_for(endpoint)}?{urlencode(query)}"
