"""Settings, data: what we keep, all of it as an archive, and the end of the account."""

from flask import Response, flash, g, redirect, render_template, request, stream_with_context, url_for
from flask_login import logout_user
from werkzeug.wrappers import Response as AnyResponse

from bridge.accounts.emails import normalise_email
from bridge.acts import record_act
from bridge.dashboard.account import find_money
from bridge.dashboard.accounts import HOME, drop_forms
from bridge.dashboard.archive import write_archive
from bridge.dashboard.door import dashboard, needs, own
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.db import now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.extensions import limiter, needs_proof
from bridge.languages import translate
from bridge.payments.leaving import delete_account


def _account() -> str:
    return f"account:{g.account_id}"


@dashboard.get("/settings/data")
@own
def show_data() -> str:
    return _render()


@dashboard.post("/settings/export")
@needs("account")
@needs_proof
@limiter.limit("6 per hour", key_func=_account)
def export_data() -> Response:
    """Send all that we hold about the account, as it is read."""
    with transaction() as session:
        record_act(session, g.account_id, "export", find_actor())
    answer = Response(stream_with_context(write_archive(g.member.member)), mimetype="application/zip")
    name = f"ai-bridge-{g.account_id}-{now_utc():%Y-%m-%d}.zip"
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


@dashboard.post("/settings/delete")
@needs("account")
@needs_proof
@limiter.limit("10 per hour", key_func=_account)
def end_account() -> AnyResponse | tuple[str, int]:
    """Delete the account, if its owner's address was typed."""
    if normalise_email(request.form.get("confirm", "")) != g.member.email:
        return _render(translate("Nothing was deleted: type %(email)s to confirm.", email=g.member.email)), 400
    name, stays = g.member.account_name, g.member.accounts > 1
    try:
        delete_account(chosen_settings(), g.account_id, find_actor())
    except InvalidRequest as error:
        return _render(error.message), 400
    if stays:
        drop_forms()
        flash(
            translate(
                "%(name)s is deleted, and its keys are refused. These pages are about another account of yours now.",
                name=name,
            )
        )
        return redirect(url_for(HOME), 303)
    logout_user()
    flash(translate("Your account is deleted. Its keys are refused, and every session has ended."))
    return redirect("/sign-in", 303)


def _render(error: str = "") -> str:
    return render_template("dashboard/settings_data.html", money=find_money(), error=error)
