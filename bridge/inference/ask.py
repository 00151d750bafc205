"""Describes what the engine is asked for, in plain values: by whom, since when, and for what. Nothing of HTTP is in
it."""

from typing import Protocol

import msgspec

from bridge.accounts.keys import Caller
from bridge.conversation.answer import Dialect
from bridge.inference.plan import Plan
from bridge.inference.services import Services
from bridge.inference.watch import Client
from bridge.ledger.idempotency import Claim
from bridge.resume.recording import Recording


class Seat(Protocol):
    """Holds what the request takes of this process and of its limits until it leaves."""

    @property
    def body_bytes(self) -> int:
        """Of the client's body, as long as it is in memory."""
        ...

    @property
    def reserved_tokens(self) -> int:
        """Which the limits count until it leaves."""
        ...

    def drop_body(self) -> None:
        """Forget the body's bytes: nobody needs them any more."""
        ...

    def count_attempt(self) -> None:
        """Another upstream is called."""
        ...

    def leave(self, used_tokens: int = 0) -> None:
        """The request has ended, with so many tokens. May be called again."""
        ...


class Ask(msgspec.Struct, frozen=True):
    """One request that was let in. `started` is on the monotonic clock, as is `deadline`, when the answer has to have
    ended; `dialect` is what its client speaks; `claim` is its right to an Idempotency-Key; `drill` a fault that it is
    to meet, and whether real channels follow; `recording` keeps the events of a resumable stream."""

    services: Services
    request_id: str
    started: float
    deadline: float
    caller: Caller
    plan: Plan
    dialect: Dialect
    seat: Seat
    client: Client
    claim: Claim | None = None
    drill: tuple[str, bool] | None = None
    recording: Recording | None = None
