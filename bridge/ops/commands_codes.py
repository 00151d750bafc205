"""`flask code` and `flask mail`: redemption codes, and whether mails arrive."""

import secrets

import click
from flask import current_app

from bridge.config import Settings
from bridge.errors import InvalidRequest
from bridge.mail.smtp import MailDelayed, MailRefused, find_server, send, write_message
from bridge.money import format_dollars
from bridge.ops.command_line import Commands, print_table, read_dollars, read_moment
from bridge.payments.codes import create_batch, list_batches, void_batch

code_commands = Commands("code", help="Redemption codes.")
mail_commands = Commands("mail", help="The gateway's mails.")


@code_commands.command("create")
@click.argument("dollars")
@click.option("--count", type=int, default=1, show_default=True, help="How many codes of that amount.")
@click.option("--expires", help="ISO 8601; UTC unless it says otherwise.")
@click.option("--note", default="", help="What they are for: the journal of whoever redeems one says so.")
def create(dollars: str, count: int, expires: str | None, note: str) -> None:
    """Make a batch of codes. They are printed this once, a line each."""
    made = create_batch(
        read_dollars(dollars, "dollars"),
        count,
        expires_at=None if expires is None else read_moment(expires),
        note=note,
        made_by="command",
    )
    assert made is not None  # only a form can be sent twice
    amount = format_dollars(made.amount_nanos, 2)
    click.echo(f"Batch {made.batch_id}: {count} of ${amount} each. Only their hashes are kept; these are the codes:")
    for code in made.codes:
        click.echo(code)


@code_commands.command("list")
def list_() -> None:
    """List batches and how many of their codes were redeemed."""
    rows = [("BATCH", "DOLLARS", "REDEEMED", "STATE", "EXPIRES", "MADE BY", "NOTE")]
    for listed in list_batches():
        batch = listed.batch
        expires = batch.expires_at.isoformat() if batch.expires_at else "-"
        used = f"{listed.redeemed} of {batch.count}"
        dollars = format_dollars(batch.amount_nanos, 2)
        rows.append((str(batch.id), dollars, used, listed.state, expires, batch.made_by, batch.note or "-"))
    print_table(rows)


@code_commands.command("void")
@click.argument("batch_id", type=int)
def void(batch_id: int) -> None:
    """Void what is left of a batch."""
    ended = void_batch(batch_id)
    click.echo(f"Voided batch {batch_id}: {ended} code{'s' if ended != 1 else ''} that nobody had redeemed.")
    click.echo(batch_id)


@mail_commands.command("test")
@click.argument("email")
def test(email: str) -> None:
    """Send one mail now, and say what the mail server answered."""
    settings: Settings = current_app.config["BRIDGE"]
    server = find_server(settings)
    if server is None:
        click.echo("There is no mail server: set SMTP_URL and SMTP_FROM. Until then nothing is sent.")
        return
    text = f"Mails of {settings.site_url} arrive.\n"
    try:
        send(server, write_message(server, email, "AI Bridge: mails arrive", text, secrets.randbelow(10**12)))
    except (MailDelayed, MailRefused) as error:
        raise InvalidRequest(f"{server.host}:{server.port} did not take it: {error}") from None
    click.echo(f"{server.host}:{server.port} took a mail to {email}.")
