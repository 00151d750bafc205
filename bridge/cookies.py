"""The pages' cookies: for this host alone, sent over TLS alone. The prefix `__Host-` makes the browser enforce both.

Development on plain http has plain names, since browsers disagree about secure cookies there."""

from typing import Any

from bridge.config import Settings


def cookie_name(settings: Settings, name: str) -> str:
    """The full name of one of our cookies. The prefix requires Secure, the path / and no domain (RFC 6265bis,
    4.1.3)."""
    return f"__Host-{name}" if settings.tls_expected else name


def cookie_rules(settings: Settings) -> dict[str, Any]:
    """The attributes of every cookie of ours, beside its name, value and age."""
    return {"secure": settings.tls_expected, "path": "/", "samesite": "Lax"}


def session_cookie(settings: Settings) -> dict[str, Any]:
    """The settings of Flask's session cookie, which also holds the forms' token and one-time messages."""
    return {
        "SESSION_COOKIE_NAME": cookie_name(settings, "session"),
        "SESSION_COOKIE_SECURE": settings.tls_expected,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_PATH": "/",
    }
