"""Where an invitation's link leads: somebody who is signed in joins, somebody with an account signs in first, and
somebody new chooses a password."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.invitations import (
    FoundInvitation,
    InvitationOver,
    WrongAddress,
    accept_invitation,
    find_invitation,
    join_as_newcomer,
)
from bridge.accounts.roles import name_role
from bridge.accounts.sign_in import AddressTaken
from bridge.acts import Actor
from bridge.dashboard.accounts import HOME, drop_forms
from bridge.dashboard.guesses import remember_browser
from bridge.dashboard.visitor import begin_session, find_network, find_person
from bridge.extensions import anyone_may_enter, limiter
from bridge.languages import translate

invited = Blueprint("invited", __name__)


@invited.get("/join/<secret>")
@anyone_may_enter
@limiter.limit("60 per hour")
def show_invitation(secret: str) -> str | tuple[str, int]:
    """Only ask: mail scanners follow every link in a mail."""
    return _render(secret)


@invited.post("/join/<secret>")
@anyone_may_enter
@limiter.limit("30 per hour")
def join(secret: str) -> Response | str | tuple[str, int]:
    """Join the account: as who is signed in, or as somebody new."""
    person = find_person()
    try:
        if person is None:
            return _join_as_newcomer(secret)
        found = accept_invitation(secret, person.member, Actor(person.email, find_network()))
    except (InvitationOver, WrongAddress):
        return _render(secret)
    drop_forms()
    _welcome(found)
    return redirect(url_for(HOME), 303)


def _join_as_newcomer(secret: str) -> Response | str | tuple[str, int]:
    """Begin the session of somebody new. Somebody with an account has to sign in: the link is no password."""
    found = find_invitation(secret)
    if found.is_known:
        return _render(secret)
    try:
        member = join_as_newcomer(secret, request.form.get("password", ""), find_network())
    except AddressTaken:
        return _render(secret)
    except ValueError as error:
        return _render(secret, str(error))
    begin_session(member, "invitation", is_known=True)
    _welcome(found)
    answer = redirect(url_for(HOME), 303)
    remember_browser(answer, member.email)
    return answer


def _welcome(found: FoundInvitation) -> None:
    role = name_role(found.role)
    flash(translate("You belong to %(account)s now, with the role %(role)s.", account=found.account, role=role))


def _render(secret: str, error: str = "") -> str | tuple[str, int]:
    """The page that asks, or one that says that the link is not good any more."""
    found: FoundInvitation | None
    try:
        found = find_invitation(secret)
    except InvitationOver:
        found = None
    page = render_template("public/join.html", invitation=found, secret=secret, person=find_person(), error=error)
    return page if found and not error else (page, 400 if found else 404)
