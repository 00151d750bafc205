"""What a new account starts with: its credit, at once or when its address is confirmed."""

from flask import flash

from bridge.accounts.erasure import was_here_before
from bridge.dashboard.filters import balance
from bridge.dashboard.visitor import chosen_settings
from bridge.ledger import ledger


def give_starting_credit(account_id: int, email: str) -> None:
    """Credit a new account, once; its owner's earlier one, which was deleted, had that already."""
    credit = chosen_settings().signup_credit_nanos
    if credit and not was_here_before(email):
        ledger.credit(
            *(account_id, credit),
            source="signup",
            external_id=f"signup:{account_id}",
            note="Starting credit",
            made_by=None,
        )
        flash(f"Your account is ready, with {balance(credit)} of starting credit.")
