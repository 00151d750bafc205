"""The rules of settings: a range or a form, and the sentence that states it. No sentence repeats a value that may be
secret."""

import base64
import ipaddress
import math
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from bridge.money import parse_dollars, parse_percent

Rule = Callable[[Any], str | None]  # what is wrong with a value: the end of a sentence that begins with its name

YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
QUOTES = "\"'`"
LOG_LEVELS = ("debug", "info", "warning", "error")
MIN_SECRET_LENGTH = 32
# parts of secrets from somebody's documentation
SAMPLE_WORDS = (
    "changeme",
    "secret",
    "example",
    "replace",
    "insecure",
    "placeholder",
    "default",
    "password",
    "generate",
)
LEAST_DIFFERENT = 8  # characters in a secret: a random one has more
LEAST_DIFFERENT_BYTES = 5  # in a key, which seals stored values already: only an obvious sample is refused
DAY_SECONDS = 86_400.0
MOST_BYTES = 4 * 2**30
MOST_BONUS_BPS = 10_000  # a bonus at most doubles a payment: more is a typing error
HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def is_sample(secret: str) -> bool:
    """Whether others know a secret, or nobody drew it: a word from a sample file in any spelling, or a few characters
    again and again."""
    letters = re.sub(r"[^a-z]", "", secret.lower())
    return len(set(secret)) < LEAST_DIFFERENT or any(word in letters for word in SAMPLE_WORDS)


def is_fernet_key(text: str) -> bool:
    """Whether the text is 32 bytes in URL-safe base64, and not a sample such as 32 times the same byte."""
    try:
        key = base64.urlsafe_b64decode(text)
    except ValueError:
        return False
    return len(key) == 32 and len(set(key)) >= LEAST_DIFFERENT_BYTES


def is_quoted(text: str) -> bool:
    """Whether the text is in quotes, as in a file for a shell."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES


def read_flag(text: str) -> bool:
    """The flag's value. Raises ValueError for anything but yes or no."""
    word = text.strip().lower()
    if word not in (*YES, *NO):
        raise ValueError
    return word in YES


def split_url(text: str) -> SplitResult:
    """The parts of a URL with a valid port. Raises ValueError."""
    parts = urlsplit(text)
    if parts.port == 0 or any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError
    return parts


def whole(least: int, most: int) -> Rule:
    """A whole number within these bounds."""

    def check(value: int) -> str | None:
        return None if least <= value <= most else f"must be a whole number from {least} to {most}."

    return check


def seconds(least: float = 0.001, most: float = DAY_SECONDS) -> Rule:
    """A duration within these bounds."""

    def check(value: float) -> str | None:
        good = math.isfinite(value) and least <= value <= most
        return None if good else f"must be a number of seconds from {least:g} to {most:g}."

    return check


def one_of(*words: str) -> Rule:
    """One of these words."""

    def check(value: str) -> str | None:
        return None if value in words else f"must be {', '.join(words[:-1])} or {words[-1]}."

    return check


def _check_bind(value: str) -> str | None:
    if not value or value.startswith("unix:") and len(value) > len("unix:"):
        return None
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        if ":" not in value and HOST.fullmatch(value):
            return None
        return "must be an address without a port, such as 127.0.0.1, or unix:PATH: the port is PORT."
    return None


def _check_redis_url(value: str) -> str | None:
    """Redis by TCP, TLS or a socket; after the host comes a database's number."""
    problem = "must be redis://[user:password@]host:6379/0, or rediss://… for TLS, with the parts encoded."
    if not value:
        return None
    try:
        parts = split_url(value)
        if parts.scheme == "unix":
            return None if parts.path else problem
        good = parts.scheme in ("redis", "rediss") and HOST.fullmatch(_host_of(parts)) and not parts.fragment
    except ValueError:
        return problem
    return None if good and re.fullmatch(r"/?\d*", parts.path) else problem


def read_certificates(value: str) -> str:
    """The certificates of a setting that contains them, as platforms pass them, or names their file. Raises OSError for
    an unreadable file, and ValueError for text that is no certificate."""
    text = value.replace("\\n", "\n") if "BEGIN CERTIFICATE" in value else Path(value).read_text()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except ssl.SSLError:
        raise ValueError("not a certificate") from None
    return text


def _check_certificates(value: str) -> str | None:
    try:
        if value:
            read_certificates(value)
        return None
    except (OSError, ValueError):
        return "must be a certificate (-----BEGIN CERTIFICATE-----…), or the path of a file that holds one."


def _check_site(value: str) -> str | None:
    problem = "must be the site's own address, such as https://gateway.example, without /v1 or another path."
    return None if not value or is_web_address(value, path="/?") else problem


def _check_proxy(value: str) -> str | None:
    problem = "must be an http://, socks5:// or socks5h:// address with host and port; https:// proxies are not spoken."
    return None if not value or is_web_address(value, ("http", "socks5", "socks5h"), path="/?") else problem


def _check_api_base(value: str) -> str | None:
    return None if not value or is_web_address(value) else "must be an http:// or https:// address."


def is_web_address(value: str, schemes: tuple[str, ...] = ("http", "https"), path: str = ".*") -> bool:
    """Whether the value is a web URL: scheme and host, a path that matches this pattern, and nothing more."""
    try:
        parts = split_url(value)
    except ValueError:
        return False
    plain = not parts.query and not parts.fragment and re.fullmatch(path, parts.path)
    return bool(parts.scheme in schemes and HOST.fullmatch(_host_of(parts)) and plain)


def _host_of(parts: SplitResult) -> str:
    """The host as it was written, in brackets if it is IPv6."""
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def read_bonus_steps(text: str) -> tuple[tuple[int, int], ...]:
    """The steps of `50:5,200:10`, the smallest first: from how many billionths of the currency's unit on, and how many
    hundredths of a percent more. () for an empty text. Raises ValueError for another form, and for steps that don't
    go up."""
    found: list[tuple[int, int]] = []
    for step in filter(None, map(str.strip, text.split(","))):
        amount, colon, percent = step.partition(":")
        nanos, basis_points = parse_dollars(amount), parse_percent(percent.strip())
        if not colon or nanos <= 0 or not 0 <= basis_points <= MOST_BONUS_BPS or (found and nanos <= found[-1][0]):
            raise ValueError("no step of a bonus")
        found.append((nanos, basis_points))
    return tuple(found)


def _check_bonus(value: str) -> str | None:
    try:
        read_bonus_steps(value)
    except ValueError:
        return "must be steps that go up, amount:percent, at most 100 percent, such as 50:5,200:10."
    return None


def _check_dollars(value: str) -> str | None:
    try:
        if parse_dollars(value or "0") < 0:
            raise ValueError
    except ValueError:
        return "must be an amount of dollars, such as 5.00."
    return None


RULES: dict[str, Rule] = {
    "bridge_env": one_of("production", "development"),
    "bind": _check_bind,
    "port": whole(1, 65_535),
    "web_concurrency": whole(1, 1024),
    "database_connections": whole(3, 10_000),
    "redis_url": _check_redis_url,
    "redis_ca_cert": _check_certificates,
    "public_base_url": _check_site,
    "trust_proxy": whole(0, 10),
    "upstream_proxy": _check_proxy,
    "upstream_ca_cert": _check_certificates,
    "stripe_api_base": _check_api_base,
    "top_up_bonus": _check_bonus,
    "referral_credit": _check_dollars,
    "referral_cap": _check_dollars,
    "github_url": _check_api_base,
    "github_api_url": _check_api_base,
    "oidc_issuer": _check_api_base,
    "signup": lambda value: one_of("open", "invite", "closed")(value) if value else None,
    "signup_work_bits": whole(0, 30),
    "log_level": one_of(*LOG_LEVELS),
    "smtp_port": whole(1, 65_535),
    "nightly_hour": whole(0, 23),
    "default_rpm": whole(0, 10**9),
    "default_tpm": whole(0, 10**12),
    "default_concurrency": whole(0, 10**6),
    "default_keys": whole(0, 10**6),
    "retries_always": whole(0, 10**6),
    "max_body_bytes": whole(1, MOST_BYTES),
    "max_bodies_in_memory_bytes": whole(1, 1024 * MOST_BYTES),
    "max_answer_bytes": whole(1, MOST_BYTES),
    "max_event_bytes": whole(1, MOST_BYTES),
    "max_resume_bytes": whole(0, 1024 * MOST_BYTES),
    "max_in_flight": whole(0, 10**6),
    # durations that may be zero
    "hold_grace_seconds": seconds(0),
    "open_stream_after_seconds": seconds(0),
    "drain_seconds": seconds(0),
    "cooldown_seconds": seconds(0),
    "probe_seconds": seconds(0),
    "incident_quiet_seconds": seconds(0),
    "retry_backoff_seconds": seconds(0),
}


def find_problem(name: str, value: Any) -> str | None:
    """What is wrong with a setting's value, as a sentence; None if nothing is. A duration without a rule of its own
    must be more than zero and finite."""
    rule = RULES.get(name) or (seconds() if name.endswith("_seconds") else None)
    problem = rule(value) if rule else None
    return problem and f"{name.upper()} {problem}"
