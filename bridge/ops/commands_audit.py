"""`flask audit` and `flask approval`: who changed what, and what waits for another operator, as the pages have it."""

import datetime
import functools
from collections.abc import Callable
from typing import Any

import click

from bridge.accounts.audit import CSV_COLUMNS, KIND_NAMES, WHO, ActFilter, list_lines, list_rows
from bridge.accounts.customers import find_account_id, name_accounts
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.ops.command_line import Commands, print_table, read_moment
from bridge.payments.approvals import describe, list_decided_approvals, list_waiting_approvals
from bridge.spreadsheet import write_csv

MOST_LISTED = 10_000
DAYS = 7  # as the page shows when it opens
audit_commands = Commands("audit", help="The audit log: who changed what, before and after.")
approval_commands = Commands("approval", help="What waits until another operator approves it.")


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The page's filter as options; the command is called with the ActFilter made of them."""

    @functools.wraps(command)
    def call(since: str | None, until: str | None, account: str | None, **options: Any) -> Any:
        chosen = {name: options.pop(name) or "" for name in ("who", "kind", "by", "text")}
        start = read_moment(since, "since") if since else now_utc() - datetime.timedelta(days=DAYS)
        end = read_moment(until, "until") if until else now_utc() + datetime.timedelta(minutes=1)
        return command(ActFilter(start, end, account_id=_find_account(account), **chosen), **options)

    options = (
        click.option("--who", type=click.Choice(list(WHO)), help="Whose acts."),
        click.option("--kind", type=click.Choice(list(KIND_NAMES)), help="What they are about."),
        click.option("--by", help="The address of who did it."),
        click.option("--account", help="An account's id, or a member's address."),
        click.option("--since", help=f"A date or time in UTC; {DAYS} days ago by default."),
        click.option("--until", help="A date or time in UTC, not included; now by default."),
        click.option("--text", help="Any text in a line."),
    )
    for option in reversed(options):
        call = option(call)
    return call


def _find_account(named: str | None) -> int | None:
    account_id = None if named is None else find_account_id(named)
    if named is not None and account_id is None:
        raise InvalidRequest("No account has that address or id.", param="account")
    return account_id


@audit_commands.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=50, help="How many; 50 by default.")
def list_(wanted: ActFilter, limit: int) -> None:
    """List lines of the audit log, the newest first."""
    rows = [("LINE", "WHEN", "BY", "NETWORK", "WHAT", "ACCOUNT", "DETAIL")]
    for line in list_lines(wanted, limit=limit):
        when, who = f"{line.act.created_at:%Y-%m-%d %H:%M:%S}", (line.act.made_by, line.network or "-")
        rows.append((str(line.act.id), when, *who, line.what, line.account or "-", line.act.detail))
    print_table(rows)


@audit_commands.command("export")
@filter_options
def export(wanted: ActFilter) -> None:
    """Print all lines of the filter as CSV, the newest first; times in UTC."""
    for piece in write_csv(CSV_COLUMNS, list_rows(wanted)):
        click.echo(piece, nl=False)


@approval_commands.command("list")
@click.option("--decided", is_flag=True, help="What was decided or has expired lately instead.")
def list_approvals(decided: bool) -> None:
    """List what waits for an operator's approval, the oldest first."""
    found = list_decided_approvals() if decided else list_waiting_approvals()
    names = name_accounts({one.account_id for one in found if one.account_id is not None})
    rows = [("ASKED", "BY", "ACCOUNT", "STATE", "DECIDED BY", "UNTIL", "WHAT")]
    for one in found:
        account = "-" if one.account_id is None else names.get(one.account_id, str(one.account_id))
        asked, until = f"{one.created_at:%Y-%m-%d %H:%M}", f"{one.ends_at:%Y-%m-%d %H:%M}"
        rows.append((asked, one.asked_by, account, one.state, one.decided_by or "-", until, describe(one)))
    print_table(rows)
