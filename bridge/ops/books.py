"""Every check of the books, one after the other: `flask ledger check` by hand, and the worker every night."""

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from bridge.db import db, snapshot
from bridge.ledger.check import check_ledger
from bridge.ledger.check_rollups import check_rollups
from bridge.ledger.tables import UsageRecord
from bridge.ledger.usage import UsageFilter, sum_usage
from bridge.money import format_dollars
from bridge.payments.check import check_payments
from bridge.payments.check_codes import check_codes


def check_books() -> list[str]:
    """What differs: balances, holds and budgets from their records, what the usage page shows from the charges,
    roll-ups from usage rows, payments and codes from the journal. A line for each account; [] when exact."""
    with snapshot():
        usage = list(_check_usage_page())
    return gather([*check_ledger(), *usage, *check_rollups(), *check_payments(), *check_codes()])


def _check_usage_page() -> Iterator[str]:
    charged = sa.select(UsageRecord.account_id, sa.func.sum(UsageRecord.charge_nanos)).group_by(UsageRecord.account_id)
    for account_id, total in db.session.execute(charged.order_by(UsageRecord.account_id)).all():
        shown = sum_usage(UsageFilter(account_id)).charge_nanos
        if shown != int(total):
            shown_, total_ = format_dollars(shown), format_dollars(int(total))
            yield f"account {account_id}: its usage page shows {shown_}, its charges are {total_}"


def gather(lines: Iterable[str]) -> list[str]:
    """Lines that begin with the same `account 7: ` or `key 3: ` as one."""
    found: dict[str, list[str]] = {}
    for line in lines:
        whose, _, what = line.partition(": ")
        found.setdefault(whose, []).append(what)
    return [f"{whose}: {'; '.join(what)}" for whose, what in found.items()]
