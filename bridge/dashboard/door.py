"""The dashboard's door: nobody enters without a session, a member does what their role in the account allows, a
suspended account may only look and end things, and every view finds the account in `g`."""

from collections.abc import Callable

from flask import Blueprint, Flask, current_app, g, redirect, request, url_for
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response

from bridge.accounts.roles import RIGHTS, list_roles_with, name_role
from bridge.accounts.standing import list_owners
from bridge.dashboard.visitor import find_person
from bridge.db import db
from bridge.errors import AccountSuspended, RoleRefused
from bridge.extensions import View
from bridge.languages import translate

OWN = "own"  # what is only the person's: their name, how they sign in, which account they look at
NO_ACCOUNT = "accounts.show_no_account"
dashboard = Blueprint("dashboard", __name__, url_prefix="/dashboard")


def needs(right: str) -> Callable[[View], View]:
    """Mark a view with the right that it asks for, one of RIGHTS. A view without one isn't registered."""
    assert right in RIGHTS, right

    def mark(view: View) -> View:
        view.right = right  # type: ignore[attr-defined]
        return view

    return mark


def own(view: View) -> View:
    """Mark a view as open to every member, since it is about themselves."""
    view.right = OWN  # type: ignore[attr-defined]
    return view


def require_rights(app: Flask) -> None:
    """See that each of the dashboard's routes says which right it asks for. Raises RuntimeError naming those that
    don't."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("dashboard.")]
    silent = sorted(
        f"{rule.endpoint.removeprefix('dashboard.')} ({rule.rule})"
        for rule in rules
        if find_right(app, rule.endpoint) is None
    )
    if silent:
        raise RuntimeError(f"Say with @needs(…) or @own which right each of these views asks for: {', '.join(silent)}.")


def find_right(app: Flask, endpoint: str) -> str | None:
    """The right that a view of the dashboard asks for, or OWN."""
    right: str | None = getattr(app.view_functions[endpoint], "right", None)
    return right


@dashboard.before_request
def require_sign_in() -> Response | None:
    """Send strangers to the sign-in page, and from there back to where they wanted to go; refuse members what their
    role doesn't include. The role is that of this moment: it came from the database with the session."""
    if not current_user.is_authenticated:
        if find_person() is not None:
            return redirect(url_for(NO_ACCOUNT), 303)
        return redirect(url_for("welcome.show_sign_in", next=request.full_path if request.method == "GET" else None))
    g.member = current_user._get_current_object()  # pages ask it hundreds of times, and the proxy is slow
    g.account_id = current_user.account_id
    if g.get("is_form_of_another") and request.method not in ("GET", "HEAD", "OPTIONS"):
        raise CSRFError  # its page was about the account that they looked at before
    _require_right(find_right(current_app, request.endpoint or "") or "account")
    if current_user.is_suspended and request.method not in ("GET", "HEAD", "OPTIONS"):
        _require_leave()
    return None


def _require_right(right: str) -> None:
    if right == OWN or g.member.may(right):
        return
    any_of = translate(" or ")
    values = {
        "needed": any_of.join(name_role(role) for role in list_roles_with(right)),
        "account": g.member.account_name,
        "role": name_role(g.member.role),
        "owners": any_of.join(email for _, email in list_owners(db.session(), g.account_id)),
    }
    if request.method in ("GET", "HEAD"):
        text = translate(
            "This needs the role %(needed)s, and yours in %(account)s is %(role)s. Ask %(owners)s.", **values
        )
    else:
        text = translate(
            "This needs the role %(needed)s, and yours in %(account)s is %(role)s. Nothing was changed. "
            "Ask %(owners)s.",
            **values,
        )
    raise RoleRefused(text)


def suspended_may_too(view: View) -> View:
    """Mark a form that a suspended account may use, since it only ends something."""
    view.suspended_may_too = True  # type: ignore[attr-defined]
    return view


def _require_leave() -> None:
    """Refuse a suspended account every form that isn't marked as harmless, including forms added later."""
    view = current_app.view_functions.get(request.endpoint or "")
    if not getattr(view, "suspended_may_too", False):
        raise AccountSuspended(
            translate("This account is suspended. Nothing was changed. Write to the operator of this gateway.")
        )
