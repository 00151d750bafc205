"""What customers paid, and what their providers take for it: the operator's margin, from settled requests."""

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from bridge.db import db, now_utc
from bridge.ledger.tables import UsageRecord

DAYS = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Margin:
    """Sums of the last DAYS days, in nano-dollars. What we lost is in the costs, and in no charge."""

    requests: int = 0
    charge_nanos: int = 0
    cost_nanos: int = 0

    @property
    def nanos(self) -> int:
        """What is left of the charges."""
        return self.charge_nanos - self.cost_nanos


NOTHING = Margin()


def sum_by_account(account_ids: Iterable[int]) -> dict[int, Margin]:
    """The margins of these accounts; one without requests is absent."""
    return _sum(UsageRecord.account_id, UsageRecord.account_id.in_(list(account_ids)))


def sum_by_model() -> dict[str, Margin]:
    """The margins of every model that was used."""
    return _sum(UsageRecord.model_id, sa.true())


def sum_of_model(model_id: str) -> Margin:
    """One model's margin."""
    return _sum(UsageRecord.model_id, UsageRecord.model_id == model_id).get(model_id, NOTHING)


def _sum(column: Any, condition: sa.ColumnElement[bool]) -> dict[Any, Margin]:
    since = now_utc() - datetime.timedelta(days=DAYS)
    query = (
        sa.select(column, sa.func.count(), sa.func.sum(UsageRecord.charge_nanos), sa.func.sum(UsageRecord.cost_nanos))
        .where(UsageRecord.created_at >= since, condition)
        .group_by(column)
    )
    return {
        name: Margin(int(requests), int(charge or 0), int(cost or 0))
        for name, requests, charge, cost in db.session.execute(query)
    }
