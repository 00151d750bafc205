"""What prevents a start with a configuration, a sentence each: checks of single values and of those that belong
together."""

import dataclasses
import re
from email.utils import parseaddr
from typing import TYPE_CHECKING
from urllib.parse import unquote

from bridge.settings_rules import MIN_SECRET_LENGTH, find_problem, is_fernet_key, is_sample

if TYPE_CHECKING:
    from bridge.config import Settings

MAIL_SERVER = re.compile(r"smtps?://([^@/\s]+@)?[^@:/\s]+(:\d{1,5})?/?", re.ASCII)
TOP_UP_CURRENCIES = ("usd", "eur", "gbp", "chf", "cad", "aud", "nzd", "sgd", "sek", "nok", "dkk", "pln", "czk", "inr")


def list_problems(settings: "Settings") -> list[str]:
    """What prevents a start with this configuration, a sentence each."""
    found = _problems_of_secrets(settings) + _problems_of_database(settings)
    if not settings.development and not settings.public_base_url:
        found.append("PUBLIC_BASE_URL is missing: set the site's own address, such as https://gateway.example.")
    if settings.signup_mode == "invite" and not settings.signup_code:
        found.append("SIGNUP=invite needs SIGNUP_CODE, the code that a newcomer has to know.")
    found += [problem for name, value in dataclasses.asdict(settings).items() if (problem := find_problem(name, value))]
    found += _problems_of_top_ups(settings)
    found += _problems_of_mail(settings)
    found += _problems_of_services(settings)
    if settings.verify_email and not settings.mails_go_out and not settings.development:
        found.append("VERIFY_EMAIL needs a mail server: set SMTP_URL and SMTP_FROM.")
    try:
        if settings.signup_credit_nanos < 0:
            raise ValueError
    except ValueError:
        found.append("SIGNUP_CREDIT must be an amount of dollars, such as 5.00.")
    try:
        if settings.default_spend_day_nanos < 0:
            raise ValueError
    except ValueError:
        found.append("DEFAULT_SPEND_DAY must be an amount of dollars, such as 25.00, or 0 for no limit.")
    try:
        if (settings.four_eyes_nanos or 0) < 0:
            raise ValueError
    except ValueError:
        found.append("FOUR_EYES_DOLLARS must be an amount of dollars, such as 100.")
    return found


def _problems_of_secrets(settings: "Settings") -> list[str]:
    found = []
    if len(settings.secret_key) < MIN_SECRET_LENGTH:
        found.append(f"SECRET_KEY is missing or too short: set at least {MIN_SECRET_LENGTH} random characters.")
    elif is_sample(settings.secret_key):
        found.append("SECRET_KEY is a sample that others know: draw one, as the README says.")
    if not settings.fernet_key_list:
        found.append("FERNET_KEYS is missing: set one Fernet key, 32 random bytes in URL-safe base64.")
    if not all(map(is_fernet_key, settings.fernet_key_list)):
        found.append("FERNET_KEYS holds something that is not a Fernet key (32 random bytes in URL-safe base64).")
    return found


def _problems_of_database(settings: "Settings") -> list[str]:
    try:
        on_sqlite = settings.on_sqlite
    except ValueError as error:
        return [str(error)]
    if on_sqlite and not settings.development:
        return ["DATABASE_URL is missing: production needs PostgreSQL (postgresql://…)."]
    return []


def _problems_of_top_ups(settings: "Settings") -> list[str]:
    found = []
    if settings.top_up_currency not in TOP_UP_CURRENCIES:
        found.append(f"TOP_UP_CURRENCY must be one of {', '.join(TOP_UP_CURRENCIES)}.")
    try:
        smallest, largest = settings.top_up_bounds
        if not 0 < smallest <= largest or settings.top_up_rate_nanos <= 0:
            raise ValueError
    except ValueError:
        found.append("TOP_UP_MINIMUM, TOP_UP_MAXIMUM and TOP_UP_RATE must be plain amounts, such as 5.00, in order.")
    return found


def _problems_of_services(settings: "Settings") -> list[str]:
    """Sign-in services and bot checks of which a part is missing."""
    found = []
    for name in ("github", "google", "oidc"):
        parts = [f"{name}_client_id", f"{name}_client_secret"] + (["oidc_issuer"] if name == "oidc" else [])
        missing = [part.upper() for part in parts if not getattr(settings, part)]
        if missing and len(missing) < len(parts):
            found.append(f"{missing[0]} is missing: {name.upper()}_… are set together, or not at all.")
    for name in ("turnstile", "hcaptcha"):
        site, secret = getattr(settings, f"{name}_site_key"), getattr(settings, f"{name}_secret_key")
        if bool(site) != bool(secret):
            found.append(f"{name.upper()}_{'SECRET' if site else 'SITE'}_KEY is missing: both are set, or neither.")
    return found


def _problems_of_mail(settings: "Settings") -> list[str]:
    found = []
    if settings.smtp_url and not MAIL_SERVER.fullmatch(settings.smtp_url):
        found.append("SMTP_URL must be smtp://user:password@host:587, or smtps://…:465, with the parts encoded.")
    if settings.mails_go_out and not parseaddr(settings.smtp_from)[1].strip("@").count("@"):
        found.append("SMTP_FROM is missing: the address that mails come from, such as AI Bridge <no-reply@…>.")
    if not (unquote(settings.smtp_url) + settings.smtp_user + settings.smtp_password).isascii():
        found.append("The mail server's user and password must be ASCII: others can't be sent to it.")
    return found
