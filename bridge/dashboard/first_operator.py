"""Where the link leads that a gateway without an operator prints: whoever opens it becomes the first operator."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.sign_in import AddressTaken, find_errors
from bridge.dashboard.guesses import remember_browser
from bridge.dashboard.visitor import begin_session, find_network
from bridge.extensions import anyone_may_enter, limiter
from bridge.languages import translate
from bridge.ledger.first_operator import LinkIsDead, become_first_operator, is_good

first_operator = Blueprint("first_operator", __name__)


@first_operator.get("/first-operator")
@anyone_may_enter
@limiter.limit("60 per hour")
def show_first_operator() -> str | tuple[str, int]:
    """Only ask: chats and logs follow links to show what is behind them."""
    return _render(request.args.get("ticket", ""))


@first_operator.post("/first-operator")
@anyone_may_enter
@limiter.limit("30 per hour")
def become_operator() -> Response | str | tuple[str, int]:
    """Make the link's holder the operator, and let a new one in. Who had an account signs in to it."""
    secret, email, password = (request.form.get(name, "") for name in ("ticket", "email", "password"))
    if errors := find_errors(email, password):
        return _render(secret, email, errors)
    try:
        member = become_first_operator(secret, email, password, find_network())
    except LinkIsDead:
        return _render("")
    except AddressTaken:
        said = translate("This address has an account. Give its password, and the account becomes the operator's.")
        return _render(secret, email, {"password": said})
    if member.last_sign_in_at is not None:
        flash(translate("%(email)s is the operator now. Sign in.", email=member.email))
        return redirect(url_for("welcome.show_sign_in", next="/admin/"), 303)
    begin_session(member, "first operator's link", is_known=True)
    answer = redirect("/admin/", 303)
    remember_browser(answer, member.email)
    return answer


def _render(secret: str, email: str = "", errors: dict[str, str] | None = None) -> str | tuple[str, int]:
    """The form, or a page that says that the link is not good any more."""
    good = is_good(secret)
    page = render_template(
        "public/first_operator.html", ticket=secret if good else "", email=email, errors=errors or {}
    )
    return page if good and not errors else (page, 400)
