"""One soak from its first stream to its report, on the audit's clients, upstream and reconciliation."""

import dataclasses
import json
import os
import random
import time
from pathlib import Path

import gevent
from gevent.pool import Pool

from tests.audit.chaos import Chaos
from tests.audit.clients import Wish, make_wish
from tests.audit.run import RICH, Audit, Plan, Report
from tests.doors import TEXT_DOORS
from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream

BACK_SECONDS = 60.0
MOST_GROWTH = 0.10  # of the workers' memory
SLACK = 8  # descriptors and greenlets of a worker: an idle connection more or less to database, Redis or upstream
WARM_UP_SHARE, MOST_WARM_UPS = 0.1, 10
SETTLE_SECONDS = 3  # until what the counters still give back is given


@dataclasses.dataclass(frozen=True)
class Vitals:
    """A worker as the kernel and itself see it."""

    descriptors: int
    sockets: int
    greenlets: int
    memory_bytes: int
    longest_ms: float


class Soak(Audit):
    """Only streams, and no faults but clients that leave."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream, plan: Plan):
        super().__init__(gateway, upstream, plan, Chaos(gateway, plan.seed, None, (0, 0)))
        self.plays.faults = False
        self._next = 0

    def stream_until(self, number: int) -> float:
        """Carry out the wishes before this one; how many seconds that took."""
        started, clients = time.monotonic(), Pool(self.plan.clients)
        for _ in range(self.plan.clients):
            clients.spawn(self._stream_until, number)
        clients.join(raise_error=True)
        return time.monotonic() - started

    def _stream_until(self, last: int) -> None:
        while self._next < last:
            self._next += 1
            self._ask(wish_of(self.plan.seed, self._next))

    def end(self) -> Report:
        """What has become of all of them."""
        self._wait_until_resolved()
        return self._report(0)


def wish_of(seed: int, number: int) -> Wish:
    """The nth stream of this seed; every second one is dropped, before its first byte or after some of its words."""
    chance = random.Random(f"{seed}/soak/{number}")
    dropped, by_words = chance.random() < 0.5, chance.random() < 0.6
    return dataclasses.replace(
        make_wish(seed, number, RICH, tuple(TEXT_DOORS)),
        account=number % RICH,
        stream=True,
        idempotency_key="",
        leaves_after_seconds=chance.uniform(0, 0.5) if dropped and not by_words else None,
        leaves_after_words=chance.randint(1, 15) if dropped and by_words else None,
    )


def run(gateway: Gateway, upstream: ScriptedUpstream, vitals: Path, plan: Plan, slack: int = SLACK) -> list[str]:
    """Run it, print the report, and return what is wrong. With more slack nobody waits for idle connections to end."""
    soak, streams = Soak(gateway, upstream, plan), plan.requests or 0
    warm_up = begun = max(50, round(streams * WARM_UP_SHARE))
    soak.stream_until(begun)
    before = measure(gateway, vitals)
    for _ in range(MOST_WARM_UPS):  # each worker loads what it needs when it first needs it
        begun += warm_up
        soak.stream_until(begun)
        gevent.sleep(SETTLE_SECONDS)
        then, before = before, measure(gateway, vitals)
        if not any("MiB" in line for line in compare(then, before, slack)):
            break
    begin_longest_anew(gateway, vitals)
    seconds = soak.stream_until(begun + streams)
    ended = time.monotonic()
    after = measure(gateway, vitals)
    while (left := compare(before, after, slack)) and time.monotonic() - ended < BACK_SECONDS:
        gevent.sleep(1)
        after = measure(gateway, vitals)
    print(f"{streams} streams in {seconds:.0f} s, back after {time.monotonic() - ended:.0f} s")
    report = soak.end()
    for outcome, count in sorted(report.findings.outcomes.items()):
        print(f"  {count:>6} {outcome}")
    for worker in before:
        print(f"  worker {worker}\n    before {before[worker]}\n    after  {after.get(worker)}")
    return [*judge(report), *left]


def judge(report: Report) -> list[str]:
    """What is wrong with the money."""
    found = list(report.findings.differences)
    if report.open_holds:
        found.append(f"{report.open_holds} holds are open")
    if report.overspend_nanos:
        found.append(f"{report.overspend_nanos} nano-dollars were spent that nobody had")
    return found


def compare(before: dict[int, Vitals], after: dict[int, Vitals], slack: int) -> list[str]:
    """What a worker has more of than before."""
    found = [f"worker {worker} is gone" for worker in before if worker not in after]
    for worker, now in after.items():
        then = before.get(worker)
        if then is None:
            found.append(f"worker {worker} is new")
            continue
        for what in ("descriptors", "sockets", "greenlets"):
            if getattr(now, what) > getattr(then, what) + slack:
                found.append(f"worker {worker}: {getattr(now, what)} {what}, before {getattr(then, what)}")
        if now.memory_bytes > then.memory_bytes * (1 + MOST_GROWTH):
            found.append(f"worker {worker}: {now.memory_bytes >> 20} MiB, before {then.memory_bytes >> 20}")
    return found


def measure(gateway: Gateway, vitals: Path) -> dict[int, Vitals]:
    """Every worker's vitals now; its own report is the next that it writes."""
    asked = time.time()
    found = {}
    for worker in gateway.workers():
        path = vitals / f"{worker}.json"
        with gevent.Timeout(60):
            while not path.exists() or path.stat().st_mtime < asked:
                gevent.sleep(0.1)
        own = json.loads(path.read_text())
        links = [_read_link(each) for each in Path(f"/proc/{worker}/fd").iterdir()]
        sockets = sum(link.startswith("socket:") for link in links)
        status = Path(f"/proc/{worker}/status").read_text().splitlines()
        memory = int(next(line for line in status if line.startswith("VmRSS")).split()[1]) * 1024
        found[worker] = Vitals(len(links), sockets, own["greenlets"], memory, own["longest_ms"])
    return found


def begin_longest_anew(gateway: Gateway, vitals: Path) -> None:
    """Reset the longest time for which the event loop was busy."""
    files = [(vitals / f"{worker}.reset") for worker in gateway.workers()]
    for file in files:
        file.touch()
    with gevent.Timeout(60):
        while any(file.exists() for file in files):
            gevent.sleep(0.1)


def _read_link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # it was closed meanwhile
        return ""
