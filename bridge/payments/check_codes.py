"""Compares redeemed codes with the journal's entries, both ways."""

from collections.abc import Iterator

import sqlalchemy as sa

from bridge.db import db, snapshot
from bridge.ledger.ledger import CUSTOMER
from bridge.ledger.tables import Entry
from bridge.money import format_dollars
from bridge.payments.code_tables import Code, CodeBatch
from bridge.payments.codes import SOURCE


def check_codes() -> list[str]:
    """Every difference, a sentence each; [] if there is none. Runs in one snapshot."""
    with snapshot():
        return [*_check_redeemed(), *_check_entries()]


def _is_its_entry() -> sa.ColumnElement[bool]:
    return (Entry.source == SOURCE) & (Entry.external_id == sa.cast(Code.id, sa.String))


def _check_redeemed() -> Iterator[str]:
    """Each redeemed code needs its entry, with the same account and amount."""
    query = (
        sa.select(Code.redeemed_by, Code.id, CodeBatch.amount_nanos, Entry.account_id, Entry.amount_nanos)
        .join(CodeBatch, CodeBatch.id == Code.batch_id)
        .outerjoin(Entry, _is_its_entry())
        .where(Code.redeemed_at.is_not(None))
        .where(
            Entry.id.is_(None)
            | (Entry.account_id != Code.redeemed_by)
            | (Entry.amount_nanos != CodeBatch.amount_nanos)
            | (Entry.credit != CUSTOMER)
        )
    )
    for redeemer, code_id, worth, holder, amount in db.session.execute(query.order_by(Code.id)):
        found = "has no entry" if amount is None else f"account {holder} got {format_dollars(amount, 2)}"
        yield f"account {redeemer}: code {code_id} is worth {format_dollars(worth, 2)}, {found}"


def _check_entries() -> Iterator[str]:
    """Each entry needs its redeemed code."""
    redeemed = sa.select(Code.id).where(_is_its_entry(), Code.redeemed_at.is_not(None)).correlate(Entry).exists()
    query = sa.select(Entry).where(Entry.source == SOURCE, ~redeemed).order_by(Entry.id)
    for entry in db.session.scalars(query):
        amount = format_dollars(entry.amount_nanos, 2)
        yield f"account {entry.account_id}: entry {entry.id} of {amount} is for a code that nobody redeemed"
