"""`python -m bench`: starts upstream, nginx and gateway, measures them by turns, prints the table, cleans up."""

import argparse
import contextlib
import dataclasses
import http.client
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from bench.gateway import Gateway, Stores, run_commands, running_gateway, scratch_stores
from bench.processes import cpu_nanos, list_tree
from bench.report import Run, draw_table, find_oddities, sum_up, write_json
from bench.scenarios import SCENARIOS, Scenario, ask
from bench.servers import LOOPBACK, ROOT, BenchError, Server, run_load, running_nginx, running_upstream

SET_UP_SECONDS = 90  # it takes 10 on an idle machine
QUICK_SECONDS, FULL_SECONDS = 70, 345  # of measuring, at the most: with the rest about a minute, and six
PROFILE_SECONDS = 30.0
FILES = 65_536
SETTLE_LOOKS, SETTLE_LOOK_SECONDS, IDLE_SHARE = 40, 0.1, 0.1
BUSY = 1.0  # processes that wanted a core, on average over the minute before


class TimeUp(Exception):
    """The time for the whole benchmark has passed."""


@dataclasses.dataclass(frozen=True)
class Field:
    """Everything that runs while we measure."""

    upstream: Server
    nginx: Server
    gateway: Gateway

    def server(self, target: str) -> Server:
        return {"direct": self.upstream, "nginx": self.nginx, "gateway": self.gateway.server}[target]

    def processes(self, target: str) -> dict[str, int]:
        """Whose CPU and memory to read, by the pids at the root of their trees."""
        stores = self.gateway.stores
        found = {"server": self.server(target).pid, "upstream": self.upstream.pid}
        if target == "gateway":
            found |= {"postgres": stores.postgres_pid, "redis": stores.redis_pid}
        return {name: pid for name, pid in found.items() if pid}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the gateway beside a plain nginx.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--quick", action="store_true", help="one short round, within a minute")
    parser.add_argument("--scenario", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument("--json", type=Path, metavar="PATH", help="where results go (bench/results/DATE.json)")
    parser.add_argument("--sqlite", action="store_true", help="the embedded set-up: SQLite, limits in memory")
    parser.add_argument("--postgres", default="postgresql://127.0.0.1:5432/postgres", metavar="URL")
    parser.add_argument("--redis", default="redis://127.0.0.1:6379", metavar="URL")
    parser.add_argument(
        "--profile",
        type=float,
        metavar="SECONDS",
        default=PROFILE_SECONDS if os.environ.get("BENCH_PROFILE") else None,
        help="measure nothing: keep the first scenario's load on the gateway and say which process to attach to",
    )
    return parser.parse_args()


def main() -> int:
    """Returns the exit status: 0 when there is a table, whatever it says."""
    arguments = read_arguments()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if most == resource.RLIM_INFINITY else min(FILES, most), most))
    signal.signal(signal.SIGALRM, _time_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.alarm(SET_UP_SECONDS)
    chosen = [scenario for scenario in SCENARIOS if not arguments.scenario or scenario.name in arguments.scenario]
    runs: list[Run] = []
    notes = describe_neighbours()
    try:
        with running_field(arguments) as field:
            signal.alarm(QUICK_SECONDS if arguments.quick else FULL_SECONDS)
            if arguments.profile is not None:
                signal.alarm(0)
                keep_busy(field, arguments, arguments.profile)
                return 0
            try:
                measure(field, chosen, arguments.quick, runs)
                if not arguments.quick:
                    notes.append(run_commands(field.gateway.environment, "ledger check")[0].strip())
            except TimeUp:
                notes.append("Time was up before everything was measured.")
            signal.alarm(0)
    except BenchError as error:
        print(error, file=sys.stderr)
        return 1
    except TimeUp:
        print("Time was up before the gateway was set up.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; everything was stopped and removed.", file=sys.stderr)
        return 130
    report(arguments, chosen, runs, notes)
    return 0


def _time_up(*_: object) -> NoReturn:
    raise TimeUp


@contextlib.contextmanager
def running_field(arguments: argparse.Namespace) -> Iterator[Field]:
    """Everything, started in order; stopped and removed on every way out, which no second signal disturbs."""
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bridge-bench-")))
            upstream = stack.enter_context(running_upstream())
            nginx = stack.enter_context(running_nginx(upstream, folder / "nginx"))
            stores = Stores()
            if not arguments.sqlite:
                stores = stack.enter_context(scratch_stores(arguments.postgres, arguments.redis))
            say("Setting up the gateway by its own commands …")
            gateway = stack.enter_context(running_gateway(upstream, stores, folder / "gateway"))
            field = Field(upstream, nginx, gateway)
            for target in ("nginx", "gateway"):
                check_answer(field, target)
            yield field
        finally:
            signal.alarm(0)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)


def check_answer(field: Field, target: str) -> None:
    """One request, so that nobody measures how fast errors are. Raises BenchError."""
    connection = http.client.HTTPConnection(LOOPBACK, field.server(target).port, timeout=10)
    headers = {"Authorization": f"Bearer {field.gateway.key}", "Content-Type": "application/json"}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", ask("play-whole").encode(), headers)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    if answer.status != 200 or "Paris" not in body:
        raise BenchError(f"The {target} answers {answer.status} instead of the mock's answer: {body[:500]}")


def measure(field: Field, scenarios: list[Scenario], quick: bool, runs: list[Run]) -> None:
    """Round by round, scenario by scenario, nginx and gateway by turns. Adds to `runs` as it goes."""
    rounds, seconds = (1, 0.8) if quick else (3, 3.0)
    warm = SCENARIOS[1]
    for target in ("nginx", "gateway"):
        run_load(warm.order_for(field.server(target).port, field.gateway.key, 0.3, {}))
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            if scenario.once and number > 1:
                continue
            say(f"Round {number} of {rounds}: {scenario.name}")
            targets = ["nginx", "gateway"]
            if any(figure.over_direct for figure in scenario.figures):
                targets.insert(0, "direct")
            elif quick and not any(figure.ratio for figure in scenario.figures) and scenario.once:
                targets.remove("nginx")  # it takes as long as all else, and no target is about it
            for target in targets:
                order = scenario.order_for(
                    field.server(target).port, field.gateway.key, seconds, field.processes(target)
                )
                runs.append(Run(scenario.name, target, number, run_load(order)))
                let_settle(field.server(target))


def let_settle(server: Server) -> None:
    """Wait until the server is idle, at most a few seconds: what one run left unfinished is not the next one's cost."""
    for _ in range(SETTLE_LOOKS):
        before = cpu_nanos(server.pid)
        time.sleep(SETTLE_LOOK_SECONDS)
        if cpu_nanos(server.pid) - before < IDLE_SHARE * SETTLE_LOOK_SECONDS * 1e9:
            return


def keep_busy(field: Field, arguments: argparse.Namespace, seconds: float) -> None:
    """Load the gateway's worker so long, for whoever attaches a profiler to it."""
    name = (arguments.scenario or ["request"])[0]
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == name)
    worker = list_tree(field.gateway.server.pid)[-1]
    print(f"{name} for {seconds:g} s; the worker is process {worker}: perf record -g -p {worker}", flush=True)
    result = run_load(
        scenario.order_for(field.gateway.server.port, field.gateway.key, seconds, field.processes("gateway"))
    )
    counted, what = (result.frames, "a chunk") if result.frames else (result.answers, "an answer")
    used = {group: round(nanos / 1000 / max(1, counted), 1) for group, nanos in result.cpu.items()}
    print(f"{result.answers} answers {result.statuses}, {result.frames} chunks; µs of CPU {what}: {used}")


def report(arguments: argparse.Namespace, scenarios: list[Scenario], runs: list[Run], notes: list[str]) -> None:
    """Print the table and what to know about it, and write the JSON file."""
    rows = sum_up(scenarios, runs)
    notes = [*find_oddities(scenarios, runs), *describe_overload(runs), *notes]
    path = arguments.json or ROOT / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"
    stores = "SQLite" if arguments.sqlite else "PostgreSQL and Redis"
    write_json(path, {"quick": arguments.quick, "stores": stores}, rows, runs, notes)
    print(
        f"\nOne worker on {stores}; {'one short round' if arguments.quick else 'medians of 3 rounds'}. "
        "Beside: nginx in the same round, unless the row says otherwise.\n"
    )
    print(draw_table(rows))
    print("\n" + "\n".join([*notes, f"Results: {path}"]))


def describe_neighbours() -> list[str]:
    """Whether somebody else was using the machine when we came."""
    busy, _, _ = os.getloadavg()
    if busy < BUSY:
        return []
    return [f"The machine was busy before we began (load average {busy:.1f}): figures are too high, ratios unsteady."]


def describe_overload(runs: list[Run]) -> list[str]:
    """The statuses that 512 clients saw."""
    return [
        f"512 clients at the {run.target}, round {run.round}: {run.result.statuses}"
        for run in runs
        if run.scenario == "overload" and run.target == "gateway"
    ]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
