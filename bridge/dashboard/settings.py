"""Settings, profile: the member's name, and the address that they sign in with."""

from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.email_change import cancel_change, find_waiting_change, request_change
from bridge.accounts.memberships import may_leave
from bridge.accounts.profile import list_time_zones, set_language, set_name, set_time_zone
from bridge.dashboard.account import find_account_state, find_own_limits
from bridge.dashboard.door import dashboard, own, suspended_may_too
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.dashboard.welcome import keep_language
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.languages import LANGUAGES, choose_by_browser, speak, translate

PROFILE = "dashboard.show_settings"


def count_mails() -> str:
    """The key under which the mails that a member has sent are counted."""
    return f"mails:{g.member.id}"


@dashboard.get("/settings")
@own
def show_settings() -> str:
    return _render(FormReader({}))


@dashboard.post("/settings/name")
@own
@suspended_may_too
def change_name() -> Response | tuple[str, int]:
    form = FormReader(request.form)
    with form.collect_errors():
        set_name(g.member.member, form.text("name"), find_actor())
    if form.errors:
        return _render(form), 400
    flash(translate("Your name is saved."))
    return redirect(url_for(PROFILE), 303)


@dashboard.post("/settings/time-zone")
@own
@suspended_may_too
def change_time_zone() -> Response | tuple[str, int]:
    form = FormReader(request.form)
    with form.collect_errors():
        set_time_zone(g.member.member, form.text("time_zone"))
    if form.errors:
        return _render(form), 400
    flash(translate("Times on these pages are in the zone that you chose."))
    return redirect(url_for(PROFILE), 303)


@dashboard.post("/settings/language")
@own
@suspended_may_too
def change_language() -> Response | tuple[str, int]:
    form = FormReader(request.form)
    code = form.text("language")
    with form.collect_errors():
        set_language(g.member.member, code)
    if form.errors:
        return _render(form), 400
    g.member.language = code
    answer = redirect(url_for(PROFILE), 303)
    keep_language(answer, code)
    speak(code or choose_by_browser())
    flash(translate("These pages are in the language that you chose."))
    return answer


@dashboard.post("/settings/email")
@own
@needs_proof
@limiter.limit("10 per hour", key_func=count_mails)
def change_email() -> Response | tuple[str, int]:
    """Have a link sent to the new address. It is the member's once they have opened it."""
    form = FormReader(request.form)
    try:
        wanted = request_change(chosen_settings(), g.member.member, form.text("email"), find_actor())
    except ValueError as error:
        form.errors["email"] = str(error)
        return _render(form), 400
    flash(translate("A link is on its way to %(email)s. It works for an hour.", email=wanted))
    return redirect(url_for(PROFILE), 303)


@dashboard.post("/settings/email/cancel")
@own
@suspended_may_too
def keep_email() -> Response:
    cancel_change(g.member.member, find_actor())
    flash(translate("%(email)s stays.", email=g.member.email))
    return redirect(url_for(PROFILE), 303)


def _render(form: FormReader) -> str:
    return render_template(
        "dashboard/settings.html",
        values={"name": g.member.member.name, "time_zone": g.member.member.time_zone, "language": g.member.language}
        | dict(form.values),
        zones=[("", translate("As the browser")), *((name, name.replace("_", " ")) for name in list_time_zones())],
        choices=[("", translate("As the browser")), *LANGUAGES.items()],
        errors=form.errors,
        waiting=find_waiting_change(g.member.id),
        account=find_account_state().account,
        limits=find_own_limits(),
        may_leave=may_leave(g.account_id, g.member.id),
    )
