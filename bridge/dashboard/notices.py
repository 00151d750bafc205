"""Settings, notifications: which mails the member gets, the amount at which a low balance is told, and budgets."""

from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.dashboard.account import find_account_state
from bridge.dashboard.door import dashboard, needs, suspended_may_too
from bridge.dashboard.filters import exact
from bridge.dashboard.visitor import chosen_settings
from bridge.extensions import limiter
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.alerts import set_alert, turn_alert_off
from bridge.ledger.budget_alerts import set_budget_mails
from bridge.money import format_dollars

PROPOSED = "5.00"


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/settings/notices")
@needs("billing")
def show_notices() -> str:
    return _render(FormReader({}))


@dashboard.post("/settings/notices")
@needs("billing")
@suspended_may_too  # it only concerns mails
@limiter.limit("60 per hour", key_func=_account)
def save_notices() -> Response | tuple[str, int]:
    """Turn the low-balance mail on, with its amount, or off; or those about budgets."""
    form = FormReader(request.form)
    if form.text("about") == "budgets":
        wanted = bool(form.text("budget_mails"))
        set_budget_mails(g.account_id, wanted)
        said = translate("We email you when a key nears its budget.")
        flash(said if wanted else translate("You will no longer get emails about budgets."))
        return redirect(url_for("dashboard.show_notices"), 303)
    if not form.text("low_balance"):
        turn_alert_off(g.account_id)
        flash(translate("You will no longer get low-balance alerts."))
        return redirect(url_for("dashboard.show_notices"), 303)
    threshold = form.dollars("threshold")
    if not form.errors:
        with form.collect_errors():
            set_alert(g.account_id, threshold)
            amount = exact(threshold or 0)
            flash(translate("We email you each time the balance falls below %(amount)s.", amount=amount))
            return redirect(url_for("dashboard.show_notices"), 303)
    return _render(form), 400


def _render(form: FormReader) -> str:
    state = find_account_state()
    alert = state.alert
    threshold = format_dollars(alert.threshold_nanos, 2) if alert else PROPOSED
    return render_template(
        "dashboard/settings_notices.html",
        is_on=bool(form.text("low_balance")) or bool(alert and alert.enabled),
        threshold=form.values.get("threshold", threshold),
        errors=form.errors,
        budget_mails=state.account.budget_mails,
        mails_go_out=chosen_settings().mails_go_out,
        top_ups_open=chosen_settings().top_ups_open,
    )
