"""Lines over some hours, with bars for a share below them: places everything in the SVG that a template draws."""

import dataclasses
from collections.abc import Sequence

from bridge.chart import Bar, Label

TOP, BASE, BARS_BASE, BARS_HEIGHT, HEIGHT = 30.0, 150.0, 200.0, 28.0, 224
LEFT = 34
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
MOST_LINES = 5
SPARK_WIDTH, SPARK_HEIGHT, SPARK_EDGE = 96, 22, 4


@dataclasses.dataclass(frozen=True)
class Moment:
    """One hour: its name on the axis ("" for none), each line's value (None: nothing was measured), the share below
    from 0 to 1, what its tip says, and where it leads."""

    name: str
    values: Sequence[float | None]
    share: float
    text: str
    url: str


@dataclasses.dataclass(frozen=True)
class Spot:
    """An hour's place: what can be pointed at, and the bar in it."""

    x: float
    width: float
    moment: Moment
    bar: Bar | None


@dataclasses.dataclass(frozen=True)
class LineChart:
    """A chart of one width. `lines` are pairs of a CSS class and the points of a polyline."""

    width: int
    left: int
    height: int
    top: float
    bars_base: float
    scale: list[Label]
    spots: list[Spot]
    names: list[Label]
    lines: list[tuple[str, str]]
    css: str


def draw_lines(
    moments: Sequence[Moment], colours: Sequence[str], bar_colour: str, *, width: int, css: str
) -> LineChart:
    """The chart of these hours. `colours` has a CSS class for each of their values, which are seconds."""
    most = max((value for each in moments for value in each.values if value is not None), default=0.0)
    step, steps = _find_scale(most)
    per_second = (BASE - TOP) / (step * steps)
    scale = [Label(0, round(BASE - step * n * per_second, 1), f"{step * n:g} s") for n in range(steps + 1)]
    pitch = (width - LEFT) / len(moments)
    highest = max((each.share for each in moments), default=0.0)
    spots, names = [], []
    for place, each in enumerate(moments):
        x = LEFT + pitch * place
        spots.append(Spot(round(x, 1), round(pitch, 1), each, _draw_bar(each.share, highest, bar_colour, x, pitch)))
        if each.name:
            names.append(Label(round(x + pitch / 2, 1), HEIGHT - 6, each.name))
    lines = [
        (colour, points)
        for number, colour in enumerate(colours)
        for points in _join([each.values[number] for each in moments], pitch, per_second)
    ]
    return LineChart(width, LEFT, HEIGHT, TOP - 8, BARS_BASE, scale, spots, names, lines, css)


def draw_spark(values: Sequence[float | None]) -> str:
    """The points of a small line without a scale; "" where there is nothing to draw."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return ""
    lowest, span = min(known), max(known) - min(known)
    pitch = SPARK_WIDTH / max(1, len(values) - 1)

    def place(value: float) -> float:
        share = (value - lowest) / span if span else 0.5
        return round(SPARK_HEIGHT - SPARK_EDGE - share * (SPARK_HEIGHT - 2 * SPARK_EDGE), 1)

    return " ".join(f"{round(pitch * n, 1)},{place(value)}" for n, value in enumerate(values) if value is not None)


def _draw_bar(share: float, highest: float, colour: str, x: float, pitch: float) -> Bar | None:
    if not share:
        return None
    height = max(1.0, BARS_HEIGHT * share / highest)
    return Bar(colour, round(x + pitch / 5, 1), round(BARS_BASE - height, 1), round(pitch * 3 / 5, 1), round(height, 1))


def _join(values: Sequence[float | None], pitch: float, per_second: float) -> list[str]:
    """Polylines through neighbouring hours; an hour alone is a short dash."""
    found: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            found.append([])
            continue
        x, y = LEFT + pitch * (place + 0.5), round(BASE - value * per_second, 1)
        found[-1].append(f"{round(x, 1)},{y}")
    joined = []
    for points in filter(None, found):
        first, at = points[0].split(",")
        joined.append(" ".join(points) if len(points) > 1 else f"{float(first) - 3:g},{at} {float(first) + 3:g},{at}")
    return joined


def _find_scale(most: float) -> tuple[float, int]:
    """A round step in seconds, and how many of them reach above the highest value."""
    for step in STEPS:
        if step * (MOST_LINES - 1) >= most:
            return step, max(1, -int(-most // step))
    return STEPS[-1], max(1, -int(-most // STEPS[-1]))
