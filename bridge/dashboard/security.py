"""Settings, security: password, sessions, and what was done lately."""

from flask import flash, g, redirect, render_template, request, url_for
from flask_login import logout_user
from werkzeug.wrappers import Response

from bridge.accounts.identities import list_identities
from bridge.accounts.passkeys import are_possible, list_passkeys
from bridge.accounts.second_factor import RECOVERY_CODES, count_recovery_codes, find_second_factor
from bridge.accounts.sessions import (
    end_named_session,
    is_of,
    list_sessions,
    name_session,
    sign_out_elsewhere,
    sign_out_everywhere,
)
from bridge.accounts.sign_in import SignInRefused, change_password
from bridge.accounts.sign_in_services import list_services
from bridge.acts import WORDS, list_acts
from bridge.dashboard.door import dashboard, own, suspended_may_too
from bridge.dashboard.guesses import BY_TRIER, forget_guesses
from bridge.dashboard.proof import count_proofs
from bridge.dashboard.scope import find_seen_actor
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.extensions import limiter
from bridge.languages import translate

# the first match in the User-Agent counts: most name others too
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS X", "macOS"))
MAX_WORDS = 40
ACTS_SHOWN = 20
SECURITY = "dashboard.show_security"


@dashboard.get("/settings/security")
@own
def show_security() -> str:
    return render_security()


def render_security(errors: dict[str, str] | None = None) -> str:
    """The page, with the errors of the password's form: field -> sentence."""
    rows = list_sessions(g.member.id)
    return render_template(
        "dashboard/settings_security.html",
        errors=errors or {},
        factor=find_second_factor(g.member.id),
        codes_left=count_recovery_codes(g.member.id),
        codes_made=RECOVERY_CODES,
        services=list_services(chosen_settings()),
        identities=list_identities(g.member.id),
        passkeys=list_passkeys(g.member.id),
        passkeys_possible=are_possible(chosen_settings()),
        sessions=[
            (row, name_browser(row.user_agent), name_session(row), is_of(row, g.member.session_secret)) for row in rows
        ],
        acts=list_acts(g.account_id, by=find_seen_actor(), limit=ACTS_SHOWN),
        words=WORDS,
    )


@dashboard.post("/settings/password")
@own
@suspended_may_too
@limiter.limit(BY_TRIER, key_func=count_proofs)
def save_password() -> Response | tuple[str, int]:
    """Change the password of a member who knows the present one; it is asked for here, so no other proof is."""
    current, password = request.form.get("current", ""), request.form.get("password", "")
    try:
        change_password(g.member.member, current, password, keeps=g.member.session_secret, actor=find_actor())
    except SignInRefused:
        return render_security({"current": translate("That is not the current password.")}), 400
    except ValueError as error:
        return render_security({"password": str(error)}), 400
    forget_guesses()
    flash(translate("Your password is changed. Every other session has ended."))
    return redirect(url_for(SECURITY), 303)


@dashboard.post("/settings/sessions/end")
@own
@suspended_may_too
def end_one_session() -> Response:
    """End one of the member's sessions; of this one, that is signing out."""
    ended = end_named_session(g.member.member, request.form.get("session", ""), find_actor())
    if ended is None:
        flash(translate("That session is over already."))
    elif is_of(ended, g.member.session_secret):
        logout_user()
        return redirect("/sign-in", 303)
    else:
        flash(translate("%(browser)s is signed out.", browser=name_browser(ended.user_agent)))
    return redirect(url_for(SECURITY), 303)


@dashboard.post("/settings/sessions/end-others")
@own
@suspended_may_too
def end_other_sessions() -> Response:
    ended = sign_out_elsewhere(g.member.member, g.member.session_secret, find_actor())
    flash(translate("Every other session has ended.") if ended else translate("There was no other session."))
    return redirect(url_for(SECURITY), 303)


@dashboard.post("/settings/sign-out-everywhere")
@own
@suspended_may_too
def end_all_sessions() -> Response:
    """End this session and every other one of the member."""
    sign_out_everywhere(g.member.member, find_actor())
    logout_user()
    flash(translate("You are signed out everywhere. Keys go on working: they are no sessions."))
    return redirect("/sign-in", 303)


def name_browser(user_agent: str) -> str:
    """`Firefox on Linux`, or the beginning of the User-Agent."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in (*SYSTEMS, ("Linux", "Linux")) if mark in user_agent), "")
    if browser and system:
        return translate("%(browser)s on %(system)s", browser=browser, system=system)
    return user_agent[:MAX_WORDS] or translate("An unknown program")
