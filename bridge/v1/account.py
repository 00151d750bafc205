"""GET /v1/key and /v1/credits: the calling key and the balance behind it."""

import datetime

import msgspec
from flask import Response

from bridge.accounts.key_terms import PLAIN_LIMITS
from bridge.accounts.keys import Caller
from bridge.db import now_utc
from bridge.ledger.budgets import find_account_window, find_member_window, find_raise, list_key_windows, period_start
from bridge.ledger.journal import BudgetState, find_all_budgets, find_budgets
from bridge.ledger.ledger import find_balance, sum_credited
from bridge.ledger.rollups import sum_by
from bridge.money import format_dollars
from bridge.v1.door import count
from bridge.v1.schemas import account as schemas
from bridge.v1.visit import Visit


def show_key(visit: Visit) -> Response:
    """The calling key: name, limits, budgets and what is left of them, usage today, this week and month, expiry."""
    count(visit)
    caller = visit.caller
    assert caller is not None
    now = now_utc()
    usage = _sum_periods(caller.account_id, caller.key_id, now)
    states = find_budgets(caller.key_id, list_key_windows(caller, now))
    tightest = min(states, key=lambda state: state.left_nanos, default=None)
    shared = _describe_shared(caller, now)
    raised, until = find_raise(caller, now), caller.budget_raise_until
    each = caller.budget_user_nanos
    body = schemas.Key(
        label=caller.key_name,
        limits=_describe_limits(caller),
        budget=_describe_budget(tightest) if tightest else None,
        budgets=[_describe_budget(state) for state in states],
        member_budget=shared.get("month"),
        account_budget=shared.get("day"),
        budget_raise=schemas.BudgetRaise(format_dollars(raised), until.isoformat()) if raised and until else None,
        end_user_budget=None
        if each is None
        else schemas.EndUserBudget(format_dollars(each), caller.budget_user_period),
        models=sorted(caller.models) if caller.models is not None else None,
        usage=schemas.KeyUsage(today=usage["day"], week=usage["week"], month=usage["month"]),
        expires_at=caller.expires_at.isoformat() if caller.expires_at else None,
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(body))


def _describe_shared(caller: Caller, now: datetime.datetime) -> dict[str, schemas.KeyBudget]:
    """The budgets that the key shares, by period: its member's month, and the account's day."""
    windows = [find_account_window(caller.account_spend_day_nanos, now)] if caller.account_spend_day_nanos else []
    if caller.member_budget is not None:
        windows.append(find_member_window(caller.member_budget, now))
    states = find_all_budgets(caller.account_id, caller.key_id, windows)
    return {state.window.period: _describe_budget(state) for state in states}


def _describe_budget(state: BudgetState) -> schemas.KeyBudget:
    start = state.starts_again
    return schemas.KeyBudget(
        amount=format_dollars(state.window.limit_nanos),
        period=state.window.period,
        remaining=format_dollars(state.left_nanos),
        starts_again_at=start.isoformat() if start else None,
    )


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
    credited = sum_credited(caller.account_id)
    body = schemas.Credits(
        balance=format_dollars(balance.balance_nanos),
        held=format_dollars(balance.held_nanos),
        available=format_dollars(balance.available_nanos),
        total_credited=format_dollars(credited),
        total_used=format_dollars(credited - balance.balance_nanos),
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(body))
