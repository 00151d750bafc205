"""Passkeys: making one, removing one, and signing in by one. What the browser does is in `passkeys.js`."""

from flask import Blueprint, Response, flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from bridge.accounts.passkeys import (
    WrongPasskey,
    add_passkey,
    are_possible,
    ask_for_known,
    ask_for_new,
    check_passkey,
    find_origin,
    remove_passkey,
)
from bridge.accounts.sessions import record_proof
from bridge.dashboard.door import dashboard
from bridge.dashboard.guesses import is_known_browser, remember_browser
from bridge.dashboard.visitor import begin_session, chosen_settings, find_actor, home_of, local_path
from bridge.errors import NotFound
from bridge.extensions import anyone_may_enter, limiter, needs_proof
from bridge.forms import FormReader
from bridge.languages import to_translate, translate

WRONG = to_translate("The passkey was not accepted. Try again, or use another way.")

passkeys = Blueprint("passkeys", __name__)


def _member() -> str:
    return f"passkeys:{g.member.id}"


@passkeys.post("/sign-in/passkey/options")
@anyone_may_enter
@limiter.limit("30 per minute; 300 per hour")
def offer_challenge() -> Response:
    """A challenge for whichever passkey the browser has for this site."""
    if not are_possible(chosen_settings()):
        raise NotFound("Passkeys need a site with a name and TLS.")
    return Response(ask_for_known(chosen_settings()), mimetype="application/json")


@passkeys.post("/sign-in/passkey")
@anyone_may_enter
@limiter.limit("30 per minute; 200 per hour")
def enter_by_passkey() -> AnyResponse:
    """Sign in: the device has checked its owner, so neither password nor code is asked for."""
    target = local_path(request.form.get("next"), "")
    try:
        member = check_passkey(chosen_settings(), request.form.get("credential", ""))
    except WrongPasskey:
        flash(translate(WRONG), "bad")
        return redirect(url_for("welcome.show_sign_in", next=target or None), 303)
    begin_session(member, "passkey", is_known=is_known_browser(member.email), by_second_factor=True)
    answer = redirect(target or home_of(member), 303)
    remember_browser(answer, member.email)
    return answer


@dashboard.get("/settings/passkeys/new")
@needs_proof
@limiter.limit("60 per hour", key_func=_member)
def show_new_passkey() -> str:
    return _render(FormReader({}))


@dashboard.post("/settings/passkeys")
@needs_proof
@limiter.limit("60 per hour", key_func=_member)
def save_passkey() -> AnyResponse | tuple[str, int]:
    form = FormReader(request.form)
    try:
        with form.collect_errors():
            passkey = add_passkey(
                *(chosen_settings(), g.member.member, form.text("name"), form.text("credential")), actor=find_actor()
            )
    except WrongPasskey:
        form.errors[""] = translate(WRONG)
    if form.errors:
        return _render(form), 400
    record_proof(g.member.session_secret, by_second_factor=True)
    flash(translate("%(name)s is ready. Use it at your next sign-in.", name=passkey.name))
    return redirect(url_for("dashboard.show_security"), 303)


@dashboard.post("/settings/passkeys/<int:passkey_id>/remove")
@needs_proof
def end_passkey(passkey_id: int) -> AnyResponse:
    name = remove_passkey(g.member.member, passkey_id, find_actor())
    flash(translate("%(name)s no longer opens this account. Delete it on the device too.", name=name))
    return redirect(url_for("dashboard.show_security"), 303)


def _render(form: FormReader) -> str:
    settings = chosen_settings()
    possible = are_possible(settings)
    return render_template(
        "dashboard/settings_passkey.html",
        values=form.values,
        errors=form.errors,
        possible=possible,
        origin=find_origin(settings),
        options=ask_for_new(settings, g.member.member) if possible else "",
    )
