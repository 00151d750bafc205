"""Where the mail of a sign-up leads: the newcomer chooses a password, and the account is theirs."""

from flask import Blueprint, redirect, render_template, request
from werkzeug.wrappers import Response

from bridge.accounts.sign_in import AddressTaken
from bridge.accounts.sign_up import end_sign_up, find_sign_up
from bridge.acts import Actor
from bridge.dashboard.guesses import remember_browser
from bridge.dashboard.newcomers import find_noted_referral, keep_referral, note_referral, tell_starting_credit
from bridge.dashboard.visitor import begin_session, chosen_settings, find_network
from bridge.extensions import anyone_may_enter, limiter
from bridge.ledger.opening import create_account

joining = Blueprint("joining", __name__)


@joining.get("/sign-up/finish")
@anyone_may_enter
@limiter.limit("60 per hour")
def ask_for_password() -> str | tuple[str, int]:
    """Only ask: mail scanners follow every link in a mail."""
    note_referral()
    return _render(request.args.get("ticket", ""))


@joining.post("/sign-up/finish")
@anyone_may_enter
@limiter.limit("30 per hour")
def open_account() -> Response | str | tuple[str, int]:
    """Open the account of the link's address, and let its owner in."""
    secret, password = request.form.get("ticket", ""), request.form.get("password", "")
    ticket = find_sign_up(secret)
    if ticket is None or ticket.email is None:
        return _render("")
    try:
        member = create_account(
            *(ticket.email, password),
            starting_credit_nanos=chosen_settings().signup_credit_nanos,
            actor=Actor("sign-up", find_network()),
        )
    except AddressTaken:  # it was opened meanwhile: by this link, by another one, or by the operator
        end_sign_up(secret)
        return _render("")
    except ValueError as error:
        return _render(secret, str(error))
    end_sign_up(secret)
    keep_referral(member, find_noted_referral())
    begin_session(member, "sign-up", is_known=True)
    tell_starting_credit(member.account_id)
    answer = redirect("/dashboard/", 303)
    remember_browser(answer, member.email)
    return answer


def _render(secret: str, error: str = "") -> str | tuple[str, int]:
    """The form, or a page that says that the link is not good any more."""
    ticket = find_sign_up(secret)
    page = render_template("public/finish_sign_up.html", ticket=secret, email=ticket and ticket.email, error=error)
    return page if ticket and not error else (page, 400)
