"""Sign up, sign in, sign out, the theme and the language: open to all."""

import hmac

from flask import Blueprint, make_response, redirect, render_template, request, url_for
from flask_login import current_user
from werkzeug.wrappers import Response

from bridge.accounts.bot_check import check_widget, check_work, find_widget, set_work
from bridge.accounts.emails import check_email, find_by_email, normalise_email
from bridge.accounts.passkeys import are_possible, find_origin
from bridge.accounts.profile import set_language
from bridge.accounts.second_factor import find_second_factor
from bridge.accounts.sign_in import AddressTaken, SignInRefused, check_new_password, sign_in
from bridge.accounts.sign_in_services import list_services
from bridge.accounts.sign_up import request_sign_up
from bridge.acts import Actor
from bridge.cookies import cookie_name, cookie_rules
from bridge.dashboard.guesses import (
    BY_STRANGERS,
    BY_TRIER,
    count_by_account,
    count_by_trier,
    forget_guesses,
    is_known_browser,
    record_failure,
    remember_browser,
)
from bridge.dashboard.half_way import leave_half_way
from bridge.dashboard.newcomers import find_noted_referral, keep_referral, note_referral, tell_starting_credit
from bridge.dashboard.policy import page_policy
from bridge.dashboard.visitor import begin_session, chosen_settings, find_network, home_of, leave_session, local_path
from bridge.extensions import anyone_may_enter, limiter
from bridge.headers import YEAR_SECONDS
from bridge.languages import COOKIE, LANGUAGES, translate
from bridge.ledger.opening import create_account
from bridge.viewing import find_view

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
        return redirect(local_path(request.args.get("next"), "") or home_of(current_user.member))
    return _render_sign_in(local_path(request.args.get("next"), ""))


@welcome.post("/sign-in")
@anyone_may_enter
@limiter.limit("30 per minute; 200 per hour")
@limiter.limit(BY_STRANGERS, key_func=count_by_account, exempt_when=is_known_browser)
@limiter.limit(BY_TRIER, key_func=count_by_trier)
def enter() -> Response | tuple[str, int]:
    target = local_path(request.form.get("next"), "")
    try:
        member = sign_in(request.form.get("email", ""), request.form.get("password", ""))
    except SignInRefused:
        record_failure(find_by_email(request.form.get("email", "")), "wrong password")
        refusal = translate("Email or password is wrong. After 10 tries there is a pause of 15 minutes.")
        return _render_sign_in(target, request.form.get("email", ""), refusal), 401
    forget_guesses()
    if find_second_factor(member.id):
        return leave_half_way(member, target)
    begin_session(member, "password", is_known=is_known_browser())
    answer = redirect(target or home_of(member), 303)
    remember_browser(answer, member.email)
    return answer


def _render_sign_in(target: str, email: str = "", error: str = "") -> str:
    settings = chosen_settings()
    return render_template(
        "public/sign_in.html",
        next=target,
        email=email,
        error=error,
        passkeys_possible=are_possible(settings),
        passkey_origin=find_origin(settings),
        services=list_services(settings),
    )


@welcome.get("/sign-up")
@anyone_may_enter
def show_sign_up() -> Response:
    if current_user.is_authenticated:
        return redirect("/dashboard/")
    note_referral()
    page = _render_sign_up()
    page.status_code = 403 if chosen_settings().signup_mode == "closed" else 200
    return page


@welcome.post("/sign-up")
@anyone_may_enter
@limiter.limit("10 per minute; 40 per hour")
@limiter.limit("10 per 15 minutes", key_func=_email_asked)
@limiter.limit("4 per hour", key_func=_email_asked, exempt_when=lambda: not chosen_settings().signs_up_by_mail)
def sign_up() -> Response:
    """Where mails go out, the account opens by a link in one: no answer says whether the address has an account.
    Without, there is nothing but the password to open it by, and it opens at once."""
    settings = chosen_settings()
    if settings.signup_mode == "closed":
        return show_sign_up()
    email, password = request.form.get("email", ""), request.form.get("password", "")
    errors = _find_errors(email, password, request.form.get("code", "")) or _find_robot()
    if not errors and settings.signs_up_by_mail:
        request_sign_up(settings, email, find_noted_referral())
        return redirect(url_for("welcome.show_sign_up", sent=1), 303)
    if not errors:
        try:
            member = create_account(
                *(email, password),
                starting_credit_nanos=settings.signup_credit_nanos,
                actor=Actor("sign-up", find_network()),
            )
        except AddressTaken:
            errors["email"] = translate(
                "This address can't be used for a new account. If it is yours, sign in instead."
            )
    if errors:
        page = _render_sign_up(errors, email)
        page.status_code = 400
        return page
    keep_referral(member, find_noted_referral())
    begin_session(member, "sign-up", is_known=True)
    tell_starting_credit(member.account_id)
    answer = redirect("/dashboard/", 303)
    remember_browser(answer, member.email)
    return answer


def _find_robot() -> dict[str, str]:
    """Whether the newcomer passes the check against robots; it comes last, since its word counts once."""
    settings, form = chosen_settings(), request.form
    try:
        if found := find_widget(settings):
            check_widget(settings, form.get(found[0].field, ""), find_network())
        elif settings.signup_work_bits:
            check_work(settings, form.get("work", ""), form.get("answer", ""))
    except ValueError as error:
        return {"": str(error)}
    return {}


def _render_sign_up(errors: dict[str, str] | None = None, email: str = "") -> Response:
    settings = chosen_settings()
    widget = find_widget(settings)
    works = settings.signup_work_bits and not widget and settings.signup_mode != "closed"
    page = render_template(
        "public/sign_up.html",
        errors=errors or {},
        email=email,
        credit_nanos=settings.signup_credit_nanos,
        by_mail=settings.signs_up_by_mail,
        sent="sent" in request.args,
        services=list_services(settings) if settings.signup_mode == "open" else [],
        widget=widget[0] if widget else None,
        site_key=widget[1] if widget else "",
        work=set_work(settings) if works else "",
        work_bits=settings.signup_work_bits,
    )
    answer = make_response(page)
    if widget:
        answer.headers["Content-Security-Policy"] = page_policy(widget[0].hosts)
    return answer


def _find_errors(email: str, password: str, code: str) -> dict[str, str]:
    """What is wrong with the form: field -> sentence."""
    errors, checks = {}, [("email", check_email, email), ("password", check_new_password, password)]
    for field, check, text in checks[:1] if chosen_settings().signs_up_by_mail else checks:
        try:
            check(text)
        except ValueError as error:
            errors[field] = str(error)
    expected = chosen_settings().signup_code
    if chosen_settings().signup_mode == "invite" and not hmac.compare_digest(code.strip().encode(), expected.encode()):
        errors["code"] = translate("This is not the invitation code.")
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


@welcome.post("/language")
@anyone_may_enter
def choose_language() -> Response:
    """Store the language in a cookie for a year, and in the settings of who is signed in."""
    code = request.form.get("language", "")
    answer = redirect(local_path(request.form.get("next"), default="/"), 303)
    if code in LANGUAGES:
        if current_user.is_authenticated and find_view() is None:
            set_language(current_user.member, code)
        keep_language(answer, code)
    return answer


def keep_language(answer: Response, code: str) -> None:
    """Store the language in this browser for a year; "" forgets it."""
    name, rules = cookie_name(chosen_settings(), COOKIE), cookie_rules(chosen_settings())
    if code:
        answer.set_cookie(name, code, max_age=YEAR_SECONDS, httponly=True, **rules)
    else:
        answer.delete_cookie(name, httponly=True, **rules)
