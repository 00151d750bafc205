"""Confirming a new address by the link in a mail to it."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.email_change import EmailTaken, confirm_email, find_confirmation
from bridge.accounts.password_reset import LinkExpired
from bridge.dashboard.visitor import chosen_settings, find_network
from bridge.extensions import anyone_may_enter, limiter
from bridge.languages import translate

confirming = Blueprint("confirming", __name__)


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
        member = confirm_email(chosen_settings(), request.form.get("ticket", ""), find_network())
    except LinkExpired:
        return _render("")
    except EmailTaken:
        return _render("", translate("Another account has this address by now. Nothing was changed."))
    flash(translate("%(email)s is confirmed.", email=member.email))
    inside = current_user.is_authenticated and current_user.id == member.id
    return redirect("/dashboard/" if inside else url_for("welcome.show_sign_in"), 303)


def _render(secret: str, error: str = "") -> str | tuple[str, int]:
    ticket = find_confirmation(secret)
    page = render_template("public/confirm.html", ticket=secret, email=ticket and ticket.email, error=error)
    return page if ticket else (page, 400)
