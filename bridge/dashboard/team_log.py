"""The team's own audit log: what members did in the account, and what the operator did for it, as a page and as CSV."""

from urllib.parse import urlencode

from flask import Response, g, render_template, request, stream_with_context, url_for

from bridge.accounts.audit import (
    BY_OPERATOR,
    PAGE_SIZE,
    TEAM_COLUMNS,
    TEAM_KINDS,
    list_team_lines,
    list_team_rows,
)
from bridge.accounts.memberships import list_team
from bridge.acts import WORDS
from bridge.dashboard.door import dashboard, needs
from bridge.db import now_utc
from bridge.languages import translate
from bridge.spreadsheet import write_csv

MAX_FIELD_LENGTH = 254


@dashboard.get("/team/log")
@needs("members")
def show_team_log() -> str:
    """The filter is the URL: person and kind; `before` is the last line of the page before."""
    fields, before = _read_filter(), request.args.get("before", "")
    before_id = int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None
    found = list_team_lines(g.account_id, **fields, before_id=before_id, limit=PAGE_SIZE + 1)
    people = [one.member.email for one in list_team(g.account_id)]
    if fields["by"] and fields["by"] not in (*people, BY_OPERATOR):
        people.append(fields["by"])  # who has left
    return render_template(
        "dashboard/team_log.html",
        fields=fields,
        address=_address,
        acts=found[:PAGE_SIZE],
        words=WORDS,
        older=found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None,
        first_page=before_id is None,
        people=[
            ("", translate("Anyone")),
            *((email, email) for email in people),
            (BY_OPERATOR, translate("The operator")),
        ],
        kinds=[("", translate("Anything")), *((kind, translate(text)) for kind, text in TEAM_KINDS.items())],
    )


@dashboard.get("/team/log.csv")
@needs("members")
def export_team_log() -> Response:
    """All lines of the filter; times in UTC."""
    rows = write_csv(TEAM_COLUMNS, list_team_rows(g.account_id, **_read_filter()))
    answer = Response(stream_with_context(rows), mimetype="text/csv")
    name = f"team-log-{now_utc():%Y-%m-%d}.csv"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _read_filter() -> dict[str, str]:
    by, kind = (request.args.get(name, "").strip()[:MAX_FIELD_LENGTH] for name in ("by", "kind"))
    return {"by": by, "kind": kind if kind in TEAM_KINDS else ""}


def _address(fields: dict[str, str], endpoint: str = "dashboard.show_team_log", **changes: str) -> str:
    """The URL of a filter with changes."""
    query = {name: value for name, value in {**fields, **changes}.items() if value}
    return f"{url_for(endpoint)}?{urlencode(query)}" if query else url_for(endpoint)
