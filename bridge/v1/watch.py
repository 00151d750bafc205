"""What ends a stream that does not end by itself: the clock, the byte limit, our restart, a client that has left."""

import socket
import time
from typing import Any

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.http import Timeouts
from bridge.v1.relay import Relay


class Watch:
    """The limits of one attempt, looked at with each read and each moment of silence."""

    __slots__ = ("_asked_at", "_client_seconds", "_moved_at", "_relay", "_timeouts")

    def __init__(self, relay: Relay, timeouts: Timeouts):
        self._relay, self._timeouts = relay, timeouts
        self._asked_at = self._moved_at = time.monotonic()
        self._client_seconds = 0.0  # how long the client has kept the attempt waiting

    def moved(self, given_at: float) -> None:
        """The client has taken what was given to it then."""
        self._moved_at = now = time.monotonic()
        self._client_seconds += now - given_at

    def check(self, now: float, received: int, started: bool, delivered: bool) -> None:
        """Raises AttemptFailed for the upstream's limits, and our own drain as `watch_drain` does. `started`: content
        has come."""
        patience = self._timeouts.idle_seconds if started else self._timeouts.first_byte_seconds
        if now - self._moved_at > patience:
            raise AttemptFailed(Blame.UPSTREAM, "silence in mid-stream" if started else "no content in time")
        if now > self._relay.deadline:
            if 2 * self._client_seconds > now - self._asked_at:  # no channel's fault: else a client could put it out
                raise AttemptFailed(Blame.REQUEST, "read too slowly", message="The answer was read too slowly.")
            raise AttemptFailed(Blame.UPSTREAM, "no end before the deadline")
        services = self._relay.services
        if received > services.settings.max_answer_bytes:
            raise AttemptFailed(Blame.UPSTREAM, "the answer is larger than the limit")
        if now > services.stop_streams_at:
            watch_drain(self._relay, delivered)


def watch_drain(relay: Relay, delivered: bool) -> None:
    """Raises what a stream that runs beyond our drain ends in: ServiceUnavailable where nothing was delivered, else
    AttemptFailed."""
    if time.monotonic() <= relay.services.stop_streams_at:
        return
    error = relay.services.restarts()
    if not delivered:
        raise error
    raise AttemptFailed(Blame.REQUEST, "our restart", message=error.message)


def has_left(client: Any) -> bool:
    """Whether the client at this socket has closed its side, by a look that takes nothing from it; unknown is no.

    The look goes to the plain socket beneath gevent's, which would wait for something to read."""
    if client is None:
        return False
    try:
        plain = getattr(client, "_sock", client)
        return bool(plain.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"")
    except BlockingIOError:
        return False
    except OSError:
        return True
