"""The billing page's further forms: redeem a code, and set or turn off the low-balance alert."""

from flask import Blueprint, abort, current_app, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.config import Settings
from bridge.dashboard.billing import render_billing
from bridge.dashboard.door import dashboard, suspended_may_too
from bridge.dashboard.filters import exact
from bridge.extensions import anyone_may_enter, csrf, limiter
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.alerts import SALT as BALANCES
from bridge.ledger.alerts import read_off_token, set_alert, turn_alert_off
from bridge.ledger.budget_alerts import SALT as BUDGETS
from bridge.ledger.budget_alerts import set_budget_mails
from bridge.payments.codes import redeem

alerts = Blueprint("alerts", __name__)


def _account() -> str:
    return f"account:{g.account_id}"


def _back(form: FormReader) -> Response:
    """Back to the page, which shows the form's errors, if there are any."""
    for message in form.errors.values():
        flash(message, "bad")
    return redirect(url_for("dashboard.show_billing"), 303)


@dashboard.post("/billing/redeem")
@limiter.limit("60 per hour")
@limiter.limit("20 per hour", key_func=_account)
def redeem_code() -> Response | tuple[str, int]:
    form = FormReader(request.form)
    code = form.require("code", translate("Type the code that you were given."))
    if not form.errors:
        with form.collect_errors():
            nanos = redeem(g.account_id, code, made_by=g.member.email)
            flash(translate("%(amount)s is added to your balance.", amount=exact(nanos)))
            return redirect(url_for("dashboard.show_billing"), 303)
    return render_billing(code=form), 400


@dashboard.post("/billing/alert")
@suspended_may_too  # it only concerns mails
@limiter.limit("60 per hour", key_func=_account)
def change_alert() -> Response:
    """Set the amount below which the account's owners get a mail, or turn the mails off."""
    form = FormReader(request.form)
    if form.text("do") == "off":
        turn_alert_off(g.account_id)
        flash(translate("You will no longer get low-balance alerts."))
        return _back(form)
    threshold = form.dollars("alert_threshold")
    if not form.errors:
        with form.collect_errors():
            set_alert(g.account_id, threshold)
            amount = exact(threshold or 0)
            flash(translate("We email you each time the balance falls below %(amount)s.", amount=amount))
    return _back(form)


def _read_link(token: str) -> tuple[int, bool]:
    """The account whose mails a mail's link turns off, and whether they are those about budgets; 404 for a link that we
    didn't write."""
    settings: Settings = current_app.config["BRIDGE"]
    for salt in (BALANCES, BUDGETS):
        account_id = read_off_token(settings, token, salt)
        if account_id is not None:
            return account_id, salt == BUDGETS
    return abort(404)


@alerts.get("/alerts/off/<token>")
@anyone_may_enter
def ask_to_turn_off(token: str) -> str:
    """Only ask: mail scanners follow every link in a mail."""
    _, of_budgets = _read_link(token)
    return render_template("public/alerts_off.html", done=False, of_budgets=of_budgets)


@alerts.post("/alerts/off/<token>")
@anyone_may_enter
@csrf.exempt
@limiter.limit("60 per hour")
def turn_off(token: str) -> str:
    """Turn the mails off. The link itself is the permission: mail programs post to it without a session."""
    account_id, of_budgets = _read_link(token)
    if of_budgets:
        set_budget_mails(account_id, False)
    else:
        turn_alert_off(account_id)
    return render_template("public/alerts_off.html", done=True, of_budgets=of_budgets)
