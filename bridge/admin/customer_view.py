"""A customer's pages as the customer sees them, to look at: begun and left here. What may be seen, and that nothing can
be changed, is the dashboard's to guard."""

from flask import flash, redirect, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import find_customer
from bridge.accounts.people import record_view
from bridge.admin.customer_people import is_out_of_reach, is_own_account
from bridge.admin.door import admin, find_operator, needs_right
from bridge.languages import translate
from bridge.viewing import begin_view, end_view, find_view


@admin.post("/customers/<int:account_id>/view")
@needs_right("view_as")
def view_as_customer(account_id: int) -> Response:
    """Show the customer's pages in this browser for half an hour, on record."""
    customer = find_customer(account_id)
    refused = ""
    if is_own_account(account_id):
        refused = translate("This is your own account: its pages are behind “Back to dashboard”.")
    elif is_out_of_reach(account_id):
        refused = translate("This is an operator's account: only an owner can view it.")
    elif not customer.email:
        refused = translate("Nobody signs in to this account, so it has no pages.")
    if refused:
        flash(refused, "bad")
        return redirect(url_for("admin.show_customer", account_id=account_id), 303)
    view = begin_view(account_id, customer.email)
    record_view(account_id, view.ends_at, find_operator())
    return redirect(url_for("dashboard.show_overview"), 303)


@admin.post("/view/leave")
@needs_right("look")
def leave_view() -> Response:
    """Show the operator's own pages again."""
    view = find_view()
    end_view()
    if view is None:
        return redirect(url_for("admin.show_customers"), 303)
    flash(translate("You no longer view the pages of %(name)s.", name=view.name))
    return redirect(url_for("admin.show_customer", account_id=view.account_id), 303)
