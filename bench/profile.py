"""`make profile`: where the gateway spends its time under a scenario's load, as flame graphs and tables."""

import argparse
import os
import signal
import time
from pathlib import Path

from bench.flame import draw_svg, draw_top, parse
from bench.gateway import Gateway, running_gateway
from bench.measure import WARM, WARM_SECONDS, Field, let_settle, running_home, say
from bench.processes import list_tree
from bench.report import Run, find_failures
from bench.results import FOLDER
from bench.scenarios import SCENARIOS, SETUPS
from bench.servers import BenchError, Server

SECONDS, SHORT_SECONDS = 10.0, 1.0
WRITE_SECONDS, LOOK_SECONDS = 10.0, 0.02


def profile(arguments: argparse.Namespace, upstream: Server, nginx: Server, folder: Path) -> int:
    """Profile each chosen scenario, in the first setup unless another is named. Returns the exit status."""
    setup = next(setup for setup in SETUPS if setup.name in (arguments.setup or [SETUPS[0].name]))
    names = arguments.scenario or setup.scenarios
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in names]
    samples, wrong = folder / "samples", []
    say(f"{setup.title}: setting up by the gateway's own commands …")
    with (
        running_home(upstream, setup.on_sqlite, arguments.postgres, arguments.redis, folder / setup.name) as home,
        running_gateway(home, setup.workers, "bench.sampling", {"BENCH_SAMPLES": str(samples)}) as gateway,
    ):
        field = Field(upstream, nginx, {"gateway": gateway})
        field.load(WARM, "gateway", WARM_SECONDS)
        for scenario in scenarios:
            say(f"{scenario.name} …")
            collect(gateway, samples)
            seconds, more = (SHORT_SECONDS, scenario.quick) if arguments.quick else (SECONDS, {})
            result = field.load(scenario, "gateway", **{"seconds": seconds} | more)
            stacks = parse(collect(gateway, samples))
            wrong += find_failures([scenario], [Run(setup.name, scenario.name, "gateway", 1, result)])
            path = FOLDER / f"{scenario.name}-{setup.name}.svg"
            path.parent.mkdir(parents=True, exist_ok=True)
            title = (
                f"{scenario.name}: {setup.title}; {sum(stacks.values())} samples of CPU time, {result.answers} answers"
            )
            path.write_text(draw_svg(stacks, title))
            print(f"\n{title}\n\n{draw_top(stacks)}\n\n{path}", flush=True)
            let_settle(gateway.server)
    print("\n".join(f"WRONG  {failure}" for failure in wrong))
    return 1 if wrong else 0


def collect(gateway: Gateway, samples: Path) -> list[str]:
    """The samples of all workers since the last time. Raises BenchError if a worker doesn't answer."""
    lines = []
    for pid in list_tree(gateway.server.pid)[1:]:
        path = Path(f"{samples}.{pid}")
        os.kill(pid, signal.SIGUSR2)
        end = time.monotonic() + WRITE_SECONDS
        while not path.exists():
            if time.monotonic() > end:
                raise BenchError(f"Worker {pid} did not say where it was.")
            time.sleep(LOOK_SECONDS)
        lines += path.read_text().splitlines()
        path.unlink()
    return lines
