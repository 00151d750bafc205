"""`flask request`: the log of all accounts' requests, and all that is known of one."""

import datetime

import click

from bridge.accounts.customers import find_account_id, name_all_keys
from bridge.db import now_utc
from bridge.errors import InvalidRequest, NotFound
from bridge.ledger.attempt_errors import list_errors
from bridge.ledger.receipt import make_receipt
from bridge.ledger.request_log import LogFilter, export_log, find_any_request, find_any_running
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import OUTCOME_GROUPS
from bridge.money import format_dollars
from bridge.ops.command_line import Commands, print_table

MOST_LISTED = 10_000
request_commands = Commands("request", help="Requests of all accounts.")


@request_commands.command("list")
@click.option("--hours", type=click.IntRange(1, 24 * 92), default=1, help="How far back; 1 by default.")
@click.option("--account", help="An account's id, or a member's address.")
@click.option("--key", type=int, help="A key's id.")
@click.option("--model", help="A model's id.")
@click.option("--channel", help="The channel that was asked last.")
@click.option("--ending", type=click.Choice(OUTCOME_GROUPS), help="How they ended.")
@click.option("--code", help="A status such as 503, or an error's code.")
@click.option("--end-user", help="The customer's own customer.")
@click.option("--tag", help="name=value.")
@click.option("--limit", type=click.IntRange(1, MOST_LISTED), default=50, help="How many; 50 by default.")
def list_(  # noqa: PLR0913 - an option for each filter
    hours: int,
    account: str | None,
    key: int | None,
    model: str | None,
    channel: str | None,
    ending: str | None,
    code: str | None,
    end_user: str | None,
    tag: str | None,
    limit: int,
) -> None:
    """List settled requests, the newest first. Refused and running ones are on the page alone."""
    until = now_utc() + datetime.timedelta(minutes=1)
    account_id = None if account is None else find_account_id(account)
    if account is not None and account_id is None:
        raise InvalidRequest("No account has that address or id.")
    wanted = LogFilter(
        until - datetime.timedelta(hours=hours),
        until,
        account_id=account_id,
        key_id=key,
        model_id=model,
        channel_name=channel,
        ending=ending,
        status=int(code) if code and code.isdigit() else None,
        code=code if code and not code.isdigit() else None,
        end_user=end_user,
        tag=tag,
    )
    rows = [("REQUEST", "BEGAN", "ACCOUNT", "KEY", "MODEL", "CHANNEL", "STATUS", "OUTCOME", "TOTAL MS", "CHARGED")]
    for record in export_log(wanted, limit):
        who = str(record.account_id), str(record.key_id), record.model_id, record.channel_name or "-"
        how = str(record.status), record.error_code or record.outcome, str(record.total_ms)
        began = f"{record.created_at:%Y-%m-%d %H:%M:%S}"
        rows.append((record.request_id, began, *who, *how, format_dollars(record.charge_nanos)))
    print_table(rows)


@request_commands.command("show")
@click.argument("request_id")
def show(request_id: str) -> None:
    """Say all that is known of a request, by its id or its answer's: money, attempts, what upstreams answered."""
    record = find_any_request(request_id)
    if record is not None:
        _show_settled(record)
        return
    hold = find_any_running(request_id)
    if hold is None:
        raise NotFound("There is no such request: it was refused before it cost anything, or never came.")
    click.echo(f"{hold.request_id} of account {hold.account_id} runs since {hold.created_at:%Y-%m-%d %H:%M:%S}.")
    click.echo(f"  held ${format_dollars(hold.amount_nanos)}, until {hold.deadline_at:%Y-%m-%d %H:%M:%S}")


def _show_settled(record: UsageRecord) -> None:
    key = name_all_keys([record.key_id]).get(record.key_id)
    said = list_errors(record.request_id)
    click.echo(f"{record.request_id} of account {record.account_id}, {key.account if key else 'no member'}")
    click.echo(f"  key {record.key_id}, {key.name if key else 'unknown'}; began {record.created_at:%Y-%m-%d %H:%M:%S}")
    click.echo(f"  {record.model_asked} served as {record.model_id}, {record.upstream_id or 'by nobody'}")
    click.echo(f"  {record.outcome}, {record.state}, status {record.status} {record.error_code or ''}".rstrip())
    margin = format_dollars(record.charge_nanos - record.cost_nanos)
    charged, cost = format_dollars(record.charge_nanos), format_dollars(record.cost_nanos)
    click.echo(f"  charged ${charged}, cost ${cost}, margin ${margin}, held ${format_dollars(record.hold_nanos)}")
    click.echo(f"  {record.prompt_tokens} tokens in, {record.completion_tokens} out, counted by {record.tokens_source}")
    if record.provider_counts:
        click.echo(f"  the provider's own counts: {record.provider_counts}")
    for attempt in make_receipt(record).attempts:
        reference = f", upstream's id {attempt.reference}" if attempt.reference else ""
        click.echo(f"  {attempt.number}. {attempt.channel}: {attempt.outcome}, {attempt.took_ms} ms{reference}")
        if attempt.number in said:
            click.echo(f"     it answered: {said[attempt.number].said}")
