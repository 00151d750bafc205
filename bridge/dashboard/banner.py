"""The account's state: the one thing that stands above every page of the dashboard, the worst first, with one action.

What costs no statement is asked first, and nothing further once something is found."""

import dataclasses
import datetime
from collections.abc import Callable, Iterable
from typing import Any

from flask import current_app, g, request, url_for
from flask_login import current_user

from bridge.accounts.standing import end_sentence
from bridge.catalogue.incidents import find_told, list_open
from bridge.chart import SpanSum
from bridge.config import Settings
from bridge.dashboard.account import find_account_state, find_money, find_own_limits, once
from bridge.dashboard.filters import NANOS_PER_CENT, balance, exact, spend
from bridge.dashboard.scope import find_seen_member, list_near_budget
from bridge.dates import SHORT_DAY, write_date
from bridge.db import now_utc
from bridge.inference.services import Services
from bridge.languages import to_translate, translate, translate_plural
from bridge.ledger.budgets import find_account_window
from bridge.ledger.journal import NEAR_PERCENT, find_account_spend, find_first_credit
from bridge.ledger.rollups import sum_charges_by
from bridge.ledger.tables import Entry

USED_DAYS = 7  # of models, and of the rate at which the balance is spent
LOW_DAYS = 3
MAX_DAYS_LEFT = 365
NAMED_MODELS = 2
STARTS_AGAIN = {
    "day": to_translate("%(spent)s of %(budget)s today. It starts again at 00:00 UTC."),
    "week": to_translate("%(spent)s of %(budget)s this week. It starts again on Monday, 00:00 UTC."),
    "month": to_translate("%(spent)s of %(budget)s this month. It starts again on the 1st, 00:00 UTC."),
}
IN_ALL = to_translate("%(spent)s of %(budget)s in all. Raise it to go on.")


@dataclasses.dataclass(frozen=True, slots=True)
class Banner:
    """What is to be said: `title` is the bold clause, `kind` is bad, warn or "". `is_primary`: the action is what the
    page is for until it is done. `right` is what it asks for: to a member without it, only the rest is said."""

    kind: str
    title: str
    text: str
    action: str = ""
    url: str = ""
    is_primary: bool = False
    right: str | None = None


def find_banner() -> Banner | None:
    """The worst that is to be told to the signed-in member's account; None if all is well. Operators' pages are about
    others."""
    if g.get("plain") or not current_user.is_authenticated:
        return None
    if current_user.is_suspended or request.path.startswith("/admin"):
        return find_suspension()
    found = next(filter(None, (find() for find in STATES)), None)
    if found is None or found.right is None or current_user.may(found.right):
        return found
    return dataclasses.replace(found, action="", url="")


def find_suspension() -> Banner | None:
    """The same for pages that tell nothing else."""
    if g.get("plain") or not current_user.is_authenticated or not current_user.is_suspended:
        return None
    state = find_account_state()
    reason = state.account.suspend_reason
    effect = translate(
        "Every call answers 403 and nothing is charged. No key can be made and nothing paid; your balance of "
        "%(balance)s stays.",
        balance=balance(state.money.balance_nanos),
    )
    if reason:
        return Banner("bad", translate("This account is suspended: %(reason)s", reason=end_sentence(reason)), effect)
    return Banner(
        "bad",
        translate("This account is suspended."),
        f"{effect} {translate('Write to the operator of this gateway.')}",
    )


def find_started() -> Entry | None:
    """The signed-in account's first credit, read once for a page and its banner."""
    return once("first_credit", lambda: find_first_credit(current_user.account_id))


def _add_credit(kind: str, title: str, text: str, *, is_primary: bool = False) -> Banner:
    url = url_for("dashboard.show_billing")
    return Banner(kind, title, text, translate("Add credit"), url, is_primary, right="billing")


def _tell_used_up() -> Banner | None:
    left = find_money().balance_nanos
    if left >= NANOS_PER_CENT:
        return None
    effect = translate("Calls answer 402 until you add credit; models that cost nothing still work.")
    if left < 0:
        cause = translate("A refund or a dispute took back what was already spent: %(amount)s.", amount=exact(left))
        title = translate("The balance is below zero.")
        return _add_credit("bad", title, f"{cause} {effect}", is_primary=True)
    if left:
        effect = translate("Calls that can cost more answer 402 until you add credit.")
        title = translate("Only %(amount)s of your balance is left.", amount=exact(left))
        return _add_credit("bad", title, effect, is_primary=True)
    if find_started():
        return _add_credit("bad", translate("Your balance is used up."), effect, is_primary=True)
    return _add_credit("warn", translate("You have no credit yet."), effect)


def _tell_declined() -> Banner | None:
    problem = find_account_state().top_up_problem
    if not problem:
        return None
    effect = translate("Nothing more is charged until you turn them on again.")
    text = f"{translate(problem)} {effect} {_describe_left()}"
    title, action = translate("Automatic top-ups are off."), translate("Pay or change card")
    return Banner("bad", title, text, action, url_for("dashboard.show_billing"), right="billing")


def _tell_incident() -> Banner | None:
    """An open incident of a model that the account used in the last days; or whether its models can be asked nowhere,
    as far as this process knows."""
    found = list_open(find_account_state().incidents_number)
    told = find_told(found, _sum_lately()) if found else None
    if told is not None:
        day, time = write_date(told.opened_at, SHORT_DAY), f"{told.opened_at:%H:%M}"
        text = translate("Since %(day)s, %(time)s UTC. Failed calls cost nothing.", day=day, time=time)
        status = (translate("Status page"), url_for("public.show_status")) if _has_status_page() else None
        title = translate("%(title)s.", title=told.title)
        return Banner("warn", title, text, *(status or (translate("Models"), "/models")))
    services: Services | None = current_app.extensions.get("bridge_services")
    if services is None or services.health.all_well:
        return None
    out = services.list_out(_sum_lately(), current_user.account_id)
    if not out:
        return None
    named = ", ".join(out[:NAMED_MODELS])
    more = len(out) - NAMED_MODELS
    if more > 0:
        title = translate("%(models)s and %(more)s more don't answer now.", models=named, more=more)
    else:
        title = translate("%(models)s can't be reached now.", models=named)
    text = translate(
        "Their provider is in trouble. Calls answer 503 and cost nothing; retry, or use another model meanwhile."
    )
    return Banner("warn", title, text, translate("Models"), "/models")


def _has_status_page() -> bool:
    settings: Settings = current_app.config["BRIDGE"]
    return settings.status_page


def _tell_low() -> Banner | None:
    state = find_account_state()
    money, rule, alert = state.money, state.rule, state.alert
    if rule is not None and rule.enabled and rule.allows_another(now_utc().date()):
        return None  # it is about to be topped up
    days = _count_days()
    is_below = alert is not None and alert.enabled and money.balance_nanos < alert.threshold_nanos
    if not is_below and (days is None or days >= LOW_DAYS):
        return None
    return _add_credit("warn", _describe_left(), translate("Calls answer 402 once it is used up."))


def _tell_spend_limit() -> Banner | None:
    """Whether the account has spent nearly all that it may today; nothing is read where it may spend any amount."""
    limit, now = find_own_limits()["spend_day_nanos"], now_utc()
    if not limit:
        return None
    today = find_account_spend(current_user.account_id, find_account_window(limit, now))
    if today.percent < NEAR_PERCENT:
        return None
    if today.percent >= 100:
        title = translate("This account has used up what it may spend today:")
    else:
        title = translate("This account has spent nearly all that it may today:")
    again = translate("It starts again at 00:00 UTC. Ask the operator for more.")
    if find_seen_member():
        return Banner("warn", title, again)
    of_all = translate("%(spent)s of %(most)s.", spent=spend(today.spent_nanos), most=spend(limit))
    return Banner("warn", title, f"{of_all} {again}")


def _tell_key_budget() -> Banner | None:
    near = list_near_budget()
    if not near:
        return None
    key, budget = near[0].key, near[0].budget
    if budget.percent >= 100:
        title = translate("%(key)s has used up its budget:", key=key.name)
    else:
        title = translate("%(key)s has used %(percent)s%% of its budget:", key=key.name, percent=budget.percent)
    told = STARTS_AGAIN.get(budget.window.period, IN_ALL)
    text = translate(told, spent=spend(budget.spent_nanos), budget=spend(budget.window.limit_nanos))
    url = url_for("dashboard.show_key", key_id=key.id)
    return Banner("warn", title, text, translate("Open the key"), url, right="own_keys")


STATES: tuple[Callable[[], Banner | None], ...] = (
    *(_tell_used_up, _tell_declined, _tell_incident, _tell_spend_limit, _tell_low, _tell_key_budget),
)


def count_days_left(available_nanos: int, spent_nanos: int, days: int) -> int | None:
    """How many days the balance lasts if as much is spent as in these days; None if that says nothing, or is beyond a
    year."""
    left = available_nanos * days // spent_nanos if available_nanos > 0 and spent_nanos else None
    return left if left is not None and left <= MAX_DAYS_LEFT else None


def _count_days() -> int | None:
    """How many days the balance lasts at the rate of the last ones; None, too, for those who don't see what all keys
    spend."""
    if find_seen_member() is not None:
        return None
    return count_days_left(find_money().available_nanos, _sum_spent(), USED_DAYS)


def _describe_left() -> str:
    """`$4.12 left, for about 2 days.`"""
    left = find_money().available_nanos
    days = _count_days()
    if days is None:
        return translate("%(amount)s left.", amount=balance(left))
    if not days:
        return translate("%(amount)s left, for less than a day.", amount=balance(left))
    amount = balance(left)
    return translate_plural(
        "%(amount)s left, for about %(num)s day.", "%(amount)s left, for about %(num)s days.", days, amount=amount
    )


def _sum_lately() -> dict[str, int]:
    """What was charged in the last days for each model, as far as the signed-in member sees it."""
    wanted: dict[str, Any] = {"account_id": current_user.account_id, "since": _first_day(), "without_drills": True}
    wanted["member_id"] = find_seen_member()
    return once("used_lately", lambda: sum_charges_by("model_id", **wanted))


def keep_used_lately(spans: Iterable[SpanSum], since: datetime.datetime) -> None:
    """Spare the banner its sums, on a page that has read all the account used of each model since that midnight."""
    first = _first_day()
    if since > first:
        return
    used: dict[str, int] = {}
    for one in spans:
        if one.start >= first:
            used[one.name] = used.get(one.name, 0) + one.charge_nanos
    g.used_lately = used


def _first_day() -> datetime.datetime:
    return now_utc().replace(hour=0, minute=0, second=0, microsecond=0) - datetime.timedelta(days=USED_DAYS - 1)


def _sum_spent() -> int:
    return sum(_sum_lately().values())
