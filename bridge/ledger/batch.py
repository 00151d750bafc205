"""What the ledger commits together: holds and settlements of many requests in one transaction (group commit)."""

import datetime
from typing import Any

import msgspec

MAX_FINISH_REASON = 24
OUTCOMES = (
    "complete",  # the upstream finished its answer
    "cut",  # it broke, or our deadline did, after something was delivered
    "client_gone",  # the client left
    "client_slow",  # it took nothing for too long
    "failed",  # no attempt delivered anything
    "worker_lost",  # the process died; the sweeper settled it
)

LEFT_BY_CLIENT = ("client_gone", "client_slow")


class BudgetWindow(msgspec.Struct, frozen=True):
    """A budget in one of its periods: what may be held and spent from `start` on. See budgets.py for the scopes."""

    period: str
    start: datetime.date
    scope: str
    limit_nanos: int


OF_ACCOUNT = "account"  # the scope of what an operator lets a whole account spend
OF_MEMBER = "member:"  # with a member's id behind it: the scope of what all of their keys in the account may spend


def is_shared(scope: str) -> bool:
    """Whether several keys count against windows of this scope: the account's, or a member's."""
    return scope == OF_ACCOUNT or scope.startswith(OF_MEMBER)


def own_id(scope: str, account_id: int, key_id: int) -> int:
    """Under which number of `budgets.key_id` a window has its row: the key's, or the account's below zero, if keys
    share the window."""
    return -account_id if is_shared(scope) else key_id


class HoldOrder(msgspec.Struct, frozen=True):
    """An order to hold `amount_nanos` for one request, if the account and each of the budgets have that much.

    Where `least_nanos` is lower, the client set no cap on its answer: then at most a quarter of what is available is
    held, but never less than `least_nanos`."""

    request_id: str
    account_id: int
    key_id: int
    amount_nanos: int
    least_nanos: int
    created_at: datetime.datetime
    deadline_seconds: float
    budgets: tuple[BudgetWindow, ...] | None  # None where there is none, which then costs nothing more
    details: str  # JSON of a Settlement; the sweeper uses it if the process dies


class Settlement(msgspec.Struct):
    """An order to end a hold: charge `price_nanos` (as far as hold and balance reach) and write the request's usage
    row.

    The fields are the columns of `usage` (see columns.py); `price_nanos` becomes charge and loss. A `released`
    settlement has price 0."""

    request_id: str
    created_at: datetime.datetime
    state: str = "released"
    outcome: str = "failed"
    status: int = 0
    error_code: str | None = None
    endpoint: str = "chat"
    model_asked: str = ""
    model_id: str = ""
    upstream_id: str | None = None
    channel_name: str | None = None
    stream: bool = False
    finish_reason: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_hour_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    tokens_source: str = "none"
    provider_counts: str | None = None
    uncharged_tokens: int = 0
    uncharged_nanos: int = 0
    price_id: int = 0
    input_nanos_per_mtok: int = 0
    cached_nanos_per_mtok: int = 0
    cache_write_nanos_per_mtok: int = 0
    cache_write_hour_nanos_per_mtok: int = 0
    output_nanos_per_mtok: int = 0
    price_nanos: int = 0
    cost_nanos: int = 0
    pricing: str | None = None
    output_cap_tokens: int = 0
    attempts: str = "[]"
    adapted: str | None = None
    first_content_ms: int | None = None
    total_ms: int = 0
    end_user: str | None = None
    tags: str | None = None
    stop_at_nanos: int | None = None


class Mark(msgspec.Struct, frozen=True):
    """An order to record what a running stream has delivered so far: `details` replaces the hold's, so that the sweeper
    can charge it if the worker dies. A hold that was settled meanwhile stays settled."""

    request_id: str
    details: str


class FundsQuery(msgspec.Struct, frozen=True):
    """An order to read an account's funds and its key's budgets, after a hold was refused, so that the error can say
    why."""

    request_id: str
    account_id: int
    key_id: int
    budgets: tuple[BudgetWindow, ...]


class Funds(msgspec.Struct, frozen=True):
    """The result of a FundsQuery. `budgets`: held and spent of each window that was asked for, in its order."""

    balance_nanos: int
    held_nanos: int
    budgets: tuple[tuple[int, int], ...] = ()


class HoldResult(msgspec.Struct, frozen=True):
    """`held_nanos` was held; otherwise `refused` says what was too low ("balance" or "budget"), and `available_nanos`
    how much it had. `window` is the budget's place in the order."""

    held_nanos: int
    refused: str = ""
    available_nanos: int = 0
    window: int = 0


class MarkWritten(msgspec.Struct, frozen=True):
    """A mark was written, if its hold was still open."""


class SettleResult(msgspec.Struct, frozen=True):
    """What was charged, and what the request cost beyond hold and balance. `settled_before`: this call changed
    nothing."""

    charge_nanos: int
    loss_nanos: int
    settled_before: bool = False


Order = HoldOrder | Settlement | Mark | FundsQuery
Outcome = HoldResult | SettleResult | MarkWritten | Funds


def read_details(details: str, request_id: str, created_at: datetime.datetime) -> Settlement:
    """The settlement that a hold carries, for ending it if its request can't: released and free of charge, until a
    stream's mark says what was delivered."""
    try:
        settlement = msgspec.json.decode(details, type=Settlement)
    except msgspec.MsgspecError:  # written by another version: the hold must end all the same
        settlement = Settlement(request_id, created_at)
    settlement.request_id, settlement.created_at = request_id, created_at
    return settlement


def read_windows(budgets: str | None) -> list[BudgetWindow]:
    """The windows that a hold's row counts in."""
    return msgspec.json.decode(budgets, type=list[BudgetWindow]) if budgets else []


def fit_columns(settlement: Settlement) -> None:
    """Cut the upstream's finish reason to its column's length, without NUL, which PostgreSQL refuses."""
    if settlement.finish_reason:
        settlement.finish_reason = settlement.finish_reason.replace("\0", "")[:MAX_FINISH_REASON]


def as_row(settlement: Settlement) -> dict[str, Any]:
    """The settlement as column -> value."""
    return {name: getattr(settlement, name) for name in Settlement.__struct_fields__}
