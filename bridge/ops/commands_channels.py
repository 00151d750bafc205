"""The operator's commands for channels and their keys: `flask channel` and `flask vault`."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from sqlalchemy import select

from bridge import vault
from bridge.accounts.tables import SecondFactor
from bridge.acts import COMMAND, record_act
from bridge.catalogue import editing
from bridge.catalogue.channel_events import list_events
from bridge.catalogue.tables import Channel
from bridge.catalogue.testing import probe_channel
from bridge.db import transaction
from bridge.errors import InvalidRequest
from bridge.ledger.tables import IdempotencyKey
from bridge.mail.tables import Mail
from bridge.money import format_percent
from bridge.ops.command_line import (
    Commands,
    print_table,
    read_list,
    read_percent,
)
from bridge.reasoning.tables import KeptItem, KeptReasoning

PRICE_HEADINGS = ("INPUT", "CACHED", "WRITE", "WRITE-1H", "OUTPUT")  # of PRICE_CLASSES

LIMITS = ("rpm", "tpm", "concurrency")


channel_commands = Commands("channel", help="Upstreams with the operator's keys.")
vault_commands = Commands("vault", help="The stored provider keys.")


def further_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options for a channel's further fields, beside address, key, models, priority and weight."""
    for option in (
        click.option("--concurrency", type=click.IntRange(0), help="Your own limit of requests at once; 0 is none."),
        click.option("--tpm", type=click.IntRange(0), help="Your own limit of tokens per minute; 0 is none."),
        click.option("--rpm", type=click.IntRange(0), help="Your own limit of requests per minute; 0 is none."),
        click.option("--cost", help="Percent of what the prices say that providers take: 80; else 100."),
        click.option("--groups", help="The only groups of accounts that it serves: A,B."),
        click.option("--pass-fields", help="Request fields that it takes beside those that we know: A,B."),
    ):
        command = option(command)
    return command


@channel_commands.command("add")
@click.argument("name")
@click.option("--provider", required=True, help="openai speaks to everything of its dialect.")
@click.option("--base-url", help="Where the provider's SDK would point; without it, the provider's own.")
@click.option("--api-key", help="Other users of this machine can see it; --api-key-env hides it.")
@click.option("--api-key-env", help="The environment variable that holds the key.")
@click.option("--models", help="PUBLIC=UPSTREAM,…; without it, all models of the provider.")
@click.option("--priority", default=1, show_default=True, help="Lower numbers are tried first.")
@click.option("--weight", default=1, show_default=True, help="Share among channels of one priority.")
@further_options
def add_channel(  # noqa: PLR0913 - one for each option
    name: str,
    provider: str,
    base_url: str | None,
    api_key: str | None,
    api_key_env: str | None,
    models: str | None,
    priority: int,
    weight: int,
    **further: str | int | None,
) -> None:
    """Connect an upstream. The last line is the channel's name."""
    if api_key_env:
        api_key = _read_key(api_key_env)
    channel = editing.add_channel(
        name,
        provider,
        base_url=base_url,
        api_key=api_key,
        models=_read_models(models),
        priority=priority,
        weight=weight,
        **_read_further(further),
    )
    click.echo(f"Added channel {channel.name}: {channel.provider}, {_describe_models(channel)}.")
    click.echo(channel.name)


def _read_models(text: str | None) -> dict[str, str] | None:
    """`PUBLIC=UPSTREAM` pairs; a bare `PUBLIC` takes the catalogue's upstream name."""
    pairs = (item.partition("=") for item in read_list(text) or ())
    return {public.strip(): upstream.strip() for public, _, upstream in pairs} or None


def _describe_models(channel: Channel) -> str:
    if channel.models is None:
        return "all models of its provider"
    return ", ".join(f"{public}={upstream}" for public, upstream in channel.models.items())


@channel_commands.command("set")
@click.argument("name")
@click.option("--base-url", help="Empty: the provider's own.")
@click.option("--api-key-env", help="The environment variable that holds the new key.")
@click.option("--models", help="PUBLIC=UPSTREAM,…; empty: all models of the provider.")
@click.option("--priority", type=int, help="Lower numbers are tried first.")
@click.option("--weight", type=int, help="Share among channels of one priority.")
@further_options
def set_channel(
    name: str,
    base_url: str | None,
    api_key_env: str | None,
    models: str | None,
    priority: int | None,
    weight: int | None,
    **further: str | int | None,
) -> None:
    """Change a channel; what is not named stays."""
    fields: dict[str, Any] = _read_further(further)
    fields |= {field: value for field, value in (("priority", priority), ("weight", weight)) if value is not None}
    if base_url is not None:
        fields["base_url"] = base_url or None
    if api_key_env:
        fields["api_key"] = _read_key(api_key_env)
    if models is not None:
        fields["models"] = _read_models(models)
    if not fields:
        raise InvalidRequest("Nothing was given to change: see --help.")
    editing.update_channel(name, **fields)
    click.echo(f"Changed channel {name}.")


def _read_key(variable: str) -> str:
    key = os.environ.get(variable)  # not a setting: the operator names the variable
    if not key:
        raise InvalidRequest(f"{variable} is not set.", param="api_key_env")
    return key


def _read_further(given: Mapping[str, str | int | None]) -> dict[str, Any]:
    """The given fields of `further_options`. 0 removes a limit; an empty list opens the channel to all groups, or lets
    no further fields through."""
    fields: dict[str, Any] = {limit: given[limit] or None for limit in LIMITS if given[limit] is not None}
    groups, cost = given["groups"], given["cost"]
    if groups is not None:
        fields["groups"] = read_list(str(groups)) or None
    if (passed := given["pass_fields"]) is not None:
        fields["pass_fields"] = read_list(str(passed)) or None
    if cost is not None:
        fields["cost_bps"] = read_percent(str(cost), "cost")
    return fields


def _describe_limits(channel: Channel) -> str:
    limits = (getattr(channel, limit) for limit in LIMITS)
    return "/".join("-" if limit is None else str(limit) for limit in limits)


@channel_commands.command("list")
def list_channels() -> None:
    """List the channels in the order in which they are tried."""
    print_table(
        [
            ("CHANNEL", "PROVIDER", "STATE", "HEALTH", "PRIORITY", "WEIGHT", "COST")
            + ("RPM/TPM/AT ONCE", "GROUPS", "ALSO PASSES", "KEY", "BASE URL", "MODELS"),
            *map(_describe_channel, editing.list_channels()),
        ]
    )


def _describe_channel(channel: Channel) -> tuple[str, ...]:
    return (
        channel.name,
        channel.provider,
        "enabled" if channel.enabled else "disabled",
        "misconfigured" if channel.refused_models and channel.health != "out" else channel.health,
        str(channel.priority),
        str(channel.weight),
        f"{format_percent(channel.cost_bps)}%",
        _describe_limits(channel),
        ", ".join(channel.groups) if channel.groups else "all",
        ", ".join(channel.pass_fields or ()) or "-",
        f"…{channel.key_last_four}" if channel.key_last_four else "-",
        channel.base_url or "-",
        _describe_models(channel),
    )


@channel_commands.command("test")
@click.argument("name")
@click.option("--model", help="The model to ask; without it, the channel's cheapest.")
@click.option("--stream", is_flag=True, help="Ask for a streamed answer.")
def test(name: str, model: str | None, stream: bool) -> None:
    """Send one small request through a channel. Says what it cost, and exits with 1 if it isn't answered."""
    result = probe_channel(name, model, stream)
    click.echo(f"{result.detail} {result.took_ms} ms", err=not result.ok)
    for line in (result.text, result.cost):
        if line:
            click.echo(line)
    if not result.ok:
        sys.exit(1)


@channel_commands.command("events")
@click.argument("name")
@click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="How many, the newest first."
)
def events(name: str, limit: int) -> None:
    """Say why a channel was left and taken back, in the last 30 days."""
    found = list_events(editing.find_channel(name), limit)
    if not found:
        click.echo(f"Nothing has happened to {name} in the last 30 days.")
        return
    rows = [("WHEN", "WHAT", "SECONDS", "BY", "WHY")]
    for event in found:
        when = f"{event.at:%Y-%m-%d %H:%M:%S}"
        rows.append((when, event.what, str(event.seconds or "-"), event.process, event.why))
    print_table(rows)


@channel_commands.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Stop using a channel; running requests end on it."""
    editing.set_channel_enabled(name, False)
    click.echo(f"Disabled channel {name}.")


@channel_commands.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Use a channel again."""
    editing.set_channel_enabled(name, True)
    click.echo(f"Enabled channel {name}.")


@channel_commands.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget a channel and its key."""
    editing.remove_channel(name)
    click.echo(f"Removed channel {name}.")


@vault_commands.command("rotate")
def rotate() -> None:
    """Seal all that is sealed under the first of FERNET_KEYS. Those are provider keys, kept answers and reasoning; then
    the other keys can go."""
    with transaction() as session:
        sealed = list(session.scalars(select(Channel).where(Channel.sealed_key.is_not(None)).with_for_update()))
        for channel in sealed:
            if channel.sealed_key:
                vault.unseal(channel.sealed_key)  # says so if no master key fits
                channel.sealed_key = vault.reseal(channel.sealed_key)
        record_act(session, None, "vault", COMMAND, f"{len(sealed)} provider keys")
    keys = "key" if len(sealed) == 1 else "keys"
    answers = vault.reseal_rows(IdempotencyKey) + vault.reseal_rows(KeptItem)
    thoughts = vault.reseal_rows(KeptReasoning)
    people = vault.reseal_rows(SecondFactor) + vault.reseal_rows(Mail)
    click.echo(f"Sealed {len(sealed)} provider {keys} under the newest master key.")
    click.echo(f"Sealed likewise what is kept for a day: answers {answers}, reasoning {thoughts}.")
    click.echo(f"Sealed likewise secrets of second factors, and mails that wait: {people}.")
