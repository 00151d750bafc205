"""The operators' door: nobody else can see that it exists."""

from flask import Blueprint, abort, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

admin = Blueprint("admin", __name__, url_prefix="/admin")


@admin.before_request
def require_operator() -> Response | None:
    """Let operators in, send strangers to the sign-in page, and answer customers 404. An operator whose account is
    suspended counts as a customer."""
    if not current_user.is_authenticated:
        return redirect(url_for("welcome.show_sign_in", next=request.full_path if request.method == "GET" else None))
    if not current_user.is_operator:
        abort(404)
    g.member = current_user
    return None
