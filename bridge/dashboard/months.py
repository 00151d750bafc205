"""How pages name months, and days without a time: the filters for them."""

import datetime

from babel.dates import format_skeleton
from flask import Flask

from bridge.dates import LONG_DAY, SHORT_DAY, write_date
from bridge.languages import ENGLISH, find_language


def month(at: datetime.date) -> str:
    """`November`"""
    return _write(at, "%B", "MMM")


def month_and_year(at: datetime.date) -> str:
    """`November 2026`"""
    return _write(at, "%B %Y", "yMMM")


def long_day(at: datetime.date) -> str:
    """`3 November 2026`"""
    return write_date(at, LONG_DAY)


def short_day(at: datetime.date) -> str:
    """`3 Nov`"""
    return write_date(at, SHORT_DAY)


def _write(at: datetime.date, english: str, skeleton: str) -> str:
    language = find_language()
    return at.strftime(english) if language == ENGLISH else format_skeleton(skeleton, at, locale=language)


FILTERS = (month, month_and_year, long_day, short_day)


def register(app: Flask) -> None:
    """Make every filter known to the templates by its own name."""
    for function in FILTERS:
        app.add_template_filter(function, function.__name__)
