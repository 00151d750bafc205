"""Between the password and the code of the second factor: who has given the first may try the second for a while."""

import hashlib
import time

from flask import Blueprint, redirect, render_template, request, session, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.second_factor import WrongCode, check_code, use_recovery_code
from bridge.accounts.sign_in import find_member_by_id
from bridge.accounts.tables import Member
from bridge.acts import Actor
from bridge.dashboard.guesses import BY_TRIER, forget_guesses, is_known_browser, record_failure, remember_browser
from bridge.dashboard.visitor import begin_session, find_network, home_of, local_path
from bridge.extensions import anyone_may_enter, limiter
from bridge.languages import translate

HALF_WAY = "half_way"
MAX_SECONDS = 600
A_DAY = "50 per day"  # codes of one member: the chance to guess one stays below one in 6,000

half_way = Blueprint("half_way", __name__)


def leave_half_way(member: Member, target: str) -> Response:
    """Note in the session's cookie that the member's password was right, and ask for the code."""
    session.clear()
    session[HALF_WAY] = {"member": member.id, "mark": _mark(member), "at": int(time.time()), "next": target}
    return redirect(url_for("half_way.show_code"), 303)


def find_half_way() -> tuple[Member, str] | None:
    """The member whose password was right in this browser lately, and where they want to go."""
    noted = session.get(HALF_WAY)
    if not noted or not 0 <= time.time() - noted["at"] < MAX_SECONDS:
        return None
    member = find_member_by_id(noted["member"])
    return (member, local_path(noted["next"], "")) if member and _mark(member) == noted["mark"] else None


def _mark(member: Member) -> str:
    """What changes with the password, so that a right one counts no longer than it is right."""
    return hashlib.sha256(member.password_hash.encode()).hexdigest()[:16]


def _count_codes() -> str:
    noted = session.get(HALF_WAY)
    return f"guess:code:{noted['member'] if noted else 'nobody'}"


@half_way.get("/sign-in/code")
@anyone_may_enter
def show_code() -> Response | str:
    if current_user.is_authenticated:
        return redirect("/dashboard/")
    return _render()


@half_way.post("/sign-in/code")
@anyone_may_enter
@limiter.limit("30 per minute; 200 per hour")
@limiter.limit(f"{BY_TRIER}; {A_DAY}", key_func=_count_codes)
def take_code() -> Response | str | tuple[str, int]:
    found = find_half_way()
    if found is None:
        return redirect(url_for("welcome.show_sign_in"), 303)
    member, target = found
    recovery = request.form.get("recovery", "")
    try:
        if recovery:
            use_recovery_code(member, recovery, Actor(member.email, find_network()))
        else:
            check_code(member.id, request.form.get("code", ""))
    except WrongCode:
        record_failure(member, "wrong recovery code" if recovery else "wrong code")
        errors = {"recovery": translate("This is none of your recovery codes, or it was used before.")}
        page = _render(errors if recovery else {"code": translate("That is not the code that the app shows now.")})
        return (page, 401) if isinstance(page, str) else page
    forget_guesses()
    how = "password and recovery code" if recovery else "password and code"
    begin_session(member, how, is_known=is_known_browser(member.email), by_second_factor=True)
    answer = redirect(target or home_of(member), 303)
    remember_browser(answer, member.email)
    return answer


def _render(errors: dict[str, str] | None = None) -> Response | str:
    found = find_half_way()
    if found is None:
        return redirect(url_for("welcome.show_sign_in"), 303)
    return render_template("public/sign_in_code.html", email=found[0].email, errors=errors or {})
