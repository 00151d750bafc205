"""POST /v1/quote: what a chat completion can cost, and what would become of it, without asking anybody."""

from typing import Any

import msgspec
from flask import Response

from bridge.counters import Window
from bridge.db import db, now_utc
from bridge.errors import InvalidRequest, MaxCostExceeded
from bridge.ledger.budgets import period_start
from bridge.ledger.ledger import find_balance
from bridge.ledger.tables import Budget
from bridge.money import format_dollars
from bridge.providers.base import AttemptFailed
from bridge.v1.chat import plan_chat
from bridge.v1.door import count, read_body
from bridge.v1.relay import Relay
from bridge.v1.visit import Visit, format_duration


def create_quote(visit: Visit) -> Response:
    """The quote for a chat completion's body. Raises what the request itself would be refused for, but for money and
    limits: those are told. It is a request of its key's minute, reserves no tokens, holds nothing and costs nothing."""
    data = read_body(visit)
    count(visit, requests=1)
    plan = plan_chat(visit, data)
    relay = Relay(visit, plan)
    relay.recall_reasoning()
    amount, least = relay.worst_case()
    if plan.max_cost_nanos is not None:
        amount = max(least, min(amount, plan.max_cost_nanos))
    available, budget = _find_money(relay)
    allowance = available if budget is None else min(available, budget)
    held = min(amount, max(least, allowance // 4))
    relay.fit_caps(held)
    choices = relay.failover.list_choices()
    if choices:
        relay.offer, route = choices[0]
        try:
            relay.write(route)
        except AttemptFailed as failure:
            raise InvalidRequest(failure.message, param=failure.param, code=failure.code) from None
    body = {
        "object": "quote",
        "model": {"asked": plan.request.model, "served": relay.offer.model.id},
        "route": [
            {"model": offer.model.id, "channel": route.channel_name, "upstream": route.upstream_id}
            for offer, route in choices
        ],
        "max_cost": format_dollars(relay.worst_case()[0]),
        "tokens": {
            "prompt_at_most": relay.offer.measure.prompt_bound_tokens,
            "output_at_most": relay.offer.cap_tokens,
            "choices": plan.request.choices,
            "calls": relay.calls,
        },
        "hold": format_dollars(held),
        "available": format_dollars(max(0, available)),
        "budget_remaining": None if budget is None else format_dollars(budget),
        "refusal": _find_refusal(held, amount, available, budget, plan.max_cost_nanos, bool(choices)),
        "limits": {name: _describe(visit.windows.get(kind)) for kind, name in (("rpm", "requests"), ("tpm", "tokens"))},
        "dropped": relay.dropped,
        "clamped": relay.clamped,
    }
    visit.leave()
    return visit.answer(msgspec.json.encode(body))


def _find_money(relay: Relay) -> tuple[int, int | None]:
    """What is available, and what is left of the key's budget, if it has one."""
    caller = relay.caller
    with relay.services.app.app_context():
        available = find_balance(caller.account_id).available_nanos
        if caller.budget_nanos is None:
            return available, None
        row = db.session.get(Budget, (caller.key_id, period_start(caller.budget_period, now_utc())))
    used = row.spent_nanos + row.held_nanos if row else 0
    return available, max(0, caller.budget_nanos - used)


def _find_refusal(
    held: int, amount: int, available: int, budget: int | None, most: int | None, served: bool
) -> str | None:
    """The code that the request would be refused with now, or None."""
    if most is not None and amount > most:
        return MaxCostExceeded.code
    if budget is not None and held > budget:
        return "key_budget_exceeded"
    if held > available:
        return "insufficient_balance"
    return None if served else "upstream_error"


def _describe(window: Window | None) -> dict[str, Any] | None:
    """A limit and what is left of it; None where the key has none."""
    if window is None:
        return None
    return {"limit": window.limit, "remaining": window.remaining, "reset": format_duration(window.reset_seconds)}
