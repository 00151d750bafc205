"""Sends requests over three channels, some of which fail, and counts the results."""

import dataclasses
import functools
import itertools
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import requests
from gevent.pool import Pool

from bridge.catalogue.tables import Model
from bridge.db import transaction
from tests.certificate import write_certificate
from tests.factories import Factories, MadeKey
from tests.fault_upstreams import FAULTS as TABLE
from tests.fault_upstreams import Fault, Nobody
from tests.gateway import Gateway
from tests.upstream import Scenario, ScriptedUpstream, fails, hangs_up, says, stalls

DOLLAR = 1_000_000_000
BALANCE_NANOS = 10 * DOLLAR
PRICE_NANOS = 20_000  # of one answer, by the factories' prices
WELL_ANSWERS = 20  # of a channel, before it falls silent
LEAST_ANSWERED, MOST_ATTEMPTS = 0.999, 1.4  # a share of the requests, and each one's attempts on average
PATIENCE_SECONDS = 180
MOST_TRIES = 20
GOOD = says("Hello", " there", prompt_tokens=10, completion_tokens=5)
MODES = {"whole": (False,), "stream": (True,), "both": (False, True)}


def fails_now_and_then(percent: int) -> Scenario:
    """Fails a share of its answers, by a fixed seed: in no pattern, but the same in every run."""
    draw = random.Random(percent)
    return lambda request: (fails(500) if draw.random() * 100 < percent else GOOD)(request)


def falls_silent() -> Scenario:
    """Works at first, then accepts every request and answers none."""
    answers = iter(range(WELL_ANSWERS))
    return lambda request: (stalls() if next(answers, None) is None else GOOD)(request)


def fails_in_every_way() -> Scenario:
    """The table's faults that count against a channel, with a good answer after each."""
    plays = [fault.plays for fault in TABLE.values() if fault.plays is not None and fault.blame == "upstream"]
    turns = itertools.cycle([play for each in plays for play in (each, GOOD)])
    return lambda request: next(turns)(request)


def _keep(play: Scenario) -> Callable[[], Scenario]:
    return lambda: play


# What a channel does, each made anew for its upstream: those of the table, and those that are more than one answer.
FAULTS: dict[str, Callable[[], Scenario]] = {
    **{name: _keep(fault.plays or hangs_up()) for name, fault in TABLE.items()},
    "429 without Retry-After": _keep(fails(429)),
    "falls silent": falls_silent,
    "all in turn": fails_in_every_way,
    **{f"{percent} % fail": functools.partial(fails_now_and_then, percent) for percent in (10, 25, 35, 45)},
}
SLOW = {"no answer in time", "no content in time", "slow headers", "drips", "oversized", "falls silent", "all in turn"}
SLOW_SECONDS = 5  # until a first content is waited for in vain; on a busy machine even good answers take their time
# of a gateway that only this is driven over: budget and cooldowns as in production, and time enough for a busy machine
TIMES = {
    "connect_timeout_seconds": 20,
    "first_content_timeout_seconds": 30,
    "answer_timeout_seconds": 30,
    "idle_timeout_seconds": 30,
    "total_timeout_seconds": 120,
    "hold_grace_seconds": 60,
    "retries_always": 10,
}


@dataclasses.dataclass
class Course:
    """What became of the requests after the warm-up."""

    requests: int = 0
    answered: int = 0
    attempts: int = 0
    most_attempts: int = 0
    complaints: list[str] = dataclasses.field(default_factory=list)
    refusals: list[str] = dataclasses.field(default_factory=list)  # what those without an answer were told

    @property
    def is_as_promised(self) -> bool:
        enough = self.answered >= LEAST_ANSWERED * self.requests and self.attempts <= MOST_ATTEMPTS * self.requests
        return enough and not self.complaints


class Trio:
    """A model with three channels, of which the first `broken` have the fault, and a key to ask with."""

    def __init__(self, gateway: Gateway, fault: str, broken: int, folder: Path):
        make = Factories(gateway.make.app)  # which waits for nothing: the gateway is to see all of it at once
        self.gateway, self.model = gateway, make.make_model()
        if fault in SLOW:
            with make.app.app_context(), transaction() as session:
                session.get_one(Model, self.model).first_content_timeout_seconds = SLOW_SECONDS
        self.upstreams, self.nobody = [ScriptedUpstream() for _ in range(3)], Nobody(write_certificate(folder))
        for number, upstream in enumerate(self.upstreams):
            kind = TABLE.get(fault, Fault("")) if number < broken else Fault("")
            upstream.plays(FAULTS[fault]() if number < broken else GOOD)
            make.make_channel(self.nobody.address_of(kind, upstream), self.model)
        gateway.make.wait_for_gateway()
        self.key: MadeKey = gateway.make.make_key(gateway.make.make_account(BALANCE_NANOS))

    def ask(self, session: requests.Session, number: int, stream: bool) -> tuple[str, bool, str]:
        """Send one request, a conversation of its own: its id, whether it was answered, and what was said instead."""
        body = {"model": self.model, "messages": [{"role": "user", "content": f"{number}"}], "stream": stream}
        url = f"{self.gateway.base_url}/chat/completions"
        for _ in range(MOST_TRIES):
            answer = session.post(url, json=body, headers=self.key.headers, timeout=PATIENCE_SECONDS)
            if '"service_unavailable"' not in answer.text:
                break  # else the database of a busy machine was too slow, which is no channel's doing
        good = answer.status_code == 200 and "there" in answer.text and '"error"' not in answer.text
        return answer.headers["x-request-id"], good, "" if good else f"{answer.status_code}: {answer.text[-200:]}"

    def count_attempts(self) -> dict[str, int]:
        """Of each settled request."""
        rows = self.gateway.make.list_usage(self.key.account_id)
        return {row.request_id: len(json.loads(row.attempts or "[]")) for row in rows}

    def close(self) -> None:
        for upstream in (*self.upstreams, self.nobody):
            upstream.close()


def drive(
    gateway: Gateway,
    fault: str,
    *,
    requests_count: int,
    warm_up: int = 0,
    broken: int = 1,
    clients: int = 1,
    mode: str = "both",
    a_second: float = 0,
) -> Course:
    """Send requests by this many clients at once, or `a_second` without waiting; whole, streamed or both by turns. The
    first `warm_up` of them, in which the gateway learns which channels fail, are not counted."""
    with tempfile.TemporaryDirectory() as folder:
        trio, course = Trio(gateway, fault, broken, Path(folder)), Course(requests_count)
        numbers, streams, found = iter(range(warm_up + requests_count)), MODES[mode], []

        def ask(session: requests.Session, number: int) -> None:
            found.append((number, *trio.ask(session, number, streams[number % len(streams)])))

        try:
            _send_all(ask, numbers, clients, a_second)
            attempts = trio.count_attempts()
            for number, request_id, good, said in found:
                if number >= warm_up:
                    course.answered += good
                    course.attempts += attempts.get(request_id, 0)
                    course.most_attempts = max(course.most_attempts, attempts.get(request_id, 0))
                if not good:
                    kind = course.refusals if said.startswith(("200", "503")) else course.complaints
                    kind.append(said)
            _check_money(trio, sum(good for _, _, good, _ in found), course)
        finally:
            trio.close()
    return course


def _send_all(ask: Callable[[requests.Session, int], None], numbers: Iterator[int], clients: int, rate: float) -> None:
    def be_a_client(some: Iterator[int]) -> None:
        with requests.Session() as session:
            session.trust_env = False
            for number in some:
                ask(session, number)

    pool = Pool()
    if rate:
        for number in numbers:
            pool.spawn(be_a_client, iter((number,)))
            gevent.sleep(1 / rate)
    else:
        for _ in range(clients):
            pool.spawn(be_a_client, numbers)
    pool.join(raise_error=True)


def _check_money(trio: Trio, answered: int, course: Course) -> None:
    balance, held = trio.gateway.make.find_money(trio.key.account_id)
    if (BALANCE_NANOS - balance, held) != (answered * PRICE_NANOS, 0):
        course.complaints.append(f"{answered} answers: {BALANCE_NANOS - balance} charged, {held} held")
