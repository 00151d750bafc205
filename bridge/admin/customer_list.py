"""The list of customers: found, narrowed and sorted by its address alone, page by page, and as CSV."""

import dataclasses
from collections.abc import Iterator

from flask import Response, render_template, request, stream_with_context, url_for

from bridge.accounts.customers import PAGE_SIZE, STATES, count_customers, list_customers, select_matching
from bridge.admin.door import admin, needs_right
from bridge.db import now_utc
from bridge.languages import translate
from bridge.ledger import margins
from bridge.ledger.journal import list_balances
from bridge.ledger.ledger import BalanceView
from bridge.money import format_dollars
from bridge.payments.customer_list import NEWEST, SORTS, Place, list_places, read_place
from bridge.payments.customer_search import select_by_reference, select_nearly_empty, sum_balances
from bridge.spreadsheet import write_csv

NO_MONEY = BalanceView(0, 0)
LOW = "low"
PIECE = 500  # rows of the file that are read at once
CSV_COLUMNS = (
    *(
        "account_id",
        "email",
        "name",
        "group",
        "status",
        "available_dollars",
        "balance_dollars",
        "spent_30_days_dollars",
    ),
    *("margin_30_days_dollars", "requests_30_days", "keys", "last_used_at", "created_at"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for: the text, the state, the order and where the page begins."""

    search: str
    state: str
    sort: str
    after: Place | None

    def list_places(self, after: Place | None, limit: int) -> list[Place]:
        """The accounts behind this place."""
        among = select_by_reference(self.search) if self.search else None
        if self.state == LOW and not self.search:
            among = select_nearly_empty()
        matching = select_matching(self.search, state=self.state if self.state in STATES else "", among=among)
        return list_places(matching, self.sort, after, limit)

    def url(self, endpoint: str = "admin.show_customers", **changed: object) -> str:
        """The address of this list with some of it changed; what is usual is left out."""
        kept = {"q": self.search, "state": self.state, "sort": self.sort if self.sort != NEWEST else "", **changed}
        return url_for(endpoint, **{name: value for name, value in kept.items() if value})  # type: ignore[arg-type]


def read_asked() -> Asked:
    """What the request's address asks for; what can't be understood is left out."""
    state, sort = request.args.get("state", ""), request.args.get("sort", "")
    return Asked(
        search=request.args.get("q", "").strip()[:200],
        state=state if state in (*STATES, LOW) else "",
        sort=sort if sort in SORTS else NEWEST,
        after=read_place(request.args.get("after", "")),
    )


@admin.get("/customers")
@needs_right("look")
def show_customers() -> str:
    """Accounts: `q` searches, `state` narrows, `sort` orders, `after` is the last one of the previous page."""
    asked = read_asked()
    places = asked.list_places(asked.after, PAGE_SIZE + 1)
    customers = list_customers([place.account_id for place in places[:PAGE_SIZE]])
    total, suspended, new = count_customers()
    owed, low = sum_balances()
    return render_template(
        "admin/customers.html",
        customers=customers,
        balances=list_balances(customer.account_id for customer in customers),
        margins=margins.sum_by_account(customer.account_id for customer in customers),
        nothing=margins.NOTHING,
        days=margins.DAYS,
        no_money=NO_MONEY,
        asked=asked,
        sorts=[(name, translate(text)) for name, text in SORTS.items()],
        newest=NEWEST,
        counts={"": total, LOW: low, "suspended": suspended, "new": new},
        owed=owed,
        next_url=asked.url(after=places[PAGE_SIZE - 1]) if len(places) > PAGE_SIZE else "",
        first_url=asked.url() if asked.after else "",
    )


@admin.get("/customers.csv")
@needs_right("export")
def export_customers() -> Response:
    """All customers that the list shows, in its order, with their figures."""
    answer = Response(stream_with_context(write_csv(CSV_COLUMNS, _list_rows(read_asked()))), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="customers-{now_utc():%Y-%m-%d}.csv"'
    return answer


def _list_rows(asked: Asked) -> Iterator[tuple[object, ...]]:
    after: Place | None = None
    while places := asked.list_places(after, PIECE):
        after = places[-1]
        ids = [place.account_id for place in places]
        balances, sums = list_balances(ids), margins.sum_by_account(ids)
        for one in list_customers(ids):
            money, margin = balances.get(one.account_id, NO_MONEY), sums.get(one.account_id, margins.NOTHING)
            yield (
                *(one.account_id, one.email, one.name, one.group, one.status),
                *(format_dollars(money.available_nanos), format_dollars(money.balance_nanos)),
                *(format_dollars(margin.charge_nanos), format_dollars(margin.nanos), margin.requests, one.keys),
                f"{one.last_used_at:%Y-%m-%dT%H:%M:%SZ}" if one.last_used_at else "",
                f"{one.created_at:%Y-%m-%dT%H:%M:%SZ}",
            )
