"""Sign up, sign in, sign out, and the theme: open to all."""

import hmac

from flask import Blueprint, current_app, flash, g, redirect, render_template, request, session
from flask_login import UserMixin, current_user, login_user, logout_user
from werkzeug.wrappers import Response

from bridge.accounts.emails import check_email, normalise_email
from bridge.accounts.sessions import end_session, find_signed_in, open_session
from bridge.accounts.sign_in import (
    AddressTaken,
    SignInRefused,
    check_new_password,
    sign_in,
)
from bridge.accounts.tables import Member
from bridge.addresses import name_network
from bridge.config import Settings
from bridge.cookies import cookie_name, cookie_rules
from bridge.dashboard.filters import balance
from bridge.dashboard.guesses import (
    BY_STRANGERS,
    BY_TRIER,
    count_by_account,
    count_by_trier,
    forget_guesses,
    is_known_browser,
    remember_browser,
)
from bridge.extensions import anyone_may_enter, limiter
from bridge.headers import YEAR_SECONDS
from bridge.ledger import ledger
from bridge.ledger.opening import create_account

THEMES = ("auto", "dark", "light")  # in the order in which the button switches them without script

welcome = Blueprint("welcome", __name__)


class Visitor(UserMixin):
    """The signed-in member. The cookie has the secret of their session, and nothing else about them."""

    def __init__(self, session_secret: str, member: Member, account_status: str = "active"):
        self.session_secret = session_secret
        self.id = member.id
        self.account_id = member.account_id
        self.email = member.email
        self.is_suspended = account_status != "active"
        self.is_operator = member.is_operator and not self.is_suspended

    def get_id(self) -> str:
        return self.session_secret


def load_visitor(session_secret: str) -> Visitor | None:
    """The visitor of a session cookie, or None when the session is over."""
    if g.get("plain"):  # the database has just failed
        return None
    found = find_signed_in(session_secret)
    return Visitor(session_secret, *found) if found else None


def local_path(target: str | None, default: str = "/dashboard/") -> str:
    """The target if it is a path on this site, otherwise the default, so that nobody is redirected elsewhere."""
    target = target or ""
    on_this_site = target.startswith("/") and not target.startswith("//")  # then it has neither scheme nor host
    return target.rstrip("?") if on_this_site and target.isprintable() and "\\" not in target else default


def theme_after(theme: str) -> str:
    return THEMES[(THEMES.index(theme) + 1) % len(THEMES)]


def _email_asked() -> str:
    return "email:" + normalise_email(request.form.get("email", ""))


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings


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
        refusal = "Address and password do not go together. Check both, and try again."
        page = render_template("public/sign_in.html", next=target, email=request.form.get("email", ""), error=refusal)
        return page, 401
    forget_guesses()
    _begin_session(member)
    answer = redirect(target, 303)
    remember_browser(answer, member.email)
    return answer


@welcome.get("/sign-up")
@anyone_may_enter
def show_sign_up() -> Response | str | tuple[str, int]:
    if current_user.is_authenticated:
        return redirect("/dashboard/")
    page = render_template("public/sign_up.html", errors={}, credit_nanos=_settings().signup_credit_nanos)
    return (page, 403) if _settings().signup_mode == "closed" else page


@welcome.post("/sign-up")
@anyone_may_enter
@limiter.limit("10 per minute; 40 per hour")
@limiter.limit("10 per 15 minutes", key_func=_email_asked)
def sign_up() -> Response | tuple[str, int]:
    if _settings().signup_mode == "closed":
        return render_template("public/sign_up.html", errors={}, credit_nanos=0), 403
    email, password = request.form.get("email", ""), request.form.get("password", "")
    errors = _find_errors(email, password, request.form.get("code", ""))
    if not errors:
        try:
            member = create_account(email, password)
        except AddressTaken:
            errors["email"] = "This address can't be used for a new account. If it is yours, sign in instead."
    if errors:
        credit = _settings().signup_credit_nanos
        return render_template("public/sign_up.html", errors=errors, email=email, credit_nanos=credit), 400
    _begin_session(member)
    _give_starting_credit(member.account_id)
    answer = redirect("/dashboard/", 303)
    remember_browser(answer, member.email)
    return answer


def _find_errors(email: str, password: str, code: str) -> dict[str, str]:
    """What is wrong with the form: field -> sentence."""
    errors = {}
    for field, check, text in (("email", check_email, email), ("password", check_new_password, password)):
        try:
            check(text)
        except ValueError as error:
            errors[field] = str(error)
    expected = _settings().signup_code
    if _settings().signup_mode == "invite" and not hmac.compare_digest(code.strip().encode(), expected.encode()):
        errors["code"] = "This is not the invitation code."
    return errors


def _give_starting_credit(account_id: int) -> None:
    credit = _settings().signup_credit_nanos
    if not credit:
        return
    ledger.credit(
        account_id, credit, source="signup", external_id=f"signup:{account_id}", note="Starting credit", made_by=None
    )
    flash(f"Your account is ready, with {balance(credit)} of starting credit.")


def _begin_session(member: Member) -> None:
    """Begin a new session, so that knowing the old one is worth nothing."""
    _end_session()
    session.permanent = True
    network = name_network(request.remote_addr or "")
    secret = open_session(member.id, user_agent=request.user_agent.string, network=network)
    login_user(Visitor(secret, member))


def _end_session() -> None:
    if current_user.is_authenticated:
        end_session(current_user.session_secret)
        logout_user()
    session.clear()


@welcome.post("/sign-out")
@anyone_may_enter
def sign_out() -> Response:
    _end_session()
    return redirect("/", 303)


@welcome.post("/theme")
@anyone_may_enter
def choose_theme() -> Response:
    """Store the theme in a cookie for a year. The script writes the same cookie itself."""
    theme = request.form.get("theme", "auto")
    answer = redirect(local_path(request.form.get("next"), default="/"), 303)
    answer.set_cookie(
        cookie_name(_settings(), "theme"),
        theme if theme in THEMES else "auto",
        max_age=YEAR_SECONDS,
        **cookie_rules(_settings()),
    )
    return answer
