"""The operator's margin: what customers paid for settled requests, less what the providers charge."""

import dataclasses
import datetime
from collections.abc import Iterable
from typing import Any

from bridge.db import now_utc
from bridge.ledger.rollups import Sums, sum_by

DAYS = 30


@dataclasses.dataclass(frozen=True, slots=True)
class Margin(Sums):
    """Sums whose charges are revenue. Our losses are in the costs and in no charge."""

    @property
    def nanos(self) -> int:
        """The charges less the costs."""
        return self.charge_nanos - self.cost_nanos


@dataclasses.dataclass(frozen=True, slots=True)
class MarginFilter:
    """Which requests: begun from `since` until before `until`, midnights (UTC), of one account, model or channel ("":
    no channel was called). A field of None selects all."""

    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    account_id: int | None = None
    model_id: str | None = None
    channel_name: str | None = None


NOTHING = Margin()


def sum_margins(
    wanted: MarginFilter, *dimensions: str, span: str = "day", dearest: int | None = None
) -> dict[tuple[Any, ...], Margin]:
    """The margin of each combination of these dimensions (see rollups.py); without dimensions the one key is ().
    `dearest`: only so many, those with the most revenue first."""
    return _margins(*dimensions, span=span, dearest=dearest, **dataclasses.asdict(wanted))


def sum_by_account(account_ids: Iterable[int]) -> dict[int, Margin]:
    """The margins of these accounts in the last DAYS days. An account without requests is absent."""
    return _sum_last_days("account_id", account_id=list(account_ids))


def sum_by_model() -> dict[str, Margin]:
    """The margins of every model that was used in the last DAYS days."""
    return _sum_last_days("model_id")


def sum_of_model(model_id: str) -> Margin:
    """One model's margin in the last DAYS days."""
    return _sum_last_days("model_id", model_id=model_id).get(model_id, NOTHING)


def _sum_last_days(dimension: str, **wanted: Any) -> dict[Any, Margin]:
    today = now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    found = _margins(dimension, since=today - datetime.timedelta(days=DAYS - 1), **wanted)
    return {name: margin for (name,), margin in found.items()}


def _margins(*dimensions: str, **wanted: Any) -> dict[tuple[Any, ...], Margin]:
    found = sum_by(*dimensions, **wanted)
    return {names: Margin(**dataclasses.asdict(sums)) for names, sums in found.items()}
