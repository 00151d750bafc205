"""The operator's commands for models and the catalogue: `flask model` and `flask catalogue`."""

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from flask import current_app

from bridge.catalogue import editing
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.model_editing import find_model
from bridge.catalogue.price_file import INPUT_KINDS
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.rates import Rates, name_rates
from bridge.catalogue.sync import (
    Difference,
    adopt_differences,
    figures,
    list_differences,
    list_missing,
    list_renamed,
    sync_catalogue,
)
from bridge.catalogue.upstream_prices import AskedPrices, ask_for_prices
from bridge.conversation.kinds import CHAT, ENDPOINTS, writes_tokens
from bridge.errors import InvalidRequest
from bridge.money import format_dollars
from bridge.ops.command_line import (
    Commands,
    asks_below_cost,
    below_cost_option,
    print_table,
    read_dollars,
    read_list,
    read_moment,
)
from bridge.providers import COMMON_DIALECT

PRICE_HEADINGS = ("INPUT", "CACHED", "WRITE", "WRITE-1H", "OUTPUT")  # of PRICE_CLASSES

LIMITS = ("rpm", "tpm", "concurrency")
KINDS = ", ".join(ENDPOINTS)
# what a model takes and does, by the option's name: the field of `edit_model`
CAPABILITIES = {
    "takes": "input_modalities",
    "image_tokens": "image_tokens",
    "thinks": "thinks",
    "added_tokens": "added_tokens",
    "wire": "openai_wire",
}
SIZES = {
    "name": "name",
    "upstream": "upstream_id",
    "note": "note",
    "context": "context_tokens",
    "max_output": "max_output_tokens",
}


model_commands = Commands("model", help="Models, prices and aliases.")
catalogue_commands = Commands("catalogue", help="The models we start with, and their list prices.")


def _capability_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each of CAPABILITIES."""
    for option in (
        click.option("--wire", help="By which dialect OpenAI is asked: auto, chat, responses, responses_with_tools."),
        click.option("--added-tokens", type=int, help="The most that its upstream adds to a prompt; without it, 0."),
        click.option("--thinks/--no-thinks", default=None, help="Whether it may reason before its first word."),
        click.option("--image-tokens", type=int, help="Tokens of the dearest picture; 0: held as the whole window."),
        click.option("--takes", metavar="KINDS", help=f"Some of {','.join(INPUT_KINDS)}; without it, text."),
    ):
        command = option(command)
    return command


def _read_fields(options: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """The fields of the options that were given."""
    given = {field: options[option] for option, field in names.items() if options[option] is not None}
    if "input_modalities" in given:
        given["input_modalities"] = read_list(given["input_modalities"])
    return given


@model_commands.command("add")
@click.argument("id_", metavar="ID")
@click.option("--input-price", required=True, help="Dollars per million tokens.")
@click.option("--output-price", help="Dollars per million tokens; needed unless the model only makes embeddings.")
@click.option("--cached-price", help="Of cached input; without it, the input's price.")
@click.option("--cache-write-price", help="Of input that is written to a cache; without it, the input's price.")
@click.option("--cache-write-hour-price", help="The same, to be kept for an hour; without it, as for minutes.")
@click.option("--context", required=True, type=int, help="Tokens.")
@click.option("--max-output", type=int, help="Tokens; without it, what a prompt leaves of the context.")
@click.option("--provider", default=COMMON_DIALECT, show_default=True, help="Its channels without a list serve it.")
@click.option("--name", help="For people; without it, the id.")
@_capability_options
@click.option("--kinds", default=CHAT, show_default=True, help=f"What it is asked for: {KINDS}, with commas between.")
@below_cost_option
def add_model(  # noqa: PLR0913 - one for each option
    id_: str,
    input_price: str,
    output_price: str | None,
    cached_price: str | None,
    cache_write_price: str | None,
    cache_write_hour_price: str | None,
    context: int,
    max_output: int | None,
    provider: str,
    name: str | None,
    kinds: str,
    below_cost: bool,
    **capabilities: Any,
) -> None:
    """Offer a model. The last line is its id."""
    asked = _read_kinds(kinds)
    if output_price is None and writes_tokens(asked):
        raise click.UsageError("Missing option '--output-price'. 0 is free.")
    with asks_below_cost():
        model = editing.add_model(
            id_,
            provider=provider,
            input_price_nanos=read_dollars(input_price, "input_price"),
            output_price_nanos=read_dollars(output_price or "0", "output_price"),
            cached_price_nanos=_read_price(cached_price, "cached_price"),
            cache_write_price_nanos=_read_price(cache_write_price, "cache_write_price"),
            cache_write_hour_price_nanos=_read_price(cache_write_hour_price, "cache_write_hour_price"),
            context_tokens=context,
            max_output_tokens=max_output,
            name=name,
            kinds=asked,
            below_cost=below_cost,
            **_read_fields(capabilities, CAPABILITIES),
        )
    click.echo(f"Added model {model.id} with {context} tokens of context.")
    click.echo(model.id)


def _read_kinds(text: str) -> list[str]:
    return [kind.strip() for kind in text.split(",")]


def _read_price(text: str | None, param: str) -> int | None:
    return None if text is None else read_dollars(text, param)


@model_commands.command("edit")
@click.argument("id_", metavar="ID")
@click.option("--name", help="For people.")
@click.option("--upstream", help="Its name at its provider, for channels without a list of their own.")
@click.option("--note", help="What customers should know, such as which model answers in its place.")
@click.option("--context", type=int, help="Tokens of prompt and answer together.")
@click.option("--max-output", type=int, help="Tokens of an answer at the most.")
@_capability_options
def edit_model(id_: str, **options: Any) -> None:
    """Change what a model is known to take and to be. What is not given stays."""
    fields = _read_fields(options, {**SIZES, **CAPABILITIES})
    if not fields:
        raise InvalidRequest("Say what is to change: --takes text,image, for example.", param="--takes")
    model = editing.edit_model(id_, **fields)
    thinks = "thinks" if model.thinks else "doesn't think"
    sizes = f"{model.context_tokens} tokens with answers of up to {model.max_output_tokens}"
    click.echo(f"{id_} takes {', '.join(model.input_modalities)}, {sizes}; it {thinks}.")


@model_commands.command("alias")
@click.argument("name")
@click.argument("id_", metavar="ID")
def alias(name: str, id_: str) -> None:
    """Give a model another name."""
    editing.add_alias(name, id_)
    click.echo(f"{name} now means {id_}.")


@model_commands.command("order")
@click.argument("id_", metavar="ID")
@click.argument("order", metavar="weight|cost|latency")
def order(id_: str, order: str) -> None:
    """Choose among equal channels by weight, cost or latency. Equal are those of one priority."""
    editing.set_route_order(id_, order)
    click.echo(f"Channels of {id_} are chosen by {order}.")


@model_commands.command("wire")
@click.argument("id_", metavar="ID")
@click.argument("wire", metavar="auto|chat|responses|responses_with_tools")
def wire(id_: str, wire: str) -> None:
    """Say by which of its dialects OpenAI is asked for a model. `auto` goes by the model's name there."""
    editing.set_openai_wire(id_, wire)
    click.echo(f"OpenAI is asked for {id_} by {wire}.")


@model_commands.command("kinds")
@click.argument("id_", metavar="ID")
@click.argument("kinds", metavar=KINDS.replace(", ", ","))
def kinds(id_: str, kinds: str) -> None:
    """Say what a model is asked for. Several kinds have commas between."""
    editing.set_kinds(id_, _read_kinds(kinds))
    click.echo(f"{id_} is asked for {kinds} from now on.")


@model_commands.command("added")
@click.argument("id_", metavar="ID")
@click.argument("tokens", type=int)
def added(id_: str, tokens: int) -> None:
    """Say how many tokens a model's upstream adds to a prompt at the most: its template, a system prompt of its own."""
    editing.set_added_tokens(id_, tokens)
    click.echo(f"Prompts of {id_} are held and charged with up to {tokens} tokens that its upstream adds.")


@model_commands.command("patience")
@click.argument("id_", metavar="ID")
@click.argument("seconds", metavar="SECONDS|default")
def patience(id_: str, seconds: str) -> None:
    """Say how many seconds a model's first content, or whole answer, is waited for, instead of the settings' limits."""
    try:
        editing.set_patience(id_, None if seconds == "default" else int(seconds))
    except ValueError:
        raise click.ClickException("Give a whole number of seconds, or `default` for the settings' again.") from None
    waited = "as the settings say" if seconds == "default" else f"{seconds} seconds"
    click.echo(f"{id_} is waited for {waited} from now on.")


@model_commands.command("list")
def list_all_models() -> None:
    """List the models with their prices, in dollars per million tokens, and those that are to come."""
    heading = ("MODEL", "PROVIDER", "STATUS", "CONTEXT", *PRICE_HEADINGS, "SOURCE", "KINDS", "TAKES", "ALIASES", "NOTE")
    print_table([heading, *(row for model in list_models() for row in _describe_model(model))])


def _describe_model(model: ListedModel) -> Iterator[tuple[str, ...]]:
    yield (
        model.id,
        model.provider_label,
        model.status,
        str(model.context_tokens),
        *_describe_rates(model.price.base),
        _name_source(model.source, model.checked_on),
        ",".join(model.kinds),
        ",".join(model.input_modalities),
        ", ".join(model.aliases) or "-",
        model.note or "-",
    )
    for one in model.to_come:
        prices = (*_describe_rates(one.price.base), _name_source(one.source, one.checked_on))
        yield (f"  from {one.starts_at:%Y-%m-%d}", "", "", "", *prices, "", "", "", "")


def _describe_rates(rates: Rates) -> tuple[str, ...]:
    return tuple(format_dollars(nanos, 2) for nanos in figures(rates))


def _name_source(source: str, checked_on: datetime.date | None) -> str:
    return f"{source}, {checked_on}" if checked_on else source


def _file_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "A price file of yours instead of the list that comes with the program: TOML, as in bridge/data/models.toml."
    return click.option("--file", type=click.Path(path_type=Path), metavar="PATH", help=text)(command)


def _channel_option(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "Instead of the list, what this channel's upstream tells of prices in its own list of models."
    return click.option("--channel", metavar="NAME", help=text)(command)


def _ask(channel: str | None) -> AskedPrices | None:
    return ask_for_prices(channel, current_app.config["BRIDGE"]) if channel else None


@catalogue_commands.command("sync")
@_file_option
@click.option("--adopt-prices", is_flag=True, help="Also make what `diff` shows the prices, as new versions.")
@below_cost_option
def sync(file: Path | None, adopt_prices: bool, below_cost: bool) -> None:
    """Add what is missing and connect the environment's keys. Never changes a model; a price only with --adopt-prices:
    one from a list follows the list, one of your own stays and has the list's as its cost."""
    done = sync_catalogue(current_app.config["BRIDGE"], below_cost, file=file, adopt=adopt_prices)
    for line in done or ["Nothing is missing."]:
        click.echo(line)


@catalogue_commands.command("adopt")
@click.argument("models", nargs=-1, required=True)
@click.option("--from", "since", help="ISO 8601 date or time to come, UTC; without it, now, or the list's own day.")
@_channel_option
@below_cost_option
def adopt(models: tuple[str, ...], since: str | None, channel: str | None, below_cost: bool) -> None:
    """Make the list's prices those of these models, where `diff` shows a difference. A price of your own stays, and has
    the list's as its cost. `sync --adopt-prices` does it for all."""
    moment = None if since is None else read_moment(since, "--from")
    ids = {find_model(id_).id for id_ in models}
    asked = _ask(channel)
    rows = {difference.row for difference in list_differences(asked=asked) if difference.model_id in ids}
    for line in adopt_differences(rows, asked=asked, below_cost=below_cost, effective_at=moment):
        click.echo(line)


@catalogue_commands.command("diff")
@_file_option
@_channel_option
def diff(file: Path | None, channel: str | None) -> None:
    """Show where list prices differ from what we believe to pay, now and from a day to come, which models have a
    successor, and which are missing. In dollars per million tokens."""
    if file and channel:
        raise InvalidRequest("Compare with a file or with a channel's upstream, not with both.", param="channel")
    _print_differences(list_differences(file=file, asked=_ask(channel)))
    if channel:
        return
    for model, upstream_id in list_renamed(file):
        remedy = f'`model edit {model.id} --upstream {model.upstream_id} --note "{model.note or ""}"`'
        click.echo(f"{model.id} is asked for as {upstream_id}, by the list it is {model.upstream_id}: {remedy}.")
    if missing := list_missing(current_app.config["BRIDGE"], file):
        click.echo(f"Missing, and added by `catalogue sync`: {', '.join(missing)}.")


def _print_differences(differences: list[Difference]) -> None:
    if not differences:
        click.echo("No price differs from its list price.")
    else:
        rows: list[tuple[str, ...]] = [("MODEL", *PRICE_HEADINGS, "SOURCE")]
        for difference in differences:
            since = f" from {difference.starts_on}" if difference.starts_on else ""
            for tiers, source in (
                (difference.our_tiers, f"ours: {difference.our_source}"),
                (difference.listed_tiers, f"list: {difference.listed_source}"),
            ):
                for rates in tiers:
                    name = f"{_name_tier(difference.model_id, rates)}{since}"
                    rows.append((name, *_describe_rates(rates), f"{source}{_describe_further(rates)}"))
        print_table(rows)


def _name_tier(model_id: str, rates: Rates) -> str:
    return f"{model_id} above {rates.above_tokens}" if rates.above_tokens else model_id


def _describe_further(rates: Rates) -> str:
    """The prices that have no column."""
    further = ((name, nanos) for name, nanos in name_rates(rates).items() if name not in PRICE_CLASSES)
    return "".join(f", {name} {format_dollars(nanos, 2)}" for name, nanos in further)
