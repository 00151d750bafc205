"""Signing in by an account elsewhere: the way there, and what comes of coming back."""

import hmac
import time
from typing import Any

import structlog
from flask import Blueprint, abort, flash, g, redirect, request, session, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.emails import find_by_email
from bridge.accounts.identities import connect, disconnect, find_connected
from bridge.accounts.outward import ServiceAway
from bridge.accounts.second_factor import find_second_factor
from bridge.accounts.sessions import record_proof
from bridge.accounts.sign_in import AddressTaken
from bridge.accounts.sign_in_services import Asked, Known, Service, ServiceRefused, find_service
from bridge.accounts.tables import Member
from bridge.acts import Actor
from bridge.dashboard.door import dashboard
from bridge.dashboard.guesses import is_known_browser, remember_browser
from bridge.dashboard.half_way import leave_half_way
from bridge.dashboard.newcomers import find_noted_referral, keep_referral, tell_starting_credit
from bridge.dashboard.visitor import begin_session, chosen_settings, find_actor, find_network, home_of, local_path
from bridge.errors import InvalidRequest
from bridge.extensions import anyone_may_enter, limiter, needs_proof
from bridge.languages import translate
from bridge.ledger.opening import create_account

ASKED = "asked_elsewhere"
MAX_SECONDS = 600
ENTER, CONNECT, PROVE = "enter", "connect", "prove"
SECURITY = "dashboard.show_security"

connected = Blueprint("connected", __name__)
log = structlog.get_logger()


@connected.get("/sign-in/with/<name>")
@anyone_may_enter
@limiter.limit("30 per minute; 300 per hour")
def go_there(name: str) -> Response:
    return _leave_for(name, ENTER, local_path(request.args.get("next"), ""))


@dashboard.get("/settings/connect/<name>")
@needs_proof
def go_and_connect(name: str) -> Response:
    return _leave_for(name, CONNECT, url_for(SECURITY))


@dashboard.get("/prove/with/<name>")
def go_and_prove(name: str) -> Response:
    return _leave_for(name, PROVE, local_path(request.args.get("next")))


@dashboard.post("/settings/connect/<name>/remove")
@needs_proof
def take_away(name: str) -> Response:
    try:
        disconnect(g.member.member, name, find_actor())
        flash(translate("It no longer opens this account."))
    except InvalidRequest as error:
        flash(error.message, "bad")
    return redirect(url_for(SECURITY), 303)


def _leave_for(name: str, purpose: str, target: str) -> Response:
    """Send the browser to the service, with what ties its answer to this browser in the session's cookie."""
    service = find_service(chosen_settings(), name) or abort(404)
    asked = Asked.draw()
    try:
        address = service.write_address(asked)
    except ServiceAway as error:
        return _say_away(service, error)
    session[ASKED] = {
        "service": name,
        "purpose": purpose,
        "next": target,
        "at": int(time.time()),
        "state": asked.state,
        "nonce": asked.nonce,
        "verifier": asked.verifier,
    }
    return redirect(address, 303)


@connected.get("/sign-in/with/<name>/back")
@anyone_may_enter
@limiter.limit("30 per minute; 300 per hour")
def come_back(name: str) -> Response:
    """Whom the service lets back in, once for each time that we sent somebody there."""
    service = find_service(chosen_settings(), name) or abort(404)
    noted = session.pop(ASKED, None)
    if not _fits(noted, name):
        return _refuse(translate("That sign-in was begun elsewhere, or too long ago. Begin again."))
    try:
        known = service.find_known(
            Asked(noted["state"], noted["nonce"], noted["verifier"]), request.args.get("code", "")
        )
    except ServiceAway as error:
        return _say_away(service, error)
    except ServiceRefused as error:
        log.warning("sign_in_service_refused", service=name, problem=str(error)[:200])
        return _refuse(translate("%(service)s did not let you in. Nothing was changed.", service=service.label))
    if noted["purpose"] == ENTER:
        return _enter(service, known, noted["next"])
    if not current_user.is_authenticated:
        return _refuse(translate("Sign in first."))
    return _connect(service, known) if noted["purpose"] == CONNECT else _prove(service, known, noted["next"])


def _fits(noted: Any, name: str) -> bool:
    """Whether the answer is to a question of this browser, to this service, and not too old."""
    if not noted or noted["service"] != name or not 0 <= time.time() - noted["at"] < MAX_SECONDS:
        return False
    return hmac.compare_digest(noted["state"].encode(), request.args.get("state", "").encode("utf-8", "replace"))


def _enter(service: Service, known: Known, target: str) -> Response:
    member, is_new = find_connected(service.name, known.subject), False
    if member is None:
        try:
            member, is_new = _open_account(service, known), True
        except InvalidRequest as error:
            return _refuse(error.message)
    if find_second_factor(member.id):
        return leave_half_way(member, target)
    begin_session(member, service.label, is_known=is_new or is_known_browser(member.email))
    if is_new:
        tell_starting_credit(member.account_id)
    answer = redirect(target or home_of(member), 303)
    remember_browser(answer, member.email)
    return answer


def _open_account(service: Service, known: Known) -> Member:
    """A new account for somebody whom the service vouches for. Raises InvalidRequest with what to do instead."""
    settings = chosen_settings()
    if known.email is None:
        raise InvalidRequest(
            translate(
                "%(service)s has not verified your email. Verify it there, then try again.", service=service.label
            )
        )
    if find_by_email(known.email):
        raise InvalidRequest(
            translate(
                "%(email)s has an account here. Sign in to it, then connect %(service)s in Settings, Security.",
                email=known.email,
                service=service.label,
            )
        )
    if settings.signup_mode != "open":
        raise InvalidRequest(
            translate("Sign-up is closed. The operator of this gateway can create an account for you.")
        )
    actor = Actor(service.label, find_network())
    try:
        member = create_account(known.email, None, starting_credit_nanos=settings.signup_credit_nanos, actor=actor)
    except (AddressTaken, ValueError):
        raise InvalidRequest(translate("This address can't be used for a new account.")) from None
    connect(member, service.name, known, actor)
    keep_referral(member, find_noted_referral())
    return member


def _connect(service: Service, known: Known) -> Response:
    try:
        if not current_user.is_proven:
            raise InvalidRequest(translate("Confirm that it's you, then connect it again."))
        connect(current_user.member, service.name, known, find_actor())
        flash(translate("%(service)s is connected: %(name)s.", service=service.label, name=known.label))
    except InvalidRequest as error:
        flash(error.message, "bad")
    return redirect(url_for(SECURITY), 303)


def _prove(service: Service, known: Known, target: str) -> Response:
    """Of a member without another proof, the service's word is one."""
    member = find_connected(service.name, known.subject)
    if member is None or member.id != current_user.id or member.password_hash or find_second_factor(member.id):
        flash(translate("That is not the %(service)s account of this member.", service=service.label), "bad")
        return redirect(url_for("dashboard.show_proof", next=target), 303)
    record_proof(current_user.session_secret, by_second_factor=False)
    return redirect(target, 303)


def _say_away(service: Service, error: ServiceAway) -> Response:
    log.error("sign_in_service_away", service=service.name, problem=str(error)[:200])
    return _refuse(
        translate(
            "%(service)s can't be reached at the moment. Try again, or sign in another way.", service=service.label
        )
    )


def _refuse(text: str) -> Response:
    flash(text, "bad")
    inside = current_user.is_authenticated
    return redirect(url_for(SECURITY) if inside else url_for("welcome.show_sign_in"), 303)
