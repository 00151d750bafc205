"""A gateway with the initial catalogue, whose providers are played on loopback sockets, and its callers."""

import dataclasses

import anthropic
import openai

from bridge.ledger.tables import UsageRecord
from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.replay import Replay
from tests.sdk import open_anthropic, open_sdk


@dataclasses.dataclass
class Caller:
    """A client of its own account, and the records of its requests."""

    gateway: Gateway
    key: MadeKey

    @property
    def sdk(self) -> openai.OpenAI:
        return open_sdk(self.gateway, self.key.secret)

    @property
    def anthropic(self) -> anthropic.Anthropic:
        return open_anthropic(self.gateway, self.key.secret)

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
