"""The dashboard's door: nobody enters without a session, and every room finds the account in `g`."""

from flask import Blueprint, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

dashboard = Blueprint("dashboard", __name__, url_prefix="/dashboard")


@dashboard.before_request
def require_sign_in() -> Response | None:
    """Send strangers to the sign-in page, and from there back to where they wanted to go."""
    if not current_user.is_authenticated:
        return redirect(url_for("welcome.show_sign_in", next=request.full_path if request.method == "GET" else None))
    g.member = current_user
    g.account_id = current_user.account_id
    return None
