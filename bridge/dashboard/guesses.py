"""How often passwords may be tried, and by whom: counted before they are looked at. A stranger's guesses lock out no
browser from which its member has signed in before."""

import hashlib
import secrets
from typing import Any

from flask import current_app, request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.wrappers import Response

from bridge.accounts.emails import as_kept
from bridge.addresses import name_network
from bridge.config import Settings
from bridge.extensions import limiter

COOKIE = "known"
YEAR_SECONDS = 365 * 24 * 3600
MOST_KNOWN = 8  # members that a browser is remembered for
BY_TRIER = "10 per 15 minutes"  # one address tried from one network, or from one browser that is known
BY_STRANGERS = "100 per hour"  # one address tried from everywhere by browsers that are not


def count_by_trier() -> str:
    """Whose guesses at whose password are counted together."""
    email, browser = _email_asked(), _read_browser()
    if _is_known(browser, email):
        return f"guess:{_short(email)}:browser:{browser['id']}"
    return f"guess:{_short(email)}:{name_network(request.remote_addr or '')}"


def count_by_account() -> str:
    """All strangers' guesses at one password."""
    return f"guess:{_short(_email_asked())}:strangers"


def is_known_browser() -> bool:
    """Whether this member has signed in from this browser before."""
    return _is_known(_read_browser(), _email_asked())


def forget_guesses() -> None:
    """The password was right: whoever tried it this time starts anew."""
    for each in limiter.current_limits:
        if each.key.find("guess:") >= 0 and not each.key.endswith("strangers"):
            each.limiter.clear(each.limit, *each.request_args)


def remember_browser(answer: Response, email: str) -> None:
    """Know this browser by a signed cookie the next time. It opens nothing."""
    browser = _read_browser()
    names = [_short(as_kept(email)), *(name for name in browser["members"] if name != _short(as_kept(email)))]
    settings: Settings = current_app.config["BRIDGE"]
    answer.set_cookie(
        COOKIE,
        _signer().dumps({"id": browser["id"], "members": names[:MOST_KNOWN]}),
        max_age=YEAR_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=not settings.development,
    )


def _email_asked() -> str:
    return as_kept(request.form.get("email", ""))


def _short(email: str) -> str:
    """An address by which nobody is told it."""
    return hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()[:24]


def _read_browser() -> dict[str, Any]:
    try:
        found = _signer().loads(request.cookies.get(COOKIE, ""), max_age=YEAR_SECONDS)
    except BadSignature:
        return {"id": secrets.token_hex(8), "members": []}
    return {"id": str(found["id"]), "members": [str(name) for name in found["members"]]}


def _is_known(browser: dict[str, Any], email: str) -> bool:
    return _short(email) in browser["members"]


def _signer() -> URLSafeTimedSerializer:
    settings: Settings = current_app.config["BRIDGE"]
    return URLSafeTimedSerializer(settings.secret_key, salt="known-browser")
