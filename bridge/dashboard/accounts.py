"""One person in several accounts: which of them they look at, and how they open another."""

from flask import Blueprint, flash, g, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from bridge.accounts.memberships import switch_account
from bridge.accounts.team import check_account_name
from bridge.acts import Actor
from bridge.dashboard.account import once
from bridge.dashboard.door import dashboard, own, suspended_may_too
from bridge.dashboard.visitor import Visitor, chosen_settings, find_actor, find_network, find_person
from bridge.extensions import anyone_may_enter, limiter
from bridge.forms import FormReader
from bridge.languages import translate
from bridge.ledger.opening import OwnAccount, list_own_accounts, open_further_account

HOME = "dashboard.show_overview"
accounts = Blueprint("accounts", __name__)


def drop_forms() -> None:
    """Let forms that are open in this browser lose their token, so that none made for one account reaches another."""
    session.pop("csrf_token", None)


def list_accounts() -> list[OwnAccount]:
    """What the side bar lets the member choose from; nothing while there is no choice, and no statement. An operator
    who views a customer's pages chooses nothing."""
    person = find_person()
    if person is None or person.accounts < 2:
        return []
    return once("own_accounts", lambda: list_own_accounts(person.id))


def may_open() -> bool:
    """Whether people open accounts here by themselves."""
    return chosen_settings().signup_mode == "open"


def _person() -> str:
    person = find_person()
    return f"accounts:{person.id if person else ''}"


@dashboard.post("/switch")
@own
@suspended_may_too
@limiter.limit("60 per minute", key_func=_person)
def switch() -> Response:
    """Look at another account of one's own, from here on."""
    chosen = FormReader(request.form).number("account_id")
    name = switch_account(g.member.member, chosen or 0, find_actor())
    drop_forms()
    flash(translate("These pages are about %(name)s now.", name=name))
    return redirect(url_for(HOME), 303)


@dashboard.get("/accounts/new")
@own
def show_new_account() -> str:
    return render_template("dashboard/account_new.html", may_open=may_open(), values={}, errors={})


@dashboard.post("/accounts")
@own
@limiter.limit("10 per hour", key_func=_person)
def open_account() -> Response | tuple[str, int]:
    """Open another account, and look at it."""
    form = FormReader(request.form)
    if _open(g.member, form, find_actor()):
        return redirect(url_for(HOME), 303)
    page = render_template("dashboard/account_new.html", may_open=may_open(), values=form.values, errors=form.errors)
    return page, 400


@accounts.get("/no-account")
@anyone_may_enter
def show_no_account() -> Response | str:
    """For somebody who is signed in and belongs to no account any more; others have pages of their own."""
    person = find_person()
    if person is None or person.membership is not None:
        return redirect(url_for(HOME))
    return render_template("public/no_account.html", person=person, may_open=may_open(), values={}, errors={})


@accounts.post("/no-account")
@anyone_may_enter
@limiter.limit("10 per hour", key_func=_person)
def open_first_account() -> Response | tuple[str, int]:
    """Open an account for somebody who has none."""
    person = find_person()
    if person is None or person.membership is not None:
        return redirect(url_for(HOME), 303)
    form = FormReader(request.form)
    if _open(person, form, Actor(person.email, find_network())):
        return redirect(url_for(HOME), 303)
    page = render_template(
        "public/no_account.html", person=person, may_open=may_open(), values=form.values, errors=form.errors
    )
    return page, 400


def _open(person: Visitor, form: FormReader, actor: Actor) -> bool:
    """Open an account by the name in the form. False, and the form has its errors, if it can't be."""
    if not may_open():
        form.errors[""] = translate("Accounts are opened by the operator of this gateway.")
        return False
    with form.collect_errors():
        name = check_account_name(form.text("account_name"))
        open_further_account(person.member, name, actor)
        drop_forms()
        flash(translate("%(name)s is open. Its balance is $0.00.", name=name))
        return True
    return False
