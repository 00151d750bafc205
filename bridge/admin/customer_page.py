"""One customer: the head that all of its pages share, and the overview."""

import dataclasses
import datetime
import secrets
from typing import Any

from flask import current_app, render_template, request

from bridge.accounts.customers import PAGE_SIZE, find_customer
from bridge.accounts.key_limits import read_account_limits
from bridge.accounts.key_owners import name_members
from bridge.accounts.key_search import list_all_keys
from bridge.accounts.operator_notes import list_notes
from bridge.accounts.own_price_editing import say_own
from bridge.accounts.own_prices import list_own_prices, read_own
from bridge.admin.door import admin, needs_right
from bridge.admin.fault_words import list_faults
from bridge.chart import DAY, SpanSum, draw, rank_parts
from bridge.db import now_utc
from bridge.forms import FormReader
from bridge.languages import to_translate, translate
from bridge.ledger.journal import is_credit, list_entries, list_spend_by_key
from bridge.ledger.margins import Margin
from bridge.ledger.usage import UsageFilter, list_requests, read_usage
from bridge.limits.refusals import RefusalFilter, read_refusals
from bridge.money import format_dollars
from bridge.payments.account_state import find_state

DAYS = 30
LAST_REQUESTS = 5
LAST_ENTRIES = 5
WIDTH, PHONE_WIDTH = 640, 330  # of the chart, so that its text keeps its size
REQUESTS = "/admin/requests"
# where an entry of the journal comes from, as it is said here
SOURCES = {
    "operator": to_translate("operator"),
    "command": to_translate("command"),
    "merge": to_translate("merge"),
    "signup": to_translate("signup"),
    "setup": to_translate("setup"),
    "code": to_translate("code"),
    "bonus": to_translate("bonus"),
    "bonus_return": to_translate("bonus_return"),
    "referral": to_translate("referral"),
    "referral_return": to_translate("referral_return"),
    "refund": to_translate("refund"),
}


def render_page(account_id: int, tab: str, form: FormReader | None = None, **more: Any) -> str:
    """One of a customer's pages with the head of all; `form` brings back what was entered, with its errors."""
    form = form or FormReader({})
    if "customer" not in more:
        more["customer"] = find_customer(account_id)
    return render_template(
        f"admin/customer_{tab}.html",
        tab=tab,
        requests_url=f"{REQUESTS}?account={account_id}" if _has_request_log() else "",
        faults=list_faults(),
        sources={name: translate(text) for name, text in SOURCES.items()},
        errors=form.errors,
        once=form.text("once") or secrets.token_hex(16),
        **{"values": form.values, **more},
    )


def _has_request_log() -> bool:
    return any(rule.rule == REQUESTS for rule in current_app.url_map.iter_rules())


@admin.get("/customers/<int:account_id>")
@needs_right("look")
def show_customer(account_id: int) -> str:
    return render_overview(account_id)


def render_overview(account_id: int, form: FormReader | None = None) -> str:
    """What the customer spent in the last 30 days, did last, and is allowed."""
    customer = find_customer(account_id)  # raises NotFound before anything is read of it
    state, today = find_state(account_id), now_utc().replace(hour=0, minute=0, second=0, microsecond=0)
    since = today - datetime.timedelta(days=DAYS - 1)
    used = read_usage(UsageFilter(account_id, since=since), "model", "day", 0)
    own = list_own_prices(account_id, state.account.group) if state.has_own_prices else []
    return render_page(
        account_id,
        "overview",
        form,
        customer=customer,
        money=state.money,
        totals=used.totals,
        margin=Margin(**dataclasses.asdict(used.totals)),
        chart=_draw_spend(account_id, used.spans, since),
        refused=read_refusals(RefusalFilter(account_id, since)).requests,
        last=list_requests(UsageFilter(account_id), limit=LAST_REQUESTS).records,
        entries=list_entries(account_id, LAST_ENTRIES),
        is_credit=is_credit,
        limits=read_account_limits(state.account),
        own_prices=[(row, say_own(read_own(row))) for row in own],
        notes=list_notes(account_id),
        plan=state.subscription,
        days=DAYS,
    )


def _draw_spend(account_id: int, sums: list[SpanSum], since: datetime.datetime) -> dict[str, Any] | None:
    """The chart in both widths and its legend; None if there are no requests."""
    if not sums:
        return None
    spans = [since + datetime.timedelta(days=number) for number in range(DAYS)]
    links = {}
    if _has_request_log():
        charges = dict.fromkeys(spans, 0)
        for one in sums:
            charges[one.start] = charges.get(one.start, 0) + one.charge_nanos
        links = {
            day: (
                f"{REQUESTS}?account={account_id}&from={day:%Y-%m-%d}&to={day:%Y-%m-%d}",
                f"{day:%-d %b}: ${format_dollars(charges[day], 2)}",
            )
            for day in spans
        }
    return {
        "series": rank_parts(sums),
        "links": links,
        "drawings": [
            draw(sums, spans, DAY, width=WIDTH, name_every=3, css="wide"),
            draw(sums, spans, DAY, width=PHONE_WIDTH, name_every=6, css="slim"),
        ],
    }


@admin.get("/customers/<int:account_id>/keys")
@needs_right("look")
def show_customer_keys(account_id: int) -> str:
    """All keys that the customer ever had, the newest first; `keys_before` is the last key of the previous page."""
    before_id = read_id("keys_before")
    keys = list_all_keys(account_id, before_id=before_id, limit=PAGE_SIZE + 1)
    month = now_utc().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return render_page(
        account_id,
        "keys",
        keys=keys[:PAGE_SIZE],
        older_keys=keys[PAGE_SIZE - 1].id if len(keys) > PAGE_SIZE else None,
        newest_keys=before_id is None,
        owners=name_members(key.member_id for key in keys),
        spent=list_spend_by_key(account_id, month, [key.id for key in keys]),
        now=now_utc(),
    )


def read_id(name: str) -> int | None:
    """The id in this query parameter, if it is one."""
    text = request.args.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


def write_limit(name: str, value: int | None) -> str:
    """An account's own limit as its form's field has it."""
    if value is None:
        return ""
    return format_dollars(value, 2) if name == "spend_day_nanos" else str(value)
