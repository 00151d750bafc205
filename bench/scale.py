"""`make bench ARGS=--scale`: how a request's cost changes with more workers, keys, rows and channels, and memory with
many requests; how long a start takes; and whether two workers with 500 streams fit a small machine."""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.cold import time_first_answer, time_imports
from bench.gateway import Gateway, Home, run_commands, running_gateway
from bench.load import Result
from bench.measure import WARM, Field, measure, running_home, say
from bench.processes import memory_bytes
from bench.report import Rounds, Row, Run, draw, draw_table, find_failures, show, sum_up
from bench.results import figure_of
from bench.scenarios import SCENARIOS, Figure, Scenario, Setup, cpu_per_answer
from bench.seeds import add_accounts, add_channels, add_usage
from bench.servers import Server, load_cores, pin, server_cores

SETUP = Setup("scale", "Scale", ())
MEBIBYTE = 2**20
DEAREST = 10
CHECK_SECONDS = 900.0  # for a ledger of millions
HEARD_SECONDS = 2.5  # until every worker knows a change of the catalogue
PARTS_OF_ALL = 10  # of the requests
REQUEST, STREAMS = (next(one for one in SCENARIOS if one.name == name) for name in ("request", "streams"))


@dataclasses.dataclass(frozen=True)
class Size:
    """How much of everything: a realistic amount, or so little that a minute shows that it works."""

    rounds: int
    seconds: float
    keys: tuple[int, ...] = (1, 100, 10_000)
    rows: int = 1_000_000
    channels: int = 50
    requests: int = 100_000
    streams: int = 500


class Scale:
    """Collects the readings."""

    def __init__(self, upstream: Server, nginx: Server, size: Size):
        self.upstream, self.nginx, self.size = upstream, nginx, size
        self.rows: list[Row] = []
        self.runs: list[Run] = []
        self.failures: list[str] = []

    def compare(self, name: str, gateways: dict[str, Gateway], extra: Sequence[Figure] = ()) -> None:
        """Measure a request's cost at each of these gateways by turns; their keys are the rows' titles."""
        figures = [
            figure
            for title in gateways
            for figure in (
                Figure(f"a request, {title}", "µs CPU", cpu_per_answer("server"), target=title),
                Figure("  in PostgreSQL", "µs CPU", cpu_per_answer("postgres"), None, None, False, False, target=title),
                *(dataclasses.replace(one, target=title) for one in extra),
            )
        ]
        scenario = dataclasses.replace(REQUEST, name=name, figures=tuple(figures), targets=("nginx", *gateways))
        field = Field(self.upstream, self.nginx, gateways)
        for target in gateways:  # a channel's first use costs more than the rest, and so do a key's and a worker's
            field.load(WARM, target, self.size.seconds)
        runs = list(measure(field, SETUP, [scenario], self.size.rounds, self.size.seconds, quick=False))
        self.take(scenario, runs)

    def take(self, scenario: Scenario, runs: list[Run]) -> None:
        """Store runs, their rows and their failures."""
        self.rows += sum_up([scenario], runs)
        self.failures += find_failures([scenario], runs)
        self.runs += runs

    def note(self, name: str, title: str, unit: str, values: Rounds, reach: float | None = None) -> None:
        """Store figures that are not from a run."""
        self.rows.append(Row(name, Figure(title, unit, _nothing, reach, ratio=False), {}, values))


def _nothing(_: Result) -> None:
    return None


def measure_scale(
    arguments: argparse.Namespace, upstream: Server, nginx: Server, folder: Path
) -> tuple[list[dict[str, Any]], list[Run], list[str]]:
    """Measure everything and print the table. Returns figures, runs and failures."""
    size = Size(arguments.repeat, 3.0, requests=arguments.requests)
    if arguments.quick:
        size = Size(1, 0.5, (1, 10, 100), 10_000, 50, 2_000, 100)
    scale = Scale(upstream, nginx, size)
    say("Setting up by the gateway's own commands …")
    with running_home(upstream, False, arguments.postgres, arguments.redis, folder / "scale") as home:
        measure_start(scale, home)
        measure_small(scale, home)
        measure_workers(scale, home)
        with running_gateway(home) as gateway:
            measure_keys(scale, gateway)
            measure_growth(scale, gateway)
            measure_memory(scale, gateway)
        print(f"\n{draw_table(scale.rows)}")
        started = time.perf_counter()
        checked = run_commands(home.environment, "ledger check", seconds=CHECK_SECONDS)[0].strip()
        print(f"\n{checked}\nThe check took {time.perf_counter() - started:.0f} s.")
    return [figure_of(SETUP.name, row) for row in scale.rows], scale.runs, scale.failures


def measure_workers(scale: Scale, home: Home) -> None:
    """Measure one worker and two, each with as many clients. If there are no more cores, two workers share theirs with
    the load, the upstream and PostgreSQL, and all that share a cache slow each other down. The costs of one worker on
    all cores, and of one beside a busy process, separate that from what workers cost each other."""
    wall = Figure("  time from answer to answer", "µs", _wall_micros, None, None, False, False)
    everywhere = server_cores(os.cpu_count() or 1)
    with (
        running_gateway(home) as alone,
        running_gateway(home, cores=everywhere) as shared,
        running_gateway(home, workers=2) as two,
    ):
        twice = dataclasses.replace(two, clients=2 * REQUEST.spec["clients"])
        scale.compare("workers", {"1 worker": alone, "1 worker on all cores": shared, "2 workers": twice}, (wall,))
        with busy_core():
            scale.compare("workers", {"1 worker beside a busy core": alone})


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Another busy process on the load's core."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=pin(load_cores()))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _wall_micros(result: Result) -> float | None:
    return result.seconds * 1e6 / result.answers if result.answers else None


def measure_start(scale: Scale, home: Home) -> None:
    """Measure the time from starting the program to its first answer, and the imports."""
    say("Cold start")
    starts = {number: time_first_answer(home) for number in range(1, scale.size.rounds + 1)}
    scale.note("start", "from start to first answer", "s", starts)
    imports = [time_imports(home) for _ in starts]
    scale.note("start", "  imports", "ms", {n: one.total() / 1000 for n, one in enumerate(imports, 1)})
    scale.note("start", "  packages imported", "", {1: float(len(imports[0]))})
    lines = [(name, show(micros / 1000)) for name, micros in imports[-1].most_common(DEAREST)]
    print(f"\n{draw([('dearest imports, by package', 'ms'), *lines])}", flush=True)


def measure_small(scale: Scale, home: Home) -> None:
    """Measure the memory of two workers with many open streams."""
    count = scale.size.streams
    figures = (
        Figure(f"two workers, {count} open streams", "MiB PSS", _pss_mebibytes, 512, ratio=False, beside_nginx=False),
    )
    scenario = dataclasses.replace(STREAMS, name="small", figures=figures, targets=("gateway",), once=True)
    scenario = dataclasses.replace(scenario, spec=scenario.spec | {"clients": count})
    with running_gateway(home, workers=2) as gateway:
        field = Field(scale.upstream, scale.nginx, {"gateway": gateway})
        scale.take(scenario, list(measure(field, SETUP, [scenario], 1, scale.size.seconds, quick=False)))


def _pss_mebibytes(result: Result) -> float:
    return result.memory_during["server"] / MEBIBYTE


def measure_keys(scale: Scale, gateway: Gateway) -> None:
    """Measure requests of one account, and of many by turns."""
    secrets = add_accounts(gateway.home.stores.database_url, max(scale.size.keys))
    some = {count: dataclasses.replace(gateway, keys=secrets[:count]) for count in scale.size.keys}
    scale.compare("keys", {f"keys and accounts: {count:,}": one for count, one in some.items()})


def measure_growth(scale: Scale, gateway: Gateway) -> None:
    """Measure the same before and after the usage table and the catalogue have grown."""
    url = gateway.home.stores.database_url
    scale.compare("growth", {"few usage rows, 1 channel": gateway})
    say(f"Writing {scale.size.rows:,} usage rows")
    add_usage(url, scale.size.rows)
    scale.compare("growth", {f"{scale.size.rows:,} usage rows more": gateway})
    add_channels(url, scale.size.channels)
    time.sleep(HEARD_SECONDS)
    scale.compare("growth", {f"{scale.size.channels} channels": gateway})


def measure_memory(scale: Scale, gateway: Gateway) -> None:
    """Measure the worker's memory over many requests, printed at every tenth of them."""
    each = scale.size.requests // PARTS_OF_ALL
    field = Field(scale.upstream, scale.nginx, {"gateway": gateway})
    found = {0: memory_bytes(gateway.server.pid) / MEBIBYTE}
    runs = []
    print(f"\nMemory over {each * PARTS_OF_ALL:,} requests: {found[0]:.1f} MiB before", flush=True)
    for tenth in range(1, PARTS_OF_ALL + 1):
        result = field.load(REQUEST, "gateway", 0, requests=each, warm_seconds=0)
        runs.append(Run(SETUP.name, "memory", "gateway", tenth, result))
        found[tenth] = memory_bytes(gateway.server.pid) / MEBIBYTE
        print(f"  {tenth * 100 // PARTS_OF_ALL:3} %  {found[tenth]:.1f} MiB", flush=True)
    grown = (found[PARTS_OF_ALL] - found[1]) * 1024 / (each * (PARTS_OF_ALL - 1) / 1000)
    scale.note("memory", f"memory after {each:,} requests", "MiB PSS", {1: found[1]})
    scale.note("memory", f"  after {each * PARTS_OF_ALL:,}", "MiB PSS", {1: found[PARTS_OF_ALL]})
    scale.note("memory", "  growth after the first tenth, per 1,000 requests", "KiB", {1: grown})
    scale.take(dataclasses.replace(REQUEST, name="memory", figures=()), runs)
