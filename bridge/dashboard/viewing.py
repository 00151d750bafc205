"""An operator who views a customer's pages changes nothing and sees no secret: asked here, before every view of every
page, and what isn't named here isn't shown."""

from flask import Flask, flash, redirect, request
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.dashboard.proof import SAFE
from bridge.dashboard.visitor import Viewer
from bridge.errors import ViewOnly
from bridge.languages import translate
from bridge.viewing import end_view, find_view

LEAVE = "admin.leave_view"
# settings, security and what begins something are left out; a page that is added is not shown before it is named
SHOWN = {
    f"dashboard.{name}"
    for name in (
        *("show_overview", "show_keys", "show_key", "show_first_request", "show_usage", "export_usage", "show_receipt"),
        *("show_billing", "poll_payments", "show_payment", "poll_payment", "show_statement", "export_statement"),
    )
}
OPEN_TO_ALL = ("public", "health", "metrics", None)  # blueprints whose pages are nobody's


def register(app: Flask) -> None:
    """Look at every request before any other hook that may answer it."""
    app.before_request(guard_view)


def guard_view() -> Response | None:
    """Let an operator who views a customer's pages only look, and end the view when its time is over."""
    view = find_view()
    if view is None or request.endpoint == LEAVE:
        return None
    in_console = request.blueprint == "admin"
    if view.is_over or not (in_console or isinstance(current_user._get_current_object(), Viewer)):
        end_view()
        if in_console and request.method in SAFE:
            return None
        if not current_user.is_authenticated:
            return redirect("/sign-in", 303)
        said = translate("You no longer view the pages of %(name)s. Nothing was changed.", name=view.name)
        flash(said, "warn")
        return redirect(f"/admin/customers/{view.account_id}", 303)
    if request.method not in SAFE:
        raise ViewOnly(
            translate("You are viewing as %(name)s, and nothing can be changed. Leave the view first.", name=view.name)
        )
    if not in_console and request.blueprint not in OPEN_TO_ALL and request.endpoint not in SHOWN:
        raise ViewOnly(
            translate("Settings, security and forms are not shown to operators. Leave the view, or open another page.")
        )
    return None
