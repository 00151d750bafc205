"""The page of all keys: searched, sorted, a hundred at a time."""

import datetime

from flask import g, render_template, request

from bridge.accounts.key_search import (
    ANYONE,
    KeyFilter,
    count_matching_keys,
    find_keys,
    list_matching_keys,
    name_matching_keys,
)
from bridge.accounts.tables import Key
from bridge.dashboard.account import find_money, find_own_limits
from bridge.dashboard.door import dashboard, needs
from bridge.dashboard.key_owner import list_owners
from bridge.dashboard.keys import find_state
from bridge.dashboard.scope import filter_keys
from bridge.db import now_utc
from bridge.languages import to_translate, translate
from bridge.ledger.budgets import list_key_windows
from bridge.ledger.journal import BudgetState, list_budgets, list_spend_by_key

PAGE_SIZE = 100
MOST_DIGITS = 6  # of a page's number
FEW_KEYS = 5  # need no search
ALONE = 2  # whose a key can be where an account has one member: theirs, and the team's
SORTS = {
    "newest": to_translate("Newest first"),
    "name": to_translate("By name"),
    "used": to_translate("Last used first"),
    "spend": to_translate("Most spent this month"),
}


@dashboard.get("/keys")
@needs("own_keys")
def show_keys() -> str:
    """The account's keys: those that match `q` and belong to `of`, by `sort`; `page` counts from 1."""
    search, sort = request.args.get("q", "").strip(), request.args.get("sort", "")
    sort = sort if sort in SORTS else "newest"
    now, money = now_utc(), find_money()
    owners, chosen = list_owners(), request.args.get("of", "")
    wanted = filter_keys(search, chosen if chosen in owners else "")
    total, in_use = count_matching_keys(wanted)
    page = min(_read_page(), max(1, -(-total // PAGE_SIZE)))
    first = (page - 1) * PAGE_SIZE
    keys = _list_page(wanted, sort, first, _first_of_month(now))
    budgets = list_budgets({key.id: list_key_windows(key, now) for key in keys})
    return render_template(
        "dashboard/keys.html",
        keys=keys,
        search=search,
        sort=sort,
        sorts=[(name, translate(words)) for name, words in SORTS.items()],
        page=page,
        first=first,
        total=total,
        in_use=in_use,
        is_last=first + PAGE_SIZE >= total,
        searchable=bool(search or wanted.member_id != ANYONE) or total > FEW_KEYS or len(owners) > ALONE,
        narrowed=bool(search or chosen in owners),
        owners=owners if len(owners) > ALONE else {},
        chosen_owner=chosen if chosen in owners else "",
        states={key.id: find_state(key, budgets.get(key.id, [])) for key in keys},
        budgets=budgets,
        this_month=_sum_unlimited(keys, budgets, _first_of_month(now)),
        account_limits=find_own_limits(),
        money=money,
    )


def _read_page() -> int:
    text = request.args.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 1


def _first_of_month(now: datetime.datetime) -> datetime.datetime:
    return now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _list_page(wanted: KeyFilter, sort: str, first: int, month: datetime.datetime) -> list[Key]:
    """One page of the keys; of those alike, the newest come first. By name and by spend all have to be compared."""
    if sort not in ("name", "spend"):
        order = (Key.last_used_at.is_(None), Key.last_used_at.desc()) if sort == "used" else ()
        return list_matching_keys(wanted, *order, limit=PAGE_SIZE, offset=first)
    names = name_matching_keys(wanted)
    if sort == "name":
        in_order = sorted(names, key=lambda key_id: names[key_id].casefold())
    else:
        spend = list_spend_by_key(g.account_id, month)
        in_order = sorted(names, key=lambda key_id: -spend.get(key_id, 0))
    return find_keys(g.account_id, in_order[first : first + PAGE_SIZE])


def _sum_unlimited(keys: list[Key], budgets: dict[int, list[BudgetState]], month: datetime.datetime) -> dict[int, int]:
    """What the keys without a budget have spent this month."""
    unlimited = [key.id for key in keys if key.id not in budgets]
    return list_spend_by_key(g.account_id, month, unlimited) if unlimited else {}
