"""Defines an attack, the list of all attacks, and how one is judged."""

import dataclasses
import http.client
import time
from collections.abc import Callable

import gevent

from tests.attack.arena import Arena, Fared, measure
from tests.attack.wire import Tally

MOST_WAIT_MS = 250
SHORT_ROUND_WAIT_MS = 1000  # which every push waits for, on whatever machine: who is hurt waits for seconds
MOST_KEPT_MIB = 64  # of a worker, of what was in memory for an attack
SETTLE_SECONDS = 6
Found = tuple[Tally, list[str]]  # how the attacker's requests ended, and what is wrong


Run = Callable[[Arena], Found]


@dataclasses.dataclass(frozen=True)
class Attack:
    """One attack. `sends`: what it sends, in words. `quick`: it belongs to the short round. `disturbs`: it ends
    workers, so waits aren't judged."""

    name: str
    sends: str
    run: Run
    quick: bool = False
    disturbs: bool = False


@dataclasses.dataclass(frozen=True)
class Result:
    """One attack, carried out."""

    attack: Attack
    fared: Fared
    answers: Tally
    complaints: tuple[str, ...]
    seconds: float


ATTACKS: list[Attack] = []


def attack(name: str, sends: str, *, quick: bool = False, disturbs: bool = False) -> Callable[[Run], Run]:
    """Put the function on the list."""

    def keep(run: Run) -> Run:
        ATTACKS.append(Attack(name, sends, run, quick, disturbs))
        return run

    return keep


def carry_out(arena: Arena, one: Attack) -> Result:
    """Carry out an attack, and judge it."""
    workers, started, memory = arena.gateway.workers(), time.monotonic(), arena.begin()
    try:
        answers, complaints = one.run(arena)
    except (OSError, http.client.HTTPException, AssertionError) as error:  # others are to be carried out as well
        answers, complaints = {}, [f"the gateway gave no answer to go on with: {error!r}"]
    _await_memory(arena, memory.before)
    fared = arena.end(memory)
    if not one.disturbs:
        most_wait_ms = SHORT_ROUND_WAIT_MS if arena.quick else MOST_WAIT_MS
        complaints = [*complaints, *judge(fared, len(workers), most_wait_ms)]
        if arena.gateway.workers() != workers:
            complaints.append("a worker has ended")
    return Result(one, fared, answers, tuple(complaints), time.monotonic() - started)


def judge(fared: Fared, workers: int = 1, most_wait_ms: float = MOST_WAIT_MS) -> list[str]:
    """What is wrong with how the other customer fared."""
    found = [f"not served: {fault}" for fault in fared.wrong]
    if fared.worst_ms > most_wait_ms:
        found.append(f"waited {fared.worst_ms:.0f} ms for {fared.worst_of}")
    before, _, after = fared.memory_mib
    if after > before + MOST_KEPT_MIB * workers:
        found.append(f"memory stays at {after} MiB after {before}")
    return found


def expect(answers: Tally, *statuses: str) -> list[str]:
    """A sentence for each answer with another status."""
    return [f"{count} × {what}" for what, count in answers.items() if what.split()[-1] not in statuses]


def _await_memory(arena: Arena, before: int) -> None:
    """Until it has fallen back, if it does so in time."""
    with gevent.Timeout(SETTLE_SECONDS, False):
        while measure(arena.gateway) > before + MOST_KEPT_MIB * len(arena.gateway.workers()):
            gevent.sleep(0.1)
