"""Results as files: what was measured, where and when, with every repetition; and what changed between two files."""

import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import Row, Run, distance, draw, show, show_spread
from bench.servers import ROOT, BenchError

FOLDER = ROOT / "bench" / "results"
# the columns of the history in docs/performance.md: heading, and the figure of one worker below it
HISTORY = {
    "request": "a request, 64 clients",
    "PostgreSQL": "in PostgreSQL",
    "128 KiB": "a request with a 128 KiB prompt",
    "chunk alone": "a chunk, each alone",
    "in bursts": "a chunk, in bursts of 25",
    "Anthropic": "a chunk translated from Anthropic, in bursts",
    "Gemini": "a chunk translated from Gemini, in bursts",
    "latency": "added latency, one client, mean",
    "stream": "memory per open stream, 1,000 open",
    "first chunk": "first chunk, p99",
    "512 clients": "512 clients, p99",
}


def figure_of(setup: str, row: Row) -> dict[str, Any]:
    """A row as stored in the file. `values` are compared: ratios if the targets apply to those."""
    figure = row.figure
    return {
        "setup": setup,
        "scenario": row.scenario,
        "figure": figure.title.strip(),
        "unit": "× nginx" if figure.ratio and not figure.beside else "×" if figure.ratio else figure.unit,
        "values": list(row.judged_rounds.values()),
        "beside": f"the gateway's own in {figure.beside}" if figure.beside else "nginx",
        "yardsticks": list(row.yardsticks.values()),
        "gateways": list(row.gateways.values()),
        "gateways_unit": figure.unit,
        "reach": figure.reach,
        "aim": figure.aim,
        "distance": distance(row),
    }


def describe_machine() -> dict[str, Any]:
    """What the figures depend on beside our code."""
    names = (line.partition(":")[2].strip() for line in _read_lines("/proc/cpuinfo") if line.startswith("model name"))
    return {
        "cpu": next(names, platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def write_results(
    path: Path, setting: dict[str, Any], figures: Sequence[dict[str, Any]], runs: Sequence[Run], notes: Sequence[str]
) -> None:
    """Write everything, for comparison with later runs. `setting` has what only the start of the benchmark knew."""
    whole = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": describe_machine(),
        **setting,
        "figures": list(figures),
        "notes": list(notes),
        "runs": [dataclasses.asdict(run) for run in runs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def read_results(path: Path) -> dict[str, Any]:
    """Read a file of results. Raises BenchError if it isn't one."""
    try:
        whole = json.loads(path.read_text())
        whole["figures"], whole["commit"], whole["machine"]["cpu"]  # noqa: B018 - are they there?
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path} holds no results: {type(error).__name__}.") from None
    return dict(whole)


def new_path() -> Path:
    return FOLDER / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"


def compare(before: dict[str, Any], after: dict[str, Any]) -> str:
    """A table of the figures that both have: the medians, the change in percent, and whether it exceeds the spread: it
    does if no repetition of one is within the range of the other. Ratios are followed by their two numbers."""
    old = _list_series(before)
    lines = [("setup", "figure", "unit", "before", "after", "change", "spread before", "after", "beyond the spread")]
    for (setup, name, unit), now in _list_series(after).items():
        was = old.get((setup, name, unit))
        if not was or not now:
            continue
        first, last = statistics.median(was), statistics.median(now)
        change = f"{(last - first) / first * 100:+.1f} %" if first else ""
        spreads = (show_spread(was), show_spread(now), beyond_spread(was, now))
        lines.append((setup, name, unit, show(first), show(last), change, *spreads))
    return draw(lines, left=(0, 1, 2, 8))


def _list_series(results: dict[str, Any]) -> dict[tuple[str, str, str], list[float]]:
    """Setup, name and unit of each measured number -> its repetitions."""
    series = {}
    for figure in results["figures"]:
        name = (figure["setup"], f"{figure['scenario']}: {figure['figure']}")
        series[*name, figure["unit"]] = figure["values"]
        series[*name, figure["gateways_unit"]] = figure["gateways"]
    return series


def beyond_spread(was: Sequence[float], now: Sequence[float]) -> str:
    """ "better", "worse", or "" if the spread explains the change; "?" if one repetition has no spread."""
    if min(now) > max(was):
        said = "worse"
    elif max(now) < min(was):
        said = "better"
    else:
        return ""
    return said if len(was) > 1 and len(now) > 1 else "?"


def draw_history(results: dict[str, Any]) -> str:
    """The headings and these results' row for the table in docs/performance.md."""
    medians = {
        figure["figure"]: f"{show(statistics.median(figure['values']))} {figure['unit'].replace('× nginx', '×')}"
        for figure in results["figures"]
        if figure["setup"] == "one-worker" and figure["values"]
    }
    machine = f"{results['machine']['cpu']}, {results['machine']['cores']} cores"
    cells = [results["commit"], results["date"][:10], machine, *(medians.get(name, "") for name in HISTORY.values())]
    heading = ["commit", "date", "machine", *HISTORY]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, ["---"] * len(heading), cells))


def _commit() -> str:
    """The commit, with a + if something isn't committed."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def main() -> int:
    """`python -m bench.results BEFORE AFTER` prints what changed."""
    if len(sys.argv) != 3:
        print('make bench-compare ARGS="BEFORE.json AFTER.json"', file=sys.stderr)
        return 2
    try:
        before, after = (read_results(Path(name)) for name in sys.argv[1:])
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    for name, results in (("before", before), ("after", after)):
        machine = results["machine"]
        print(f"{name}: {results['commit']}, {results['date']}, {machine['cpu']}, load {results.get('load', '?')}")
    if before["machine"] != after["machine"]:
        print("The machines differ: only ratios can be compared.")
    print("\n" + compare(before, after))
    return 0


if __name__ == "__main__":
    sys.exit(main())
