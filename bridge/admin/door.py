"""The operators' door: nobody else can see that it exists."""

from flask import Blueprint, abort, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.acts import Actor

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


def find_operator() -> Actor:
    """The signed-in operator, for the audit log. Customers read some of its lines: the operator's network is not in
    them."""
    return Actor(g.member.email)
