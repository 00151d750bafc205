"""`python -m bench`: starts upstream, nginx and gateways, measures them by turns, prints tables, cleans up."""

import argparse
import contextlib
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from bench.gateway import run_commands
from bench.measure import measure, running_field, running_home, say
from bench.pages import measure_pages
from bench.profile import profile
from bench.report import Run, draw_parts, draw_table, find_failures, find_oddities, sum_up
from bench.results import draw_history, figure_of, new_path, read_results, write_results
from bench.scale import measure_scale
from bench.scenarios import PARTS, SCENARIOS, SETUPS, Scenario, Setup
from bench.servers import BenchError, Server, running_nginx, running_upstream

QUICK_SECONDS = 48  # of measuring in a short round, which every push waits for; setup takes ten more
ROUNDS, SECONDS, SHORT_SECONDS = 3, 3.0, 0.6
FILES = 65_536
BUSY = 1.0  # processes that wanted a core, on average over the last minute


class TimeUp(Exception):
    """The time for a short round has passed."""


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the gateway beside a plain nginx.")
    names = [scenario.name for scenario in (*SCENARIOS, PARTS)]
    parser.add_argument("--quick", action="store_true", help="one short round on one worker, within a minute")
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--setup", action="append", choices=[setup.name for setup in SETUPS], help="likewise")
    parser.add_argument("--repeat", type=int, default=ROUNDS, metavar="N", help=f"rounds ({ROUNDS})")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where results go (bench/results/DATE.json)")
    parser.add_argument("--postgres", default="postgresql://127.0.0.1:5432/postgres", metavar="URL")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", metavar="URL")
    parser.add_argument("--scale", action="store_true", help="instead: workers, keys, rows, channels, memory, start")
    parser.add_argument(
        "--pages", action="store_true", help="instead: each page, with 5,000 keys and 1,000,000 requests"
    )
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="of --scale's memory (100,000)")
    parser.add_argument("--profile", action="store_true", help="instead: a flame graph for each scenario")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="instead: the history's row of these results")
    return parser.parse_args()


def main() -> int:
    """Returns the exit status: 0 if every answer was correct, whatever the figures say."""
    arguments = read_arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most == resource.RLIM_INFINITY else min(FILES, most), most))
    signal.signal(signal.SIGALRM, _time_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if arguments.markdown:
            print(draw_history(read_results(arguments.markdown)))
            return 0
        return run(arguments)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; everything was stopped and removed.", file=sys.stderr)
        return 130


def _time_up(*_: object) -> NoReturn:
    raise TimeUp


def run(arguments: argparse.Namespace) -> int:
    """Run everything that was asked for, in a folder that is removed afterwards."""
    setting = {"quick": arguments.quick, "load": round(os.getloadavg()[0], 1)}
    notes = describe_neighbours(setting["load"])
    with running_yardstick() as (upstream, nginx, folder):
        if arguments.profile:
            return profile(arguments, upstream, nginx, folder)
        runs: list[Run] = []
        if arguments.pages:
            figures, failures = measure_pages(arguments, upstream, folder)
        elif arguments.scale:
            figures, runs, failures = measure_scale(arguments, upstream, nginx, folder)
        else:
            figures, runs, failures = measure_setups(arguments, upstream, nginx, folder, notes)
    path = arguments.json or new_path()
    write_results(path, setting, figures, runs, [*failures, *notes])
    print("\n" + "\n".join([*notes, *(f"WRONG  {failure}" for failure in failures), f"Results: {path}"]))
    return 1 if failures else 0


@contextlib.contextmanager
def running_yardstick() -> Iterator[tuple[Server, Server, Path]]:
    """Upstream, nginx and a scratch folder; stopped and removed on every exit, which a second signal doesn't
    interrupt."""
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-bench-")))
            upstream = stack.enter_context(running_upstream())
            yield upstream, stack.enter_context(running_nginx(upstream, folder / "nginx")), folder
        finally:
            signal.alarm(0)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def choose(arguments: argparse.Namespace) -> list[tuple[Setup, list[Scenario]]]:
    """The setups to measure, each with its scenarios. A short round measures the first setup, without the parts."""
    wanted = arguments.setup or ([SETUPS[0].name] if arguments.quick else [setup.name for setup in SETUPS])
    chosen = []
    for setup in SETUPS:
        names = set(setup.scenarios) & set(arguments.scenario or setup.scenarios)
        if arguments.quick and not arguments.scenario:
            names -= {PARTS.name, *(scenario.name for scenario in SCENARIOS if not scenario.in_quick)}
        if setup.name in wanted and names:
            chosen.append((setup, [scenario for scenario in (*SCENARIOS, PARTS) if scenario.name in names]))
    return chosen


def measure_setups(
    arguments: argparse.Namespace, upstream: Server, nginx: Server, folder: Path, notes: list[str]
) -> tuple[list[dict[str, Any]], list[Run], list[str]]:
    """Print a table for each setup. Returns figures, runs and failures; further remarks go into `notes`."""
    figures: list[dict[str, Any]] = []
    everything: list[Run] = []
    failures: list[str] = []
    for setup, scenarios in choose(arguments):
        runs: list[Run] = []
        try:
            say(f"{setup.title}: setting up by the gateway's own commands …")
            home = running_home(upstream, setup.on_sqlite, arguments.postgres, arguments.redis, folder / setup.name)
            with home as ready, running_field(upstream, nginx, ready, setup, scenarios) as field:
                if arguments.quick and not arguments.scenario:
                    signal.alarm(QUICK_SECONDS)
                rounds, seconds = (1, SHORT_SECONDS) if arguments.quick else (arguments.repeat, SECONDS)
                runs.extend(measure(field, setup, scenarios, rounds, seconds, arguments.quick))
                signal.alarm(0)
                if not arguments.quick:
                    notes.append(run_commands(ready.environment, "ledger check")[0].strip())
        except TimeUp:
            (notes if runs else failures).append("Time was up before everything was measured.")
        rows = sum_up(scenarios, runs)
        print(f"\n{setup.title}. Beside: nginx in the same round, or what the row says.\n\n{draw_table(rows)}")
        if parts := draw_parts(runs):
            print(f"\nWhere a request's CPU goes: what it costs less without each part.\n\n{parts}")
        figures += [figure_of(setup.name, row) for row in rows]
        everything += runs
        failures += find_failures(scenarios, runs)
        notes += find_oddities(scenarios, runs)
    return figures, everything, failures


def describe_neighbours(busy: float) -> list[str]:
    """Remarks on whether somebody else was using the machine at the start."""
    if busy < BUSY:
        return []
    return [f"The machine was busy before we began (load average {busy:.1f}): figures are too high, ratios unsteady."]


if __name__ == "__main__":
    sys.exit(main())
