"""How pages name months and days in words, in the reader's language."""

import datetime

from flask import Flask

from bridge.languages import to_translate, translate

MONTHS = (
    *(to_translate("January"), to_translate("February"), to_translate("March"), to_translate("April")),
    *(to_translate("May"), to_translate("June"), to_translate("July"), to_translate("August")),
    *(to_translate("September"), to_translate("October"), to_translate("November"), to_translate("December")),
)
SHORT_MONTHS = (
    *(to_translate("Jan"), to_translate("Feb"), to_translate("Mar"), to_translate("Apr"), to_translate("May")),
    *(to_translate("Jun"), to_translate("Jul"), to_translate("Aug"), to_translate("Sep"), to_translate("Oct")),
    *(to_translate("Nov"), to_translate("Dec")),
)


def month(at: datetime.date) -> str:
    """`November`"""
    return translate(MONTHS[at.month - 1])


def month_and_year(at: datetime.date) -> str:
    """`November 2026`"""
    return translate("%(month)s %(year)s", month=month(at), year=at.year)


def long_day(at: datetime.date) -> str:
    """`3 November 2026`"""
    return translate("%(day)s %(month)s %(year)s", day=at.day, month=month(at), year=at.year)


def short_month(at: datetime.date) -> str:
    """`Nov`"""
    return translate(SHORT_MONTHS[at.month - 1])


def short_day(at: datetime.date) -> str:
    """`3 Nov`"""
    return translate("%(day)s %(month)s", day=at.day, month=short_month(at))


def day_of_year(at: datetime.date) -> str:
    """`3 Nov 2026`"""
    return translate("%(day)s %(month)s %(year)s", day=at.day, month=short_month(at), year=at.year)


FILTERS = (month, month_and_year, long_day, short_month, short_day, day_of_year)


def register(app: Flask) -> None:
    """Make every filter known to the templates by its own name."""
    for function in FILTERS:
        app.add_template_filter(function, function.__name__)
