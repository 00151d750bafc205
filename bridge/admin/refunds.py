"""Refunds of requests by operators' forms: a whole charge or a part of it, with a reason that the customer reads."""

from flask import flash, g, redirect
from werkzeug.wrappers import Response

from bridge.admin.approvals import ask_another, guard_alone
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.refunds import (
    check_amount,
    check_reason,
    find_refundable,
    list_refunds,
    read_amount,
    refund_request,
)
from bridge.money import format_dollars
from bridge.payments.approvals import REFUND, NeedsAnother, Wish


def refund_by_form(
    form: FormReader, request_id: str, page: str, who: str, *, account_id: int | None = None
) -> Response | None:
    """Refund what the form says of a request and go to this page; None if something is wrong with the form. `number`
    is which refund of the request the form was made for: sent twice, it refunds once. Raises NotFound."""
    reason = form.require("reason", translate("Say why: the customer reads it."))
    with form.collect_errors(amount="refund_amount"):
        if reason:
            check_reason(reason)
        record = find_refundable(request_id, account_id)
        before = list_refunds(record.account_id, record.request_id)
        amount = read_amount(form.text("refund_amount"), record.charge_nanos)
        number = form.number("number") or len(before) + 1
        if form.errors:
            return None
        of_account = record.account_id
        try:
            done = refund_request(
                *(record.request_id,),
                reason=reason,
                made_by=g.member.email,
                account_id=of_account,
                amount_nanos=amount,
                number=number,
                guard=guard_alone(of_account),
            )
        except NeedsAnother:
            given = check_amount(record, before, amount)
            part = None if given == record.charge_nanos else number
            wish = Wish(REFUND, given, of_account, record.request_id, note=reason, refund_number=part)
            return ask_another(wish, page)
        flash(
            translate(
                "%(who)s has %(amount)s back for this request of %(model)s.",
                who=who,
                amount="$" + format_dollars(done.amount_nanos, 2),
                model=record.model_id,
            )
        )
        return redirect(page, 303)
    return None
