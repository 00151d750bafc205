"""The operator's commands for channels: `flask channel`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from flask import current_app

from bridge.catalogue import channel_bulk, editing
from bridge.catalogue.channel_events import list_events
from bridge.catalogue.channel_state import ChannelState, find_state
from bridge.catalogue.channel_wire import NOTHING as NO_WIRE
from bridge.catalogue.channel_wire import read_wire
from bridge.catalogue.key_health import count_keys
from bridge.catalogue.outcome_figures import NOTHING, list_states, read_figures
from bridge.catalogue.own_calls import sum_own_calls
from bridge.catalogue.tables import Channel
from bridge.catalogue.testing import probe_channel
from bridge.catalogue.upstream_models import Comparison, change_models, compare_models
from bridge.conceal import HIDDEN
from bridge.errors import InvalidRequest
from bridge.money import format_dollars, format_percent
from bridge.ops.command_line import (
    Commands,
    print_table,
    read_list,
    read_percent,
)

PRICE_HEADINGS = ("INPUT", "CACHED", "WRITE", "WRITE-1H", "OUTPUT")  # of PRICE_CLASSES

LIMITS = ("rpm", "tpm", "concurrency")
Given = str | int | tuple[str, ...] | None


channel_commands = Commands("channel", help="Upstreams with the operator's keys.")


def further_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options for a channel's further fields, beside address, key, models, priority and weight."""
    for option in (
        click.option("--concurrency", type=click.IntRange(0), help="Your own limit of requests at once; 0 is none."),
        click.option("--tpm", type=click.IntRange(0), help="Your own limit of tokens per minute; 0 is none."),
        click.option("--rpm", type=click.IntRange(0), help="Your own limit of requests per minute; 0 is none."),
        click.option("--cost", help="Percent of what the prices say that providers take: 80; else 100."),
        click.option("--groups", help="The only groups of accounts that it serves: A,B."),
        click.option("--probes/--no-probes", default=None, help="Check it with one token while nobody uses it."),
        click.option("--always-on/--may-leave", default=None, help="Whether it never leaves by itself when it fails."),
        click.option("--pass-fields", help="Request fields that it takes beside those that we know: A,B."),
        click.option(
            "--header", "headers", multiple=True, help="NAME:VALUE, always sent; {key}: the key; NAME: removes."
        ),
        click.option("--header-env", "header_envs", multiple=True, help="NAME:VARIABLE, which holds the value."),
        click.option("--query", multiple=True, help="NAME=VALUE, added to each address; NAME= removes it."),
        click.option("--proxy", help="http://, socks5:// or socks5h://; direct: none; empty: the gateway's own."),
        click.option("--proxy-env", help="The environment variable that holds the proxy."),
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
    **further: Given,
) -> None:
    """Connect an upstream. The last line is the channel's name."""
    if api_key_env:
        api_key = read_key(api_key_env)
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
@click.argument("names", nargs=-1, required=True)
@click.option("--base-url", help="The provider's own by default.")
@click.option("--api-key-env", help="The environment variable that holds the new key.")
@click.option("--models", help="PUBLIC=UPSTREAM,…; empty: all models of the provider.")
@click.option("--priority", type=int, help="Lower numbers are tried first.")
@click.option("--weight", type=int, help="Share among channels of one priority.")
@further_options
def set_channel(
    names: tuple[str, ...],
    base_url: str | None,
    api_key_env: str | None,
    models: str | None,
    priority: int | None,
    weight: int | None,
    **further: Given,
) -> None:
    """Change channels, all of them or none; what is not named stays."""
    fields: dict[str, Any] = _read_further(further, names)
    fields |= {field: value for field, value in (("priority", priority), ("weight", weight)) if value is not None}
    if base_url is not None:
        fields["base_url"] = base_url or None
    if api_key_env:
        fields["api_key"] = read_key(api_key_env)
    if models is not None:
        fields["models"] = _read_models(models)
    if not fields:
        raise InvalidRequest("Nothing was given to change: see --help.")
    channel_bulk.change_channels(names, fields)
    for name in names:
        click.echo(f"Changed channel {name}.")


def read_key(variable: str) -> str:
    """What the variable holds. Raises InvalidRequest if it isn't set."""
    key = os.environ.get(variable)  # not a setting: the operator names the variable
    if not key:
        raise InvalidRequest(f"{variable} is not set.", param="api_key_env")
    return key


def _read_further(given: Mapping[str, Given], names: Sequence[str] = ()) -> dict[str, Any]:
    """The given fields of `further_options`. 0 removes a limit; an empty list opens the channel to all groups, or lets
    no further fields through. Headers and query are those of the named channel with these changes."""
    fields: dict[str, Any] = {limit: given[limit] or None for limit in LIMITS if given[limit] is not None}
    groups, cost = given["groups"], given["cost"]
    if groups is not None:
        fields["groups"] = read_list(str(groups)) or None
    if (passed := given["pass_fields"]) is not None:
        fields["pass_fields"] = read_list(str(passed)) or None
    if cost is not None:
        fields["cost_bps"] = read_percent(str(cost), "cost")
    fields |= {name: given[name] for name in editing.SWITCHES if given[name] is not None}
    return fields | _read_wire(given, names)


def _read_wire(given: Mapping[str, Given], names: Sequence[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if len(names) > 1 and any(given[field] for field in ("headers", "header_envs", "query")):
        raise InvalidRequest("Headers and query are set for one channel at a time.")
    wire = read_wire(editing.find_channel(names[0]).sealed_wire) if names else NO_WIRE
    headers = [(header, value) for header, _, value in _split(given["headers"], ":")]
    headers += [(header, read_key(env.strip())) for header, _, env in _split(given["header_envs"], ":")]
    if headers:
        fields["headers"] = _merge(wire.headers, [(header.lower(), value) for header, value in headers])
    if query := [(parameter, value) for parameter, _, value in _split(given["query"], "=")]:
        fields["query"] = _merge(wire.query, query)
    if given["proxy_env"]:
        fields["proxy"] = read_key(str(given["proxy_env"]))
    elif given["proxy"] is not None:
        fields["proxy"] = str(given["proxy"]) or None
    return fields


def _split(given: Given, separator: str) -> Iterator[tuple[str, str, str]]:
    return (each.partition(separator) for each in (given if isinstance(given, tuple) else ()))


def _merge(before: Mapping[str, str], given: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What there was, as what isn't shown, with these changes; without a value it goes."""
    found = dict.fromkeys(before, HIDDEN)
    for name, value in given:
        if value.strip():
            found[name.strip()] = value.strip()
        else:
            found.pop(name.strip(), None)
    return found


def _describe_limits(channel: Channel) -> str:
    limits = (getattr(channel, limit) for limit in LIMITS)
    return "/".join("-" if limit is None else str(limit) for limit in limits)


@channel_commands.command("list")
def list_channels() -> None:
    """List the channels in the order in which they are tried."""
    channels, counted = editing.list_channels(), count_keys()
    states = list_states(channels)
    print_table(
        [
            ("CHANNEL", "PROVIDER", "STATE", "HEALTH", "PRIORITY", "WEIGHT", "COST")
            + ("RPM/TPM/AT ONCE", "GROUPS", "ALSO PASSES", "KEY", "BASE URL", "MODELS"),
            *(_describe_channel(channel, states[channel.name], counted) for channel in channels),
        ]
    )


def _describe_keys(channel: Channel, counted: Mapping[int, tuple[int, int]]) -> str:
    count, refused = counted.get(channel.id, (0, 0))
    if not count:
        return f"…{channel.key_last_four}" if channel.key_last_four else "-"
    return f"{count} keys, {refused} refused" if refused else f"{count} keys"


def _describe_channel(channel: Channel, state: ChannelState, counted: Mapping[int, tuple[int, int]]) -> tuple[str, ...]:
    return (
        channel.name,
        channel.provider,
        "enabled" if channel.enabled else "disabled",
        state.word.lower(),
        str(channel.priority),
        str(channel.weight),
        f"{format_percent(channel.cost_bps)}%",
        _describe_limits(channel),
        ", ".join(channel.groups) if channel.groups else "all",
        ", ".join(channel.pass_fields or ()) or "-",
        _describe_keys(channel, counted),
        channel.base_url or "-",
        _describe_models(channel),
    )


@channel_commands.command("health")
@click.argument("name")
def health(name: str) -> None:
    """Say how a channel is and why, its calls of a day by hour, and what checking it costs."""
    channel = editing.find_channel(name)
    figures = read_figures(channel.id).get(channel.id, NOTHING)
    state = find_state(channel, times_as_slow=figures.times_as_slow)
    click.echo(f"{channel.name}: {state.word.lower()}{f'; {state.why}' if state.why else ''}")
    own = sum_own_calls(channel_name=channel.name)
    click.echo(f"Tests and checks so far: {own.calls}, ${format_dollars(own.cost_nanos)}")
    rows: list[tuple[str, ...]] = [
        ("HOUR", "CALLS", "ANSWERED", "FAILED", "LIMITED", "REFUSED", "MISSING", "P50", "P95")
    ]
    for start, one in sorted(figures.hours.items()):
        counts = (one.calls, one.answered, one.failed, one.limited, one.refused, one.missing)
        times = ("-" if value is None else f"{value:.2f} s" for value in (one.first_p50, one.first_p95))
        rows.append((f"{start:%Y-%m-%d %H:00}", *map(str, counts), *times))
    if len(rows) > 1:
        print_table(rows)


@channel_commands.command("test")
@click.argument("names", nargs=-1, required=True)
@click.option("--model", help="The model to ask; without it, the channel's cheapest.")
@click.option("--stream", is_flag=True, help="Ask for a streamed answer.")
@click.option("--key", default="", help="Which of several keys, by its last four characters; else the first.")
def test(names: tuple[str, ...], model: str | None, stream: bool, key: str) -> None:
    """Send one small request through each channel. Says what it cost, and exits with 1 if one isn't answered."""
    failed = False
    for name in names:
        result = probe_channel(name, model, stream, key)
        click.echo(f"{f'{name}: ' if len(names) > 1 else ''}{result.detail} {result.took_ms} ms", err=not result.ok)
        for line in (result.text, result.cost):
            if line:
                click.echo(line)
        failed = failed or not result.ok
    if failed:
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
@click.argument("names", nargs=-1, required=True)
def disable(names: tuple[str, ...]) -> None:
    """Stop using channels; running requests end on them."""
    channel_bulk.switch_channels(names, False)
    for name in names:
        click.echo(f"Disabled channel {name}.")


@channel_commands.command("enable")
@click.argument("names", nargs=-1, required=True)
def enable(names: tuple[str, ...]) -> None:
    """Use channels again."""
    channel_bulk.switch_channels(names, True)
    for name in names:
        click.echo(f"Enabled channel {name}.")


@channel_commands.command("copy")
@click.argument("name")
@click.argument("new_name")
def copy(name: str, new_name: str) -> None:
    """Make a channel like another, with its keys, and disabled. The last line is its name."""
    channel_bulk.copy_channel(name, new_name)
    click.echo(f"Copied channel {name}. The copy is disabled: change it, then enable it.")
    click.echo(new_name)


@channel_commands.command("models")
@click.argument("name")
@click.option("--add", help="PUBLIC=UPSTREAM,… to serve as well; without = the catalogue's name.")
@click.option("--remove", help="Public names to serve no longer: A,B.")
@click.option("--add-known", is_flag=True, help="All that the upstream lists and the catalogue knows.")
@click.option("--remove-missing", is_flag=True, help="All that the upstream lists no longer.")
def models(name: str, add: str | None, remove: str | None, add_known: bool, remove_missing: bool) -> None:
    """Compare a channel's models with those that its upstream lists, or change them. Without an option nothing
    changes."""
    added, removed = _read_models(add) or {}, set(read_list(remove) or ())
    if add_known or remove_missing or not (added or removed):
        found = compare_models(editing.find_channel(name), current_app.config["BRIDGE"])
        _print_comparison(found)
        added |= {one.public: one.upstream_id for one in found.addable} if add_known else {}
        removed |= {one.public for one in found.missing} if remove_missing else set()
    if added or removed:
        serves = change_models(name, added, removed)
        click.echo(f"Channel {name} serves {len(serves)} models: {len(added)} added, {len(removed)} taken out.")


def _print_comparison(found: Comparison) -> None:
    rows = [(one.upstream_id, "to add", one.public) for one in found.addable]
    rows += [(model.id, "not in the catalogue", "-") for model in found.unknown]
    rows += [(one.upstream_id, "no longer listed", one.public) for one in found.missing]
    click.echo(f"The upstream lists {found.listed} models, the channel serves {found.served}.")
    if rows:
        print_table([("UPSTREAM", "STATE", "MODEL"), *rows])


@channel_commands.command("remove")
@click.argument("name")
def remove(name: str) -> None:
    """Forget a channel and its key."""
    editing.remove_channel(name)
    click.echo(f"Removed channel {name}.")
