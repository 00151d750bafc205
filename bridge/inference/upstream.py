"""Says what the engine asks of an upstream. Whether a socket, the sandbox or a test answers doesn't matter to it."""

from typing import Protocol

from bridge.providers.base import Outgoing
from bridge.providers.wire.http import Timeouts


class UpstreamAnswer(Protocol):
    """An answer whose status and headers (names in lower case) are there; its body is read as it arrives."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> dict[str, str]: ...

    def read_some(self, timeout_seconds: float) -> bytes | None:
        """What has arrived; b"" at the end, None when nothing came for that long. Raises AttemptFailed when it was
        cut."""
        ...

    def read_all(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """The whole body. Raises AttemptFailed when it is too large, silent for that long, or cut."""
        ...

    def close(self) -> None:
        """May be called again."""
        ...


class Upstream(Protocol):
    """A channel's far end."""

    def send(self, outgoing: Outgoing, *, timeouts: Timeouts) -> UpstreamAnswer:
        """The answer, whatever its status; the caller closes it. Raises AttemptFailed when none could be had."""
        ...
