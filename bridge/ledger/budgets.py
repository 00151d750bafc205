"""A key's budgets: what it may spend in a day, a week, a month and in all, and what each of its end users may. Periods
are UTC days, weeks from Monday, and months; a total never starts again."""

import datetime
from typing import Protocol

from bridge.languages import to_translate
from bridge.ledger.batch import OF_ACCOUNT, BudgetWindow

PERIODS = ("day", "week", "month", "total")
PERIOD_WORDS = {
    "day": to_translate("a day"),
    "week": to_translate("a week"),
    "month": to_translate("a month"),
    "total": to_translate("in all"),
}
NEVER = datetime.date(1970, 1, 1)
OF_KEY = ""  # the scope of a budget over all requests of a key
OF_USER = "user:"  # with an end user's name behind it: the scope of that end user's
_FIELDS = tuple((period, f"budget_{period}_nanos") for period in PERIODS)


class Budgeted(Protocol):
    """A key's budgets, as its row, its terms and its caller have them. None is no budget."""

    @property
    def budget_day_nanos(self) -> int | None: ...
    @property
    def budget_week_nanos(self) -> int | None: ...
    @property
    def budget_month_nanos(self) -> int | None: ...
    @property
    def budget_total_nanos(self) -> int | None: ...
    @property
    def budget_raise_nanos(self) -> int | None: ...
    @property
    def budget_raise_until(self) -> datetime.datetime | None: ...
    @property
    def budget_user_nanos(self) -> int | None: ...
    @property
    def budget_user_period(self) -> str: ...


def list_windows(
    key: Budgeted, end_user: str | None, moment: datetime.datetime, spend_day_nanos: int = 0
) -> tuple[BudgetWindow, ...] | None:
    """The windows that a request of this moment counts against, all at once; None where there is no budget. Requests
    that name no end user share one, or leaving the name out would be a way around it. `spend_day_nanos` is what the
    key's account may spend a day; 0 is no limit."""
    found = list_key_windows(key, moment)
    if key.budget_user_nanos is not None:
        found = (*found, find_user_window(key, end_user, moment))
    if spend_day_nanos:
        found = (*found, find_account_window(spend_day_nanos, moment))
    return found or None


def find_account_window(spend_day_nanos: int, moment: datetime.datetime) -> BudgetWindow:
    """The window of what all keys of an account may spend together on the day of this moment (UTC)."""
    return BudgetWindow("day", period_start("day", moment), OF_ACCOUNT, spend_day_nanos)


def list_key_windows(key: Budgeted, moment: datetime.datetime) -> tuple[BudgetWindow, ...]:
    """The windows over all requests of the key. A raise adds to each of them while it lasts."""
    return tuple(
        BudgetWindow(period, period_start(period, moment), OF_KEY, limit + find_raise(key, moment))
        for period, field in _FIELDS
        if (limit := getattr(key, field)) is not None
    )


def name_scope(window: BudgetWindow) -> bool | str:
    """Whose a window is, as a usage row names it: the end user's (True), the key's own (False), or "account"."""
    return OF_ACCOUNT if window.scope == OF_ACCOUNT else window.scope != OF_KEY


def find_user_window(key: Budgeted, end_user: str | None, moment: datetime.datetime) -> BudgetWindow:
    """The window of one end user of a key that has a budget for each."""
    period = key.budget_user_period
    scope = OF_USER + (end_user or "")
    return BudgetWindow(period, period_start(period, moment), scope, key.budget_user_nanos or 0)


def find_raise(key: Budgeted, moment: datetime.datetime) -> int:
    """How much the key's own budgets are raised at this moment: 0 once the raise is over."""
    until = key.budget_raise_until
    return key.budget_raise_nanos or 0 if until is not None and moment < until else 0


def period_start(period: str, moment: datetime.datetime) -> datetime.date:
    """The first day of the period ("day", "week", "month", "total") that holds this moment."""
    day = moment.astimezone(datetime.UTC).date()
    if period == "day":
        return day
    if period == "week":
        return day - datetime.timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    return NEVER


def list_starts(moment: datetime.datetime) -> dict[str, datetime.date]:
    """The first day of each period that holds this moment."""
    return {period: period_start(period, moment) for period in PERIODS}


def next_start(window: BudgetWindow) -> datetime.date | None:
    """The day (UTC) on which the window's budget starts again; None for one that never does."""
    if window.period == "total":
        return None
    if window.period == "month":
        return (window.start + datetime.timedelta(days=31)).replace(day=1)
    return window.start + datetime.timedelta(days=7 if window.period == "week" else 1)
