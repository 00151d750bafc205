"""A new account's first steps: a key, a call, credit."""

import dataclasses

import sqlalchemy as sa

from bridge.accounts.key_owners import select_first_made, select_member_keys
from bridge.accounts.key_search import select_drill_keys
from bridge.accounts.tables import Account, Key
from bridge.db import db
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.tables import Entry, UsageRecord


@dataclasses.dataclass(frozen=True, slots=True)
class FirstSteps:
    """Whether there ever was a key but the playground's, and the first settled request and credit."""

    has_key: bool
    request: UsageRecord | None
    credit: Entry | None

    @property
    def are_done(self) -> bool:
        """Whether none is left."""
        return self.has_key and self.request is not None and self.credit is not None


def find_first_steps(account_id: int, member_id: int | None = None) -> FirstSteps:
    """The account's first steps, or a member's, whose credit is the account's. Operators' fault drills are none of
    them."""
    made = sa.select(Key.id).where(Key.account_id == Account.id, ~Key.is_drill, ~Key.is_playground)
    own = [UsageRecord.account_id == account_id, UsageRecord.key_id.not_in(select_drill_keys(account_id))]
    if member_id is not None:
        made = made.where(Key.member_id == member_id)
        own.append(UsageRecord.key_id.in_(select_member_keys(account_id, member_id)))
        own.append(UsageRecord.created_at >= select_first_made(account_id, member_id))
    has_key = made.exists()
    request = sa.select(UsageRecord.request_id).where(*own).order_by(UsageRecord.created_at).limit(1)
    credit = sa.select(Entry.id).where(Entry.account_id == account_id, Entry.credit == CUSTOMER)
    query = (
        sa.select(has_key, UsageRecord, Entry)
        .select_from(Account)
        .outerjoin(UsageRecord, UsageRecord.request_id == request.scalar_subquery())
        .outerjoin(Entry, Entry.id == credit.order_by(Entry.id).limit(1).scalar_subquery())
        .where(Account.id == account_id)
    )
    return FirstSteps(*db.session.execute(query).one())
