"""The key by which a member's playground asks: one like any other in the list of keys, whose secret nobody has."""

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key
from bridge.accounts.tables import Key
from bridge.acts import Actor
from bridge.db import db
from bridge.money import NANOS_PER_DOLLAR

KEY_NAME = "Playground"
DAY_BUDGET_NANOS = 5 * NANOS_PER_DOLLAR  # which can be changed, as of any key


def find_playground_key(account_id: int, member_id: int) -> Key | None:
    """The member's newest key of the account's playground, revoked or not; None if they never had one."""
    theirs = (Key.account_id == account_id, Key.member_id == member_id, Key.is_playground)
    return db.session.scalars(sa.select(Key).where(*theirs).order_by(Key.id.desc()).limit(1)).one_or_none()


def issue_playground_key(account_id: int, member_id: int, actor: Actor) -> Key:
    """Make the member's key of the account's playground, or give the one that they have. Its secret is drawn and
    forgotten. Raises InvalidRequest where the account has no room for another key, and of one who may have none."""
    terms = KeyTerms(name=KEY_NAME, budget_day_nanos=DAY_BUDGET_NANOS)
    try:
        return issue_key(account_id, terms, member_id=member_id, is_playground=True, actor=actor).key
    except IntegrityError:  # another request made it at the same moment
        db.session.rollback()
        key = find_playground_key(account_id, member_id)
        if key is None:
            raise
        return key
