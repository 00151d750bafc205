"""The operator's commands for channels that have several keys: `flask channel key`."""

import click

from bridge.catalogue import channel_keys
from bridge.catalogue.breaker_states import KEY_MARK
from bridge.catalogue.editing import find_channel
from bridge.catalogue.key_health import list_keys
from bridge.ops.command_line import Commands, print_table
from bridge.ops.commands_channels import read_key

channel_key_commands = Commands("key", help="Several keys of one channel.")
KEY_ENV = click.option("--api-key-env", required=True, help="The environment variable that holds the key.")


@channel_key_commands.command("list")
@click.argument("channel")
def show_keys(channel: str) -> None:
    """List a channel's keys by their last four characters, with the state of each."""
    found = find_channel(channel)
    rows = [
        (f"…{key.last_four}", f"{KEY_MARK}{key.id}", key.health, key.note or "-", key.last_error or "-")
        for key in list_keys(found)
    ]
    if not rows and found.key_last_four:
        rows = [(f"…{found.key_last_four}", channel_keys.ONLY, found.health, "-", found.last_error or "-")]
    print_table([("KEY", "NUMBER", "HEALTH", "NOTE", "LAST ERROR"), *rows])


@channel_key_commands.command("add")
@click.argument("channel")
@KEY_ENV
@click.option("--note", default="", help="Your own word for it.")
def add(channel: str, api_key_env: str, note: str) -> None:
    """Give a channel one key more."""
    channel_keys.add_key(channel, read_key(api_key_env), note)
    click.echo(f"Added a key to channel {channel}.")


@channel_key_commands.command("replace")
@click.argument("channel")
@click.argument("key")
@KEY_ENV
def replace(channel: str, key: str, api_key_env: str) -> None:
    """Put another key in the place of the one that ends in KEY."""
    channel_keys.replace_key(channel, key, read_key(api_key_env))
    click.echo(f"Replaced the key {key} of channel {channel}.")


@channel_key_commands.command("remove")
@click.argument("channel")
@click.argument("key")
def remove(channel: str, key: str) -> None:
    """Take the key that ends in KEY out of a channel that has several."""
    channel_keys.remove_key(channel, key)
    click.echo(f"Removed the key {key} of channel {channel}.")
