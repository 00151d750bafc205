"""The commands for prices and markups: `flask price`, `flask markup` and `flask account markup`.

Their options match the pages' fields, and they change prices by the same functions."""

from collections.abc import Callable, Mapping
from typing import Any

import click
from flask.cli import with_appcontext

from bridge.accounts.customers import find_terms, set_account_markup
from bridge.accounts.emails import find_member
from bridge.accounts.memberships import find_main_account
from bridge.catalogue.below_cost import list_live_models, require_margin_at
from bridge.catalogue.listing import newest_prices
from bridge.catalogue.model_editing import check_rates, enter_price, find_model, set_markup
from bridge.catalogue.price_rows import list_prices, list_prices_to_come, tiers_of, version_of
from bridge.catalogue.rates import PRICE_CLASSES, Rates, name_rates
from bridge.catalogue.tables import Price
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.forms import FormReader
from bridge.money import format_dollars, format_percent
from bridge.ops.command_line import (
    Command,
    Commands,
    asks_below_cost,
    below_cost_option,
    print_table,
    read_dollars,
    read_moment,
)

HEADINGS = ("INPUT", "CACHED", "WRITE", "WRITE-1H", "OUTPUT", "FURTHER")
# a class's name in options and tiers, and what it is for
CLASSES = {
    "input": ("input", "Of prompts."),
    "output": ("output", "Of answers."),
    "cached": ("cached", "Of input read from a cache; without it, what input costs."),
    "cache-write": ("cache_write", "Of input written to a cache; without it, what input costs."),
    "cache-write-hour": ("cache_write_hour", "The same, kept for an hour; without it, as for minutes."),
    "reasoning": ("reasoning", "Of thinking; without it, what output costs."),
    "audio-in": ("audio_input", "Of sound heard; without it, what input costs."),
    "cached-audio": ("cached_audio", "Of sound read from a cache; without it, what sound costs."),
    "audio-out": ("audio_output", "Of speech; without it, what output costs."),
    "image": ("image", "Of pictures; without it, what input costs."),
    "image-out": ("image_output", "Of pictures drawn; without it, what output costs."),
    "per-request": ("request", "Dollars for each call of the provider."),
    "per-picture": ("picture", "Dollars for each picture that is drawn."),
    "per-picture-low": ("picture_low", "The same of low quality; without it, as for any."),
    "per-picture-medium": ("picture_medium", "The same of medium quality; without it, as for any."),
}
NAMES = {class_: name for name, (class_, _) in CLASSES.items()}
PASSED = "That moment has passed. Leave --from out for a price from now on."

price_commands = Commands("price", help="Prices, in dollars per million tokens.")


def _price_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """An option for each class, and one for the provider's price of it."""
    for prefix, whose in (("cost-", "What the provider takes. "), ("", "")):
        tier = f"--{prefix}tier"
        text = f"{whose}Prices of longer prompts: 200000:input=6,output=22.5. May be given several times."
        command = click.option(tier, metavar="ABOVE_TOKENS:NAME=PRICE,…", multiple=True, help=text)(command)
        for name, (_, text) in reversed(CLASSES.items()):
            needed = name in ("input", "output") and not prefix
            command = click.option(f"--{prefix}{name}", metavar="PRICE", required=needed, help=whose + text)(command)
    return command


@price_commands.command("set")
@click.argument("model")
@_price_options
@click.option("--from", "since", help="ISO 8601 date or time to come, UTC unless it says otherwise; without it, now.")
@click.option("--source", default="operator", show_default=True, help="Where the price is from.")
@below_cost_option
def set_price(model: str, since: str | None, source: str, below_cost: bool, **options: Any) -> None:
    """Give a model a new price, as a version of its own. What is left out costs what its option says, not what it cost
    before. Running requests keep theirs. The last line is the version's id."""
    id_ = find_model(model).id
    before = newest_prices().get(id_)
    tiers = _read_tiers(options, "")
    costs = _read_tiers(options, "cost-") or None
    moment = None if since is None else read_moment(since, "--from")
    if moment is not None and moment <= now_utc():
        raise InvalidRequest(PASSED, param="--from")
    with asks_below_cost():
        price = enter_price(id_, tiers, costs=costs, effective_at=moment, source=source, below_cost=below_cost)
    rows: list[tuple[str, ...]] = [("PRICE", "ABOVE", *HEADINGS, "SOURCE")]
    if before:
        rows += _describe(before, f"{before.id}, before")
    print_table([*rows, *_describe(price, f"{price.id}, new")])
    when = f"from {moment:%Y-%m-%d %H:%M} UTC on" if moment else "from now on"
    replaced = f"; it replaces version {before.id}" if before else ""
    click.echo(f"{id_} has this price {when}{replaced}. Running requests keep theirs.")
    for coming in list_prices_to_come().get(id_, ()):
        if coming.id != price.id:
            click.echo(f"Version {coming.id} replaces it from {_say_moment(coming)}; --from gives that moment another.")
    click.echo(price.id)


def _say_moment(price: Price) -> str:
    return f"{price.effective_at:%Y-%m-%d %H:%M} UTC"


def _read_tiers(options: Mapping[str, Any], prefix: str) -> list[Rates]:
    """The rates from the options with this prefix, ordinary prompts first; [] if none is given."""
    key = prefix.replace("-", "_")
    given = {name: options[key + name.replace("-", "_")] for name in CLASSES}
    texts = {name: text for name, text in given.items() if text is not None}
    tiers: tuple[str, ...] = options[f"{key}tier"]
    if not texts and not tiers:
        return []
    found = [_read_rates(texts, 0, f"--{prefix}{{}}")]
    for tier in tiers:
        option = f"--{prefix}tier {tier}"
        above, _, pairs = tier.partition(":")
        if not (above.isascii() and above.isdigit() and int(above[:12]) > 0):
            raise InvalidRequest("A tier begins with tokens: 200000:input=6,output=22.5.", param=option)
        texts = dict(_read_pair(pair, option) for pair in pairs.split(","))
        found.append(_read_rates(texts, int(above), f"{option}: {{}}"))
    return sorted(found, key=lambda rates: rates.above_tokens)


def _read_pair(pair: str, option: str) -> tuple[str, str]:
    name, _, text = pair.partition("=")
    if name.strip() not in CLASSES:
        raise InvalidRequest(f"{name.strip()!r} is none of {', '.join(CLASSES)}.", param=option)
    return name.strip(), text


def _read_rates(texts: Mapping[str, str], above_tokens: int, param: str) -> Rates:
    """Rates of prices by their options' names; `param` is the pattern of the field's name in errors."""
    for name in ("input", "output"):
        if name not in texts:
            raise InvalidRequest("This price is missing; 0 is free.", param=param.format(name))
    prices = {CLASSES[name][0]: read_dollars(text, param.format(name)) for name, text in texts.items()}
    try:
        return check_rates(prices, above_tokens, "{}")
    except InvalidRequest as error:
        raise InvalidRequest(error.message, param=param.format(NAMES[error.param or "input"])) from None


@price_commands.command("list")
@click.argument("model", required=False)
def show_prices(model: str | None) -> None:
    """List the prices in effect and those to come, or one model's versions, the last to take effect first. Markups come
    on top."""
    rows: list[tuple[str, ...]] = [("MODEL" if model is None else "PRICE", "ABOVE", *HEADINGS, "SOURCE")]
    if model is None:
        coming = list_prices_to_come()
        for id_, price in sorted(newest_prices().items()):
            rows += _describe(price, id_)
            for later in coming.get(id_, ()):
                rows += _describe(later, f"  from {_say_moment(later)}")
    else:
        id_ = find_model(model).id
        current = newest_prices().get(id_)
        for price in list_prices(id_):
            rows += _describe(price, _name_version(price, current))
    print_table(rows)
    if model is not None:
        click.echo(f"Markup: {format_percent(find_model(model).markup_bps)}%")


def _name_version(price: Price, current: Price | None) -> str:
    since = price.effective_at or price.created_at
    if current is not None and price.id == current.id:
        state = "in effect since"
    else:
        state = "to come" if since > now_utc() else "from"
    return f"{price.id}, {state} {since:%Y-%m-%d %H:%M}"


def _describe(price: Price, name: str) -> list[tuple[str, ...]]:
    """A line for each tier, and for each of the provider's tiers if those differ."""
    source = f"{price.source}, {price.checked_on}" if price.checked_on else price.source
    rows = [_describe_rates(rates, name, source) for rates in tiers_of(price)]
    if price.costs:
        rows += [_describe_rates(rates, "  provider takes", "") for rates in version_of(price).costs]
    return rows


def _describe_rates(rates: Rates, name: str, source: str) -> tuple[str, ...]:
    prices = name_rates(rates)
    further = ", ".join(f"{NAMES[class_]} {_show(prices[class_])}" for class_ in prices if class_ not in PRICE_CLASSES)
    above = str(rates.above_tokens) if rates.above_tokens else "-"
    return (name, above, *(_show(prices[class_]) for class_ in PRICE_CLASSES), further or "-", source)


def _show(nanos: int) -> str:
    return format_dollars(nanos, 2)


@click.command("markup", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("model")
@click.argument("percent")
@below_cost_option
@with_appcontext
def markup_command(model: str, percent: str, below_cost: bool) -> None:
    """Put a markup on a model's price, from the next request on. In percent: 0 is none, -10 a discount."""
    found = find_model(model)
    before, basis_points = found.markup_bps, read_percent_of(percent)
    with asks_below_cost():
        set_markup(found.id, basis_points, below_cost=below_cost)
    click.echo(f"{found.id} has a markup of {format_percent(basis_points)}%; before it was {format_percent(before)}%.")


def read_rates_of(text: str) -> Rates:
    """Rates of `input=2.85,output=14.25`. Raises InvalidRequest."""
    return _read_rates(dict(_read_pair(pair, "--prices") for pair in text.split(",")), 0, "--prices: {}")


def read_percent_of(text: str) -> int:
    """Hundredths of a percent. Raises InvalidRequest."""
    form = FormReader({"percent": text})
    basis_points = form.percent("percent")
    if basis_points is None:
        raise InvalidRequest(form.errors.get("percent", "Give a percentage, such as 12.5."), param="percent")
    return basis_points


@click.command("markup", context_settings={"ignore_unknown_options": True})
@click.argument("email")
@click.argument("percent")
@below_cost_option
@with_appcontext
def account_markup_command(email: str, percent: str, below_cost: bool) -> None:
    """Give an account a markup instead of its models'. In percent: -10 is a discount, "none" ends it."""
    member = find_member(email)
    before, _ = find_terms(find_main_account(member))
    basis_points = None if percent.strip().lower() == "none" else read_percent_of(percent)
    if basis_points is not None and not below_cost:
        with asks_below_cost():
            require_margin_at(basis_points, list_live_models(), "this account")
    set_account_markup(find_main_account(member), basis_points)
    click.echo(f"{member.email} pays {_name_markup(basis_points)}; before it was {_name_markup(before)}.")


def _name_markup(basis_points: int | None) -> str:
    return "the models' own markups" if basis_points is None else f"a markup of {format_percent(basis_points)}%"
