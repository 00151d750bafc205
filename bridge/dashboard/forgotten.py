"""A forgotten password: ask for a link by mail, and set a new password by it. No page says who has an account."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.emails import check_email, normalise_email
from bridge.accounts.password_reset import LinkExpired, find_reset, request_reset, reset_password
from bridge.dashboard.visitor import find_network, leave_session
from bridge.extensions import anyone_may_enter, limiter
from bridge.languages import translate

forgotten = Blueprint("forgotten", __name__)


def _count_by_email() -> str:
    return "reset:" + normalise_email(request.form.get("email", ""))


@forgotten.get("/forgot")
@anyone_may_enter
def show_forgot() -> str:
    return render_template("public/forgot.html", sent="sent" in request.args)


@forgotten.post("/forgot")
@anyone_may_enter
@limiter.limit("20 per hour")
@limiter.limit("4 per hour", key_func=_count_by_email)
def ask_for_link() -> Response | tuple[str, int]:
    """Note the address. Whether anybody has it is looked up later, beside the requests."""
    email = request.form.get("email", "")
    try:
        check_email(email)
    except ValueError as error:
        return render_template("public/forgot.html", email=email, error=str(error)), 400
    request_reset(email)
    return redirect(url_for("forgotten.show_forgot", sent=1), 303)


@forgotten.get("/reset")
@anyone_may_enter
@limiter.limit("60 per hour")
def show_reset() -> str | tuple[str, int]:
    return _render(request.args.get("ticket", ""))


@forgotten.post("/reset")
@anyone_may_enter
@limiter.limit("30 per hour")
def set_new_password() -> Response | str | tuple[str, int]:
    secret, password = request.form.get("ticket", ""), request.form.get("password", "")
    try:
        reset_password(secret, password, network=find_network())
    except LinkExpired:
        return _render("")
    except ValueError as error:
        return _render(secret, str(error))
    leave_session()
    flash(translate("Your password is set, and all sessions have ended. Sign in with it."))
    return redirect(url_for("welcome.show_sign_in"), 303)


def _render(secret: str, error: str = "") -> str | tuple[str, int]:
    """The form, or a page that says that the link is not good any more."""
    member = find_reset(secret)
    page = render_template("public/reset.html", ticket=secret, member=member, error=error)
    return page if member and not error else (page, 400)
