"""The page of all keys: searched, sorted, a hundred at a time."""

from collections.abc import Callable
from typing import Any

from flask import g, render_template, request

from bridge.accounts.key_limits import find_account_limits
from bridge.accounts.keys import KeyInList, find_keys, list_matching_keys
from bridge.dashboard.banner import find_money
from bridge.dashboard.door import dashboard
from bridge.dashboard.keys import find_state
from bridge.db import now_utc
from bridge.ledger.budgets import list_key_windows
from bridge.ledger.journal import list_budgets, list_spend_by_key

PAGE_SIZE = 100
MOST_DIGITS = 6  # of a page's number
FEW_KEYS = 5  # need no search
SORTS = {"newest": "Newest first", "name": "By name", "used": "Last used first", "spend": "Most spent this month"}


@dashboard.get("/keys")
def show_keys() -> str:
    """The account's keys: those that match `q`, by `sort`; `page` counts from 1."""
    search, sort = request.args.get("q", "").strip(), request.args.get("sort", "")
    sort = sort if sort in SORTS else "newest"
    now = now_utc()
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    found = list_matching_keys(g.account_id, search)
    spend = list_spend_by_key(g.account_id, month) if found else {}
    found.sort(key=_order(sort, spend))
    page = min(_read_page(), max(1, -(-len(found) // PAGE_SIZE)))
    first = (page - 1) * PAGE_SIZE
    keys = find_keys(g.account_id, [key.id for key in found[first : first + PAGE_SIZE]])
    budgets = list_budgets({key.id: list_key_windows(key, now) for key in keys})
    return render_template(
        "dashboard/keys.html",
        keys=keys,
        search=search,
        sort=sort,
        sorts=SORTS,
        page=page,
        first=first,
        total=len(found),
        in_use=sum(key.is_usable for key in found),
        is_last=first + PAGE_SIZE >= len(found),
        searchable=bool(search) or len(found) > FEW_KEYS,
        states={key.id: find_state(key, budgets.get(key.id, [])) for key in keys},
        budgets=budgets,
        this_month=spend,
        account_limits=find_account_limits(g.account_id),
        money=find_money(),
    )


def _read_page() -> int:
    text = request.args.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 1


def _order(sort: str, spend: dict[int, int]) -> Callable[[KeyInList], Any]:
    """What to sort by; keys that are alike stay in their order, the newest first."""
    if sort == "name":
        return lambda key: key.name.casefold()
    if sort == "used":
        return lambda key: -key.last_used_at.timestamp() if key.last_used_at else 0
    return lambda key: -spend.get(key.id, 0) if sort == "spend" else 0
