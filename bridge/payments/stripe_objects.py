"""Reads the fields of Stripe's objects, as they come in events and answers."""

import re
from typing import Any

Found = dict[str, Any]
STRIPE_ID = re.compile(r"[A-Za-z0-9_-]{1,120}", re.ASCII)
CURRENCY = re.compile(r"[a-z]{3}", re.ASCII)
MOST_MINOR = 10**12  # no Stripe amount has more than twelve digits


def read_id(found: Found, name: str) -> str | None:
    """An object's id, also if Stripe put the whole object in its place."""
    value = found.get(name)
    value = value.get("id") if isinstance(value, dict) else value
    return value if isinstance(value, str) and STRIPE_ID.fullmatch(value) else None


def read_amount(found: Found, name: str) -> int | None:
    """A whole amount above zero; None for anything else."""
    value = found.get(name)
    return value if isinstance(value, int) and 0 < value < MOST_MINOR else None


def read_currency(found: Found) -> str:
    """`usd`; "" for what is no currency."""
    value = str(found.get("currency")).lower()
    return value if CURRENCY.fullmatch(value) else ""
