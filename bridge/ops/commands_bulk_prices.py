"""`flask price markup`: the markup or the prices of many models at once, as the page **Change prices** does it; and
`flask price remove`."""

import click

from bridge.catalogue.below_cost import list_live_models
from bridge.catalogue.bulk_prices import MARKUP, PRICES, Plan, carry_out, plan_change
from bridge.catalogue.model_editing import find_model, withdraw_price
from bridge.errors import InvalidRequest
from bridge.money import format_dollars, format_percent
from bridge.ops.command_line import asks_below_cost, below_cost_option, print_table, read_moment, read_percent
from bridge.ops.commands_prices import price_commands

__all__ = ["price_commands"]


@price_commands.command("markup", context_settings={"ignore_unknown_options": True})
@click.argument("percent")
@click.argument("models", nargs=-1)
@click.option("--provider", help="All models of this provider.")
@click.option("--all", "everything", is_flag=True, help="All models.")
@click.option("--prices", is_flag=True, help="Raise or lower the prices by so much; the markups stay.")
@click.option("--from", "since", help="With --prices: ISO 8601 date or time to come, UTC; without it, now.")
@click.option("--yes", is_flag=True, help="Do it. Without it the change is only shown.")
@below_cost_option
def change_many(  # noqa: PLR0913 - a parameter for each option
    percent: str,
    models: tuple[str, ...],
    provider: str | None,
    everything: bool,
    prices: bool,
    since: str | None,
    yes: bool,
    below_cost: bool,
) -> None:
    """Set the markup of many models, or change their prices. In percent: 0 is no markup, -10 a discount.

    Shows old and new prices and margins; --yes carries it out, all or none."""
    ids = _choose(models, provider, everything)
    moment = None if since is None else read_moment(since, "--from")
    plan = plan_change(PRICES if prices else MARKUP, ids, read_percent(percent, "percent"), moment)
    if not plan.changes:
        click.echo("Nothing would change.")
        return
    _print_plan(plan)
    if yes:
        with asks_below_cost():
            count = carry_out(plan, below_cost=below_cost)
        when = f"from {moment:%Y-%m-%d %H:%M} UTC on" if moment else "from now on"
        click.echo(f"{count} model{'s have' if count != 1 else ' has'} other prices {when}.")
        return
    for shortfall in plan.shortfalls:
        click.echo(f"Below cost: {shortfall.text}")
    click.echo("Nothing is changed yet. Add --yes to do it.")


@price_commands.command("remove")
@click.argument("price_id", type=int)
def remove(price_id: int) -> None:
    """Remove a price before its day, by its version's number (`price list MODEL`)."""
    price = withdraw_price(price_id)
    click.echo(f"{price.model_id} keeps its price: version {price_id} is removed.")


def _choose(models: tuple[str, ...], provider: str | None, everything: bool) -> list[str]:
    if sum((bool(models), provider is not None, everything)) != 1:
        raise InvalidRequest("Name models, or give --provider or --all.", param="models")
    if models:
        return [find_model(id_).id for id_ in models]
    found = [model.id for model in list_live_models() if everything or model.provider == provider]
    if not found:
        raise InvalidRequest("There are no such models.", param="--provider")
    return found


def _print_plan(plan: Plan) -> None:
    rows: list[tuple[str, ...]] = [("MODEL", "MARKUP", "INPUT", "OUTPUT", "MARGIN")]
    for one in plan.changes:
        markups = _pair(f"{format_percent(one.markup_before_bps)}%", f"{format_percent(one.markup_bps)}%")
        input_ = _pair(format_dollars(one.before.input, 2), format_dollars(one.after.input, 2))
        output = _pair(format_dollars(one.before.output, 2), format_dollars(one.after.output, 2))
        margins = _pair(_show_margin(one.margin_before_bps), _show_margin(one.margin_after_bps))
        rows.append((one.model.id, markups, input_, output, margins))
    print_table(rows)


def _pair(before: str, after: str) -> str:
    return after if before == after else f"{before} -> {after}"


def _show_margin(basis_points: int | None) -> str:
    return "unknown" if basis_points is None else f"{format_percent(basis_points)}%"
