"""The operator's commands for models and the catalogue: `flask model` and `flask catalogue`."""

import click
from flask import current_app

from bridge.catalogue import editing
from bridge.catalogue.listing import ListedModel, list_models
from bridge.catalogue.prices import PRICE_CLASSES
from bridge.catalogue.rates import Rates, name_rates
from bridge.catalogue.sync import figures, list_differences, sync_catalogue
from bridge.money import format_dollars
from bridge.ops.command_line import (
    Commands,
    asks_below_cost,
    below_cost_option,
    print_table,
    read_dollars,
)
from bridge.providers import COMMON_DIALECT

PRICE_HEADINGS = ("INPUT", "CACHED", "WRITE", "WRITE-1H", "OUTPUT")  # of PRICE_CLASSES

LIMITS = ("rpm", "tpm", "concurrency")


model_commands = Commands("model", help="Models, prices and aliases.")
catalogue_commands = Commands("catalogue", help="The models we start with, and their list prices.")


@model_commands.command("add")
@click.argument("id_", metavar="ID")
@click.option("--input-price", required=True, help="Dollars per million tokens.")
@click.option("--output-price", required=True, help="Dollars per million tokens.")
@click.option("--cached-price", help="Of cached input; without it, the input's price.")
@click.option("--cache-write-price", help="Of input that is written to a cache; without it, the input's price.")
@click.option("--cache-write-hour-price", help="The same, to be kept for an hour; without it, as for minutes.")
@click.option("--context", required=True, type=int, help="Tokens.")
@click.option("--max-output", type=int, help="Tokens; without it, what a prompt leaves of the context.")
@click.option("--provider", default=COMMON_DIALECT, show_default=True, help="Its channels without a list serve it.")
@click.option("--name", help="For people; without it, the id.")
@below_cost_option
def add_model(  # noqa: PLR0913 - one for each option
    id_: str,
    input_price: str,
    output_price: str,
    cached_price: str | None,
    cache_write_price: str | None,
    cache_write_hour_price: str | None,
    context: int,
    max_output: int | None,
    provider: str,
    name: str | None,
    below_cost: bool,
) -> None:
    """Offer a model. The last line is its id."""
    with asks_below_cost():
        model = editing.add_model(
            id_,
            provider=provider,
            input_price_nanos=read_dollars(input_price, "input_price"),
            output_price_nanos=read_dollars(output_price, "output_price"),
            cached_price_nanos=_read_price(cached_price, "cached_price"),
            cache_write_price_nanos=_read_price(cache_write_price, "cache_write_price"),
            cache_write_hour_price_nanos=_read_price(cache_write_hour_price, "cache_write_hour_price"),
            context_tokens=context,
            max_output_tokens=max_output,
            name=name,
            below_cost=below_cost,
        )
    click.echo(f"Added model {model.id} with {context} tokens of context.")
    click.echo(model.id)


def _read_price(text: str | None, param: str) -> int | None:
    return None if text is None else read_dollars(text, param)


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
    """List the models with their prices, in dollars per million tokens."""
    heading = ("MODEL", "PROVIDER", "STATUS", "CONTEXT", *PRICE_HEADINGS, "ALIASES", "NOTE")
    print_table([heading, *map(_describe_model, list_models())])


def _describe_model(model: ListedModel) -> tuple[str, ...]:
    return (
        model.id,
        model.provider_label,
        model.status,
        str(model.context_tokens),
        *(format_dollars(getattr(model, f"{class_}_nanos_per_mtok"), 2) for class_ in PRICE_CLASSES),
        ", ".join(model.aliases) or "-",
        model.note or "-",
    )


@catalogue_commands.command("sync")
@below_cost_option
def sync(below_cost: bool) -> None:
    """Add what is missing and connect the environment's keys. Never changes a model or a price."""
    for line in sync_catalogue(current_app.config["BRIDGE"], below_cost) or ["Nothing is missing."]:
        click.echo(line)


@catalogue_commands.command("diff")
def diff() -> None:
    """Show where list prices differ from what we believe to pay. In dollars per million tokens."""
    differences = list_differences()
    if not differences:
        click.echo("No price differs from its list price.")
        return
    rows: list[tuple[str, ...]] = [("MODEL", *PRICE_HEADINGS, "SOURCE")]
    for difference in differences:
        for tiers, source in (
            (difference.our_tiers, f"ours: {difference.our_source}"),
            (difference.listed_tiers, f"list: {difference.listed_source}"),
        ):
            for rates in tiers:
                dollars = (format_dollars(nanos, 2) for nanos in figures(rates))
                rows.append((_name_tier(difference.model_id, rates), *dollars, f"{source}{_describe_further(rates)}"))
    print_table(rows)


def _name_tier(model_id: str, rates: Rates) -> str:
    return f"{model_id} above {rates.above_tokens}" if rates.above_tokens else model_id


def _describe_further(rates: Rates) -> str:
    """The prices that have no column."""
    further = ((name, nanos) for name, nanos in name_rates(rates).items() if name not in PRICE_CLASSES)
    return "".join(f", {name} {format_dollars(nanos, 2)}" for name, nanos in further)
