"""`flask payment`: the payments that operators must review, and how to finish them."""

import click
from flask import current_app

from bridge.config import Settings
from bridge.ledger.ledger import find_balance
from bridge.money import format_dollars
from bridge.ops.command_line import Commands, print_table, read_dollars
from bridge.payments.amounts import format_amount
from bridge.payments.review import close_payment, link_payment, settle_payment
from bridge.payments.review_listing import list_payments_to_review, view_payment
from bridge.payments.tables import Payment

MOST_LISTED = 1000
DONE_BEFORE = "This was done before: nothing was changed."
payment_commands = Commands("payment", help="Customers' payments.")
reason_option = click.option("--reason", required=True, help="It is kept with the payment.")


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings


def _describe_paid(payment: Payment) -> str:
    return format_amount(payment.paid_minor, payment.paid_currency or "") if payment.paid_minor else "-"


@payment_commands.command("list")
@click.option("--all", "everything", is_flag=True, help="Those too that are as they should be.")
def list_(everything: bool) -> None:
    """List the payments that somebody has to look at, the newest first."""
    rows = [("PAYMENT", "ACCOUNT", "STATE", "REQUESTED", "RECEIVED", "PAYMENT INTENT", "PROBLEM")]
    for payment in list_payments_to_review(everything=everything, limit=MOST_LISTED):
        asked = "-" if payment.kind == "again" else format_amount(payment.amount_minor, payment.currency)
        about = (payment.payment_intent or "-", payment.problem or "-")
        rows.append((payment.id, str(payment.account_id), payment.state, asked, _describe_paid(payment), *about))
    print_table(rows)


@payment_commands.command("show")
@click.argument("payment_id")
def show(payment_id: str) -> None:
    """Say all that is known of a payment."""
    view = view_payment(payment_id)
    payment = view.payment
    came, asked = _describe_paid(payment), format_amount(payment.amount_minor, payment.currency)
    credited = format_dollars(payment.credit_nanos, 2) if payment.state == "paid" else "0.00"
    if payment.state == "paid" and payment.bonus_nanos:
        credited += f" and a bonus of ${format_dollars(payment.bonus_nanos, 2)}"
    click.echo(f"{payment.id} of account {payment.account_id}: {payment.state}, {payment.problem or 'no problem'}")
    click.echo(f"  requested {asked}, received {came}, credited ${credited}, intent {payment.payment_intent or '-'}")
    for one in view.returns:
        came_back = ", undone" if one.undone else ""
        click.echo(f"  {one.source} {one.id}: {format_amount(one.amount_minor, one.currency)}{came_back}")
    for decision in view.decisions:
        when = f"{decision.created_at:%Y-%m-%d %H:%M}"
        click.echo(f"  {when} {decision.action} by {decision.made_by}: {decision.reason} (before: {decision.before})")


@payment_commands.command("settle")
@click.argument("payment_id")
@click.option("--dollars", help="What to credit, where it was paid in another currency than was asked for.")
@reason_option
def settle(payment_id: str, dollars: str | None, reason: str) -> None:
    """Credit what came for a payment, once.

    Stripe is asked what that was; if it does not answer, its event's word counts. What went back is taken off."""
    nanos = None if dollars is None else read_dollars(dollars, "dollars")
    payment = settle_payment(_settings(), payment_id, reason=reason, made_by="command", dollars_nanos=nanos)
    if payment is None:
        click.echo(DONE_BEFORE)
        return
    balance = format_dollars(find_balance(payment.account_id).balance_nanos, 2)
    credited = format_dollars(payment.credit_nanos + payment.bonus_nanos, 2)
    click.echo(f"Credited ${credited} to account {payment.account_id}; the balance is ${balance}.")


@payment_commands.command("link")
@click.argument("payment_id")
@click.argument("payment_intent")
@reason_option
def link(payment_id: str, payment_intent: str, reason: str) -> None:
    """Say which payment intent of Stripe's paid a payment.

    It is credited if it is what was asked for; otherwise settle it then."""
    payment = link_payment(_settings(), payment_id, payment_intent, reason=reason, made_by="command")
    said = "It is credited." if payment.state == "paid" else f"It is not credited: {payment.problem}"
    click.echo(f"{payment.id} is paid by {payment.payment_intent}. {said}")


@payment_commands.command("close")
@click.argument("payment_id")
@reason_option
def close(payment_id: str, reason: str) -> None:
    """End a payment without a credit, or what was wrong with one that is credited."""
    payment = close_payment(payment_id, reason=reason, made_by="command")
    click.echo(DONE_BEFORE if payment is None else f"{payment.id} is closed.")
