"""Turns DATABASE_URL, in any form that platforms and other tools use, into psycopg's form."""

import re
from urllib.parse import SplitResult, parse_qsl, urlencode

import psycopg

from bridge.settings_rules import HOST, split_url

SAMPLE = "postgresql://user:password@host:5432/name"
POSTGRESQL = re.compile(r"(?:postgres|postgresql|psql|postgis|pgsql)(?:\+\w+)?", re.IGNORECASE)
SSL_MODES = {"true": "require", "1": "require", "require": "require", "false": "disable", "0": "disable"}
# parameters of other client libraries; DATABASE_CONNECTIONS decides how many connections we keep
OTHERS = ("connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size", "prepared_statements", "schema")
NOT_OURS = ("options",)  # a pooler refuses it; we set our options after connecting
KEYWORDS = frozenset(
    default.keyword.decode() for default in psycopg.pq.Conninfo.get_defaults() if default.keyword is not None
)


def read_database_url(text: str) -> tuple[str, bool]:
    """The URL for SQLAlchemy, and whether it says that it leads to a pooler. Raises ValueError with a sentence that
    repeats nothing of the URL but a parameter's name."""
    if not text:
        return "", False
    if text.startswith("sqlite:"):
        return text, False
    try:
        parts = split_url(text)
    except ValueError:
        raise ValueError(f"DATABASE_URL can't be read: it must be {SAMPLE}, with the parts encoded.") from None
    if not POSTGRESQL.fullmatch(parts.scheme):
        named = f"{parts.scheme.partition('+')[0]} is not spoken" if "://" in text else "it has no scheme"
        raise ValueError(f"DATABASE_URL must be {SAMPLE}: {named}.")
    if parts.fragment or (parts.netloc and not _is_place(parts)) or "/" in parts.path[1:]:
        raise ValueError(
            f"DATABASE_URL must be {SAMPLE}, with #, /, @ and ? of a password encoded (%23, %2F, %40, %3F)."
        )
    query, is_pooled = _read_parameters(parts.query)
    return f"postgresql+psycopg://{parts.netloc}{parts.path or '/'}{query and '?'}{query}", is_pooled


def _is_place(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return not host or all(HOST.fullmatch(f"[{one}]" if ":" in one else one) for one in host.split(","))


def _read_parameters(query: str) -> tuple[str, bool]:
    """The parameters that libpq knows, and whether one of them mentions PgBouncer. Raises ValueError."""
    kept: list[tuple[str, str]] = []
    is_pooled = False
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "pgbouncer":
            is_pooled = value.lower() in ("true", "1")
        elif name == "ssl":
            if value.lower() not in SSL_MODES:
                raise ValueError("DATABASE_URL: ssl must be true or false; libpq's own name for it is sslmode.")
            kept.append(("sslmode", SSL_MODES[value.lower()]))
        elif name == "schema" and value not in ("", "public"):
            raise ValueError("DATABASE_URL: schema must be public; set another one as the role's search_path.")
        elif name in OTHERS:
            continue
        elif name in NOT_OURS or name not in KEYWORDS:
            raise ValueError(f"DATABASE_URL has a parameter that can't be used here: {name[:40]!r}. Leave it out.")
        else:
            kept.append((name, value))
    return urlencode(kept), is_pooled
