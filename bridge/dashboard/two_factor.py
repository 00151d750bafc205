"""Settings, two-factor sign-in: turn it on by a code of the app, see recovery codes once, turn it off."""

from io import BytesIO

import segno
from flask import flash, g, redirect, render_template, request, session, url_for
from markupsafe import Markup
from werkzeug.wrappers import Response

from bridge import vault
from bridge.accounts.second_factor import (
    WrongCode,
    draw_secret,
    find_second_factor,
    renew_recovery_codes,
    turn_off,
    turn_on,
    write_address,
)
from bridge.accounts.sessions import record_proof
from bridge.dashboard.door import dashboard, own
from bridge.dashboard.guesses import BY_TRIER, forget_guesses
from bridge.dashboard.proof import count_proofs
from bridge.dashboard.visitor import find_actor
from bridge.errors import MisconfiguredError
from bridge.extensions import limiter, needs_proof
from bridge.languages import translate

PENDING = "second_factor"  # the sealed secret, in the session's cookie until a code has confirmed it


@dashboard.get("/settings/two-factor")
@own
@needs_proof
def show_two_factor() -> str:
    return _render(_find_pending() or _begin())


@dashboard.post("/settings/two-factor")
@own
@needs_proof
@limiter.limit(BY_TRIER, key_func=count_proofs)
def turn_two_factor_on() -> str | Response | tuple[str, int]:
    """Turn it on, and show the recovery codes in this answer, for nobody can read them again."""
    secret = _find_pending()
    if secret is None:
        return redirect(url_for("dashboard.show_two_factor"), 303)
    try:
        codes = turn_on(g.member.member, secret, request.form.get("code", ""), find_actor())
    except WrongCode:
        wrong = translate(
            "That is not the code that the app shows now. If it is refused again, check the clock of your phone."
        )
        return _render(secret, wrong), 400
    session.pop(PENDING, None)
    forget_guesses()
    record_proof(g.member.session_secret, by_second_factor=True)
    return render_template("dashboard/settings_codes.html", codes=codes, is_first=True)


@dashboard.post("/settings/two-factor/codes")
@own
@needs_proof
def make_new_codes() -> str | Response:
    if find_second_factor(g.member.id) is None:
        return redirect(url_for("dashboard.show_security"), 303)
    codes = renew_recovery_codes(g.member.member, find_actor())
    return render_template("dashboard/settings_codes.html", codes=codes, is_first=False)


@dashboard.post("/settings/two-factor/off")
@own
@needs_proof
def turn_two_factor_off() -> Response:
    if turn_off(g.member.member, find_actor()):
        flash(translate("Two-factor sign-in is off. Your recovery codes no longer work."), "warn")
    return redirect(url_for("dashboard.show_security"), 303)


def _begin() -> str:
    secret = draw_secret()
    session[PENDING] = vault.seal(secret)
    return secret


def _find_pending() -> str | None:
    sealed = session.get(PENDING)
    try:
        return vault.unseal(sealed) if sealed else None
    except MisconfiguredError:  # sealed under a master key that is gone
        return None


def _render(secret: str, error: str = "") -> str:
    return render_template(
        "dashboard/settings_two_factor.html",
        picture=_draw(write_address(secret, g.member.email)),
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
        error=error,
        is_change=find_second_factor(g.member.id) is not None,
    )


def _draw(text: str) -> Markup:
    """The text as a QR code: an SVG without style or script."""
    out = BytesIO()
    options = {"xmldecl": False, "svgns": False, "omitsize": True, "border": 0, "nl": False, "svgclass": "qr"}
    title = translate("QR code with the secret for your authenticator app")
    segno.make(text, error="m", micro=False).save(out, kind="svg", dark="#1b1a18", title=title, **options)
    return Markup(out.getvalue().decode())  # noqa: S704 - segno draws modules and escapes the title
