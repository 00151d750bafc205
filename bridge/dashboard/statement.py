"""The month's statement: as a page to be printed, or kept as PDF, and as CSV."""

import datetime
from collections.abc import Iterator

from flask import Response, abort, g, render_template

from bridge.dashboard.account import find_account_state
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.visitor import chosen_settings
from bridge.db import now_utc
from bridge.languages import to_translate
from bridge.ledger.refunds import REFUND, find_request_of
from bridge.ledger.statement import Statement, next_month, read_statement
from bridge.ledger.tables import Entry
from bridge.money import format_dollars
from bridge.payments.top_up import name_payments
from bridge.spreadsheet import write_csv

COLUMNS = ("date", "what", "requests", "amount_dollars", "balance_dollars", "reference")
NAMES = {
    "signup": to_translate("Starting credit"),
    "setup": to_translate("Starting credit"),
    "operator": to_translate("Adjustment"),
    "merge": to_translate("Merged account"),
}


def read_month(text: str) -> datetime.date | None:
    """The first day of `2026-11`; None for what is no month, and for months that are yet to come."""
    try:
        month = datetime.date.fromisoformat(f"{text}-01")
    except ValueError:
        return None
    return month if len(text) == 7 and month.year >= 2000 and month <= now_utc().date() else None


def list_issuer() -> list[str]:
    """The lines of who runs this gateway, as receipts and statements say it."""
    return [line.strip() for line in chosen_settings().receipt_issuer.split(";") if line.strip()]


def name_entry(entry: Entry) -> str:
    """What an entry is, for the customer, in English: the page says it in the reader's language."""
    if entry.source == REFUND:
        return to_translate("Refund of a request")
    return entry.note or NAMES.get(entry.source, entry.source)


def name_receipts(statement: Statement) -> dict[str, str]:
    """Payment intent -> payment, for the statement's top-ups."""
    return name_payments(line.entry for line in statement.lines if line.entry)


def _require_month(text: str) -> datetime.date:
    return read_month(text) or abort(404)


@dashboard.get("/billing/statement/<month>")
@needs("billing")
def show_statement(month: str) -> str:
    """The month with all of its days, on a page that prints cleanly."""
    asked, account = _require_month(month), find_account_state().account
    statement = read_statement(g.account_id, asked)
    return render_template(
        "dashboard/statement.html",
        statement=statement,
        receipts=name_receipts(statement),
        name_entry=name_entry,
        until=min(next_month(statement.month) - datetime.timedelta(days=1), now_utc().date()),
        is_running=next_month(statement.month) > now_utc().date(),
        account=account,
        issuer=list_issuer(),
        product=chosen_settings().receipt_product,
    )


@dashboard.get("/billing/statement/<month>.csv")
@needs("billing")
def export_statement(month: str) -> Response:
    """The same as CSV, with exact amounts."""
    statement = read_statement(g.account_id, _require_month(month))
    answer = Response(write_csv(COLUMNS, _write_lines(statement, name_receipts(statement))), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="statement-{statement.month:%Y-%m}.csv"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _write_lines(statement: Statement, receipts: dict[str, str]) -> Iterator[list[object]]:
    yield [f"{statement.month}", "Opening balance", "", "", format_dollars(statement.opening_nanos), ""]
    for line in statement.lines:
        entry = line.entry
        money = (format_dollars(line.amount_nanos), format_dollars(line.balance_nanos))
        if entry is None:
            yield [f"{line.at:%Y-%m-%d}", "Requests", line.requests, *money, ""]
        else:
            reference = find_request_of(entry) if entry.source == REFUND else entry.external_id or ""
            yield [f"{line.at:%Y-%m-%d}", name_entry(entry), "", *money, receipts.get(reference, reference)]
    last = min(next_month(statement.month) - datetime.timedelta(days=1), now_utc().date())
    yield [f"{last}", "Closing balance", "", "", format_dollars(statement.closing_nanos), ""]
