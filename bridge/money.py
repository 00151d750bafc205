"""Nano-dollars: whole numbers of 10⁻⁹ US dollars. Parses, prints, and has the one rounding."""

import re

from bridge.errors import InvalidRequest

NANOS_PER_DOLLAR = 1_000_000_000
TOKENS_PER_MTOK = 1_000_000
MAX_NANOS = 10**18  # a billion dollars: far above any balance, far below a 64-bit overflow
MIN_MARKUP_BPS, MAX_MARKUP_BPS = -10_000, 1_000_000  # from free to a hundred and one times as dear
_DOLLARS = re.compile(r"(-?)\$?(\d{1,9})(?:\.(\d{0,9}))?", re.ASCII)


def parse_dollars(text: str) -> int:
    """Nano-dollars from dollars as a plain decimal ("2.5", "$10", "-0.000000001"), exactly.

    Raises ValueError for anything else, also for more than nine decimals: nothing is rounded silently."""
    match = _DOLLARS.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not an amount in dollars with at most nine decimal places")
    sign, whole, fraction = match.groups()
    nanos = int(whole) * NANOS_PER_DOLLAR + int((fraction or "").ljust(9, "0"))
    return -nanos if sign else nanos


def format_dollars(nanos: int, places: int = 0) -> str:
    """Nano-dollars as a plain decimal of dollars, with at least `places` decimals and no further trailing zeros."""
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    whole, fraction = divmod(nanos, NANOS_PER_DOLLAR)
    decimals = f"{fraction:09d}".rstrip("0").ljust(places, "0")
    return f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"


def format_per_token(nanos_per_mtok: int) -> str:
    """A price per million tokens in dollars per token, exactly, with as many decimals as that takes."""
    digits = f"{nanos_per_mtok:016d}"
    whole, fraction = digits[:-15].lstrip("0") or "0", digits[-15:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def format_exact_sum(amount_times_mtok: int) -> str:
    """A sum of tokens × nanos per million tokens in dollars, exactly: up to fifteen decimals."""
    return format_per_token(amount_times_mtok)


def parse_percent(text: str) -> int:
    """Hundredths of a percent from a plain decimal of percent ("12.5", "-3%"), exactly. Raises ValueError."""
    ten_millionths = parse_dollars(text.removesuffix("%"))
    if ten_millionths % 10**7:
        raise ValueError(f"{text!r} is not a percentage with at most two decimal places")
    return ten_millionths // 10**7


def format_percent(basis_points: int) -> str:
    """Hundredths of a percent in percent: "12.5", "-3"."""
    sign, basis_points = ("-", -basis_points) if basis_points < 0 else ("", basis_points)
    whole, hundredths = divmod(basis_points, 100)
    return f"{sign}{whole}.{hundredths:02d}".rstrip("0").rstrip(".")


def round_up(amount_times_mtok: int) -> int:
    """Nano-dollars from a sum of tokens × nanos per million tokens, rounded up. A charge is rounded nowhere else."""
    return -(-amount_times_mtok // TOKENS_PER_MTOK)


def take_share(nanos: int, basis_points: int) -> int:
    """A share of an amount, in hundredths of a percent, rounded up."""
    return -(-nanos * basis_points // 10_000)


def check_markup(basis_points: int) -> None:
    """Raises InvalidRequest for a markup out of bounds: hundredths of a percent, from free to very dear."""
    if type(basis_points) is not int or not MIN_MARKUP_BPS <= basis_points <= MAX_MARKUP_BPS:
        raise InvalidRequest("A markup is from -100 to 10,000 percent, with at most two decimals.", param="markup")
