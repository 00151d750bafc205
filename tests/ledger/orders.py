"""A ledger for tests: sends orders directly to its batch, and reads the money afterwards."""

import datetime
import itertools
from typing import Any

import sqlalchemy as sa
from flask import Flask

from bridge.accounts.tables import Account
from bridge.db import db, transaction
from bridge.ledger.batch import BudgetWindow, HoldOrder, Order, Settlement
from bridge.ledger.budgets import OF_KEY
from bridge.ledger.check import check_ledger
from bridge.ledger.ledger import credit, find_balance
from bridge.ledger.tables import Budget, Hold, UsageRecord
from bridge.ledger.writer import Writer

MOMENT = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)
TODAY = MOMENT.date()
_numbers = itertools.count(1)


def new_id() -> str:
    return f"req_{next(_numbers):032x}"


def order_hold(account_id: int, amount: int, **changes: Any) -> HoldOrder:
    """An order to hold this much, and no less unless changed; `budget_nanos` is a budget of `budget_start`'s day."""
    budget, start = changes.pop("budget_nanos", None), changes.pop("budget_start", TODAY)
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "account_id": account_id,
        "key_id": account_id,
        "amount_nanos": amount,
        "least_nanos": amount,
        "created_at": MOMENT,
        "deadline_seconds": 86_400.0,
        "budgets": None if budget is None else (BudgetWindow("day", start, OF_KEY, budget),),
        "details": "",
        **changes,
    }
    return HoldOrder(**fields)


def order_charge(hold: HoldOrder | str, price: int, **changes: Any) -> Settlement:
    """An order to charge this much for the hold, at a nano-dollar a token."""
    request_id = hold if isinstance(hold, str) else hold.request_id
    fields: dict[str, Any] = {"state": "captured", "outcome": "complete", "status": 200, **changes}
    fields = {"completion_tokens": price, "output_nanos_per_mtok": 1_000_000, **fields}
    return Settlement(request_id, MOMENT, price_nanos=price, **fields)


class Ledger:
    """One database's money."""

    def __init__(self, app: Flask):
        self.app = app
        self.writer = Writer(app.config["BRIDGE"])

    def open_account(self, balance: int = 0) -> int:
        """Open an account with this credit."""
        with self.app.app_context():
            with transaction() as session:
                account = Account(name="test")
                session.add(account)
            if balance:
                credit(account.id, balance, source="operator", made_by="a test")
            return account.id

    def commit(self, *orders: Order) -> list[Any]:
        """Commit all orders in one batch."""
        return list(self.writer._commit(list(orders)))

    def find_money(self, account_id: int) -> tuple[int, int]:
        """Balance and held."""
        with self.app.app_context():
            view = find_balance(account_id)
            db.session.commit()
        return view.balance_nanos, view.held_nanos

    def find_budget(
        self, key_id: int, start: datetime.date = TODAY, period: str = "day", scope: str = OF_KEY
    ) -> tuple[int, int]:
        """Held and spent."""
        with self.app.app_context():
            budget = db.session.get(Budget, (key_id, period, start, scope))
            db.session.commit()
        return (budget.held_nanos, budget.spent_nanos) if budget else (0, 0)

    def find_usage(self, request_id: str) -> UsageRecord:
        with self.app.app_context():
            found = db.session.scalars(sa.select(UsageRecord).where(UsageRecord.request_id == request_id)).one()
            db.session.commit()
        return found

    def find_hold(self, request_id: str) -> Hold | None:
        with self.app.app_context():
            found = db.session.get(Hold, request_id)
            db.session.commit()
        return found

    def check(self) -> list[str]:
        with self.app.app_context():
            return check_ledger()

    def close(self) -> None:
        self.writer.close()
