"""A fresh sign-in: before money, keys, security and operators' acts, the member has lately proved who they are."""

from urllib.parse import urlsplit

from flask import Flask, current_app, flash, g, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.identities import list_identities
from bridge.accounts.passkeys import (
    WrongPasskey,
    are_possible,
    ask_for_known,
    check_passkey,
    find_origin,
    list_passkeys,
)
from bridge.accounts.second_factor import WrongCode, check_code, find_second_factor, use_recovery_code
from bridge.accounts.sessions import record_proof
from bridge.accounts.sign_in import verify_password
from bridge.accounts.sign_in_services import Service, list_services
from bridge.accounts.tables import Member
from bridge.dashboard.door import dashboard, suspended_may_too
from bridge.dashboard.guesses import BY_TRIER, forget_guesses
from bridge.dashboard.visitor import chosen_settings, find_actor, local_path
from bridge.extensions import limiter

SAFE = ("GET", "HEAD", "OPTIONS")


def register(app: Flask) -> None:
    """Ask for the proof before any view that needs it."""
    app.before_request(require_proof)


def require_proof() -> Response | None:
    """Send a member without a fresh sign-in to the page that asks for it, and from there back to where they were."""
    view = current_app.view_functions.get(request.endpoint or "")
    as_operator = request.blueprint == "admin" and request.method not in SAFE
    if not current_user.is_authenticated:
        return None
    if request.blueprint == "admin" and current_user.is_operator and _lacks_second_factor():
        flash("Operators need two-factor sign-in here. Turn it on to go on.", "warn")
        return redirect(url_for("dashboard.show_security"), 303)
    if not (as_operator or getattr(view, "needs_proof", False)):
        return None
    if current_user.is_proven:
        return None
    if request.method in SAFE:
        target = local_path(request.full_path)
    else:
        flash("Nothing was changed yet. Confirm that it's you, then send the form again.", "warn")
        target = local_path(_path_of(request.referrer))
    return redirect(url_for("dashboard.show_proof", next=target), 303)


def _lacks_second_factor() -> bool:
    wanted = chosen_settings().require_second_factor
    return wanted and find_second_factor(current_user.id) is None and not list_passkeys(current_user.id)


def _path_of(address: str | None) -> str:
    parts = urlsplit(address or "")
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def count_proofs() -> str:
    """The key under which tries of one member to prove who they are are counted."""
    return f"guess:proof:{current_user.id if current_user.is_authenticated else ''}"


def count_pages() -> str:
    """The key under which the challenges that a member is shown are counted."""
    return f"prove:{current_user.id if current_user.is_authenticated else ''}"


@dashboard.get("/prove")
@limiter.limit("60 per hour", key_func=count_pages)
def show_proof() -> Response | str:
    target = local_path(request.args.get("next"))
    if current_user.is_proven:
        return redirect(target)
    return _render(target)


@dashboard.post("/prove")
@suspended_may_too
@limiter.limit(BY_TRIER, key_func=count_proofs)
def prove() -> Response | tuple[str, int]:
    """Take the password; of a member with a second factor, one of its codes."""
    target, member = local_path(request.form.get("next")), g.member.member
    if request.form.get("credential"):
        error = _try_passkey(member)
    elif find_second_factor(member.id):
        error = _try_code(member)
    else:
        right = verify_password(member, request.form.get("password", ""))
        error = {} if right else {"password": "That is not your password."}
    if error:
        return _render(target, error), 401
    forget_guesses()
    record_proof(g.member.session_secret)
    return redirect(target, 303)


def _list_proving(member: Member) -> list[Service]:
    """The services whose word is a proof: those of a member who has nothing else."""
    if member.password_hash or find_second_factor(member.id):
        return []
    connected = list_identities(member.id)
    return [service for service in list_services(chosen_settings()) if service.name in connected]


def _try_passkey(member: Member) -> dict[str, str]:
    """What is wrong with the passkey's answer: field -> sentence; {} if nothing is."""
    try:
        check_passkey(chosen_settings(), request.form["credential"], member)
    except WrongPasskey:
        return {"credential": "The passkey was not accepted. Try again, or use another way."}
    return {}


def _try_code(member: Member) -> dict[str, str]:
    """What is wrong with the code: field -> sentence; {} if nothing is."""
    recovery = request.form.get("recovery", "")
    try:
        if recovery:
            use_recovery_code(member, recovery, find_actor())
        else:
            check_code(member.id, request.form.get("code", ""))
    except WrongCode:
        if recovery:
            return {"recovery": "This is none of your recovery codes, or it was used before."}
        return {"code": "That is not the code that the app shows now."}
    return {}


def _render(target: str, errors: dict[str, str] | None = None) -> str:
    settings = chosen_settings()
    has_passkey = are_possible(settings) and bool(list_passkeys(g.member.id))
    return render_template(
        "dashboard/prove.html",
        next=target,
        errors=errors or {},
        has_code=find_second_factor(g.member.id) is not None,
        passkey_options=ask_for_known(settings, g.member.member) if has_passkey else "",
        passkey_origin=find_origin(settings),
        services=_list_proving(g.member.member),
    )
