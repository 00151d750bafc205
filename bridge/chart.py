"""Stacked bars of money or of requests: ranks their parts (models, keys …), and places every bar of the SVG that a
template draws."""

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence

from bridge.dates import MONTH, write_date
from bridge.money import format_dollars

RANKED = 4
TOP, BASE, HEIGHT, LABEL_WIDTH = 24, 190, 212, 7
MAX_BAR_WIDTH = 48
OTHER = "other"
MINUTE, HOUR, DAY = "%H:%M", "%H", "%d"  # formats of spans' names; those with a month are of bridge/dates.py


@dataclasses.dataclass(frozen=True, slots=True)
class SpanSum:
    """What one part of a bar, such as a model, cost in one span of time, a minute, an hour or a day in UTC."""

    start: datetime.datetime
    name: str
    requests: int
    charge_nanos: int


@dataclasses.dataclass(frozen=True)
class Series:
    """One part's share of the period; `colour` is its CSS class. "other" stands for all parts beyond the first four."""

    name: str
    colour: str
    requests: int
    charge_nanos: int


@dataclasses.dataclass(frozen=True)
class Bar:
    """One piece of a bar, in the SVG's units, to a tenth."""

    colour: str
    x: float
    y: float
    width: float
    height: float


@dataclasses.dataclass(frozen=True)
class Label:
    """A text on an axis."""

    x: float
    y: float
    text: str


@dataclasses.dataclass(frozen=True)
class Slot:
    """A span's place on the axis, and the bars above it."""

    start: datetime.datetime
    x: float
    width: float
    bars: list[Bar]


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart of one width: hairlines with their amounts, a slot for each span, and the spans' names below."""

    width: int
    left: int
    top: int
    base: int
    lines: list[Label]
    slots: list[Slot]
    names: list[Label]
    css: str


def rank_parts(sums: Sequence[SpanSum]) -> list[Series]:
    """The parts by what they cost, the dearest first; all beyond the fourth become one, with what is OTHER already."""
    totals: dict[str, list[int]] = {}
    for one in sums:
        total = totals.setdefault(one.name, [0, 0])
        total[0] += one.requests
        total[1] += one.charge_nanos
    ranked = sorted(totals.items(), key=lambda item: (item[0] == OTHER, -item[1][1], -item[1][0], item[0]))
    parts = len(ranked) - (OTHER in totals)
    named = ranked[: min(parts, RANKED)] if OTHER in totals or parts != RANKED + 1 else ranked
    series = [Series(name, f"c{rank}", *total) for rank, (name, total) in enumerate(named, 1)]
    if rest := [total for _, total in ranked[len(named) :]]:
        series.append(Series(OTHER, "c0", sum(total[0] for total in rest), sum(total[1] for total in rest)))
    return series


def draw(  # noqa: PLR0913 - what a chart is made of
    sums: Sequence[SpanSum],
    spans: Sequence[datetime.datetime],
    form: str,
    *,
    width: int,
    name_every: int,
    css: str,
    colours: Mapping[str, str] | None = None,
    counts: bool = False,
    write: Callable[[int], str] = "{:,}".format,
) -> Chart:
    """Bars for all spans in order. Each has the dearest part at the bottom, or, with `colours`, its parts in that
    sequence from the bottom up. `form` is the format of a span's name. With `counts` a bar is as high as its requests
    are many, or as whatever else was counted, and `write` is how the scale says that; otherwise as its charge."""
    if colours is None:
        colours = {series.name: series.colour for series in rank_parts(sums)}
    order = [*colours.values()]
    heights: dict[datetime.datetime, dict[str, int]] = {span: {} for span in spans}
    for one in sums:
        if one.start in heights:
            colour = colours.get(one.name, "c0")
            value = one.requests if counts else one.charge_nanos
            heights[one.start][colour] = heights[one.start].get(colour, 0) + value
    step, steps = _find_scale(max((sum(stack.values()) for stack in heights.values()), default=0))
    texts = [write(step * number) for number in range(steps + 1)] if counts else _write_dollars(step, steps)
    left = LABEL_WIDTH * max(map(len, texts)) + 10
    per_unit = (BASE - TOP) / (step * steps)
    lines = [Label(0, _round(BASE - step * number * per_unit), text) for number, text in enumerate(texts)]
    pitch = (width - left) / len(spans)
    slots, names = [], []
    for place, span in enumerate(spans):
        middle = left + pitch * (place + 0.5)
        bars = _stack(heights[span], order, middle, min(pitch * 2 / 3, MAX_BAR_WIDTH), per_unit)
        slots.append(Slot(span, _round(left + pitch * place), _round(pitch), bars))
        if place % name_every == 0:
            text = write_date(span, form) if MONTH in form else f"{span:{form}}"
            names.append(Label(_round(middle), HEIGHT - 4, text.lstrip("0") if form == DAY else text))
    return Chart(width, left, TOP, BASE, lines, slots, names, css)


def _write_dollars(step: int, steps: int) -> list[str]:
    places = len(format_dollars(step).partition(".")[2])
    return [
        f"${format_dollars(step * number, max(places, 2) if places and number else 0)}" for number in range(steps + 1)
    ]


def _stack(amounts: dict[str, int], order: list[str], middle: float, width: float, per_unit: float) -> list[Bar]:
    bars, y, x = [], float(BASE), _round(middle - width / 2)
    for colour in order:
        height = amounts.get(colour, 0) * per_unit
        if height >= 0.25:  # below that it is invisible
            gap = 1 if height > 2 else 0
            bars.append(Bar(colour, x, _round(y - height), _round(width), _round(height - gap)))
            y -= height
    return bars


def _round(length: float) -> float:
    """As the SVG has it. A template's filter would take three times as long, for hundreds of bars a page."""
    return round(length, 1)


def _find_scale(most: int) -> tuple[int, int]:
    """A round step in nanos or requests, and how many of them reach above the highest bar: three or four."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor * 4 >= most:
                return step * factor, max(1, -(-most // (step * factor)))
        step *= 10
