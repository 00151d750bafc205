"""`flask drill`: one request that meets a fault first, and its outcome."""

import click
from flask.cli import with_appcontext
from sqlalchemy import select

from bridge.accounts.tables import Member
from bridge.db import db
from bridge.errors import NotFound
from bridge.inference.rehearsal import Drill, Outcome, find_payer
from bridge.ledger.ledger import BalanceView
from bridge.money import format_dollars
from bridge.ops.command_line import Command, print_table
from bridge.providers.faults import FAULTS


@click.command("drill", cls=Command)
@click.argument("model")
@click.option("--fault", required=True, type=click.Choice(list(FAULTS)), help="What the first upstream does.")
@click.option("--stream", is_flag=True, help="Ask for a streamed answer.")
@click.option("--account", help="Who asks: an id or an e-mail address; without it, the first operator.")
@click.option(
    "--channels",
    type=click.Choice(["real", "none"]),
    default="none",
    show_default=True,
    help="What stands behind the fault. Real channels are asked in earnest, and cost you their tokens.",
)
@with_appcontext
def drill(model: str, fault: str, stream: bool, account: str | None, channels: str) -> None:
    """Send one request whose first upstream has a fault.

    Shows what its client sees and pays; the charge is given back to the account. It runs in this process, which
    knows nothing of channels that cool down in the gateway's."""
    payer = find_payer(account or _find_operator())
    run = Drill(payer, model, fault, stream=stream, with_channels=channels == "real", made_by="command")
    for heard in run.run():
        if heard is not None:
            said = f"… {heard.skipped} more …" if heard.skipped else heard.text
            click.echo(f"{heard.at_ms:>7} ms  {said}")
    click.echo(f"\nStatus {run.status} after {run.took_ms} ms")
    for name, value in run.shown_headers():
        click.echo(f"  {name}: {value}")
    _print_outcome(run.outcome())


def _find_operator() -> str:
    email = db.session.scalar(select(Member.email).where(Member.is_operator).order_by(Member.id).limit(1))
    if email is None:
        raise NotFound("There is no operator yet: name an account with --account.")
    return email


def _print_outcome(outcome: Outcome) -> None:
    if outcome.attempts:
        rows = [("ATTEMPT", "CHANNEL", "OUTCOME", "TOOK")]
        for number, attempt in enumerate(outcome.attempts, 1):
            rows.append((str(number), attempt["channel"], attempt["outcome"], f"{attempt['took_ms']} ms"))
        click.echo()
        print_table(rows)
    record = outcome.record
    click.echo(f"\n{outcome.rule}")
    held, charged = (record.hold_nanos, record.charge_nanos) if record else (0, 0)
    click.echo(f"Held ${format_dollars(held)}, charged ${format_dollars(charged)}", nl=False)
    click.echo(f", given back ${format_dollars(outcome.given_back_nanos)}.")
    click.echo(f"Balance {_describe_balance(outcome.before)} before, {_describe_balance(outcome.after)} after.")


def _describe_balance(money: BalanceView) -> str:
    return f"${format_dollars(money.balance_nanos, 2)}"
