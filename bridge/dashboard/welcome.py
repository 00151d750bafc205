"""Sign up, sign in, sign out, and the theme: open to all."""

import hmac

from flask import Blueprint, redirect, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.acts import Actor
from bridge.accounts.email_change import send_confirmation
from bridge.accounts.emails import check_email, normalise_email
from bridge.accounts.second_factor import find_second_factor
from bridge.accounts.sign_in import AddressTaken, SignInRefused, check_new_password, sign_in
from bridge.cookies import cookie_name, cookie_rules
from bridge.dashboard.guesses import (
    BY_STRANGERS,
    BY_TRIER,
    count_by_account,
    count_by_trier,
    forget_guesses,
    is_known_browser,
    remember_browser,
)
from bridge.dashboard.half_way import leave_half_way
from bridge.dashboard.newcomers import give_starting_credit
from bridge.dashboard.visitor import begin_session, chosen_settings, find_network, leave_session, local_path
from bridge.extensions import anyone_may_enter, limiter
from bridge.headers import YEAR_SECONDS
from bridge.ledger.opening import create_account

THEMES = ("auto", "dark", "light")  # in the order in which the button switches them without script

welcome = Blueprint("welcome", __name__)


def theme_after(theme: str) -> str:
    return THEMES[(THEMES.index(theme) + 1) % len(THEMES)]


def _email_asked() -> str:
    return "email:" + normalise_email(request.form.get("email", ""))


@welcome.get("/sign-in")
@anyone_may_enter
def show_sign_in() -> Response | str:
    if current_user.is_authenticated:
        return redirect(local_path(request.args.get("next")))
    return render_template("public/sign_in.html", next=local_path(request.args.get("next")))


@welcome.post("/sign-in")
@anyone_may_enter
@limiter.limit("30 per minute; 200 per hour")
@limiter.limit(BY_STRANGERS, key_func=count_by_account, exempt_when=is_known_browser)
@limiter.limit(BY_TRIER, key_func=count_by_trier)
def enter() -> Response | tuple[str, int]:
    target = local_path(request.form.get("next"))
    try:
        member = sign_in(request.form.get("email", ""), request.form.get("password", ""))
    except SignInRefused:
        refusal = "Email or password is wrong. After 10 tries there is a pause of 15 minutes."
        page = render_template("public/sign_in.html", next=target, email=request.form.get("email", ""), error=refusal)
        return page, 401
    forget_guesses()
    if find_second_factor(member.id):
        return leave_half_way(member, target)
    begin_session(member, "password", is_known=is_known_browser())
    answer = redirect(target, 303)
    remember_browser(answer, member.email)
    return answer


@welcome.get("/sign-up")
@anyone_may_enter
def show_sign_up() -> Response | str | tuple[str, int]:
    if current_user.is_authenticated:
        return redirect("/dashboard/")
    page = _render_sign_up()
    return (page, 403) if chosen_settings().signup_mode == "closed" else page


@welcome.post("/sign-up")
@anyone_may_enter
@limiter.limit("10 per minute; 40 per hour")
@limiter.limit("10 per 15 minutes", key_func=_email_asked)
def sign_up() -> Response | tuple[str, int]:
    settings = chosen_settings()
    if settings.signup_mode == "closed":
        return _render_sign_up(), 403
    email, password = request.form.get("email", ""), request.form.get("password", "")
    errors = _find_errors(email, password, request.form.get("code", ""))
    if not errors:
        actor = Actor("sign-up", find_network())
        try:
            member = create_account(email, password, is_unconfirmed=settings.verify_email, actor=actor)
        except AddressTaken:
            errors["email"] = "This address can't be used for a new account. If it is yours, sign in instead."
    if errors:
        return _render_sign_up(errors, email), 400
    begin_session(member, "sign-up", is_known=True)
    if member.is_unconfirmed:
        send_confirmation(settings, member.id)
    else:
        give_starting_credit(member.account_id, member.email)
    answer = redirect("/dashboard/check-email" if member.is_unconfirmed else "/dashboard/", 303)
    remember_browser(answer, member.email)
    return answer


def _render_sign_up(errors: dict[str, str] | None = None, email: str = "") -> str:
    settings = chosen_settings()
    return render_template(
        "public/sign_up.html",
        errors=errors or {},
        email=email,
        credit_nanos=settings.signup_credit_nanos,
        verify_email=settings.verify_email,
    )


def _find_errors(email: str, password: str, code: str) -> dict[str, str]:
    """What is wrong with the form: field -> sentence."""
    errors = {}
    for field, check, text in (("email", check_email, email), ("password", check_new_password, password)):
        try:
            check(text)
        except ValueError as error:
            errors[field] = str(error)
    expected = chosen_settings().signup_code
    if chosen_settings().signup_mode == "invite" and not hmac.compare_digest(code.strip().encode(), expected.encode()):
        errors["code"] = "This is not the invitation code."
    return errors


@welcome.post("/sign-out")
@anyone_may_enter
def sign_out() -> Response:
    leave_session()
    return redirect("/", 303)


@welcome.post("/theme")
@anyone_may_enter
def choose_theme() -> Response:
    """Store the theme in a cookie for a year. The script writes the same cookie itself."""
    theme = request.form.get("theme", "auto")
    answer = redirect(local_path(request.form.get("next"), default="/"), 303)
    answer.set_cookie(
        cookie_name(chosen_settings(), "theme"),
        theme if theme in THEMES else "auto",
        max_age=YEAR_SECONDS,
        **cookie_rules(chosen_settings()),
    )
    return answer
