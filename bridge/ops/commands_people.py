"""`flask account suspend`, `reactivate`, `operator`, `password`, `sign-out`: who may come in, and until when."""

import secrets

import click
from flask.cli import with_appcontext

from bridge.accounts.customers import reactivate_account, suspend_account
from bridge.accounts.emails import find_member
from bridge.accounts.sessions import sign_out_everywhere
from bridge.accounts.sign_in import set_operator, set_password
from bridge.errors import InvalidRequest


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


@click.command("sign-out")
@click.argument("email")
@with_appcontext
def sign_out(email: str) -> None:
    """End every session of a member at once."""
    member = find_member(email)
    sign_out_everywhere(member.id)
    click.echo(f"{member.email} is signed out everywhere.")


PEOPLE_COMMANDS = (suspend, reactivate, make_operator, change_password, sign_out)
