"""Takes the names out of the ledger of a deleted account: who made its entries, and the end users and tags that it
named. No amount changes."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.tables import Key
from bridge.db import db, transaction
from bridge.ledger.alerts import BalanceAlert
from bridge.ledger.budgets import OF_KEY
from bridge.ledger.rollup_tables import LabelRollup, RollupProgress
from bridge.ledger.tables import Budget, Entry, UsageRecord

DAY = datetime.timedelta(days=1)
PLAIN = {"synchronize_session": False}


def forget_makers(session: Session, account_id: int, emails: list[str], instead: str) -> None:
    """Replace these addresses in the account's entries, and forget its alert, in the caller's transaction."""
    made = sa.update(Entry).where(Entry.account_id == account_id, Entry.made_by.in_(emails))
    session.execute(made.values(made_by=instead), execution_options=PLAIN)
    session.execute(sa.delete(BalanceAlert).where(BalanceAlert.account_id == account_id), execution_options=PLAIN)


def forget_labels(account_id: int) -> None:
    """Take end users and tags out of the account's usage, its roll-ups and its budgets, a day at a time: rows and
    roll-ups of a day change together, so that they agree whenever they are compared."""
    with transaction() as session:
        keys = sa.select(Key.id).where(Key.account_id == account_id)
        named = sa.delete(Budget).where(Budget.key_id.in_(keys), Budget.scope != OF_KEY)
        session.execute(named, execution_options=PLAIN)
    for start in _list_days(account_id):
        with transaction() as session:
            session.execute(sa.select(RollupProgress.number).with_for_update())
            rolled = sa.delete(LabelRollup).where(LabelRollup.account_id == account_id, LabelRollup.start == start)
            session.execute(rolled, execution_options=PLAIN)
            rows = sa.update(UsageRecord).where(UsageRecord.account_id == account_id)
            rows = rows.where(UsageRecord.created_at >= start, UsageRecord.created_at < start + DAY)
            session.execute(rows.values(end_user=None, tags=None), execution_options=PLAIN)


def _list_days(account_id: int) -> list[datetime.datetime]:
    """The midnights (UTC) of the days on which the account named an end user or a tag."""
    rolled = sa.select(LabelRollup.start).where(LabelRollup.account_id == account_id).distinct()
    found = set(db.session.scalars(rolled))
    named = sa.or_(UsageRecord.end_user.is_not(None), UsageRecord.tags.is_not(None))
    progress = sa.select(RollupProgress.labels_number).scalar_subquery()
    fresh = sa.select(UsageRecord.created_at).where(UsageRecord.account_id == account_id, named)
    fresh = fresh.where(UsageRecord.number > progress)  # not rolled up yet
    found |= {at.replace(hour=0, minute=0, second=0, microsecond=0) for at in db.session.scalars(fresh)}
    db.session.commit()
    return sorted(found)
