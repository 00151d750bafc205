"""`flask account suspend`, `reactivate`, `operator`, `operators`, `password`, `email`, `sign-out`, `sessions`,
`second-factor`, `delete`, `members`, `reset-link`, `note`, `merge`: who may come in, and until when; what operators
note."""

import secrets

import click
from flask import current_app
from flask.cli import with_appcontext

from bridge.accounts.customers import reactivate_account, suspend_account
from bridge.accounts.email_change import EmailTaken, set_email
from bridge.accounts.emails import find_member
from bridge.accounts.memberships import find_main_account
from bridge.accounts.operator_notes import add_note, delete_note, list_notes
from bridge.accounts.operators import OWNER, ROLES, list_operators, set_operator
from bridge.accounts.passkeys import list_passkeys, remove_passkey
from bridge.accounts.people import list_people, send_reset_link
from bridge.accounts.second_factor import turn_off
from bridge.accounts.sessions import list_sessions, sign_out_everywhere
from bridge.accounts.sign_in import set_password
from bridge.acts import COMMAND
from bridge.errors import InvalidRequest
from bridge.ledger.first_operator import issue_link
from bridge.ledger.ledger import find_balance
from bridge.money import format_dollars
from bridge.ops.command_line import print_table
from bridge.payments.leaving import delete_account
from bridge.payments.merging import merge_accounts


@click.command("suspend")
@click.argument("email")
@click.option("--reason", default="", help="The customer reads it: in each refusal, above every page, in a mail.")
@with_appcontext
def suspend(email: str, reason: str) -> None:
    """Refuse an account's keys, and end its sessions. When this returns, every worker does."""
    member = find_member(email)
    suspend_account(find_main_account(member), reason=reason)
    click.echo(f"{member.email} is suspended: every call answers 403, and every session has ended.")


@click.command("reactivate")
@click.argument("email")
@with_appcontext
def reactivate(email: str) -> None:
    """Let a suspended account in again, within a second."""
    member = find_member(email)
    reactivate_account(find_main_account(member))
    click.echo(f"{member.email} is active again.")


@click.command("operator")
@click.argument("email")
@click.option("--role", type=click.Choice(list(ROLES)), default=OWNER, show_default=True, help="What they may do.")
@click.option("--off", is_flag=True, help="No longer.")
@with_appcontext
def make_operator(email: str, role: str, off: bool) -> None:
    """Let a member in at /admin with a role, or (--off) no longer. Their sessions end at once."""
    member = find_member(email)
    set_operator(member.id, None if off else role)
    what = "no longer an operator" if off else f"an operator, with the role {role}"
    click.echo(f"{member.email} is {what}. They have to sign in again.")


@click.command("operators")
@with_appcontext
def show_operators() -> None:
    """List the operators with their roles, their last sign-in and their second factor."""
    rows = [
        (
            *(one.member.email, "suspended" if one.is_suspended else one.role, one.second_factor),
            f"{one.member.last_sign_in_at:%Y-%m-%d %H:%M}" if one.member.last_sign_in_at else "never",
        )
        for one in list_operators()
    ]
    print_table([("EMAIL", "ROLE", "SECOND FACTOR", "LAST SIGN-IN"), *rows])


@click.command("first-operator")
@with_appcontext
def print_first_operator_link() -> None:
    """Print a link by which the first operator opens their account, once and within 24 hours.

    A gateway without an operator prints one at its start too. With an operator there is none."""
    link = issue_link(current_app.config["BRIDGE"])
    if link is None:
        raise InvalidRequest("There is an operator already. `flask account operator EMAIL` makes further ones.")
    click.echo(link)


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
@click.option("--passkeys", is_flag=True, help="Their passkeys too: they have lost the device.")
@with_appcontext
def remove_second_factor(email: str, passkeys: bool) -> None:
    """Let a member in by the password alone again, and end their sessions. They get a mail."""
    member = find_member(email)
    lost = list_passkeys(member.id) if passkeys else []
    for passkey in lost:
        remove_passkey(member, passkey.id, COMMAND)
    if not turn_off(member, COMMAND) and not lost:
        kept = "" if passkeys else " Passkeys are removed with --passkeys."
        raise InvalidRequest(f"{member.email} has no authenticator app.{kept}")
    sign_out_everywhere(member)
    click.echo(f"{member.email} signs in by the password alone.")


@click.command("delete")
@click.argument("email")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_appcontext
def delete(email: str, yes: bool) -> None:
    """Delete an account for good. Its usage and payments are kept without a name."""
    member = find_member(email)
    account_id = find_main_account(member)
    left = format_dollars(find_balance(account_id).balance_nanos, 2)
    if not yes:
        click.confirm(f"Delete {member.email}, with a balance of ${left}? This can't be undone", abort=True)
    keys = delete_account(current_app.config["BRIDGE"], account_id, COMMAND)
    click.echo(f"Deleted account {account_id}. Its balance was ${left}; {keys} key{'' if keys == 1 else 's'} refused.")
    click.echo(account_id)


@click.group("note")
def note() -> None:
    """What operators note of a customer. No customer reads it."""


@note.command("add")
@click.argument("email")
@click.argument("text")
@with_appcontext
def write_note(email: str, text: str) -> None:
    """Note something of a customer."""
    member = find_member(email)
    added = add_note(find_main_account(member), text)
    click.echo(f"Noted {added.id} of {member.email}.")


@note.command("list")
@click.argument("email")
@with_appcontext
def show_notes(email: str) -> None:
    """List the notes of a customer, the newest first."""
    rows = list_notes(find_main_account(find_member(email)))
    found = [(str(row.id), f"{row.created_at:%Y-%m-%d %H:%M}", row.made_by, row.text) for row in rows]
    print_table([("NOTE", "WHEN", "BY", "TEXT"), *found])


@note.command("delete")
@click.argument("email")
@click.argument("note_id", type=int)
@with_appcontext
def remove_note(email: str, note_id: int) -> None:
    """Delete a note."""
    delete_note(find_main_account(find_member(email)), note_id)
    click.echo(f"Deleted note {note_id}.")


@click.command("members")
@click.argument("email")
@with_appcontext
def members(email: str) -> None:
    """List the members of an account, named by any of them."""
    rows = [
        (
            str(person.member.id),
            person.member.email,
            person.role,
            "on" if person.has_second_factor else "off",
            str(person.sessions),
            f"{person.last_seen_at:%Y-%m-%d %H:%M}" if person.last_seen_at else "-",
        )
        for person in list_people(find_main_account(find_member(email)))
    ]
    print_table([("MEMBER", "EMAIL", "ROLE", "TWO-FACTOR", "SESSIONS", "LAST SEEN"), *rows])


@click.command("reset-link")
@click.argument("email")
@with_appcontext
def reset_link(email: str) -> None:
    """Mail a member the link that sets a new password."""
    member = find_member(email)
    send_reset_link(member)
    click.echo(f"{member.email} gets a mail with a link that sets a new password, within a minute.")


@click.command("merge")
@click.argument("email")
@click.argument("into")
@click.option("--yes", is_flag=True, help="Don't ask.")
@with_appcontext
def merge(email: str, into: str, yes: bool) -> None:
    """Merge a duplicate account into another, named by a member's address: its balance, members and keys go there."""
    duplicate, stays = find_member(email), find_member(into)
    if not yes:
        click.confirm(f"Close the account of {duplicate.email}, in favour of {stays.email}, for good?", abort=True)
    from_id, into_id = find_main_account(duplicate), find_main_account(stays)
    moved = merge_accounts(current_app.config["BRIDGE"], from_id, into_id)
    click.echo(f"Merged account {from_id} into {into_id}; ${format_dollars(moved, 2)} moved.")


PEOPLE_COMMANDS = (
    *(suspend, reactivate, make_operator, show_operators, print_first_operator_link, change_password, change_email),
    *(merge, note, members, reset_link, sign_out),
    *(sessions, second_factor, delete),
)
