"""The operator's command for what is sealed: `flask vault`."""

import click
from sqlalchemy import or_, select

from bridge import vault
from bridge.accounts.tables import SecondFactor
from bridge.acts import COMMAND, record_act
from bridge.catalogue.tables import Channel, ChannelKey
from bridge.db import transaction
from bridge.ledger.tables import IdempotencyKey
from bridge.mail.tables import Mail
from bridge.ops.command_line import Commands
from bridge.reasoning.tables import KeptItem, KeptReasoning

vault_commands = Commands("vault", help="The stored provider keys.")


@vault_commands.command("rotate")
def rotate() -> None:
    """Seal all that is sealed under the first of FERNET_KEYS. Those are provider keys, kept answers and reasoning; then
    the other keys can go."""
    sealed = 0
    with transaction() as session:
        holds_some = or_(Channel.sealed_key.is_not(None), Channel.sealed_wire.is_not(None))
        for channel in session.scalars(select(Channel).where(holds_some).with_for_update()):
            channel.sealed_key = _reseal(channel.sealed_key)
            channel.sealed_wire = _reseal(channel.sealed_wire)
            sealed += channel.sealed_key is not None
        record_act(session, None, "vault", COMMAND, f"{sealed} provider keys")
    keys = "key" if sealed == 1 else "keys"
    further = vault.reseal_rows(ChannelKey)
    answers = vault.reseal_rows(IdempotencyKey) + vault.reseal_rows(KeptItem)
    thoughts = vault.reseal_rows(KeptReasoning)
    people = vault.reseal_rows(SecondFactor) + vault.reseal_rows(Mail)
    click.echo(f"Sealed {sealed} provider {keys} under the newest master key.")
    if further:
        click.echo(f"Sealed likewise keys of channels that have several: {further}.")
    click.echo(f"Sealed likewise what is kept for a day: answers {answers}, reasoning {thoughts}.")
    click.echo(f"Sealed likewise secrets of second factors, and mails that wait: {people}.")


def _reseal(sealed: str | None) -> str | None:
    """Raises MisconfiguredError where no master key fits."""
    if sealed is None:
        return None
    vault.unseal(sealed)
    return vault.reseal(sealed)
