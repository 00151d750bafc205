"""Keeps robots from opening accounts: by Turnstile or hCaptcha where one is configured, otherwise by work that the
newcomer's browser does. Ours needs no other company: the browser looks for a number whose hash begins with zeros."""

import dataclasses
import datetime
import hashlib
import secrets

import structlog
from itsdangerous import BadSignature, URLSafeTimedSerializer

from bridge.accounts.outward import ServiceAway, post_form
from bridge.accounts.tickets import spend
from bridge.config import Settings
from bridge.languages import translate

SALT = "sign-up work"
LASTS = datetime.timedelta(hours=1)
MAX_ANSWER_LENGTH = 20
MAX_TOKEN_LENGTH = 4096
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Widget:
    """Another company's check: its script, the class that the script looks for, the field it fills, where its word is
    verified, and what the page's policy must let through."""

    script: str
    css: str
    field: str
    verify_url: str
    hosts: str


TURNSTILE = Widget(
    script="https://challenges.cloudflare.com/turnstile/v0/api.js",
    css="cf-turnstile",
    field="cf-turnstile-response",
    verify_url="https://challenges.cloudflare.com/turnstile/v0/siteverify",
    hosts="https://challenges.cloudflare.com",
)
HCAPTCHA = Widget(
    script="https://js.hcaptcha.com/1/api.js",
    css="h-captcha",
    field="h-captcha-response",
    verify_url="https://api.hcaptcha.com/siteverify",
    hosts="https://hcaptcha.com https://*.hcaptcha.com",
)


def find_widget(settings: Settings) -> tuple[Widget, str, str] | None:
    """The configured check with its site key and secret; None where the browser works instead."""
    if settings.turnstile_site_key and settings.turnstile_secret_key:
        return TURNSTILE, settings.turnstile_site_key, settings.turnstile_secret_key
    if settings.hcaptcha_site_key and settings.hcaptcha_secret_key:
        return HCAPTCHA, settings.hcaptcha_site_key, settings.hcaptcha_secret_key
    return None


def check_widget(settings: Settings, word: str, network: str) -> None:
    """Have the company verify what its script has put into the form. Raises ValueError with a sentence."""
    found = find_widget(settings)
    assert found is not None, "find_widget() comes first"
    widget, site_key, secret = found
    if not 0 < len(word) <= MAX_TOKEN_LENGTH:
        raise ValueError(translate("Do the check below the form first."))
    fields = {"secret": secret, "response": word, "sitekey": site_key}
    try:
        answer = post_form(settings, widget.verify_url, fields, {})
    except ServiceAway as error:
        log.error("bot_check_away", problem=str(error)[:200], network=network)
        raise ValueError(translate("The check can't be reached at the moment. Try again in a minute.")) from None
    if not isinstance(answer, dict) or answer.get("success") is not True:
        raise ValueError(translate("The check was not passed, or is too old. Do it again."))


def set_work(settings: Settings) -> str:
    """A piece of work, to be done once and within an hour. Nothing is stored for it."""
    return str(_signer(settings).dumps([secrets.token_hex(16), settings.signup_work_bits]))


def check_work(settings: Settings, work: str, answer: str) -> None:
    """Whether the work is ours, done, and handed in for the first time. Raises ValueError with a sentence."""
    try:
        _, bits = _signer(settings).loads(work, max_age=int(LASTS.total_seconds()))
    except (BadSignature, ValueError, TypeError):
        raise ValueError(translate("The browser's check is too old. Try again.")) from None
    if not (answer.isascii() and answer.isdigit() and len(answer) <= MAX_ANSWER_LENGTH):
        raise ValueError(translate("The browser's check was not done. It needs JavaScript."))
    if count_zeros(work, answer) < bits:
        raise ValueError(translate("The browser's check came out wrong. Try again."))
    if not spend("work", work, LASTS):
        raise ValueError(translate("The browser's check was used before. Try again."))


def count_zeros(work: str, answer: str) -> int:
    """How many zero bits the hash of work and answer begins with."""
    digest = hashlib.sha256(f"{work}:{answer}".encode()).digest()
    return len(digest) * 8 - int.from_bytes(digest, "big").bit_length()


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key, salt=SALT)
