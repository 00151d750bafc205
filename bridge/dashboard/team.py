"""The team: who belongs to the account, with which role and budget, who is invited, and what the account is called."""

from typing import Any

from flask import flash, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from bridge.accounts.emails import normalise_email
from bridge.accounts.invitations import (
    MOST_MEMBERS,
    cancel_invitation,
    find_invited,
    invite,
    list_invitations,
    send_again,
)
from bridge.accounts.key_owners import count_keys_by_member
from bridge.accounts.memberships import list_team
from bridge.accounts.roles import INVITED, RIGHTS, ROLES, list_given, may, name_role
from bridge.accounts.team import (
    leave_account,
    remove_member,
    rename_account,
    set_member_budget,
    set_role,
    transfer_account,
)
from bridge.dashboard.accounts import HOME, drop_forms
from bridge.dashboard.door import dashboard, needs, own, suspended_may_too
from bridge.dashboard.visitor import chosen_settings, find_actor
from bridge.db import now_utc
from bridge.errors import InvalidRequest
from bridge.extensions import limiter, needs_proof
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.member_budgets import count_spend_so_far, list_member_spend
from bridge.money import format_dollars

TEAM = "dashboard.show_team"
MAILS = "20 per hour; 60 per day"  # invitations of one account
MAILS_TO_ONE = "5 per hour; 10 per day"  # from whichever account
# as the table of the page has them; "own" where a role has the part that concerns its own keys
OWN_PART = {"usage": "own_usage"}
SHOWN_RIGHTS = ("own_keys", "keys", "usage", "billing", "members", "account")


def _account() -> str:
    return f"team:{g.account_id}"


def _recipient() -> str:
    """Whom the form has a mail sent to, by the address in it or by an invitation."""
    invitation_id = (request.view_args or {}).get("invitation_id")
    if invitation_id is None:
        return f"invited:{normalise_email(request.form.get('email', ''))}"
    return f"invited:{find_invited(g.account_id, invitation_id)}"


@dashboard.get("/team")
@needs("members")
def show_team() -> str:
    return render_team()


def render_team(**forms: FormReader) -> str:
    """The page; `invitation` or `account` is a form that was refused."""
    team, empty = list_team(g.account_id), FormReader({})
    invitations, now = list_invitations(g.account_id), now_utc()
    spent = list_member_spend(g.account_id)
    return render_template(
        "dashboard/team.html",
        team=team,
        spent=spent,
        keys=count_keys_by_member(g.account_id),
        has_keys={role: may(role, "own_keys") for role in ROLES},
        most=MOST_MEMBERS,
        given=list_given(g.member.role),
        invited_roles=[(role, name_role(role).capitalize()) for role in reversed(INVITED)],
        invitations=[(row, row.ends_at > now) for row in invitations],
        role_columns=[(name_role(role).capitalize(), "") for role in ROLES],
        given_choices=[(role, name_role(role).capitalize()) for role in list_given(g.member.role)],
        rights=[(translate(RIGHTS[right][0]), [_describe(role, right) for role in ROLES]) for right in SHOWN_RIGHTS],
        dollars=format_dollars,
        invitation=forms.get("invitation", empty),
        account=forms.get("account", empty),
        mails_go_out=chosen_settings().mails_go_out,
    )


def _describe(role: str, right: str) -> str:
    """`yes`, `own` or "": whether the table has the right for this role."""
    lesser = OWN_PART.get(right)
    return "yes" if may(role, right) else "own" if lesser and may(role, lesser) else ""


@dashboard.post("/team/invitations")
@needs("members")
@needs_proof
@limiter.limit(MAILS, key_func=_account)
@limiter.limit(MAILS_TO_ONE, key_func=_recipient)
def send_invitation() -> Any:
    form = FormReader(request.form)
    budget = form.dollars("budget")
    if not form.errors:
        with form.collect_errors():
            asked = form.text("email"), form.text("role"), budget
            email = invite(chosen_settings(), g.account_id, *asked, by=g.member.member, actor=find_actor())
            flash(translate("An invitation is on its way to %(email)s. It works for 7 days.", email=email))
            return redirect(url_for(TEAM), 303)
    return render_team(invitation=form), 400


@dashboard.post("/team/invitations/<int:invitation_id>/send")
@needs("members")
@needs_proof
@limiter.limit(MAILS, key_func=_account)
@limiter.limit(MAILS_TO_ONE, key_func=_recipient)
def resend_invitation(invitation_id: int) -> Response:
    """Mail it again, with a new link; the old one no longer works."""
    try:
        email = send_again(chosen_settings(), g.account_id, invitation_id, by=g.member.member, actor=find_actor())
        flash(translate("A new link is on its way to %(email)s. The one before it no longer works.", email=email))
    except InvalidRequest as error:
        flash(error.message, "bad")
    return redirect(url_for(TEAM), 303)


@dashboard.post("/team/invitations/<int:invitation_id>/cancel")
@needs("members")
@suspended_may_too
def withdraw_invitation(invitation_id: int) -> Response:
    email = cancel_invitation(g.account_id, invitation_id, find_actor())
    flash(translate("The invitation of %(email)s no longer works.", email=email))
    return redirect(url_for(TEAM), 303)


@dashboard.post("/team/<int:member_id>/role")
@needs("members")
@needs_proof
@limiter.limit("60 per hour", key_func=_account)
def change_role(member_id: int) -> Response:
    form = FormReader(request.form)
    with form.collect_errors():
        set_role(g.account_id, member_id, form.text("role"), by=g.member.id, actor=find_actor())
        flash(translate("The role is changed. It counts from the next page on."))
    return _back(form)


@dashboard.post("/team/<int:member_id>/budget")
@needs("members")
@needs_proof
@limiter.limit("60 per hour", key_func=_account)
def change_budget(member_id: int) -> Response:
    """Limit what all keys of a member may spend a month; an empty field is no limit."""
    form = FormReader(request.form)
    nanos = form.dollars("budget")
    if not form.errors:
        with form.collect_errors():
            places = g.account_id, member_id, nanos
            set_member_budget(*places, by=g.member.id, actor=find_actor(), count=count_spend_so_far)
            flash(translate("The budget is saved.") if nanos is not None else translate("There is no budget any more."))
    return _back(form)


@dashboard.post("/team/<int:member_id>/remove")
@needs("members")
@needs_proof
@suspended_may_too
def end_membership(member_id: int) -> Response:
    """Take a member out of the account, with their keys."""
    email = remove_member(g.account_id, member_id, by=g.member.id, actor=find_actor())
    flash(translate("%(email)s no longer belongs to this account. Their keys are refused.", email=email))
    return redirect(url_for(TEAM), 303)


@dashboard.post("/team/<int:member_id>/transfer")
@needs("account")
@needs_proof
@limiter.limit("10 per hour", key_func=_account)
def hand_over(member_id: int) -> Response:
    """Make somebody else the owner in one's own place."""
    email = transfer_account(g.account_id, member_id, by=g.member.id, actor=find_actor())
    flash(translate("%(email)s is the owner now, and you are an admin.", email=email))
    return redirect(url_for(TEAM), 303)


@dashboard.post("/team/name")
@needs("account")
@limiter.limit("60 per hour", key_func=_account)
def change_account_name() -> Any:
    form = FormReader(request.form)
    with form.collect_errors():
        name = rename_account(g.account_id, form.text("account_name"), find_actor())
        flash(translate("This account is called %(name)s now.", name=name))
        return redirect(url_for(TEAM), 303)
    return render_team(account=form), 400


@dashboard.post("/team/leave")
@own
@needs_proof
@suspended_may_too
def leave_team() -> Response:
    """Leave the account that one looks at."""
    name = g.member.account_name
    try:
        leave_account(g.account_id, g.member.member, find_actor())
    except InvalidRequest as error:
        flash(error.message, "bad")
        return redirect(url_for("dashboard.show_settings"), 303)
    drop_forms()
    flash(translate("You no longer belong to %(name)s. Your keys in it are refused.", name=name))
    return redirect(url_for(HOME), 303)


def _back(form: FormReader) -> Response:
    """Back to the page, which tells what was wrong."""
    for message in form.errors.values():
        flash(message, "bad")
    return redirect(url_for(TEAM), 303)
