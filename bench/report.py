"""What the runs amount to: the median of each figure, the distance to its targets, a table and a JSON file."""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.load import Result
from bench.scenarios import Figure, Scenario
from bench.servers import ROOT

HEADING = ("", "", "beside", "gateway", "ratio", "reach", "aim", "distance")
ALONE_READS = 1.5


@dataclasses.dataclass(frozen=True)
class Run:
    """One scenario carried out once against one target: "nginx", "gateway" or "direct"."""

    scenario: str
    target: str
    round: int
    result: Result


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure as measured; None where there is nothing. `yardstick` is nginx's, or what the figure is beside."""

    scenario: str
    figure: Figure
    yardstick: float | None
    gateway: float | None

    @property
    def ratio(self) -> float | None:
        beside = self.yardstick
        return self.gateway / beside if self.gateway is not None and beside and beside > 0 else None

    @property
    def judged(self) -> float | None:
        """The number that the targets are about."""
        return self.ratio if self.figure.ratio else self.gateway


def sum_up(scenarios: Sequence[Scenario], runs: Sequence[Run]) -> list[Row]:
    """A row per figure, each the median over the rounds."""
    rows = []
    for scenario in scenarios:
        for figure in scenario.figures:
            name = scenario.name
            direct = _median(figure, name, "direct", runs) if figure.over_direct else 0.0
            yardstick = _median(figure, name, "nginx", runs) if figure.beside_nginx else None
            if figure.beside:
                yardstick = _median(figure, figure.beside, "gateway", runs)
            gateway = _median(figure, name, "gateway", runs)
            rows.append(Row(name, figure, _less(yardstick, direct), _less(gateway, direct)))
    return rows


def _median(figure: Figure, scenario: str, target: str, runs: Sequence[Run]) -> float | None:
    read = [figure.read(run.result) for run in runs if run.scenario == scenario and run.target == target]
    values = [value for value in read if value is not None]
    return statistics.median(values) if values else None


def _less(value: float | None, direct: float | None) -> float | None:
    return None if value is None or direct is None else value - direct


def distance(row: Row) -> str:
    """How far the figure is from its targets, in words."""
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
    cells = [HEADING]
    for row in rows:
        sign, figure = " ×" if row.figure.ratio else "", row.figure
        cells.append(
            (
                figure.title,
                figure.unit,
                _number(row.yardstick),
                _number(row.gateway),
                f"{_number(row.ratio)} ×" if row.ratio is not None else "",
                f"≤ {figure.reach:g}{sign}" if figure.reach is not None else "",
                f"≤ {figure.aim:g}{sign}" if figure.aim is not None else "",
                distance(row),
            )
        )
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADING))]
    lines = []
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[2:-1], widths[2:-1], strict=True)]
        lines.append("  ".join([*left, *right, line[-1]]).rstrip())
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def find_oddities(scenarios: Sequence[Scenario], runs: Sequence[Run]) -> list[str]:
    """What makes a figure less than it seems, a sentence each: wrong answers, chunks that did not come alone."""
    found = []
    for scenario in scenarios:
        for run in (run for run in runs if run.scenario == scenario.name):
            where, result = f"{scenario.name}, {run.target}, round {run.round}", run.result
            if unexpected := {name: count for name, count in result.statuses.items() if name not in scenario.statuses}:
                found.append(f"{where}: answers other than expected: {unexpected}.")
            if scenario.alone and result.frames > ALONE_READS * result.reads:
                found.append(f"{where}: {result.frames / result.reads:.1f} chunks a read; they did not arrive alone.")
            if not run.result.answers and not run.result.frames:
                found.append(f"{where}: nothing was answered.")
            streams = sum(count for count in result.statuses.values())
            if result.memory_before and result.open_streams < streams:
                found.append(f"{where}: {result.open_streams} of {streams} streams were open when memory was read.")
    return found


def write_json(path: Path, setting: dict[str, Any], rows: Sequence[Row], runs: Sequence[Run], notes: list[str]) -> None:
    """Everything, for comparison with later runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = [
        {
            "scenario": row.scenario,
            "figure": row.figure.title.strip(),
            "unit": row.figure.unit,
            "beside": f"the gateway's own in {row.figure.beside}" if row.figure.beside else "nginx",
            "yardstick": row.yardstick,
            "gateway": row.gateway,
            "ratio": row.ratio,
            "targets_are_for": "ratio" if row.figure.ratio else "gateway",
            "reach": row.figure.reach,
            "aim": row.figure.aim,
            "distance": distance(row),
        }
        for row in rows
    ]
    whole = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        **setting,
        "figures": figures,
        "notes": notes,
        "runs": [dataclasses.asdict(run) for run in runs],
    }
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
