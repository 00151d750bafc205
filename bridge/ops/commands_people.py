"""`flask account suspend`, `reactivate`, `operator`, `password`, `email`, `sign-out`, `sessions`, `second-factor`,
`delete`: who may come in, and until when."""

import secrets

import click
from flask import current_app
from flask.cli import with_appcontext

from bridge.accounts.customers import reactivate_account, suspend_account
from bridge.accounts.email_change import EmailTaken, set_email
from bridge.accounts.emails import find_member
from bridge.accounts.second_factor import turn_off
from bridge.accounts.sessions import list_sessions, sign_out_everywhere
from bridge.accounts.sign_in import set_operator, set_password
from bridge.acts import COMMAND
from bridge.errors import InvalidRequest
from bridge.ledger.ledger import find_balance
from bridge.money import format_dollars
from bridge.ops.command_line import print_table
from bridge.payments.leaving import delete_account


@click.command("suspend")
@click.argument("email")
@with_appcontext
def suspend(email: str) -> None:
    """Refuse an account's keys, and end its sessions. When this returns, every worker does."""
    member = find_member(email)
    suspend_account(member.account_id)
    click.echo(f"{member.email} is suspended: every call answers 403, and every session has ended.")


@click.command("reactivate")
@click.argument("email")
@with_appcontext
def reactivate(email: str) -> None:
    """Let a suspended account in again, within a second."""
    member = find_member(email)
    reactivate_account(member.account_id)
    click.echo(f"{member.email} is active again.")


@click.command("operator")
@click.argument("email")
@click.option("--off", is_flag=True, help="No longer.")
@with_appcontext
def make_operator(email: str, off: bool) -> None:
    """Let a member in at /admin, or (--off) no longer. Their sessions end at once."""
    member = find_member(email)
    set_operator(member.id, not off)
    click.echo(f"{member.email} is {'no longer an operator' if off else 'an operator'}. They have to sign in again.")


@click.command("password")
@click.argument("email")
@click.option("--password", help="Without it one is made up and printed.")
@with_appcontext
def change_password(email: str, password: str | None) -> None:
    """Give a member another password. Their sessions end at once."""
    member = find_member(email)
    chosen = password or secrets.token_urlsafe(15)
    try:
        set_password(member.id, chosen)
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    click.echo(f"{member.email} has another password, and has to sign in again.")
    if not password:
        click.echo(f"Password: {chosen}")


@click.command("email")
@click.argument("email")
@click.argument("new")
@with_appcontext
def change_email(email: str, new: str) -> None:
    """Give a member another address to sign in with. It counts as confirmed; the old one gets a mail."""
    member = find_member(email)
    try:
        wanted = set_email(current_app.config["BRIDGE"], member, new, COMMAND)
    except EmailTaken:
        raise InvalidRequest(f"{new} already has an account.") from None
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    click.echo(f"{email} signs in as {wanted} from now on.")


@click.command("sign-out")
@click.argument("email")
@with_appcontext
def sign_out(email: str) -> None:
    """End every session of a member at once."""
    member = find_member(email)
    sign_out_everywhere(member)
    click.echo(f"{member.email} is signed out everywhere.")


@click.group("sessions")
def sessions() -> None:
    """Where a member is signed in."""


@sessions.command("list")
@click.argument("email")
@with_appcontext
def show_sessions(email: str) -> None:
    """List the sessions of a member, the one used last first."""
    rows = list_sessions(find_member(email).id)
    found = [
        (f"{row.made_at:%Y-%m-%d %H:%M}", f"{row.used_at:%Y-%m-%d %H:%M}", row.network, row.user_agent) for row in rows
    ]
    print_table([("SINCE", "USED", "NETWORK", "PROGRAM"), *found])


@sessions.command("end")
@click.argument("email")
@with_appcontext
def end_sessions(email: str) -> None:
    """End every session of a member at once, as sign-out does."""
    member = find_member(email)
    sign_out_everywhere(member)
    click.echo(f"{member.email} is signed out everywhere.")


@click.group("second-factor")
def second_factor() -> None:
    """Two-factor sign-in of a member."""


@second_factor.command("remove")
@click.argument("email")
@with_appcontext
def remove_second_factor(email: str) -> None:
    """Let a member in by the password alone again, and end their sessions. They get a mail."""
    member = find_member(email)
    if not turn_off(member, COMMAND):
        raise InvalidRequest(f"{member.email} has no second factor.")
    sign_out_everywhere(member)
    click.echo(f"{member.email} signs in by the password alone.")


@click.command("delete")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_appcontext
def delete(email: str, yes: bool) -> None:
    """Delete an account for good. Its usage and payments are kept without a name."""
    member = find_member(email)
    left = format_dollars(find_balance(member.account_id).balance_nanos, 2)
    if not yes:
        click.confirm(f"Delete {member.email}, with a balance of ${left}? This can't be undone", abort=True)
    keys = delete_account(current_app.config["BRIDGE"], member.account_id, COMMAND)
    click.echo(
        f"Deleted account {member.account_id}. Its balance was ${left}; {keys} key{'' if keys == 1 else 's'} refused."
    )
    click.echo(member.account_id)


PEOPLE_COMMANDS = (
    *(suspend, reactivate, make_operator, change_password, change_email, sign_out),
    *(sessions, second_factor, delete),
)
