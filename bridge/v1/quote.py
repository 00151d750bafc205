"""POST /v1/quote: what a chat completion can cost, and whether it would be refused, without asking any provider."""

import msgspec
from flask import Response

from bridge.counters.windows import Window
from bridge.db import now_utc
from bridge.dialects.chat.writer import Chat
from bridge.errors import InvalidRequest, MaxCostExceeded
from bridge.inference.attempts import Attempts
from bridge.ledger.budgets import list_windows
from bridge.ledger.journal import find_budgets
from bridge.ledger.ledger import find_balance
from bridge.money import format_dollars
from bridge.providers.base import AttemptFailed
from bridge.v1.chat_body import plan_chat
from bridge.v1.door import count, read_body
from bridge.v1.schemas import quote as schemas
from bridge.v1.visit import Visit, format_duration


def create_quote(visit: Visit) -> Response:
    """The quote for a chat completion's body. Raises the errors of the request itself; those about money and limits are
    reported in the quote instead. A quote counts as a request of its key's minute, reserves no tokens, holds nothing
    and costs nothing."""
    data = read_body(visit)
    count(visit)
    plan = plan_chat(visit, data)
    attempts = Attempts(visit.ask(plan, Chat()))
    attempts.recall_reasoning()
    unstoppable = plan.find_unstoppable() is not None
    amount, least = plan.worst_case()
    if plan.max_cost_nanos is not None:
        amount = max(least, min(amount, plan.max_cost_nanos))
    available, budget = _find_money(visit, plan.labels.end_user)
    allowance = available if budget is None else min(available, budget)
    held = min(amount, max(least, allowance // 4))
    plan.fit_caps(held)
    choices = attempts.list_choices()
    offer, calls = plan.offers[0], 1
    if choices:
        attempt = attempts.suppose(choices[0])
        offer, calls = attempt.offer, attempt.calls
        try:
            attempts.write(attempt)
        except AttemptFailed as failure:
            raise InvalidRequest(failure.message, param=failure.param, code=failure.code) from None
    body = schemas.Quote(
        model=schemas.QuotedModel(asked=plan.request.model, served=offer.model.id),
        route=[
            schemas.QuotedChannel(model=each.model.id, channel=route.channel_name, upstream=route.upstream_id)
            for each, route in choices
        ],
        max_cost=format_dollars(plan.worst_case()[0]),
        tokens=schemas.QuotedTokens(
            prompt_at_most=offer.measure.prompt_bound_tokens,
            output_at_most=offer.cap_tokens or 0,
            choices=plan.request.choices,
            calls=calls,
        ),
        hold=format_dollars(held),
        available=format_dollars(max(0, available)),
        budget_remaining=None if budget is None else format_dollars(budget),
        refusal=MaxCostExceeded.code
        if unstoppable
        else _find_refusal(held, amount, available, budget, plan.max_cost_nanos, bool(choices)),
        limits=schemas.QuotedLimits(
            requests=_describe(visit.windows.get("rpm")), tokens=_describe(visit.windows.get("tpm"))
        ),
        dropped=attempts.dropped,
        clamped=attempts.clamped,
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(body))


def _find_money(visit: Visit, end_user: str | None) -> tuple[int, int | None]:
    """What is available, and what the key's budgets leave, if it has any."""
    caller = visit.caller
    assert caller is not None
    with visit.services.app.app_context():
        available = find_balance(caller.account_id).available_nanos
        states = find_budgets(caller.key_id, list_windows(caller, end_user, now_utc()) or ())
    return available, min((state.left_nanos for state in states), default=None)


def _find_refusal(
    held: int, amount: int, available: int, budget: int | None, most: int | None, served: bool
) -> str | None:
    """The code with which the request would be refused now, or None."""
    if most is not None and amount > most:
        return MaxCostExceeded.code
    if budget is not None and held > budget:
        return "key_budget_exceeded"
    if held > available:
        return "insufficient_balance"
    return None if served else "upstream_error"


def _describe(window: Window | None) -> schemas.LimitWindow | None:
    """A limit and what is left of it; None if there is no limit."""
    if window is None:
        return None
    return schemas.LimitWindow(
        limit=window.limit, remaining=window.remaining, reset=format_duration(window.reset_seconds)
    )
