"""GET /v1/dashboard/billing/subscription and /usage, from which chat clients read what is left: `hard_limit_usd` less a
hundredth of `total_usage`. OpenAI once had these routes; other gateways kept them."""

import dataclasses
from decimal import Decimal

import msgspec
from flask import Response

from bridge.accounts.keys import Caller
from bridge.db import now_utc
from bridge.ledger.budgets import find_member_window, list_key_windows
from bridge.ledger.journal import find_all_budgets
from bridge.ledger.ledger import find_balance, sum_credited
from bridge.money import NANOS_PER_DOLLAR, format_dollars
from bridge.v1.door import count
from bridge.v1.visit import Visit

CENTS = 100
NEVER = 4_102_444_800  # 2100-01-01, of a key that doesn't expire: clients take 0 for one that has


@dataclasses.dataclass(frozen=True, slots=True)
class Left:
    """What the key has used and may still spend, in nano-dollars."""

    used_nanos: int
    left_nanos: int


def show_subscription(visit: Visit) -> Response:
    """What the key could spend in all: what it has used and what is left. The prepaid balance is how it pays."""
    count(visit)
    caller = visit.caller
    assert caller is not None
    found = find_left(caller)
    limit = msgspec.Raw(format_dollars(found.used_nanos + found.left_nanos).encode())  # a number, exact
    body = {
        "object": "billing_subscription",
        "has_payment_method": True,
        "soft_limit_usd": limit,
        "hard_limit_usd": limit,
        "system_hard_limit_usd": limit,
        "access_until": int(caller.expires_at.timestamp()) if caller.expires_at else NEVER,
    }
    visit.leave()
    return visit.answer(msgspec.json.encode(body))


def show_usage(visit: Visit) -> Response:
    """What the key has used, in cents, whatever dates it is asked of: clients take it from the limit all the same."""
    count(visit)
    caller = visit.caller
    assert caller is not None
    cents = Decimal(find_left(caller).used_nanos * CENTS) / NANOS_PER_DOLLAR
    visit.leave()
    return visit.answer(msgspec.json.encode({"object": "list", "total_usage": msgspec.Raw(f"{cents:f}".encode())}))


def find_left(caller: Caller) -> Left:
    """The account's money; or, for a key with budgets, its member's among them, that of which the least is left, as far
    as the account can pay for it."""
    balance = find_balance(caller.account_id)
    left = max(0, balance.available_nanos)
    now = now_utc()
    windows = list_key_windows(caller, now)
    if caller.member_budget is not None:
        windows = (*windows, find_member_window(caller.member_budget, now))
    states = find_all_budgets(caller.account_id, caller.key_id, windows)
    if states:
        tightest = min(states, key=lambda state: state.left_nanos)
        return Left(tightest.spent_nanos, min(left, tightest.left_nanos))
    return Left(sum_credited(caller.account_id) - balance.balance_nanos, left)
