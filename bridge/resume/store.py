"""What a store of resumable streams does, in the values that go in and out: one is this process's memory, one Redis."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from bridge.config import Settings
from bridge.errors import BridgeError, Overloaded, RateLimitExceeded

Headers = list[tuple[str, str]]
ACCOUNT_PART = 4  # an account may fill one part in so many
HEAD_BYTES = 512  # about, of a stream without an event
BLOCK_BYTES = 100  # about, of a block beside its events
MOST_BLOCKS = 8  # that are read at once

MOST_EVENTS = 10**9  # of a stream

# How a stream ended, as its last block says.
COMPLETE = "complete"  # with an event of its own
LOST = "lost"  # its process did not end it
FULL = "full"  # it went on, but there was no room to keep more of it
AWAY = "away"  # it went on, but the store could not be reached

# What became of a block.
KEPT, GONE, CLOSED = "kept", "gone", "closed"  # and FULL

# What a reader finds.
RUNNING, ENDED = "running", "ended"  # and GONE


class Head(msgspec.Struct, frozen=True):
    """What is known of a stream before its first event. `owner` is the process that runs it, `endpoint` whose events
    they are, as the ledger calls it, and `model` the name that its client has for it."""

    account_id: int
    owner: str
    endpoint: str
    model: str
    data_key: str  # the owner's, sealed
    serial: int  # of this stream, among the owner's

    def piece(self, last: int) -> int:
        """The number under which the events up to this one are sealed."""
        return self.serial * MOST_EVENTS + last


class Block(msgspec.Struct, frozen=True):
    """The events from `first` to `last`, sealed together: none where `last` is below `first`.
    With an `ending` it is the stream's last one."""

    first: int
    last: int
    sealed: bytes
    ending: str = ""

    @property
    def size(self) -> int:
        return len(self.sealed) + BLOCK_BYTES


class Append(msgspec.Struct, frozen=True):
    """A block to be kept. The first one of a stream brings the headers of its answer."""

    request_id: str
    account_id: int
    block: Block
    headers: Headers | None = None


class Written(msgspec.Struct):
    """What became of each block, and the requests of this owner that someone wants to be ended."""

    states: Sequence[str]
    cancelled: Sequence[str] = ()


class Want(msgspec.Struct, frozen=True):
    """A stream of this owner, from behind the event `after` on."""

    request_id: str
    after: int
    owner: str


class Found(msgspec.Struct, frozen=True):
    """The next blocks, at most MOST_BLOCKS. Without any, `state` says whether more can come."""

    blocks: Sequence[Block]
    state: str = RUNNING

    @property
    def is_complete(self) -> bool:
        """Whether the stream ended, and these are all that is left of it."""
        return self.blocks[-1].ending == COMPLETE if self.blocks else self.state == ENDED


class Bounds(msgspec.Struct, frozen=True):
    """How much is kept, and for how long: a stream that runs can't be silent for longer than `running_seconds`."""

    most_bytes: int
    kept_seconds: float
    running_seconds: float
    lease_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> "Bounds":
        kept = settings.resume_seconds
        return cls(settings.max_resume_bytes, kept, max(kept, settings.total_timeout_seconds), settings.lease_seconds)

    @property
    def most_account_bytes(self) -> int:
        return self.most_bytes // ACCOUNT_PART

    def refuse_account(self, seconds: float) -> BridgeError:
        """What an account is told whose part is full for so long."""
        return RateLimitExceeded(
            f"This account's resumable streams fill the {self.most_account_bytes} bytes that are kept for it: wait for "
            "some of them to be forgotten, or ask without x-bridge-resume.",
            retry_after_seconds=seconds,
        )

    def refuse_all(self, seconds: float) -> BridgeError:
        """What everybody is told while there is no room at all."""
        return Overloaded(
            "There is no room for another resumable stream: wait, or ask without x-bridge-resume.",
            retry_after_seconds=seconds,
        )


class StreamStore(Protocol):
    """Every method but `write` may be called by any number of requests at once, and each raises ServiceUnavailable
    where the store can't be reached."""

    def open(self, request_id: str, head: Head) -> None:
        """Begin to keep a stream. Raises RateLimitExceeded and Overloaded where there is no room for it."""
        ...

    def drop(self, request_id: str, account_id: int) -> None:
        """Forget a stream that never began."""
        ...

    def write(self, owner: str, appends: Sequence[Append]) -> Written:
        """Keep these blocks, and say that their owner lives. A block that was kept before is kept."""
        ...

    def find(self, request_id: str) -> tuple[Head, Headers] | None:
        """A stream's head and the headers of its answer; None for one that isn't kept, or no longer."""
        ...

    def read(self, want: Want) -> Found:
        """What is kept behind an event. It doesn't wait for more."""
        ...

    def cancel(self, request_id: str, owner: str) -> None:
        """Tell the owner to end the request."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...
