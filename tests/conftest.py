"""The fixtures of all tests: databases, Redis, the app, a gateway in a process of its own, a scripted upstream."""

import datetime
import gc
import itertools
import json
import os
import weakref
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import requests
import time_machine
import werkzeug.test
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings as hypothesis_settings
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app import create_app
from bridge import vault
from bridge.config import Settings
from bridge.providers import COMPANIES
from tests import services
from tests.each_provider import Door
from tests.factories import Factories, MadeAccount, MadeKey
from tests.gateway import CONFIG, Gateway
from tests.page_text import as_read
from tests.played import Caller, Providers
from tests.replay import PATHS, Replay
from tests.rooms import FERNET_KEY, close_rooms, make_settings
from tests.sdk import close_sdks
from tests.upstream import ScriptedUpstream

ENGINES = ("sqlite", "postgresql")
LAST_ERRORS = 3

# no deadlines: what a busy machine does slowly is still right
hypothesis_settings.register_profile("bridge", deadline=None)
hypothesis_settings.load_profile("bridge")


class Compiled(BytecodeCache):
    """Templates, compiled once in a process: each test's app would compile its own, for a quarter of a second."""

    def __init__(self) -> None:
        self._found: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._found:
            bucket.bytecode_from_string(self._found[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._found[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = {"bytecode_cache": Compiled()}

_compile_builder = Rule._compile_builder
_builders: dict[Any, Any] = {}


def _find_builder(rule: Rule, append_unknown: bool = True) -> Any:
    """What builds a route's URLs, compiled once in a process: it depends on the route's text alone, and compiling it
    anew took a fifth of the time of each test that has an app."""
    assert not rule.defaults  # they would be compiled in
    known_by = (rule.rule, tuple(rule._trace), append_unknown)
    if known_by not in _builders:
        _builders[known_by] = _compile_builder(rule, append_unknown)
    return _builders[known_by]


Rule._compile_builder = _find_builder  # type: ignore[method-assign]


class PageResponse(TestResponse):
    """What the test client gets: the text of a page is as a browser reads it."""

    @property
    def text(self) -> str:
        text = super().text
        return as_read(text) if self.mimetype == "text/html" else text


werkzeug.test.TestResponse = PageResponse  # type: ignore[misc]

for _provider in COMPANIES:  # a developer's own keys are not for tests to spend
    for _what in ("API_KEY", "BASE_URL"):
        os.environ.pop(f"{_provider.upper()}_{_what}", None)


def pytest_collection_finish() -> None:
    """Keep the garbage collector off what lasts for the whole run: thousands of tests, and every module."""
    gc.collect()
    gc.freeze()
    gc.collect()
    gc.set_threshold(10_000, 20, 5)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test prints what its gateway logged last."""
    report = yield
    gateway = getattr(item, "funcargs", {}).get("gateway")
    if report.failed and isinstance(gateway, Gateway):
        errors = [json.dumps(line, indent=1) for line in gateway.log_lines() if line.get("level") == "error"]
        report.sections.append(("errors of the gateway", "\n".join(errors[-LAST_ERRORS:])))
    return report


@pytest.fixture(autouse=True)
def _master_keys_of_tests() -> Iterator[None]:
    """Each test leaves the process's vault open with the keys that its shared gateways know. The process has only one
    vault, and no gateway could open what a test sealed with other keys."""
    yield
    vault.open_vault([FERNET_KEY])


_send = requests.Session.send
_streams: "weakref.WeakSet[requests.Response]" = weakref.WeakSet()


def _send_noted(session: requests.Session, request: requests.PreparedRequest, **more: Any) -> requests.Response:
    """What `send` gives. One that is streamed has a socket of its own until it is closed."""
    answer = _send(session, request, **more)
    if more.get("stream"):
        _streams.add(answer)
    return answer


requests.Session.send = _send_noted  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _sockets_of_one_test() -> Iterator[None]:
    """Close the SDKs and streams of each test: the collector would find their sockets during another one, which then
    fails."""
    yield
    close_sdks()
    for answer in list(_streams):
        answer.close()
    _streams.clear()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The database engine. Tests that use it run on both; a test that doesn't depend on it overrides it:
    `@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)`."""
    return str(request.param)


@pytest.fixture
def within_an_hour() -> Iterator[None]:
    """No window of a page's limit ends during the test: an hour begins with it. On a slow machine, or at a quarter to,
    it would count anew."""
    hour = datetime.datetime.now(datetime.UTC).replace(minute=0, second=1, microsecond=0)
    with time_machine.travel(hour + datetime.timedelta(hours=1), tick=True):
        yield


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[services.Databases]:
    """As many fresh databases as this process needs."""
    databases = services.Databases(tmp_path_factory.mktemp("databases"))
    yield databases
    databases.close()


@pytest.fixture
def database_url(engine: str, databases: services.Databases) -> str:
    """A fresh database with every migration and the catalogue."""
    return databases.reuse(engine)


@pytest.fixture
def empty_database_url(engine: str, databases: services.Databases) -> str:
    """A fresh database without a table."""
    return databases.open_empty(engine)


@pytest.fixture(scope="session")
def redis_of_this_process() -> Iterator[str]:
    """A Redis database that only this process uses."""
    yield from services.open_redis()


@pytest.fixture
def redis_url(redis_of_this_process: str) -> str:
    """The same, empty."""
    services.empty_redis(redis_of_this_process)
    return redis_of_this_process


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """A development gateway's settings, with short times. Limits are counted in memory."""
    return make_settings(tmp_path, database_url=database_url)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The whole product in this process, without what runs in the background of a worker."""
    app = create_app(settings)
    yield app
    close_rooms(app)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of pages and API, with a cookie jar."""
    return app.test_client()


@pytest.fixture
def make(app: Flask) -> Factories:
    """Makes accounts, keys, models and channels in the app's database."""
    return Factories(app)


@pytest.fixture
def make_account(make: Factories) -> Callable[..., MadeAccount]:
    """`make_account(balance_nanos=…)`."""
    return make.make_account


@pytest.fixture
def make_key(make: Factories) -> Callable[..., MadeKey]:
    """`make_key(account, rpm=…)`."""
    return make.make_key


@pytest.fixture
def make_channel(make: Factories) -> Callable[..., str]:
    """`make_channel(upstream.base_url, model)`."""
    return make.make_channel


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """An upstream on a loopback socket; see tests/upstream.py for what it can play."""
    upstream = ScriptedUpstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="session")
def gateways(
    request: pytest.FixtureRequest, databases: services.Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Gateway]]:
    """The gateways that tests share, one for each engine, started when first asked for."""
    running: dict[str, Gateway] = {}
    redis = services.open_redis()

    def find(engine: str) -> Gateway:
        if engine not in running:
            folder = tmp_path_factory.mktemp(f"gateway-{engine}")
            changes: dict[str, Any] = {"database_url": databases.open(engine)}
            if engine == "postgresql":
                changes |= {"web_concurrency": 2, "redis_url": next(redis)}
            running[engine] = Gateway(make_settings(folder, **changes), folder / "log")
        return running[engine]

    yield find
    gevent.joinall([gevent.spawn(gateway.stop) for gateway in running.values()], raise_error=True)
    redis.close()


@pytest.fixture
def gateway(engine: str, gateways: Callable[[str], Gateway]) -> Gateway:
    """A running gateway: one worker on SQLite, two on PostgreSQL and Redis. Tests share it: each makes accounts, models
    and channels of its own (`gateway.make`) and leaves the process alone."""
    return gateways(engine)


@pytest.fixture
def start_gateway(databases: services.Databases, tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """`start_gateway("postgresql", web_concurrency=2, redis_url=…, environ={…})`: one for this test alone,
    which may kill it, with a database of its own."""
    started: list[Gateway] = []
    numbers = itertools.count()

    def start(
        engine: str = "sqlite", *, environ: dict[str, str] | None = None, config: str = CONFIG, **changes: Any
    ) -> Gateway:
        folder = tmp_path / f"gateway-{next(numbers)}"
        folder.mkdir()
        settings = make_settings(folder, **{"database_url": databases.open(engine), **changes})
        started.append(Gateway(settings, folder / "log", environ, config))
        return started[-1]

    yield start
    gevent.joinall([gevent.spawn(gateway.stop) for gateway in started], raise_error=True)


@pytest.fixture(scope="session")
def _played_providers(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Providers]:
    folder = tmp_path_factory.mktemp("providers")
    replays = {provider: Replay(provider) for provider in PATHS}
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite")), folder / "log")
    for provider, replay in replays.items():
        gateway.make.make_channel(replay.base_url, provider=provider, models=None)
    yield Providers(gateway, replays)
    gateway.stop()
    for replay in replays.values():
        replay.close()


@pytest.fixture
def providers(_played_providers: Providers) -> Providers:
    """Shared by all tests of this process: each plays what it needs, and has a caller of its own."""
    return _played_providers


@pytest.fixture
def caller(providers: Providers) -> Caller:
    return providers.make_caller()


@pytest.fixture(scope="module")
def door(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("ends")
    # an upstream's silence would be noticed only after the test's own patience
    changes: dict[str, Any] = {"end_mark_seconds": 0.2, "idle_timeout_seconds": 60, "total_timeout_seconds": 60}
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite"), **changes), folder / "log")
    door = Door(gateway)
    yield door
    gateway.stop()
    door.upstream.close()
