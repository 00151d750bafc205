"""The dashboard's door: nobody enters without a session, a suspended account may only look and end things, and every
view finds the account in `g`."""

from flask import Blueprint, current_app, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.errors import AccountSuspended
from bridge.extensions import View
from bridge.languages import translate

dashboard = Blueprint("dashboard", __name__, url_prefix="/dashboard")


@dashboard.before_request
def require_sign_in() -> Response | None:
    """Send strangers to the sign-in page, and from there back to where they wanted to go."""
    if not current_user.is_authenticated:
        return redirect(url_for("welcome.show_sign_in", next=request.full_path if request.method == "GET" else None))
    g.member = current_user._get_current_object()  # pages ask it hundreds of times, and the proxy is slow
    g.account_id = current_user.account_id
    if current_user.is_suspended and request.method not in ("GET", "HEAD", "OPTIONS"):
        _require_leave()
    return None


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
