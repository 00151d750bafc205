"""Opens accounts: an account, its owner and its balance are created in one transaction."""

import sqlalchemy as sa

from bridge.accounts.acts import COMMAND, Actor
from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.sign_in import AddressTaken, add_account, hash_password
from bridge.accounts.tables import Member
from bridge.db import db, transaction
from bridge.ledger.tables import Balance


def create_account(
    email: str,
    password: str | None,
    is_operator: bool = False,
    *,
    actor: Actor = COMMAND,
) -> Member:
    """Create an account with its owner and an empty balance. Without a password they sign in by something else.

    Raises AddressTaken, or ValueError with a sentence if address or password can't be used."""
    email = check_email(email)
    password_hash = (
        "" if password is None else hash_password(password)
    )  # also for a taken address, so that it takes as long
    if find_by_email(email):
        raise AddressTaken(f"{email} already has an account.")
    db.session.rollback()
    try:
        with transaction() as session:
            member = add_account(session, email, password_hash, is_operator=is_operator, actor=actor)
            session.execute(sa.insert(Balance).values(account_id=member.account_id))
    except sa.exc.IntegrityError:  # another sign-up with the same address was faster
        raise AddressTaken(f"{email} already has an account.") from None
    return member
