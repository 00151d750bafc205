"""Settings: the member's sessions, and signing out everywhere."""

from flask import flash, g, redirect, render_template
from flask_login import logout_user
from werkzeug.wrappers import Response

from bridge.accounts.sessions import is_of, list_sessions, sign_out_everywhere
from bridge.dashboard.door import dashboard, suspended_may_too

# the first match in the User-Agent counts: most name others too
BROWSERS = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
SYSTEMS = (("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS X", "macOS"))
MAX_WORDS = 40


@dashboard.get("/settings")
def show_settings() -> str:
    rows = list_sessions(g.member.id)
    return render_template(
        "dashboard/settings.html",
        sessions=[(row, name_browser(row.user_agent), is_of(row, g.member.session_secret)) for row in rows],
    )


@dashboard.post("/settings/sign-out-everywhere")
@suspended_may_too
def end_all_sessions() -> Response:
    """End this session and every other one of the member."""
    sign_out_everywhere(g.member.id)
    logout_user()
    flash("You are signed out everywhere. Keys go on working: they are no sessions.")
    return redirect("/sign-in", 303)


def name_browser(user_agent: str) -> str:
    """`Firefox on Linux`, or the beginning of the User-Agent."""
    browser = next((name for mark, name in BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in (*SYSTEMS, ("Linux", "Linux")) if mark in user_agent), "")
    return f"{browser} on {system}" if browser and system else user_agent[:MAX_WORDS] or "An unknown program"
