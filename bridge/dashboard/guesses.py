"""Limits how often passwords may be tried, and by whom: tries are counted before passwords are checked. A stranger's
tries never lock out a browser from which the member has signed in before."""

import hashlib
import secrets
from typing import Any

from flask import after_this_request, current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.wrappers import Response

from bridge.accounts.emails import normalise_email
from bridge.accounts.tables import Member
from bridge.acts import Actor, record_act
from bridge.addresses import name_network
from bridge.config import Settings
from bridge.cookies import cookie_name, cookie_rules
from bridge.db import transaction
from bridge.extensions import limiter
from bridge.headers import YEAR_SECONDS

COOKIE = "known"
MOST_KNOWN = 8  # members per remembered browser
BY_TRIER = "10 per 15 minutes"  # one address, tried from one network or one known browser
BY_STRANGERS = "100 per hour"  # one address, tried from everywhere by unknown browsers


def count_by_trier() -> str:
    """The key under which tries of one client at one password are counted."""
    email, browser = _email_asked(), _read_browser()
    if _is_known(browser, email):
        return f"guess:{_short(email)}:browser:{browser['id']}"
    return f"guess:{_short(email)}:{name_network(request.remote_addr or '')}"


def count_by_account() -> str:
    """The key under which all strangers' tries at one password are counted."""
    return f"guess:{_short(_email_asked())}:strangers"


def is_known_browser(email: str = "") -> bool:
    """Whether this member, or the one whose address was typed, has signed in from this browser before."""
    return _is_known(_read_browser(), email or _email_asked())


def forget_guesses() -> None:
    """Reset the client's count, since the password was right."""
    for each in limiter.current_limits:
        if each.key.find("guess:") >= 0 and not each.key.endswith("strangers"):
            each.limiter.clear(each.limit, *each.request_args)


def record_failure(member: Member | None, how: str) -> None:
    """Note in the audit log that somebody tried to sign in as an operator and failed. It is written once the answer is
    out: how long an answer takes says nothing of whose address it was."""
    if member is None or not member.is_operator:
        return
    app, account_id = current_app._get_current_object(), member.account_id  # type: ignore[attr-defined]
    actor = Actor(member.email, name_network(request.remote_addr or ""), is_operator=True)

    def write() -> None:
        with app.app_context(), transaction() as session:
            record_act(session, account_id, "sign_in_failed", actor, how)

    @after_this_request
    def wait_for_the_end(answer: Response) -> Response:
        answer.call_on_close(write)
        return answer


def remember_browser(answer: Response, email: str) -> None:
    """Remember this browser by a signed cookie. The cookie gives no access."""
    browser = _read_browser()
    names = [
        _short(normalise_email(email)),
        *(name for name in browser["members"] if name != _short(normalise_email(email))),
    ]
    settings: Settings = current_app.config["BRIDGE"]
    answer.set_cookie(
        cookie_name(settings, COOKIE),
        _signer().dumps({"id": browser["id"], "members": names[:MOST_KNOWN]}),
        max_age=YEAR_SECONDS,
        httponly=True,
        **cookie_rules(settings),
    )


def _email_asked() -> str:
    return normalise_email(request.form.get("email", ""))


def _short(email: str) -> str:
    """A digest of an address, from which nobody can read the address."""
    return hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()[:24]


def _read_browser() -> dict[str, Any]:
    settings: Settings = current_app.config["BRIDGE"]
    try:
        found = _signer().loads(request.cookies.get(cookie_name(settings, COOKIE), ""), max_age=YEAR_SECONDS)
    except BadSignature:
        return {"id": secrets.token_hex(8), "members": []}
    return {"id": str(found["id"]), "members": [str(name) for name in found["members"]]}


def _is_known(browser: dict[str, Any], email: str) -> bool:
    return _short(email) in browser["members"]


def _signer() -> URLSafeTimedSerializer:
    settings: Settings = current_app.config["BRIDGE"]
    return URLSafeTimedSerializer(settings.secret_key, salt="known-browser")
