"""POST /v1/quote: what a chat completion or pictures can cost, and whether they would be refused, without asking
any provider."""

import msgspec
from flask import Response

from bridge.counters.windows import Window
from bridge.db import now_utc
from bridge.dialects.chat.writer import Chat
from bridge.errors import InvalidRequest, KeyBudgetExceeded, MaxCostExceeded, SpendLimitExceeded
from bridge.inference.attempts import Attempts
from bridge.inference.own_page import CALLER
from bridge.ledger.batch import OF_ACCOUNT
from bridge.ledger.budgets import list_windows
from bridge.ledger.journal import BudgetState, find_all_budgets
from bridge.ledger.ledger import find_balance
from bridge.money import format_dollars
from bridge.providers.base import AttemptFailed
from bridge.v1.body import read_object
from bridge.v1.chat_body import plan_chat
from bridge.v1.door import count, read_body
from bridge.v1.images import plan_images
from bridge.v1.inference import Planned
from bridge.v1.schemas import quote as schemas
from bridge.v1.visit import Visit, format_duration


def create_quote(visit: Visit) -> Response:
    """The quote for a body of chat completions or, where it has a prompt and no messages, of pictures.

    Raises the errors of the request itself; those about money and limits are reported in the quote instead. A quote
    counts as a request of its key's minute, reserves no tokens, holds nothing and costs nothing."""
    data = read_body(visit)
    if CALLER not in visit.environ:  # a page of ours asks while somebody types, within the limits of pages
        count(visit)
    plan, dialect = _plan(visit, data)
    attempts = Attempts(visit.ask(plan, dialect))
    attempts.recall_reasoning()
    unstoppable = plan.find_unstoppable() is not None
    amount, least = plan.worst_case()
    if plan.max_cost_nanos is not None:
        amount = max(least, min(amount, plan.max_cost_nanos))
    available, tightest = _find_money(visit, plan.labels.end_user)
    budget = None if tightest is None else tightest.left_nanos
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
            schemas.QuotedChannel(
                model=each.model.id,
                channel=route.channel_name if visit.services.settings.show_channel_names else None,
                upstream=route.upstream_id,
            )
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
        else _find_refusal(held, amount, available, tightest, plan.max_cost_nanos, bool(choices)),
        limits=schemas.QuotedLimits(
            requests=_describe(visit.windows.get("rpm")), tokens=_describe(visit.windows.get("tpm"))
        ),
        dropped=attempts.dropped,
        clamped=attempts.clamped,
    )
    visit.leave()
    return visit.answer(msgspec.json.encode(body))


def _plan(visit: Visit, data: bytes) -> Planned:
    body, _ = read_object(data)
    if "prompt" in body and "messages" not in body:
        return plan_images(visit, data)
    return plan_chat(visit, data), Chat()


def _find_money(visit: Visit, end_user: str | None) -> tuple[int, BudgetState | None]:
    """What is available, and of the budgets of key, member and account the one that leaves least, if there is any."""
    caller = visit.caller
    assert caller is not None
    with visit.services.app.app_context():
        available = find_balance(caller.account_id).available_nanos
        windows = list_windows(caller, end_user, now_utc(), caller.account_spend_day_nanos, caller.member_budget)
        states = find_all_budgets(caller.account_id, caller.key_id, windows or ())
    return available, min(states, key=lambda state: state.left_nanos, default=None)


def _find_refusal(
    held: int, amount: int, available: int, budget: BudgetState | None, most: int | None, served: bool
) -> str | None:
    """The code with which the request would be refused now, or None."""
    if most is not None and amount > most:
        return MaxCostExceeded.code
    if budget is not None and held > budget.left_nanos:
        return (SpendLimitExceeded if budget.window.scope == OF_ACCOUNT else KeyBudgetExceeded).code
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
