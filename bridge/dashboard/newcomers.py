"""What a newcomer is told when their account is open."""

from flask import flash

from bridge.dashboard.filters import balance
from bridge.ledger.ledger import find_balance


def tell_starting_credit(account_id: int) -> None:
    """Say how much credit the new account starts with, if it has any."""
    nanos = find_balance(account_id).balance_nanos
    if nanos:
        flash(f"Your account is ready, with {balance(nanos)} of starting credit.")
