"""When a key's budget starts again: UTC days, weeks from Monday, months; a total never does."""

import datetime

NEVER = datetime.date(1970, 1, 1)


def period_start(period: str, moment: datetime.datetime) -> datetime.date:
    """The first day of the period ("day", "week", "month", "total") that holds this moment."""
    day = moment.astimezone(datetime.UTC).date()
    if period == "day":
        return day
    if period == "week":
        return day - datetime.timedelta(days=day.weekday())
    if period == "month":
        return day.replace(day=1)
    return NEVER
