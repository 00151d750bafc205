"""GET /v1/key and /v1/credits: the calling key and the balance behind it."""

import datetime

import msgspec
import sqlalchemy as sa
from flask import Response

from bridge.accounts.key_terms import PLAIN_LIMITS
from bridge.accounts.keys import Caller
from bridge.db import db, now_utc
from bridge.ledger.budgets import period_start
from bridge.ledger.ledger import CUSTOMER, find_balance
from bridge.ledger.rollups import sum_by
from bridge.ledger.tables import Budget, Entry
from bridge.money import format_dollars
from bridge.v1.door import count
from bridge.v1.schemas import account as schemas
from bridge.v1.visit import Visit


def show_key(visit: Visit) -> Response:
    """The calling key: name, limits, budget and what is left of it, usage today, this week and month, expiry."""
    count(visit)
    caller = visit.caller
    assert caller is not None
    now = now_utc()
    usage = _sum_periods(caller.account_id, caller.key_id, now)
    budget = None
    if caller.budget_nanos is not None:
        row = db.session.get(Budget, (caller.key_id, period_start(caller.budget_period, now)))
        used = row.spent_nanos + row.held_nanos if row else 0
        budget = schemas.KeyBudget(
            amount=format_dollars(caller.budget_nanos),
            period=caller.budget_period,
            remaining=format_dollars(max(0, caller.budget_nanos - used)),
        )
    body = schemas.Key(
        label=caller.key_name,
        limits=_describe_limits(caller),
        budget=budget,
        models=sorted(caller.models) if caller.models is not None else None,
        usage=schemas.KeyUsage(today=usage["day"], week=usage["week"], month=usage["month"]),
        expires_at=caller.expires_at.isoformat() if caller.expires_at else None,
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(body))


def _describe_limits(caller: Caller) -> msgspec.Struct:
    """The limits in effect, by their terms' names in the API."""
    found: dict[str, int | str | None] = {}
    for term in PLAIN_LIMITS:
        limit = getattr(caller, term.field)
        found[term.api_name] = format_dollars(limit) if term.kind == "dollars" and limit else limit or None
    return schemas.KeyLimits(**found)


def _sum_periods(account_id: int, key_id: int, now: datetime.datetime) -> dict[str, str]:
    """What the key has spent in the running day, week and month."""
    starts = {period: period_start(period, now) for period in ("day", "week", "month")}
    since = datetime.datetime.combine(min(starts.values()), datetime.time(), datetime.UTC)
    days = sum_by("start", account_id=account_id, key_id=key_id, since=since)
    return {
        period: format_dollars(sum(sums.charge_nanos for (day,), sums in days.items() if day.date() >= start))
        for period, start in starts.items()
    }


def show_credits(visit: Visit) -> Response:
    """Balance, open holds, what is available, and all that was ever credited and used; dollars as decimal strings."""
    count(visit)
    caller = visit.caller
    assert caller is not None
    balance = find_balance(caller.account_id)
    signed = sa.case((Entry.credit == CUSTOMER, Entry.amount_nanos), else_=-Entry.amount_nanos)
    credited = int(
        db.session.execute(sa.select(sa.func.sum(signed)).where(Entry.account_id == caller.account_id)).scalar() or 0
    )
    body = schemas.Credits(
        balance=format_dollars(balance.balance_nanos),
        held=format_dollars(balance.held_nanos),
        available=format_dollars(balance.available_nanos),
        total_credited=format_dollars(credited),
        total_used=format_dollars(credited - balance.balance_nanos),
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(body))
