"""All checks of the books: `flask ledger check` runs them by hand, and a worker every night."""

import datetime
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from bridge.accounts.tables import Key
from bridge.db import db, now_utc, snapshot
from bridge.ledger.check import check_ledger
from bridge.ledger.check_rollups import check_rollups
from bridge.ledger.ledger import find_balance
from bridge.ledger.statement import read_statement
from bridge.ledger.tables import Entry, UsageRecord
from bridge.ledger.usage import UsageFilter, sum_spans, sum_usage
from bridge.money import format_dollars
from bridge.ops.check_charges import check_charges
from bridge.payments.check import check_payments
from bridge.payments.check_codes import check_codes


def check_books(days: int | None = None) -> list[str]:
    """All differences: balances, holds, budgets and refunds against their records; usage page and statement against
    charges and balance; roll-ups against usage rows; payments and codes against the journal; and each charge of the
    last `days` (None: of all time) against its row. A line for each account; [] if there is none."""
    since = None if days is None else now_utc() - datetime.timedelta(days=days)
    with snapshot():
        shown = [*_check_usage_page(), *_check_statements()]
    return join_by_subject(
        [*check_ledger(), *shown, *check_rollups(), *check_payments(), *check_codes(), *check_charges(since)]
    )


def _check_usage_page() -> Iterator[str]:
    charged = sa.select(UsageRecord.account_id, sa.func.sum(UsageRecord.charge_nanos)).group_by(UsageRecord.account_id)
    charged = charged.where(UsageRecord.key_id.not_in(sa.select(Key.id).where(Key.is_drill)))  # as those pages do
    for account_id, total in db.session.execute(charged.order_by(UsageRecord.account_id)).all():
        wanted = UsageFilter(account_id)
        shown, drawn = sum_usage(wanted).charge_nanos, sum(span.charge_nanos for span in sum_spans(wanted))
        for what, found in (("usage page shows", shown), ("chart shows", drawn)):
            if found != int(total):
                yield (
                    f"account {account_id}: its {what} {format_dollars(found)}, its charges are "
                    f"{format_dollars(int(total))}"
                )


def _check_statements() -> Iterator[str]:
    """The statement of an account's last month with any line must end with the balance."""
    newest = sa.union_all(
        sa.select(Entry.account_id, sa.func.max(Entry.created_at).label("at")).group_by(Entry.account_id),
        sa.select(UsageRecord.account_id, sa.func.max(UsageRecord.created_at)).group_by(UsageRecord.account_id),
    ).subquery()
    last = sa.select(newest.c.account_id, sa.func.max(newest.c.at)).group_by(newest.c.account_id)
    for account_id, at in db.session.execute(last.order_by(newest.c.account_id)).all():
        month = at.date().replace(day=1)
        closing, balance = read_statement(account_id, month).closing_nanos, find_balance(account_id).balance_nanos
        if closing != balance:
            yield (
                f"account {account_id}: its statement ends with {format_dollars(closing)}, its balance is "
                f"{format_dollars(balance)}"
            )


def join_by_subject(lines: Iterable[str]) -> list[str]:
    """Join lines that begin with the same `account 7: ` or `key 3: `."""
    found: dict[str, list[str]] = {}
    for line in lines:
        whose, _, what = line.partition(": ")
        found.setdefault(whose, []).append(what)
    return [f"{whose}: {'; '.join(what)}" for whose, what in found.items()]
