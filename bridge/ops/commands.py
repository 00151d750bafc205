"""The operator's commands: `flask account`, `key` and `ledger` here, the others in files beside it."""

import datetime
import secrets
import sys
from typing import Any

import click
import msgspec
from flask import Flask, current_app
from sqlalchemy import select

from bridge.accounts.customers import set_account_group, set_account_limits
from bridge.accounts.emails import find_member
from bridge.accounts.key_limits import LIMITS, OF_ACCOUNT, find_account_limits
from bridge.accounts.key_search import find_any_key
from bridge.accounts.key_terms import PLAIN_LIMITS, Term
from bridge.accounts.keys import issue_key, revoke_key, rotate_key
from bridge.accounts.memberships import find_main_account
from bridge.accounts.password_reset import invite_member
from bridge.accounts.sign_in import AddressTaken
from bridge.accounts.tables import Account, Key, Member
from bridge.db import DEFAULT_GROUP, db, now_utc
from bridge.errors import InvalidRequest
from bridge.ledger.budgets import list_key_windows
from bridge.ledger.check import export_ledger
from bridge.ledger.ledger import credit, find_balance
from bridge.ledger.opening import create_account
from bridge.ledger.refunds import find_refundable, read_amount, refund_request
from bridge.limits.limits import LIMITS as LIMIT_WORDS
from bridge.money import format_dollars
from bridge.ops.books import check_books
from bridge.ops.command_line import Commands, print_table, read_dollars
from bridge.ops.commands_audit import approval_commands, audit_commands
from bridge.ops.commands_bulk_prices import price_commands
from bridge.ops.commands_catalogue import catalogue_commands, model_commands
from bridge.ops.commands_channel_keys import channel_key_commands
from bridge.ops.commands_channels import channel_commands
from bridge.ops.commands_codes import code_commands, mail_commands
from bridge.ops.commands_drill import drill
from bridge.ops.commands_incidents import incident_commands
from bridge.ops.commands_jobs import jobs
from bridge.ops.commands_own_prices import own_price, show_groups
from bridge.ops.commands_payments import payment_commands
from bridge.ops.commands_people import PEOPLE_COMMANDS
from bridge.ops.commands_plans import plan_commands
from bridge.ops.commands_prices import account_markup_command, markup_command
from bridge.ops.commands_requests import request_commands
from bridge.ops.commands_vault import vault_commands
from bridge.ops.key_options import key_options, read_key_terms

MAX_DIGITS = 18

account_commands = Commands("account", help="Who pays: accounts and their money.")
key_commands = Commands("key", help="API keys.")
ledger_commands = Commands("ledger", help="The books.")


def register(app: Flask) -> None:
    """Add the commands to `flask`."""
    for group in (account_commands, key_commands, payment_commands, ledger_commands, code_commands, plan_commands):
        app.cli.add_command(group)
    for group in (mail_commands, request_commands, audit_commands, approval_commands, incident_commands):
        app.cli.add_command(group)
    app.cli.add_command(drill)
    app.cli.add_command(jobs)
    for group in (channel_commands, model_commands, price_commands, catalogue_commands, vault_commands):
        app.cli.add_command(group)
    app.cli.add_command(markup_command)


channel_commands.add_command(channel_key_commands)
for command in (account_markup_command, *PEOPLE_COMMANDS):
    account_commands.add_command(command)
for command in (own_price, show_groups):
    price_commands.add_command(command)


@account_commands.command("create")
@click.argument("email")
@click.option("--password", help="Without it one is made up and printed.")
@click.option("--operator", is_flag=True, help="May enter /admin.")
@click.option("--name", default="", help="As operators call it.")
@click.option("--group", default=DEFAULT_GROUP, help="Which channels serve it, at which prices.")
@click.option(
    "--invite", is_flag=True, help="Instead of a password: a link by mail, or printed where no mail goes out."
)
def create(email: str, password: str | None, operator: bool, name: str, group: str, invite: bool) -> None:
    """Create an account and the member who signs in to it. The last line is the account's id."""
    if invite and password:
        raise InvalidRequest("Give a password or --invite, not both.", param="password")
    chosen = None if invite else password or secrets.token_urlsafe(15)
    try:
        member = create_account(email, chosen, is_operator=operator, name=name, group=group)
    except (AddressTaken, ValueError) as error:
        raise InvalidRequest(str(error)) from None
    click.echo(f"Created an account for {member.email}{', an operator' if operator else ''}.")
    account_id, address = find_main_account(member), member.email
    if invite:
        link = invite_member(current_app.config["BRIDGE"], member.id)
        click.echo(f"Link for {address}: {link}" if link else f"{address} gets a mail with a link, within a minute.")
    elif not password:
        click.echo(f"Password: {chosen}")
    click.echo(account_id)


@account_commands.command("credit")
@click.argument("email")
@click.argument("dollars")
@click.option("--note", help="The reason, kept in the journal.")
def credit_account(email: str, dollars: str, note: str | None) -> None:
    """Add money to an account."""
    amount_nanos = read_dollars(dollars, "dollars")
    member = find_member(email)
    credit(find_main_account(member), amount_nanos, source="operator", note=note, made_by="command")
    balance = find_balance(find_main_account(member))
    click.echo(
        f"Credited ${format_dollars(amount_nanos, 2)} to {member.email}; "
        f"the balance is ${format_dollars(balance.balance_nanos, 2)}."
    )


@account_commands.command("refund")
@click.argument("request_id")
@click.option("--amount", default="", help="Dollars, or a share such as 50%; all that is left by default.")
@click.option("--reason", required=True, help="Shown to the customer on the receipt and the statement.")
def refund(request_id: str, amount: str, reason: str) -> None:
    """Give back what a request cost, or a part of it. It is named by its id or by its answer's."""
    amount_nanos = read_amount(amount, find_refundable(request_id).charge_nanos)
    done = refund_request(request_id, reason=reason, made_by="command", amount_nanos=amount_nanos)
    record, balance = done.record, find_balance(done.record.account_id)
    click.echo(
        f"Refunded ${format_dollars(done.amount_nanos, 2)} for {record.request_id} to account {record.account_id}; "
        f"the balance is ${format_dollars(balance.balance_nanos, 2)}."
    )


@account_commands.command("group")
@click.argument("email")
@click.argument("group")
def group(email: str, group: str) -> None:
    """Put an account into a group.

    It is served by the channels of that group and by those of everyone; accounts begin in "default"."""
    member = find_member(email)
    set_account_group(find_main_account(member), group)
    click.echo(f"{member.email} is in the group {group}.")


@account_commands.command("limits")
@click.argument("email")
@click.option("--rpm", help='Requests a minute of all its keys; 0 is no limit, "default" the gateway\'s.')
@click.option("--tpm", help="Tokens a minute, likewise.")
@click.option("--concurrency", help="Requests at once, likewise.")
@click.option("--spend-day", help="Dollars a day (UTC), likewise.")
@click.option("--keys", "max_keys", help="How many keys it may have, likewise.")
def limits(email: str, **given: str | None) -> None:
    """Limit an account over all of its keys, which no key's own figure lifts. What isn't given stays."""
    member = find_member(email)
    chosen = {name: _read_limit(name, text) for name, text in given.items() if text is not None and name in OF_ACCOUNT}
    if (spend := given["spend_day"]) is not None:
        is_default = spend.strip().lower() == "default"
        chosen["spend_day_nanos"] = None if is_default else read_dollars(spend, "spend_day")
    if chosen:
        set_account_limits(find_main_account(member), chosen)
    click.echo(f"{member.email}: {_describe_limits(find_main_account(member))}.")


def _read_limit(name: str, text: str) -> int | None:
    text = text.strip().replace(",", "").replace("_", "")
    if text.lower() == "default":
        return None
    if not (text.isascii() and text.isdigit() and len(text) < MAX_DIGITS):
        raise InvalidRequest('Give a whole number, 0 for no limit, or "default" for the gateway\'s.', param=name)
    return int(text)


def _describe_limits(account_id: int) -> str:
    """`60 RPM, no limit of TPM, 5 concurrent requests`: the limits in effect."""
    figures = find_account_limits(account_id)
    spend, keys = figures["spend_day_nanos"], figures["max_keys"]
    told = [f"{figures[name] or 'no limit of'} {LIMIT_WORDS[name]}" for name in LIMITS]
    told.append(f"${format_dollars(spend, 2)} a day" if spend else "no limit of spend")
    told.append(f"{keys} key{'' if keys == 1 else 's'}" if keys else "any number of keys")
    return ", ".join(told)


@account_commands.command("show")
@click.argument("email")
def show(email: str) -> None:
    """Show an account's balance, holds and keys."""
    member = find_member(email)
    account = db.session.get_one(Account, find_main_account(member))
    balance = find_balance(account.id)
    click.echo(f"Account:   {account.id} ({account.status})")
    click.echo(f"Member:    {member.email}{' (operator)' if member.is_operator else ''}")
    click.echo(f"Group:     {account.group}")
    click.echo(f"Limits:    {_describe_limits(account.id)}")
    click.echo(f"Balance:   ${format_dollars(balance.balance_nanos, 2)}")
    click.echo(f"Held:      ${format_dollars(balance.held_nanos, 2)}")
    click.echo(f"Available: ${format_dollars(balance.available_nanos, 2)}")
    keys = list(db.session.scalars(select(Key).where(Key.account_id == account.id).order_by(Key.id)))
    if not keys:
        click.echo("Keys:      none")
        return
    limits = (term.field.upper() for term in PLAIN_LIMITS)
    heading = ("KEY", "NAME", "ENDS IN", "STATE", *limits, "BUDGET", "EXPIRES")
    print_table([heading, *(_describe_key(key) for key in keys)])


def _describe_key(key: Key) -> tuple[str, ...]:
    state = "revoked" if key.revoked_at else "disabled" if key.disabled_at else "active"
    limits = (_describe_limit(term, getattr(key, term.field)) for term in PLAIN_LIMITS)
    windows = list_key_windows(key, now_utc())
    budget = ", ".join(f"${format_dollars(window.limit_nanos, 2)} {window.period}" for window in windows) or "-"
    expires = key.expires_at.isoformat() if key.expires_at else "-"
    return (str(key.id), key.name, key.last_four, state, *limits, budget, expires)


def _describe_limit(term: Term, limit: int | None) -> str:
    if limit is None:
        return "-"
    return f"${format_dollars(limit, 2)}" if term.kind == "dollars" else str(limit)


@key_commands.command("issue")
@click.argument("email")
@key_options
def issue(email: str, **given: Any) -> None:
    """Issue a key. The last line is the key, this once."""
    member = find_member(email)
    issued = issue_key(find_main_account(member), read_key_terms(given))
    click.echo(f"Issued key {issued.key.id} ({issued.key.name}) for {member.email}. It is shown this once:")
    click.echo(issued.secret)


@key_commands.command("rotate")
@click.argument("key_or_id")
@click.option(
    "--keep-hours", type=click.IntRange(0, 720), default=24, show_default=True, help="How long the old key still works."
)
def rotate(key_or_id: str, keep_hours: int) -> None:
    """Give a key a new secret with the same limits and budget. The last line is the new one, this once."""
    key = find_any_key(key_or_id)
    issued = rotate_key(key.account_id, key.id, datetime.timedelta(hours=keep_hours))
    kept = f"for {keep_hours} hours more" if keep_hours else "no longer"
    click.echo(f"Rotated key {key.id} ({key.name}). The one before it works {kept}. The new one is shown this once:")
    click.echo(issued.secret)


@key_commands.command("revoke")
@click.argument("key_or_id")
def revoke(key_or_id: str) -> None:
    """Revoke a key, named by itself or its id. When this returns, every worker refuses it."""
    key = find_any_key(key_or_id)
    revoke_key(key.account_id, key.id)
    email = db.session.scalar(select(Member.email).where(Member.account_id == key.account_id).order_by(Member.id))
    click.echo(f"Revoked key {key.id} ({key.name}, ends in {key.last_four}) of {email}.")
    click.echo(key.id)


@ledger_commands.command("check")
@click.option("--days", type=click.IntRange(1), help="Work out only the charges of so many days; else all.")
def check(days: int | None) -> None:
    """Recompute every balance and every charge from its records.

    Refunds, usage page, roll-ups, statement, payments and codes are compared with the journal.
    Prints one line for each account that differs, and exits with 1 if there is one."""
    differences = check_books(days)
    for difference in differences:
        click.echo(difference, err=True)
    if differences:
        sys.exit(1)
    click.echo("The ledger is exact: every balance and every hold adds up.")


@ledger_commands.command("export")
def export() -> None:
    """Print requests, credits and balances as JSON, one object a line."""
    for record in export_ledger():
        click.echo(msgspec.json.encode(record))
