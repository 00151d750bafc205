"""Writes the refusals for money (402): what is needed, what is there, what would pass, and whether waiting helps."""

from collections.abc import Sequence

from bridge.errors import BridgeError, InsufficientBalance, KeyBudgetExceeded, MaxCostExceeded, SpendLimitExceeded
from bridge.inference.plan import Offer
from bridge.ledger.batch import OF_ACCOUNT, OF_MEMBER, BudgetWindow, Funds, HoldOrder, HoldResult
from bridge.ledger.budgets import OF_KEY, PERIOD_WORDS, next_start
from bridge.money import format_dollars

# Nobody knows when an answer ends: soon enough for most, and seldom enough for those that take their time.
RETRY_AFTER_SECONDS = 5
# Clients look for these two words to know that asking again is in vain.
FINAL = "Insufficient credits"


def refuse_unpaid(offers: Sequence[Offer], order: HoldOrder, result: HoldResult, funds: Funds) -> BridgeError:
    """The refusal of what balance or budgets can't pay for. It names the budget that is too low, and when that starts
    again. Where running requests hold what is missing, it says so, and
    the client may ask again: then it doesn't begin with the words of a final refusal."""
    needed_nanos, of_budget = order.least_nanos, result.refused == "budget"
    idle, free = funds.balance_nanos, funds.balance_nanos - funds.held_nanos  # without running requests; beside them
    for window, (budget_held, budget_spent) in zip(order.budgets or (), funds.budgets, strict=True):
        budget = window.limit_nanos - budget_spent
        idle, free = min(idle, budget), min(free, budget - budget_held)
    kind: type[InsufficientBalance] = InsufficientBalance
    whose, all_held, of_account, of_member = "your balance", funds.held_nanos, False, False
    if of_budget and order.budgets:
        window = order.budgets[result.window]
        of_account, of_member = window.scope == OF_ACCOUNT, window.scope.startswith(OF_MEMBER)
        kind, whose = SpendLimitExceeded if of_account else KeyBudgetExceeded, _name_budget(window)
        all_held = funds.budgets[result.window][0]
    needed, available = _dollars(needed_nanos), _dollars(result.available_nanos)
    passes = _name_cap(offers, min(free, result.available_nanos))
    if needed_nanos <= idle:
        now = f", or now with {passes}" if passes else ""
        refusal = kind(
            f"Running requests hold what is missing: this answer can cost {needed}, and {available} is available while "
            f"they hold {_dollars(all_held)} of {whose}. Ask again in a moment{now}.",
            retry_after_seconds=RETRY_AFTER_SECONDS,
        )
        refusal.retryable = True
        return refusal
    remedy = "Ask the operator for more" if of_account else "Raise the budget" if of_budget else "Add credit"
    remedy = "Ask an owner or admin of the account for more" if of_member else remedy
    remedy += _or_lower(offers, passes)
    left = f"left of {whose}" if of_budget else "available"
    return kind(f"{FINAL}: this answer can cost {needed}, and {available} is {left}. {remedy}.")


def _name_budget(window: BudgetWindow) -> str:
    """`this key's budget of $5.00 a day, which starts again at 00:00 UTC on 2026-12-01`, or that of an end user."""
    amount = f"{_dollars(window.limit_nanos)} {PERIOD_WORDS[window.period]}"
    if window.scope == OF_ACCOUNT:
        budget = f"the {amount} that the operator lets this account spend"
    elif window.scope.startswith(OF_MEMBER):
        budget = f"the budget of {amount} that all keys of this key's member share"
    elif window.scope == OF_KEY:
        budget = f"this key's budget of {amount}"
    else:
        budget = f"the budget of {amount} that this key has for each end user"
    start = next_start(window)
    return f"{budget}, which starts again at 00:00 UTC on {start}" if start else budget


def refuse_cost(offers: Sequence[Offer], needed_nanos: int, most_nanos: int) -> BridgeError:
    """The refusal of what can cost more than the client's own x-bridge-max-cost allows."""
    passes = _name_cap(offers, most_nanos)
    return MaxCostExceeded(
        f"Cost limit exceeded: this answer can cost {_dollars(needed_nanos)}, and x-bridge-max-cost allows "
        f"{_dollars(most_nanos)}. Allow more{_or_lower(offers, passes)}."
    )


def refuse_stop(offer: Offer, stop_at_nanos: int) -> BridgeError:
    """The refusal of what costs as much as the client's own x-bridge-stop-at before anything is said."""
    if offer.measure.fixed:
        return MaxCostExceeded(
            f"Cost limit exceeded: nothing can stop a picture halfway, and this answer can cost more than the "
            f"{_dollars(stop_at_nanos)} that x-bridge-stop-at allows. Allow more, or ask for less at once.",
            param="x-bridge-stop-at",
        )
    return MaxCostExceeded(
        f"Cost limit exceeded: with this prompt, a first token of {offer.name} can cost more than the "
        f"{_dollars(stop_at_nanos)} that x-bridge-stop-at allows. Allow more, or send a shorter prompt.",
        param="x-bridge-stop-at",
    )


def _name_cap(offers: Sequence[Offer], amount_nanos: int) -> str:
    """The largest cap that so much pays for, whichever model serves; "" where it pays for no token, or none is
    written that a client can cap."""
    if not offers[0].measure.may_be_capped:
        return ""
    cap = min(offer.largest_cap(max(0, amount_nanos)) for offer in offers)
    return f"max_tokens of at most {cap}" if cap >= 1 else ""


def _or_lower(offers: Sequence[Offer], passes: str) -> str:
    if not offers[0].measure.may_be_capped:
        return ", or ask for less at once"
    return f", or ask with {passes}" if passes else "; no max_tokens is low enough"


def _dollars(nanos: int) -> str:
    return f"${format_dollars(max(0, nanos), 2)}"
