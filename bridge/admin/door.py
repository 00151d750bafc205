"""The operators' door: nobody else can see that it exists, and each operator does what their role allows."""

from collections.abc import Callable

from flask import Blueprint, Flask, abort, current_app, g, redirect, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts import operators
from bridge.accounts.operators import RIGHTS, ROLE_NAMES, list_roles_with
from bridge.acts import Actor, operators_network
from bridge.addresses import name_network
from bridge.errors import RoleRefused
from bridge.extensions import View
from bridge.languages import translate

admin = Blueprint("admin", __name__, url_prefix="/admin")


def needs_right(right: str) -> Callable[[View], View]:
    """Mark an operators' view with the right that it asks for, one of RIGHTS. A view without one isn't registered."""
    assert right in RIGHTS, right

    def mark(view: View) -> View:
        view.right = right  # type: ignore[attr-defined]
        return view

    return mark


def require_rights(app: Flask) -> None:
    """See that each of the operators' routes says which right it asks for. Raises RuntimeError naming those that
    don't."""
    rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("admin.")]
    silent = sorted(
        f"{rule.endpoint.removeprefix('admin.')} ({rule.rule})"
        for rule in rules
        if find_right(app, rule.endpoint) is None
    )
    if silent:
        raise RuntimeError(f"Say with @needs_right(…) which right each of these views asks for: {', '.join(silent)}.")


def find_right(app: Flask, endpoint: str) -> str | None:
    """The right that an operators' view asks for."""
    right: str | None = getattr(app.view_functions[endpoint], "right", None)
    return right


@admin.before_request
def require_operator() -> Response | None:
    """Let operators in whose role has the view's right, send strangers to the sign-in page, and answer customers 404.
    An operator whose account is suspended counts as a customer. The role is that of this moment: it came from the
    database with the session."""
    if not current_user.is_authenticated:
        return redirect(url_for("welcome.show_sign_in", next=request.full_path if request.method == "GET" else None))
    if not current_user.is_operator:
        abort(404)
    g.member = current_user
    operators_network.set(name_network(request.remote_addr or ""))
    right = find_right(current_app, request.endpoint or "") or "operators"
    if not may(right):
        raise RoleRefused(_say_who_may(right))
    return None


def _say_who_may(right: str) -> str:
    roles = {"roles": translate(" or ").join(map(name_role, list_roles_with(right)))}
    roles["own"] = name_role(current_user.operator_role)
    if request.method == "GET":
        return translate("This needs the role %(roles)s, and yours is %(own)s. Ask an owner.", **roles)
    return translate("This needs the role %(roles)s, and yours is %(own)s. Nothing was changed. Ask an owner.", **roles)


def name_role(role: str) -> str:
    """The operators' role within a sentence; one that isn't known by its own name."""
    return translate(ROLE_NAMES[role]).lower() if role in ROLE_NAMES else role


@admin.teardown_request
def leave_door(_error: BaseException | None) -> None:
    """Forget from where the operator came: the next request here may be a customer's."""
    operators_network.set(None)


def may(right: str) -> bool:
    """Whether the signed-in operator has the right; templates ask it before they offer a form or a link."""
    role = current_user.operator_role if current_user.is_authenticated else None
    return operators.may(role, right)


def may_open(path: str) -> bool:
    """Whether the signed-in operator may open this page of theirs, a path with or without a query."""
    endpoint, _ = current_app.url_map.bind("").match(path.partition("?")[0].removeprefix(request.script_root))
    right = find_right(current_app, endpoint)
    return right is not None and may(right)


def find_operator() -> Actor:
    """The signed-in operator, for the audit log. Customers read some of its lines: the operator's network stands where
    only operators see it."""
    return Actor(g.member.email)
