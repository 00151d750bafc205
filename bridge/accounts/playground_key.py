"""The key by which an account's playground asks: one like any other in the list of keys, whose secret nobody has."""

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.accounts.tables import Key
from bridge.acts import Actor
from bridge.db import db
from bridge.money import NANOS_PER_DOLLAR

KEY_NAME = "Playground"
DAY_BUDGET_NANOS = 5 * NANOS_PER_DOLLAR  # which the account can change, as of any key


def find_playground_key(account_id: int) -> Key | None:
    """The account's newest key of the playground, revoked or not; None if it never had one."""
    query = sa.select(Key).where(Key.account_id == account_id, Key.is_playground).order_by(Key.id.desc()).limit(1)
    return db.session.scalars(query).one_or_none()


def issue_playground_key(account_id: int, actor: Actor) -> Key:
    """Make the account's key of the playground, or give the one that it has. Its secret is drawn and forgotten. Raises
    InvalidRequest where the account has no room for another key."""
    terms = KeyTerms(name=KEY_NAME, budget_day_nanos=DAY_BUDGET_NANOS)
    try:
        return issue_key(account_id, terms, is_playground=True, actor=actor).key
    except IntegrityError:  # another request made it at the same moment
        db.session.rollback()
        key = find_playground_key(account_id)
        if key is None:
            raise
        return key
