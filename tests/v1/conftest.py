"""A gateway with the initial catalogue, whose providers are played on loopback sockets."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from bridge.ledger.tables import UsageRecord
from tests import services
from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.replay import PATHS, Replay
from tests.rooms import make_settings
from tests.v1.each_provider import Door


@dataclasses.dataclass
class Caller:
    """A client of its own account, and the records of its requests."""

    gateway: Gateway
    key: MadeKey

    @property
    def sdk(self) -> openai.OpenAI:
        return openai.OpenAI(api_key=self.key.secret, base_url=self.gateway.base_url, max_retries=0)

    def last_booked(self) -> UsageRecord:
        return self.gateway.make.list_usage(self.key.account_id)[-1]


@dataclasses.dataclass
class Providers:
    """The gateway, and the upstream that plays each provider."""

    gateway: Gateway
    replays: dict[str, Replay]

    def __getitem__(self, provider: str) -> Replay:
        return self.replays[provider]

    def make_caller(self) -> Caller:
        return Caller(self.gateway, self.gateway.make.make_key())


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
