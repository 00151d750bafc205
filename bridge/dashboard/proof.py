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
from bridge.dashboard.guesses import BY_TRIER, forget_guesses, record_failure
from bridge.dashboard.visitor import chosen_settings, find_actor, local_path
from bridge.extensions import limiter
from bridge.languages import translate

SAFE = ("GET", "HEAD", "OPTIONS")


def register(app: Flask) -> None:
    """Ask for the proof before any view that needs it."""
    app.before_request(require_proof)


def require_proof() -> Response | None:
    """Send a member without a fresh sign-in to the page that asks for it, and from there back to where they were."""
    view = current_app.view_functions.get(request.endpoint or "")
    as_operator = request.blueprint == "admin"
    if not (as_operator or getattr(view, "needs_proof", False)):
        return None
    if not current_user.is_authenticated:
        return None
    if as_operator and _is_required() and not _has_second_factor():
        flash(translate("Operators need two-factor sign-in here. Turn it on to go on."), "warn")
        return redirect(url_for("dashboard.show_security"), 303)
    looks = as_operator and request.method in SAFE
    if (looks or current_user.is_proven) and not is_second_factor_due():
        return None
    if request.method in SAFE:
        target = local_path(request.full_path)
    else:
        flash(translate("Nothing was changed yet. Confirm that it's you, then send the form again."), "warn")
        target = local_path(_path_of(request.referrer))
    return redirect(url_for("dashboard.show_proof", next=target), 303)


def is_second_factor_due() -> bool:
    """Whether this session has to use the second factor first that its operator has: where operators need one, neither
    a password nor a sign-in service stands in for it. Otherwise whoever knows the password could add their own."""
    return _is_required() and not current_user.has_used_second_factor and _has_second_factor()


def _is_required() -> bool:
    return bool(current_user.is_operator and chosen_settings().require_second_factor)


def _has_second_factor() -> bool:
    return find_second_factor(current_user.id) is not None or _has_passkey()


def _has_passkey() -> bool:
    """Whether the member has a passkey that browsers use for this site."""
    return are_possible(chosen_settings()) and bool(list_passkeys(current_user.id))


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
    if current_user.is_proven and not is_second_factor_due():
        return redirect(target)
    return _render(target)


@dashboard.post("/prove")
@suspended_may_too
@limiter.limit(BY_TRIER, key_func=count_proofs)
def prove() -> Response | tuple[str, int]:
    """Take a passkey or the password; of a member with a second factor, one of its codes instead of the password."""
    target, member = local_path(request.form.get("next")), g.member.member
    by_second_factor = True
    if request.form.get("credential"):
        error = _try_passkey(member)
    elif find_second_factor(member.id):
        error = _try_code(member)
    elif is_second_factor_due():
        error = {"credential": translate("Your password is not enough here. Use your passkey.")}
    else:
        by_second_factor = False
        right = verify_password(member, request.form.get("password", ""))
        error = {} if right else {"password": translate("That is not your password.")}
    if error:
        record_failure(member, "asked to confirm who they are")
        return _render(target, error), 401
    forget_guesses()
    record_proof(g.member.session_secret, by_second_factor=by_second_factor)
    return redirect(target, 303)


def _list_proving(member: Member) -> list[Service]:
    """The services whose word is a proof: those of a member who has nothing else."""
    if member.password_hash or find_second_factor(member.id) or is_second_factor_due():
        return []
    connected = list_identities(member.id)
    return [service for service in list_services(chosen_settings()) if service.name in connected]


def _try_passkey(member: Member) -> dict[str, str]:
    """What is wrong with the passkey's answer: field -> sentence; {} if nothing is."""
    try:
        check_passkey(chosen_settings(), request.form["credential"], member)
    except WrongPasskey:
        return {"credential": translate("The passkey was not accepted. Try again, or use another way.")}
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
            return {"recovery": translate("This is none of your recovery codes, or it was used before.")}
        return {"code": translate("That is not the code that the app shows now.")}
    return {}


def _render(target: str, errors: dict[str, str] | None = None) -> str:
    settings = chosen_settings()
    return render_template(
        "dashboard/prove.html",
        next=target,
        errors=errors or {},
        second_factor_due=is_second_factor_due(),
        has_code=find_second_factor(g.member.id) is not None,
        passkey_options=ask_for_known(settings, g.member.member) if _has_passkey() else "",
        passkey_origin=find_origin(settings),
        services=_list_proving(g.member.member),
    )
