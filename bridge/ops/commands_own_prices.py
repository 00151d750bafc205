"""`flask price own` and `flask price groups`: what one account, or each account of a group, pays for a model."""

from typing import Any

import click
from flask.cli import with_appcontext

from bridge.accounts.emails import find_member
from bridge.accounts.memberships import find_main_account
from bridge.accounts.own_price_editing import Owner, describe_own, list_groups, remove_own_price, set_own_price
from bridge.accounts.own_prices import list_own_prices, read_own
from bridge.catalogue.model_editing import find_model
from bridge.errors import InvalidRequest
from bridge.ops.command_line import Command, asks_below_cost, below_cost_option, print_table
from bridge.ops.commands_prices import read_percent_of, read_rates_of


@click.command("own", cls=Command, context_settings={"ignore_unknown_options": True})
@click.argument("model", required=False)
@click.option("--account", "email", help="Whose price it is: an account, by a member's address.")
@click.option("--group", help="Or each account's of a group.")
@click.option("--markup", help="The list price with this markup, in percent: -5 is a discount.")
@click.option("--prices", help="Or unit prices: input=2.85,output=14.25,cached=0.285.")
@click.option("--note", default="", help="Why; no customer reads it.")
@click.option("--remove", is_flag=True, help="They pay what others pay again.")
@below_cost_option
@with_appcontext
def own_price(model: str | None, email: str | None, group: str | None, below_cost: bool, **given: Any) -> None:
    """Give an account or a group a price of its own for a model, from the next request on.

    An account's own price of a model comes before its markup, and that before its group's price. Without a model, or
    without a price, the prices that there are are listed."""
    owner = _find_owner(email, group)
    markup, prices = given["markup"], given["prices"]
    if model is not None and given["remove"]:
        remove_own_price(owner, find_model(model).id)
    elif model is not None and (markup is not None or prices is not None):
        with asks_below_cost():
            set_own_price(
                owner,
                model,
                markup_bps=None if markup is None else read_percent_of(markup),
                rates=None if prices is None else read_rates_of(prices),
                note=given["note"],
                below_cost=below_cost,
            )
    rows = [
        (row.model_id, describe_own(read_own(row)), row.note or "-", row.made_by, f"{row.created_at:%Y-%m-%d}")
        for row in list_own_prices(owner.account_id, owner.group)
    ]
    print_table([("MODEL", "PAYS", "NOTE", "BY", "SINCE"), *rows])


def _find_owner(email: str | None, group: str | None) -> Owner:
    if (email is None) == (group is None):
        raise InvalidRequest("Name either an account or a group.", param="--account")
    return Owner(group=group) if email is None else Owner(account_id=find_main_account(find_member(email)))


@click.command("groups")
@with_appcontext
def show_groups() -> None:
    """List the groups, how many accounts are in each, and for how many models it has a price."""
    print_table([("GROUP", "ACCOUNTS", "PRICES"), *((name, str(few), str(own)) for name, few, own in list_groups())])
