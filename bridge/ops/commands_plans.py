"""`flask plan`: subscription plans, and the subscriptions to them."""

import click
from flask import current_app

from bridge.accounts.customers import name_accounts
from bridge.acts import COMMAND
from bridge.ops.command_line import Commands, print_table, read_dollars, read_moment
from bridge.payments.amounts import format_amount, whole_cents
from bridge.payments.plans import (
    Offer,
    change_sale,
    create_plan,
    describe_gains,
    find_plan,
    is_on_sale,
    list_plans,
    list_subscriptions,
)
from bridge.payments.subscriptions import end_plan

plan_commands = Commands("plan", help="Subscription plans.")


@plan_commands.command("create")
@click.argument("name")
@click.argument("fee")
@click.option("--credit", default="0", help="Dollars of credit each month.")
@click.option("--rpm", type=int, help="Requests a minute; 0 is no limit.")
@click.option("--tpm", type=int, help="Tokens a minute; 0 is no limit.")
@click.option("--concurrency", type=int, help="Requests at once; 0 is no limit.")
@click.option("--group", help="Whose channels and prices it gives.")
@click.option("--description", default="", help="What customers read of it.")
@click.option("--hidden", is_flag=True, help="Sold by its link alone.")
@click.option("--until", help="End of its sale: ISO 8601; UTC unless it says otherwise.")
def create(
    name: str,
    fee: str,
    credit: str,
    group: str | None,
    description: str,
    hidden: bool,
    until: str | None,
    **quotas: int | None,
) -> None:
    """Make a plan for FEE a month, in the currency of top-ups. What it costs and buys is fixed from then on."""
    offer = Offer(
        name=name.strip(),
        fee_minor=whole_cents(read_dollars(fee, "fee"), "fee"),
        credit_nanos=read_dollars(credit, "credit"),
        group_name=group,
        description=description.strip(),
        is_listed=not hidden,
        sold_until=None if until is None else read_moment(until, "until"),
        **quotas,
    )
    plan = create_plan(current_app.config["BRIDGE"], offer)
    click.echo(f"Plan {plan.id}: {plan.name}, {format_amount(plan.fee_minor, plan.currency)} a month.")
    click.echo(plan.id)


@plan_commands.command("list")
def list_() -> None:
    """List plans, who has them, and this month's fees."""
    rows = [("PLAN", "NAME", "FEE", "BUYS", "SALE", "HAVE IT", "OWE", "FEES", "CODE")]
    for listed in list_plans():
        plan = listed.plan
        sale = ("listed" if plan.is_listed else "hidden") if is_on_sale(plan) else "ended"
        fee, paid = (format_amount(minor, plan.currency) for minor in (plan.fee_minor, listed.paid_minor))
        counts = (str(listed.subscribers), str(listed.past_due))
        rows.append(
            (
                str(plan.id),
                plan.name,
                fee,
                ", ".join(describe_gains(plan, for_operators=True)),
                sale,
                *counts,
                paid,
                plan.code,
            )
        )
    print_table(rows)


@plan_commands.command("sale")
@click.argument("plan_id", type=int)
@click.option("--listed/--hidden", default=None, help="On the billing page, or by its link alone.")
@click.option("--until", help="End of its sale: ISO 8601, or `none`.")
@click.option("--description", help="What customers read of it.")
def sale(plan_id: int, listed: bool | None, until: str | None, description: str | None) -> None:
    """Change how a plan is sold. Whoever has it keeps it."""
    plan = find_plan(plan_id)
    ends = plan.sold_until if until is None else None if until == "none" else read_moment(until, "until")
    plan = change_sale(
        plan_id,
        description=plan.description if description is None else description.strip(),
        is_listed=plan.is_listed if listed is None else listed,
        sold_until=ends,
    )
    click.echo(f"{plan.name} is {'on sale' if is_on_sale(plan) else 'not sold any more'}.")


@plan_commands.command("subscriptions")
@click.argument("plan_id", type=int)
@click.option("--before", default="", help="Those older than this one.")
def subscriptions(plan_id: int, before: str) -> None:
    """List the newest subscriptions to a plan."""
    found = list_subscriptions(plan_id, before_id=before)
    names = name_accounts(row.account_id for row in found)
    rows = [("SUBSCRIPTION", "ACCOUNT", "NAME", "STATE", "PERIOD ENDS", "ENDS", "AT STRIPE")]
    for row in found:
        until, ends = (f"{at:%Y-%m-%d}" if at else "-" for at in (row.period_end, row.ends_at))
        account, name = str(row.account_id), names[row.account_id]
        rows.append((row.id, account, name, row.state, until, ends, row.stripe_subscription or "-"))
    print_table(rows)


@plan_commands.command("end")
@click.argument("subscription_id")
def end(subscription_id: str) -> None:
    """End a subscription at once, here and at Stripe. Refund its fee there if it is owed."""
    end_plan(subscription_id, COMMAND, "the operator ended it")
    click.echo(f"{subscription_id} has ended.")
