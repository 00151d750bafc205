"""The fault drill: what one request of an account comes to when an upstream has a fault, and a fault for a while."""

from typing import Any

import structlog
from flask import current_app, flash, g, redirect, render_template, request, stream_template, url_for
from werkzeug.wrappers import Response

from bridge.accounts.customers import end_drill, start_drill
from bridge.admin.customer_people import render_members
from bridge.admin.door import admin, find_operator, needs_right
from bridge.admin.fault_words import list_faults
from bridge.catalogue.listing import find_number, list_models
from bridge.conversation.kinds import CHAT
from bridge.errors import NotFound
from bridge.forms import FormReader
from bridge.inference.rehearsal import OUTPUT_TOKENS, PROMPT, Drill, find_payer
from bridge.languages import translate

log = structlog.get_logger()


@admin.get("/drill")
@needs_right("drills")
def show_drill() -> str:
    """The form; `account` is the id that it starts with."""
    asked = request.args.get("account", "").strip()[:254]
    return _render(FormReader({"account": asked or g.member.email, "fault": "500"}))


@admin.post("/drill")
@needs_right("drills")
def run_drill() -> Any:
    """Send the request and show its result as it arrives: an upstream that never answers takes a while."""
    form = FormReader(request.form)
    model = form.require("model", translate("Choose a model."))
    try:
        payer = find_payer(form.require("account", translate("Say whose request it is.")))
    except NotFound as error:
        form.errors.setdefault("account", error.message)
    if not form.errors:
        with form.collect_errors():
            drill = Drill(
                payer,
                model,
                form.text("fault"),
                stream=form.text("mode") == "stream",
                with_channels=form.text("channels") == "real",
                made_by=g.member.email,
            )
            log.info("drill_sent", account_id=payer.account_id, fault=drill.fault, member_id=g.member.id)
            answer: Response = Response(stream_template("admin/drill_run.html", drill=drill), mimetype="text/html")
            return answer
    return _render(form), 400


@admin.post("/customers/<int:account_id>/drill")
@needs_right("drills")
def start_account_drill(account_id: int) -> Any:
    """From now on, for a while, each request of the account meets a fault first."""
    form = FormReader(request.form)
    minutes = form.number("minutes")
    if minutes is None:
        form.errors.setdefault("minutes", translate("Give minutes, such as 15."))
    if minutes is not None and not form.errors:
        with form.collect_errors():
            start_drill(account_id, form.text("fault"), minutes, find_operator())
            log.info("drill_started", account_id=account_id, fault=form.text("fault"), member_id=g.member.id)
            return redirect(url_for("admin.show_customer_members", account_id=account_id), 303)
    return render_members(account_id, form), 400


@admin.post("/customers/<int:account_id>/drill/end")
@needs_right("drills")
def end_account_drill(account_id: int) -> Response:
    end_drill(account_id, find_operator())
    log.info("drill_ended", account_id=account_id, member_id=g.member.id)
    flash(translate("The drill is over within a second."))
    return redirect(url_for("admin.show_customer", account_id=account_id), 303)


def _render(form: FormReader) -> str:
    return render_template(
        "admin/drill.html",
        models=[
            (model.id, model.id)
            for model in list_models(number=find_number())
            if model.status != "retired" and CHAT in model.kinds
        ],
        faults=list(list_faults().items()),
        settings=current_app.config["BRIDGE"],
        prompt=PROMPT,
        output_tokens=OUTPUT_TOKENS,
        values=form.values,
        errors=form.errors,
    )
