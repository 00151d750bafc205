"""Dates as people read them, in the language of their page or mail."""

import datetime
import functools

from babel.dates import format_skeleton

from bridge.languages import ENGLISH, find_language

DAY, SHORT_DAY, LONG_DAY, MONTH = "%-d %b %Y", "%-d %b", "%-d %B %Y", "%b"  # as English writes them
SKELETONS = {DAY: "yMMMMd", SHORT_DAY: "MMMMd", LONG_DAY: "yMMMMd", MONTH: "MMM"}  # for the others, by Unicode's order
KEPT = 2048  # as they were written: a page has the same few again and again


def write_date(at: datetime.date, form: str = DAY) -> str:
    """`23 Nov 2026`, or another of the forms above, in the language that is spoken; of a moment, the day in its own
    zone."""
    return _write(at.year, at.month, at.day, form, find_language())


@functools.lru_cache(maxsize=KEPT)
def _write(year: int, month: int, day: int, form: str, language: str) -> str:
    date = datetime.date(year, month, day)
    if language == ENGLISH:
        return date.strftime(form)
    return format_skeleton(SKELETONS[form], date, locale=language)
