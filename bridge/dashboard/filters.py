"""How pages print money, tokens, times and ids: the template filters, one function each."""

import datetime
import functools
import re
import zoneinfo
from urllib.parse import quote

from flask import Flask, g, has_app_context
from markupsafe import Markup, escape

from bridge.accounts.roles import name_role
from bridge.dates import write_date
from bridge.db import now_utc
from bridge.languages import find_language, translate
from bridge.money import NANOS_PER_DOLLAR, format_dollars, format_percent
from bridge.turns import in_slices

NANOS_PER_CENT = NANOS_PER_DOLLAR // 100
NANOS_PER_MICRO = 1_000
MINUS = "−"
KEPT_PRICES, KEPT_DAYS = 4096, 1024  # as they were written: a page has the same few again and again
PATTERN_SIGNS = re.compile(r"([\\^$.|?*+()\[\]{}/])")


def _dollars(units: int, places: int) -> str:
    """A whole number of 10^-places dollars, with commas and the minus sign before the dollar."""
    whole, fraction = divmod(abs(units), 10**places)
    return f"{MINUS if units < 0 else ''}${whole:,}.{fraction:0{places}d}"


def _half_up(nanos: int, unit: int) -> int:
    """Nanos in whole units, halves away from zero."""
    rounded = (abs(nanos) + unit // 2) // unit
    return -rounded if nanos < 0 else rounded


def initials(name: str) -> str:
    """Two letters for a name or an address: `MH` of Mira Holt, `MI` of mira@example.com."""
    words = [word for word in re.split(r"[^\w]+", name.partition("@")[0]) if word]
    letters = words[0][0] + words[1][0] if len(words) > 1 else "".join(words)[:2]
    return letters.upper()


def balance(nanos: int) -> str:
    """A balance: two decimals, rounded down, so that nobody sees a cent that they can't spend."""
    if 0 < nanos < NANOS_PER_CENT:
        return "<$0.01"
    return _dollars(nanos // NANOS_PER_CENT, 2)


def spend(nanos: int) -> str:
    """An amount spent, or to be spent: two decimals, half up; less than a cent is shown as such."""
    if 0 < nanos < NANOS_PER_CENT:
        return "<$0.01"
    return _dollars(_half_up(nanos, NANOS_PER_CENT), 2)


def signed(nanos: int) -> str:
    """An amount that came or went: as `spend`, also below zero."""
    return f"{MINUS}{spend(-nanos)}" if nanos < 0 else spend(nanos)


def exact(nanos: int) -> str:
    """An exact amount: every digit but trailing zeros, at least two decimals."""
    digits = format_dollars(abs(nanos), 2)
    whole, _, fraction = digits.partition(".")
    return f"{MINUS if nanos < 0 else ''}${int(whole):,}.{fraction}"


def cost(nanos: int) -> Markup:
    """One request's cost in a list: six decimals, zero in the palest ink."""
    if nanos == 0:
        return Markup('<span class="ink3">$0.000000</span>')
    if 0 < nanos < NANOS_PER_MICRO:
        return escape("<$0.000001")
    return escape(_dollars(_half_up(nanos, NANOS_PER_MICRO), 6))


def receipt(nanos: int) -> Markup:
    """An amount on a receipt: all nine decimals, the last three in the palest ink."""
    text = _dollars(nanos, 9)
    return Markup('{}<span class="ink3">{}</span>').format(text[:-3], text[-3:])


def price_places(prices: list[int]) -> int:
    """How many decimals a column of unit prices needs so that every one is exact: two or more."""
    return max(map(_count_places, set(prices)), default=2)


@functools.lru_cache(maxsize=KEPT_PRICES)
def _count_places(nanos: int) -> int:
    return len(format_dollars(nanos, 2).partition(".")[2])


@functools.lru_cache(maxsize=KEPT_PRICES)
def price(nanos_per_mtok: int, places: int = 2) -> Markup:
    """Dollars per million tokens, exact. Hidden zeros fill up to `places`, so that decimal points align in a column."""
    text = exact(nanos_per_mtok)
    missing = places - len(text.partition(".")[2])
    return Markup('%s<span class="z">%s</span>') % (text, "0" * missing) if missing > 0 else escape(text)


def count(number: int) -> str:
    """A whole number with commas."""
    return f"{number:,}"


def tokens(number: int) -> str:
    """A number of tokens, short: three digits and K or M."""
    for unit, sign in ((1_000_000, "M"), (1_000, "K")):
        if number >= unit - unit // 2000:  # 999,950 is 1M, not 1000K
            value = number / unit
            places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            text = f"{value:,.{places}f}"
            return (text.rstrip("0").rstrip(".") if "." in text else text) + sign
    return str(number)


def percent(part: int, whole: int) -> str:
    """A share with one decimal; none if the whole is zero."""
    return f"{100 * part / whole:.1f}%".replace("-", MINUS) if whole else "–"


def markup(basis_points: int) -> str:
    """A markup, exact, with its sign: `+12.5%`, `−3%`."""
    sign = "" if not basis_points else "+" if basis_points > 0 else MINUS
    return f"{sign}{format_percent(abs(basis_points))}%"


def short_id(identifier: str) -> str:
    """`req_0193…a91f`: the tail distinguishes ids, so it is never cut."""
    head = re.match(r"[a-z]+[_-]", identifier)
    start = (head.end() if head else 0) + 4
    return identifier if len(identifier) <= start + 5 else f"{identifier[:start]}…{identifier[-4:]}"


def key_hint(last_four: str) -> str:
    """`sk-…k3Xz`: all that we know of a key's secret."""
    return f"sk-…{last_four}"


def duration(milliseconds: int | None) -> str:
    """Milliseconds below a second, seconds with two decimals below a minute, minutes and seconds above."""
    if milliseconds is None:
        return "–"
    if milliseconds < 1_000:
        return f"{milliseconds} ms"
    if milliseconds < 59_995:
        return f"{milliseconds / 1000:.2f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    if seconds:
        padded = f"{seconds:02d}"
        return translate("%(minutes)s min %(seconds)s s", minutes=minutes, seconds=padded)
    return translate("%(minutes)s min", minutes=minutes)


def _find_zone() -> datetime.tzinfo | None:
    """The zone that the signed-in member has chosen; None where the script shows the browser's own."""
    member = g.get("member") if has_app_context() else None
    return _name_zone(member.time_zone) if member is not None and member.time_zone else None


@functools.cache
def _name_zone(name: str) -> datetime.tzinfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):  # this machine no longer knows it
        return None


def _local(at: datetime.datetime) -> datetime.datetime:
    """The moment in the member's zone, otherwise in UTC."""
    return at.astimezone(_find_zone() or datetime.UTC)


def _time(at: datetime.datetime, form: str, text: str) -> Markup:
    """The moment as `text`, which the script replaces unless the member has chosen a zone."""
    utc = at.astimezone(datetime.UTC).isoformat(" ", "seconds")[:19]
    mark = f' data-time="{form}"' if _find_zone() is None else ""
    tag = f'<time datetime="{utc.replace(" ", "T")}Z" title="{utc} UTC"{mark}>{escape(text)}</time>'
    return Markup(tag)  # noqa: S704 - formatted by Markup itself, a page's hundreds of them took an eighth of its time


def _day(at: datetime.datetime) -> str:
    return write_date(_local(at))


def moment(at: datetime.datetime | None) -> Markup:
    """Day and time. Unless the reader has chosen a zone, the script converts it to the browser's; without it the text
    says UTC."""
    if at is None:
        return Markup("–")
    local = _local(at)
    time = f"{local:%H:%M:%S %Z}"
    return _time(at, "moment", translate("%(day)s, %(time)s", day=write_date(local), time=time))


def clock(at: datetime.datetime | None) -> Markup:
    """The time alone, for what happened today."""
    return Markup("–") if at is None else _time(at, "clock", f"{_local(at):%H:%M:%S %Z}")


def day(at: datetime.datetime | datetime.date | None) -> Markup:
    """`23 Nov 2026`. A bare date has no zone and stays as it is."""
    if at is None:
        return Markup("–")
    if not isinstance(at, datetime.datetime):
        return _bare_day(at, find_language())
    return _time(at, "day", _day(at))


@functools.lru_cache(maxsize=KEPT_DAYS)
def _bare_day(at: datetime.date, language: str) -> Markup:  # noqa: ARG001 - each language's is kept apart
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), write_date(at))


def ago(at: datetime.datetime | None, never: str = "") -> Markup:
    """`2 min ago` under an hour, the day otherwise; of what never was, that."""
    if at is None:
        return Markup('<span class="ink3">{}</span>').format(never or translate("never"))
    seconds = (now_utc() - at).total_seconds()
    if seconds < 60:
        return _time(at, "ago", translate("just now"))
    if seconds < 3600:
        return _time(at, "ago", translate("%(minutes)s min ago", minutes=int(seconds // 60)))
    return _time(at, "ago", _day(at))


def model_path(model_id: str) -> str:
    """The address of a model's page. Long lists need it, and Flask writes it slowly."""
    return f"/models/{quote(model_id)}"


def as_pattern(text: str) -> str:
    """The text as an HTML `pattern` that matches it and nothing else."""
    return PATTERN_SIGNS.sub(r"\\\1", text)


FILTERS = (
    *(balance, spend, signed, exact, cost, receipt, price, count, tokens, percent, markup),
    *(short_id, key_hint, duration, moment, clock, day, ago, as_pattern, model_path, initials, name_role),
)


def register(app: Flask) -> None:
    """Make every filter known to the templates by its own name."""
    for function in FILTERS:
        app.add_template_filter(function, function.__name__)
    app.add_template_filter(in_slices)  # for lists of unlimited length
    app.add_template_global(price_places, "price_places")
