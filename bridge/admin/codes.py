"""Redemption codes: make a batch and show it once, see how many were redeemed, void what is left."""

import base64
import secrets
from typing import Any

import structlog
from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.admin.approvals import ask_another, guard_alone
from bridge.admin.door import admin, find_operator, needs_right
from bridge.forms import FormReader
from bridge.languages import translate, translate_plural
from bridge.payments.approvals import CODES, NeedsAnother, Wish
from bridge.payments.codes import create_batch, list_batches, void_batch, write_csv

MAX_ONCE_LENGTH = 64
log = structlog.get_logger()


@admin.get("/codes")
@needs_right("look")
def show_codes() -> str:
    return _render(FormReader({}))


@admin.post("/codes")
@needs_right("codes")
def make_codes() -> Any:
    """Make the batch and show its codes in this answer, for nobody can read them again."""
    form = FormReader(request.form)
    amount, count = form.dollars("amount"), form.number("count")
    expires_at, note = form.moment("expires_at"), form.text("note")
    once = form.text("once")[:MAX_ONCE_LENGTH] or None
    if not form.errors:
        with form.collect_errors():
            terms: dict[str, Any] = {"expires_at": expires_at, "note": note, "made_by": g.member.email, "once": once}
            try:
                made = create_batch(amount or 0, count or 0, **terms, guard=guard_alone(None))
            except NeedsAnother:
                wish = Wish(CODES, amount or 0, count=count or 0, codes_expire_at=expires_at, note=note)
                return ask_another(wish, url_for("admin.show_codes"), once=once)
            if made is None:
                told = translate("This form was sent before: its codes were shown then. Void them if they are lost.")
                flash(told, "warn")
                return redirect(url_for("admin.show_codes"), 303)
            log.info("codes_made", batch_id=made.batch_id, count=count, nanos=amount, member_id=g.member.id)
            csv = base64.b64encode(write_csv(made).encode()).decode()
            page = render_template("admin/codes_created.html", made=made, note=note, csv=csv)
            return page, 200, {"Cache-Control": "no-store"}
    return _render(form), 400


@admin.post("/codes/<int:batch_id>/void")
@needs_right("codes")
def void_codes(batch_id: int) -> Response:
    ended = void_batch(batch_id, find_operator())
    log.info("codes_voided", batch_id=batch_id, count=ended, member_id=g.member.id)
    told = translate_plural(
        "Batch %(id)s is void: %(num)s code can't be redeemed any more.",
        "Batch %(id)s is void: %(num)s codes can't be redeemed any more.",
        ended,
        id=batch_id,
    )
    flash(told, "warn")
    return redirect(url_for("admin.show_codes"), 303)


def _render(form: FormReader) -> str:
    return render_template(
        "admin/codes.html",
        batches=list_batches(),
        values=form.values,
        errors=form.errors,
        once=form.text("once") or secrets.token_hex(16),
    )
