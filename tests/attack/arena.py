"""The scene of an attack: a gateway as in production, two upstreams, the other customer, and a watch on memory."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent

from bridge.config import Settings
from tests.attack.upstream import DIALECTS, PLAYS, PROVOKED
from tests.attack.wire import SITE, Browser, Tally, ask, bearer, chat
from tests.factories import DOLLAR, Factories, MadeAccount, MadeKey
from tests.gateway import Gateway
from tests.rooms import FERNET_KEY, SECRET_KEY, close_rooms, open_rooms
from tests.warm import ROOT

ATTACK_SECONDS = 30  # no attacker's process lives longer
BODY_SECONDS = 4.0
DEFAULT_RPM = 20_000  # no attack reaches it
WATCH_SECONDS = 0.05
RICH_NANOS = 1_000_000 * DOLLAR
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
CALM, SPACIOUS, NARROW = "calm", "spacious", "narrow"
BEHIND = ("nice", "-n", "20")  # who attacks a gateway does not share its cores: they stand back
WARM_UPS = 3


def make_settings(folder: Path, database_url: str, redis_url: str, workers: int) -> Settings:
    """The settings of production, except for the upstreams' addresses and a shorter time for bodies. SQLite is for
    development alone."""
    return Settings(
        bridge_env="production" if redis_url else "development",
        data_dir=str(folder),
        secret_key=SECRET_KEY,
        fernet_keys=FERNET_KEY,
        database_url=database_url,
        redis_url=redis_url,
        web_concurrency=workers,
        public_base_url=f"https://{SITE}",
        trust_proxy=1,
        allow_private_upstreams=True,
        signup="open",
        signup_work_bits=0,  # attackers have computers enough
        default_rpm=DEFAULT_RPM,
        stripe_secret_key="sk_test_attack",
        stripe_webhook_secret="whsec_attack",
        body_timeout_seconds=BODY_SECONDS,
    )


@contextlib.contextmanager
def running_upstream(behind: Sequence[str] = ()) -> Iterator[str]:
    """Its base URL."""
    command = [*behind, sys.executable, "-m", "tests.attack.upstream"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def seed(settings: Settings, calm_url: str, other_url: str) -> None:
    """Every model that the attacks ask for, before anybody serves."""
    rooms = open_rooms(settings)
    make = Factories(rooms)
    for name in (CALM, *(f"shared-{words}" for words in PROVOKED)):
        make.make_model(id_=name)
        make.make_channel(calm_url, models={name: CALM}, priority=0)
        if name != CALM:
            make.make_channel(calm_url, models={name: "second"}, priority=1)
    make.make_model(id_=NARROW)
    make.make_channel(calm_url, models={NARROW: CALM}, concurrency=1)
    large = {"context_tokens": 50_000_000, "max_output_tokens": 20_000_000}
    for name in (SPACIOUS, *PLAYS):
        make.make_model(id_=name, **large)
    make.make_channel(other_url, models={name: name for name in (SPACIOUS, *PLAYS)})
    for dialect in DIALECTS:
        models = {f"{dialect}-pieces": "pieces", f"{dialect}-{SPACIOUS}": SPACIOUS}
        for name in models:
            make.make_model(id_=name, **large)
        make.make_channel(other_url, models=models, provider=dialect)
    close_rooms(rooms)


@contextlib.contextmanager
def open_arena(settings: Settings, log: Path, quick: bool) -> Iterator["Arena"]:
    """A gateway on a migrated database, with all who take part; ended afterwards."""
    with contextlib.ExitStack() as stack:
        calm_url = stack.enter_context(running_upstream())
        other_url = stack.enter_context(running_upstream(BEHIND))
        seed(settings, calm_url, other_url)
        environ = {"BUSY": str(settings.data_path), "PYTHONPATH": "."}
        gateway = Gateway(settings, log, environ, "tests.attack.gunicorn")
        stack.callback(end, gateway)
        yield stack.enter_context(contextlib.closing(Arena(gateway, other_url, quick)))


def end(gateway: Gateway) -> None:
    """However it fared: what doesn't end by itself is killed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        gateway.stop()


@dataclasses.dataclass(frozen=True)
class Fared:
    """How the other customer fared during an attack, and the workers' memory: before, at most, afterwards."""

    requests: int
    worst_ms: float
    worst_of: str
    median_ms: float
    wrong: tuple[str, ...]
    own_ms: float  # how long its own process was kept from running: the machine's part, at least
    busy_ms: float = 0.0  # the longest that a worker's event loop was busy without a break, in processor time
    memory_mib: tuple[int, int, int] = (0, 0, 0)


class Arena:
    """One gateway under attack. `quick`: in small numbers."""

    def __init__(self, gateway: Gateway, other_url: str, quick: bool = False):
        self.gateway, self.quick, self.other_url = gateway, quick, other_url
        self.port = gateway.settings.port
        self.make = gateway.make
        self._victim = self._start_victim()

    def new_key(self, **limits: Any) -> MadeKey:
        """A key of a rich new account."""
        return self.make.make_key(self.make.make_account(RICH_NANOS), **limits)

    def sign_in(self, account: MadeAccount, address: str = "203.0.113.1") -> Browser:
        """A browser in which the account's owner is signed in."""
        browser = Browser(self.port, address)
        answer = browser.sign_in(account.email, account.password)
        assert answer.status == 303, f"nobody could sign in: {answer.status}"
        return browser

    def warm_up(self) -> None:
        """Let each worker load what it loads at first use, before anybody is measured."""
        key, browser = self.new_key().secret, self.sign_in(self.make.make_account())
        for _ in range(WARM_UPS * self.gateway.settings.workers):
            for path in ("/", "/models", "/docs", "/sign-up", "/dashboard/", "/dashboard/keys", "/dashboard/usage"):
                browser.get(path)
            for path in ("/v1/models", "/v1/key"):
                ask(self.port, "GET", path, bearer(key))
            for stream in (False, True):
                chat(self.port, key, SPACIOUS, stream=stream)
            Browser(self.port, "203.0.113.2").get("/sign-in")

    def few(self, count: int, quick: int) -> int:
        """How many of something."""
        return quick if self.quick else count

    def send(self, sender: str, **arguments: Any) -> Tally:
        """Run one of the senders in a process of its own, which is ended if it takes too long; returns its tally."""
        command = [*BEHIND, sys.executable, "-m", "tests.attack.senders", sender]
        text = json.dumps({"port": self.port, **arguments})
        try:
            done = subprocess.run(
                command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=ATTACK_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return {f"not over within {ATTACK_SECONDS} s": 1}
        assert done.returncode == 0, done.stderr
        found: Tally = json.loads(done.stdout)
        return found

    def begin(self) -> "Memory":
        """From here on the other customer's waits count; the memory of the workers is watched."""
        self._ask_victim()
        return Memory(self.gateway)

    def end(self, memory: "Memory") -> Fared:
        """How it went since `begin()`."""
        found = self._ask_victim()
        return Fared(
            found["requests"],
            found["worst_ms"],
            found["worst_of"],
            found["p50_ms"],
            tuple(found["wrong"]),
            found["own_ms"],
            read_busiest(self.gateway.settings.data_path, memory.begun),
            memory.stop(),
        )

    def close(self) -> None:
        self._victim.kill()
        self._victim.wait()

    def _start_victim(self) -> "subprocess.Popen[str]":
        account = self.make.make_account(RICH_NANOS)
        who = {"port": self.port, "key": self.make.make_key(account).secret, "model": CALM}
        who["cookie"] = self.sign_in(account, "203.0.113.200").cookie
        command = [sys.executable, "-m", "tests.attack.victim"]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._tell(process, json.dumps(who))
        return process

    def _ask_victim(self) -> dict[str, Any]:
        self._tell(self._victim, "?")
        assert self._victim.stdout is not None
        found: dict[str, Any] = json.loads(self._victim.stdout.readline())
        return found

    def _tell(self, process: "subprocess.Popen[str]", line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(f"{line}\n")
        process.stdin.flush()


class Memory:
    """The resident memory of all workers, watched."""

    def __init__(self, gateway: Gateway):
        self._gateway, self.begun = gateway, time.monotonic()
        self.before = self.most = measure(gateway)
        self._watching = gevent.spawn(self._watch)

    def stop(self) -> tuple[int, int, int]:
        """MiB before, at most, and now."""
        self._watching.kill()
        now = measure(self._gateway)
        return self.before, max(self.most, now), now

    def _watch(self) -> None:
        while True:
            self.most = max(self.most, measure(self._gateway))
            gevent.sleep(WATCH_SECONDS)


def read_busiest(folder: Path, since: float) -> float:
    """The most milliseconds that an event loop was busy without a break since that monotonic moment."""
    lines = [line.split() for path in folder.glob("*.busy") for line in path.read_text().splitlines()]
    return max((float(busy) for at, busy in lines if float(at) >= since), default=0.0)


def measure(gateway: Gateway) -> int:
    """MiB that the workers have now."""
    pages = 0
    with contextlib.suppress(OSError):  # one has ended
        for worker in gateway.workers():
            pages += int(Path(f"/proc/{worker}/statm").read_text().split()[1])
    return pages * PAGE_BYTES >> 20
