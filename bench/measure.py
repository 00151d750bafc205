"""Starts what runs while we measure, and measures: round by round, scenario by scenario, nginx and gateway by turns."""

import contextlib
import dataclasses
import http.client
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.doors import ask
from bench.gateway import Gateway, Home, Stores, running_gateway, scratch_stores, set_up
from bench.load import Result
from bench.processes import cpu_nanos
from bench.report import Run
from bench.scenarios import SCENARIOS, WITHOUT, Scenario, Setup
from bench.servers import LOOPBACK, BenchError, Server, run_load

WARM_SECONDS = 0.3
SETTLE_LOOKS, SETTLE_LOOK_SECONDS, IDLE_SHARE = 40, 0.1, 0.1
WARM = next(scenario for scenario in SCENARIOS if scenario.name == "request")


@dataclasses.dataclass(frozen=True)
class Field:
    """All servers by target: "direct" is the upstream; all but it and nginx are gateways."""

    upstream: Server
    nginx: Server
    gateways: dict[str, Gateway]

    def server(self, target: str) -> Server:
        return {"direct": self.upstream, "nginx": self.nginx}.get(target) or self.gateways[target].server

    def keys(self, target: str) -> tuple[str, ...]:
        return self.gateways[target].keys if target in self.gateways else ("",)

    def processes(self, target: str) -> dict[str, int]:
        """The process trees whose CPU and memory to read, by their roots' pids."""
        found = {"server": self.server(target).pid, "upstream": self.upstream.pid}
        if target in self.gateways:
            stores = self.gateways[target].home.stores
            found |= {"postgres": stores.postgres_pid, "redis": stores.redis_pid}
        return {name: pid for name, pid in found.items() if pid}

    def load(self, scenario: Scenario, target: str, seconds: float, **more: object) -> Result:
        """Run the scenario's load against a target."""
        port, processes = self.server(target).port, self.processes(target)
        if target in self.gateways and self.gateways[target].clients:
            more["clients"] = self.gateways[target].clients
        keys = self.keys(target)
        if scenario.refused and target in self.gateways:
            keys = keys * (scenario.refused - 1) + (self.gateways[target].home.refused_key,)
        spec = scenario.spec_for(target, port, keys, seconds, processes=processes, **more)
        return run_load(spec)


@contextlib.contextmanager
def running_home(upstream: Server, on_sqlite: bool, postgres: str, redis: str, folder: Path) -> Iterator[Home]:
    """A gateway's setup and stores, removed afterwards."""
    with contextlib.ExitStack() as stack:
        stores = Stores() if on_sqlite else stack.enter_context(scratch_stores(postgres, redis))
        yield set_up(upstream, stores, folder)


@contextlib.contextmanager
def running_field(
    upstream: Server, nginx: Server, home: Home, setup: Setup, scenarios: Sequence[Scenario]
) -> Iterator[Field]:
    """The gateway of a setup, and gateways without a part if a scenario needs them. Raises BenchError for a wrong
    answer, so that nobody measures how fast errors are."""
    with contextlib.ExitStack() as stack:
        gateways = {"gateway": stack.enter_context(running_gateway(home, setup.workers))}
        if any(len(scenario.targets) > len(WITHOUT) for scenario in scenarios):
            for part in WITHOUT:
                gateways[f"gateway without {part}"] = stack.enter_context(_running_without(part, gateways["gateway"]))
        field = Field(upstream, nginx, gateways)
        for target in ("nginx", *gateways):
            _check_answer(field, target)
            field.load(WARM, target, WARM_SECONDS)
        yield field


@contextlib.contextmanager
def _running_without(part: str, whole: Gateway) -> Iterator[Gateway]:
    """A gateway without a part. "key-limits" needs none: it is the whole gateway with a key that has no limits."""
    if part == "key-limits":
        yield dataclasses.replace(whole, keys=(whole.home.unlimited_key,))
        return
    with running_gateway(whole.home, config="bench.without", variables={"BENCH_WITHOUT": part}) as gateway:
        yield gateway


def _check_answer(field: Field, target: str) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, field.server(target).port, timeout=10)
    headers = {"Authorization": f"Bearer {field.keys(target)[0]}", "Content-Type": "application/json"}
    with contextlib.closing(connection):
        connection.request("POST", "/v1/chat/completions", ask("play-whole").encode(), headers)
        answer = connection.getresponse()
        body = answer.read().decode(errors="replace")
    if answer.status != 200 or "Paris" not in body:
        raise BenchError(f"The {target} answers {answer.status} instead of the mock's answer: {body[:500]}")


def measure(
    field: Field, setup: Setup, scenarios: Sequence[Scenario], rounds: int, seconds: float, quick: bool
) -> Iterator[Run]:
    """Run one after the other, each round in the reverse order of the last, so that drift affects both ends alike."""
    for number in range(1, rounds + 1):
        for scenario in scenarios:
            if scenario.once and number > 1:
                continue
            say(f"{setup.title}, round {number} of {rounds}: {scenario.name}")
            targets = list(scenario.targets)
            if quick and not any(figure.ratio for figure in scenario.figures) and scenario.once:
                targets.remove("nginx")  # it takes as long as everything else, and has no target
            for target in targets if number % 2 else reversed(targets):
                result = field.load(scenario, target, **{"seconds": seconds} | (scenario.quick if quick else {}))
                yield Run(setup.name, scenario.name, target, number, result)
                let_settle(field.server(target))


def let_settle(server: Server) -> None:
    """Wait until the server is idle, at most a few seconds, so that one run's remaining work isn't the next one's
    cost."""
    for _ in range(SETTLE_LOOKS):
        before = cpu_nanos(server.pid)
        time.sleep(SETTLE_LOOK_SECONDS)
        if cpu_nanos(server.pid) - before < IDLE_SHARE * SETTLE_LOOK_SECONDS * 1e9:
            return


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
