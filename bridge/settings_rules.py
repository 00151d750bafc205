"""What a setting may be: its range or its form, and the sentence that says so. No sentence repeats a value that may be
secret."""

import base64
import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit

Rule = Callable[[Any], str | None]  # what is wrong with a value, as the end of a sentence that begins with its name

YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
QUOTES = "\"'`"
LOG_LEVELS = ("debug", "info", "warning", "error")
MIN_SECRET_LENGTH = 32
# parts of secrets that stand in somebody's documentation
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
LEAST_DIFFERENT = 8  # characters of a secret, bytes of a key: what was drawn has more
DAY_SECONDS = 86_400.0
MOST_BYTES = 4 * 2**30
HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def is_sample(secret: str) -> bool:
    """Whether a secret is one that others know, or that nobody drew: a word from a sample file in whatever spelling, or
    a few characters again and again."""
    letters = re.sub(r"[^a-z]", "", secret.lower())
    return len(set(secret)) < LEAST_DIFFERENT or any(word in letters for word in SAMPLE_WORDS)


def is_fernet_key(text: str) -> bool:
    """Whether it is 32 bytes in URL-safe base64, and not a sample such as 32 times the same byte."""
    try:
        key = base64.urlsafe_b64decode(text)
    except ValueError:
        return False
    return len(key) == 32 and len(set(key)) >= LEAST_DIFFERENT


def is_quoted(text: str) -> bool:
    """Whether it stands in quotes, as in a file that a shell would read."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES


def read_flag(text: str) -> bool:
    """Raises ValueError for what is neither yes nor no."""
    word = text.strip().lower()
    if word not in (*YES, *NO):
        raise ValueError
    return word in YES


def split_url(text: str) -> SplitResult:
    """The parts of an address, with a port that is one. Raises ValueError."""
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
    """A duration that ends."""

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
    """Redis by TCP, by TLS, or by its socket; after the host comes the number of a database."""
    complaint = "must be redis://[user:password@]host:6379/0, or rediss://… for TLS, with the parts encoded."
    if not value:
        return None
    try:
        parts = split_url(value)
        if parts.scheme == "unix":
            return None if parts.path else complaint
        good = parts.scheme in ("redis", "rediss") and HOST.fullmatch(_host_of(parts)) and not parts.fragment
    except ValueError:
        return complaint
    return None if good and re.fullmatch(r"/?\d*", parts.path) else complaint


def _check_site(value: str) -> str | None:
    complaint = "must be the site's own address, such as https://gateway.example, without /v1 or another path."
    return None if not value or is_web_address(value, path="/?") else complaint


def _check_proxy(value: str) -> str | None:
    complaint = "must be an http:// address with host and port; SOCKS and https:// proxies are not spoken."
    return None if not value or is_web_address(value, ("http",), path="/?") else complaint


def _check_api_base(value: str) -> str | None:
    return None if not value or is_web_address(value) else "must be an http:// or https:// address."


def is_web_address(value: str, schemes: tuple[str, ...] = ("http", "https"), path: str = ".*") -> bool:
    """Whether it is an address of the web: scheme and host, with a path as this pattern says, and nothing behind it."""
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


RULES: dict[str, Rule] = {
    "bridge_env": one_of("production", "development"),
    "bind": _check_bind,
    "port": whole(1, 65_535),
    "web_concurrency": whole(1, 1024),
    "database_connections": whole(3, 10_000),
    "redis_url": _check_redis_url,
    "public_base_url": _check_site,
    "trust_proxy": whole(0, 10),
    "upstream_proxy": _check_proxy,
    "stripe_api_base": _check_api_base,
    "signup": lambda value: one_of("open", "invite", "closed")(value) if value else None,
    "log_level": one_of(*LOG_LEVELS),
    "smtp_port": whole(1, 65_535),
    "nightly_hour": whole(0, 23),
    "default_rpm": whole(0, 10**9),
    "default_tpm": whole(0, 10**12),
    "default_concurrency": whole(0, 10**6),
    "retries_always": whole(0, 10**6),
    "max_body_bytes": whole(1, MOST_BYTES),
    "max_bodies_in_memory_bytes": whole(1, 1024 * MOST_BYTES),
    "max_answer_bytes": whole(1, MOST_BYTES),
    "max_event_bytes": whole(1, MOST_BYTES),
    "max_in_flight": whole(0, 10**6),
    # what may be none at all
    "hold_grace_seconds": seconds(0),
    "open_stream_after_seconds": seconds(0),
    "drain_seconds": seconds(0),
    "cooldown_seconds": seconds(0),
    "retry_backoff_seconds": seconds(0),
}


def complain(name: str, value: Any) -> str | None:
    """What is wrong with a setting's value, as a sentence; None if nothing is. Every duration that has no rule of its
    own is more than nothing, and ends."""
    rule = RULES.get(name) or (seconds() if name.endswith("_seconds") else None)
    complaint = rule(value) if rule else None
    return complaint and f"{name.upper()} {complaint}"
