"""Summarises the runs: each figure's median and spread, its distance to the targets, and the table."""

import dataclasses
import statistics
from collections.abc import Sequence

from bench.load import Result
from bench.scenarios import WITHOUT, Figure, Scenario, cpu_per_answer

HEADING = ("", "", "beside", "gateway", "ratio", "spread", "reach", "aim", "distance")
ALONE_READS = 1.5
PART_GROUPS = ("server", "postgres", "redis")
Rounds = dict[int, float]  # a round's number -> what was read in it


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a scenario against one target: "nginx", "gateway", "gateway without …" or "direct"."""

    setup: str
    scenario: str
    target: str
    round: int
    result: Result


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure as measured, round by round: the gateway's, and that of nginx or of what it is compared with."""

    scenario: str
    figure: Figure
    yardsticks: Rounds
    gateways: Rounds

    @property
    def yardstick(self) -> float | None:
        return middle(self.yardsticks)

    @property
    def gateway(self) -> float | None:
        return middle(self.gateways)

    @property
    def ratios(self) -> Rounds:
        """The ratio of each round, since a slow machine slows both."""
        beside = self.yardsticks
        return {number: value / beside[number] for number, value in self.gateways.items() if beside.get(number, 0) > 0}

    @property
    def ratio(self) -> float | None:
        return middle(self.ratios)

    @property
    def judged_rounds(self) -> Rounds:
        """The numbers that the targets apply to."""
        return self.ratios if self.figure.ratio else self.gateways

    @property
    def judged(self) -> float | None:
        return middle(self.judged_rounds)


def middle(rounds: Rounds) -> float | None:
    """The median; None if there are no values."""
    return statistics.median(rounds.values()) if rounds else None


def sum_up(scenarios: Sequence[Scenario], runs: Sequence[Run]) -> list[Row]:
    """A row per figure of one setup's runs."""
    rows = []
    for scenario in scenarios:
        for figure in scenario.figures:
            name = scenario.name
            yardsticks = _read(figure, name, "nginx", runs) if figure.beside_nginx else {}
            if figure.beside:
                yardsticks = _read(figure, figure.beside, "gateway", runs)
            gateways = _read(figure, name, figure.target, runs)
            if figure.over_direct:
                direct = _read(figure, name, "direct", runs)
                yardsticks, gateways = _less(yardsticks, direct), _less(gateways, direct)
            rows.append(Row(name, figure, yardsticks, gateways))
    return rows


def _read(figure: Figure, scenario: str, target: str, runs: Sequence[Run]) -> Rounds:
    read = {run.round: figure.read(run.result) for run in runs if run.scenario == scenario and run.target == target}
    return {number: value for number, value in read.items() if value is not None}


def _less(values: Rounds, direct: Rounds) -> Rounds:
    return {number: value - direct[number] for number, value in values.items() if number in direct}


def distance(row: Row) -> str:
    """The figure's distance to its targets, in words."""
    value, reach, aim = row.judged, row.figure.reach, row.figure.aim
    if value is None or (reach is None and aim is None):
        return ""
    if aim is not None and value <= aim:
        return "at the aim"
    if reach is not None and value > reach:
        return f"{value / reach:.2f} × the reach" if reach else "missed"
    return f"{'reached, ' if reach is not None else ''}{value / aim:.2f} × the aim" if aim else "reached"


def draw_table(rows: Sequence[Row]) -> str:
    """All rows in columns under their heading."""
    lines = [HEADING]
    for row in rows:
        sign, figure = " ×" if row.figure.ratio else "", row.figure
        lines.append(
            (
                figure.title,
                figure.unit,
                show(row.yardstick),
                show(row.gateway),
                f"{show(row.ratio)} ×" if row.ratio is not None else "",
                show_spread(list(row.judged_rounds.values())),
                f"≤ {figure.reach:g}{sign}" if figure.reach is not None else "",
                f"≤ {figure.aim:g}{sign}" if figure.aim is not None else "",
                distance(row),
            )
        )
    return draw(lines, left=(0, 1, len(HEADING) - 1))


def draw(lines: Sequence[Sequence[str]], left: tuple[int, ...] = (0,)) -> str:
    """Cells in columns, aligned right except the columns `left`."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def show(value: float | None) -> str:
    """A number with three significant digits, or all its whole ones."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def show_spread(values: Sequence[float]) -> str:
    """The range from the least to the most; "" for fewer than two values."""
    return f"{show(min(values))}–{show(max(values))}" if len(values) > 1 else ""


def draw_parts(runs: Sequence[Run]) -> str:
    """Where a request's CPU goes: how much less it costs without each part, in the same round. "" if that wasn't
    measured.

    "app" is the opposite: the cost without anything of ours is the server's own."""
    measured = {run.target for run in runs if run.scenario == "parts"}
    lines = [("µs CPU", "gateway", "PostgreSQL", "Redis"), _draw_part("a request", runs, "gateway")]
    for part in WITHOUT:
        target = f"gateway without {part}"
        if target not in measured:
            return ""
        if part == "app":
            lines.append(_draw_part("  the server by itself", runs, target))
        else:
            lines.append(_draw_part(f"  of it the {part}", runs, "gateway", less=target))
    return draw(lines)


def _draw_part(title: str, runs: Sequence[Run], target: str, less: str = "") -> tuple[str, ...]:
    cells = []
    for group in PART_GROUPS:
        figure = Figure("", "", cpu_per_answer(group))
        values = _read(figure, "parts", target, runs)
        if less:
            values = _less(values, _read(figure, "parts", less, runs))
        cells.append(show(middle(values)))
    return (title, *cells)


def find_failures(scenarios: Sequence[Scenario], runs: Sequence[Run]) -> list[str]:
    """Failures, a sentence each: wrong statuses, incomplete answers, streams out of order, silence."""
    found = []
    for scenario in scenarios:
        for run in (run for run in runs if run.scenario == scenario.name):
            if wrong := {name: count for name, count in run.result.statuses.items() if name not in scenario.statuses}:
                found.append(f"{_where(run)}: answers other than expected: {wrong}.")
            if not run.result.statuses:
                found.append(f"{_where(run)}: nothing was answered.")
    return found


def find_oddities(scenarios: Sequence[Scenario], runs: Sequence[Run]) -> list[str]:
    """What makes a figure less reliable, a sentence each."""
    found = []
    for scenario in scenarios:
        for run in (run for run in runs if run.scenario == scenario.name):
            result, streams = run.result, sum(run.result.statuses.values())
            if not result.answers and not result.frames:
                found.append(f"{_where(run)}: nothing was answered while it was measured.")
            if scenario.alone and result.frames > ALONE_READS * result.reads:
                found.append(f"{_where(run)}: {result.frames / result.reads:.1f} chunks a read: they came together.")
            if result.memory_before and result.open_streams < streams:
                found.append(f"{_where(run)}: {result.open_streams} of {streams} were open when memory was read.")
            if scenario.name == "overload" and run.target == "gateway":
                found.append(f"{_where(run)}: {result.statuses}")
    return found


def _where(run: Run) -> str:
    return f"{run.setup}, {run.scenario}, {run.target}, round {run.round}"
