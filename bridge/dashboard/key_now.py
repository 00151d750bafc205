"""What a key is doing: its calls of the last 24 hours as a chart, and how much of its limits is in use now."""

import datetime
from collections.abc import Mapping
from typing import Any

from flask import current_app, url_for

from bridge.accounts.key_limits import LIMITS, limit_key
from bridge.accounts.tables import Key
from bridge.chart import HOUR, Chart, SpanSum, draw
from bridge.dashboard.filters import count
from bridge.inference.services import Services
from bridge.languages import to_translate, translate
from bridge.ledger.rollups import Sums
from bridge.limits.limits import InUse, read_in_use

HOURS = 24
COLOURS = {"answered": "c1", "failed": "c6", "refused": "c2"}  # from the bottom up
SIZES = ((600, 3, "wide"), (330, 6, "slim"))  # width, each so-manieth hour is named, class
IN_USE = {
    "rpm": to_translate("Requests a minute"),
    "tpm": to_translate("Tokens a minute"),
    "concurrency": to_translate("At once"),
}
COUNTED = {
    "answered": to_translate("%(count)s answered"),
    "failed": to_translate("%(count)s failed"),
    "refused": to_translate("%(count)s refused"),
}
Links = dict[datetime.datetime, tuple[str, str]]


def list_in_use(key: Key, account_limits: Mapping[str, int]) -> list[tuple[str, InUse]]:
    """The name of each limit that counts for the key, and how much of it is in use; [] where no limits are counted."""
    services: Services | None = current_app.extensions.get("bridge_services")
    if services is None:
        return []
    own = {name: limit_key(getattr(key, name), account_limits[name]) for name in LIMITS}
    figures = ((each["rpm"], each["tpm"], each["concurrency"]) for each in (own, account_limits))
    found = read_in_use(services.counters, key.account_id, key.id, *figures)
    return [(translate(IN_USE[in_use.kind]), in_use) for in_use in found]


def draw_calls(
    key_id: int,
    first: datetime.datetime,
    answered: Mapping[datetime.datetime, Sums],
    refused: Mapping[datetime.datetime, int],
) -> list[tuple[Chart, Links]]:
    """The key's calls by hour from `first` on, in both widths, each hour with where it leads and what it says; [] if
    there were none. `answered` has the requests that ran, the failed ones among them."""
    hours = [first + datetime.timedelta(hours=number) for number in range(HOURS)]
    calls: dict[datetime.datetime, dict[str, int]] = {}
    for hour in hours:
        sums = answered.get(hour, Sums())
        figures = {"answered": sums.requests - sums.failed, "failed": sums.failed, "refused": refused.get(hour, 0)}
        calls[hour] = {name: requests for name, requests in figures.items() if requests}
    if not any(calls.values()):
        return []
    parts = [SpanSum(hour, name, requests, 0) for hour, found in calls.items() for name, requests in found.items()]
    links = {hour: (_find_address(key_id, hour), _describe(hour, found)) for hour, found in calls.items()}
    return [
        (draw(parts, hours, HOUR, width=width, name_every=every, css=css, colours=COLOURS, counts=True), links)
        for width, every, css in SIZES
    ]


def _find_address(key_id: int, hour: datetime.datetime) -> str:
    """The usage of the hour's day, which is the least that the usage page filters by."""
    query: dict[str, Any] = {"from": f"{hour:%Y-%m-%d}", "to": f"{hour:%Y-%m-%d}"}
    return url_for("dashboard.show_usage", key=key_id, period="dates", **query)


def _describe(hour: datetime.datetime, found: Mapping[str, int]) -> str:
    """`14:00 to 15:00: 67 answered, 36 refused`"""
    figures = ", ".join(translate(COUNTED[name], count=count(requests)) for name, requests in found.items())
    first, last = f"{hour:%H}:00", f"{hour + datetime.timedelta(hours=1):%H}:00"
    if not figures:
        return translate("%(first)s to %(last)s: no calls", first=first, last=last)
    return translate("%(first)s to %(last)s: %(figures)s", first=first, last=last, figures=figures)
