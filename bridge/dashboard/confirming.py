"""Confirming an address by the link in a mail, and asking for that mail again."""

from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.email_change import EmailTaken, confirm_email, find_confirmation, send_confirmation
from bridge.accounts.password_reset import LinkExpired
from bridge.dashboard.door import dashboard, suspended_may_too
from bridge.dashboard.newcomers import give_starting_credit
from bridge.dashboard.visitor import chosen_settings, find_network
from bridge.extensions import anyone_may_enter, limiter

confirming = Blueprint("confirming", __name__)


def _member() -> str:
    return f"confirm:{g.member.id}"


@dashboard.get("/check-email")
def show_sent() -> Response | str:
    """Where a newcomer is told to look for the mail."""
    if not g.member.is_unconfirmed:
        return redirect("/dashboard/")
    credit = chosen_settings().signup_credit_nanos
    return render_template("public/check_email.html", email=g.member.email, credit_nanos=credit)


@dashboard.post("/check-email")
@suspended_may_too
@limiter.limit("5 per hour", key_func=_member)
def send_again() -> Response:
    send_confirmation(chosen_settings(), g.member.id)
    flash(f"Another link is on its way to {g.member.email}. Earlier ones no longer work.")
    return redirect(url_for("dashboard.show_sent"), 303)


@confirming.get("/confirm")
@anyone_may_enter
@limiter.limit("60 per hour")
def ask_to_confirm() -> str | tuple[str, int]:
    """Only ask: mail scanners follow every link in a mail."""
    return _render(request.args.get("ticket", ""))


@confirming.post("/confirm")
@anyone_may_enter
@limiter.limit("30 per hour")
def confirm() -> Response | str | tuple[str, int]:
    try:
        done = confirm_email(chosen_settings(), request.form.get("ticket", ""), find_network())
    except LinkExpired:
        return _render("")
    except EmailTaken:
        return _render("", "Another account has this address by now. Nothing was changed.")
    flash(f"{done.member.email} is confirmed.")
    if done.is_first:
        give_starting_credit(done.member.account_id, done.member.email)
    inside = current_user.is_authenticated and current_user.id == done.member.id
    return redirect("/dashboard/" if inside else url_for("welcome.show_sign_in"), 303)


def _render(secret: str, error: str = "") -> str | tuple[str, int]:
    ticket = find_confirmation(secret)
    page = render_template("public/confirm.html", ticket=secret, email=ticket and ticket.email, error=error)
    return page if ticket else (page, 400)
