"""Ends a stream that doesn't end by itself: for the clock, the byte limit, our drain, or a client that has left."""

import time
from typing import Protocol

from bridge.inference.services import Services
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.wire.http import Timeouts


class Client(Protocol):
    """Who reads a stream, as far as the server sees it."""

    def has_left(self) -> bool:
        """Whether nobody is there any more; unknown is no."""
        ...

    @property
    def is_slow(self) -> bool:
        """Whether it was closed because it took nothing for too long."""
        ...

    def close_slow(self) -> None:
        """Close it for that, where the server lets us."""
        ...


class Watch:
    """The limits of one attempt, looked at with each read and each moment of silence."""

    __slots__ = ("_asked_at", "_client_seconds", "_deadline", "_moved_at", "_services", "_timeouts")

    def __init__(self, services: Services, deadline: float, timeouts: Timeouts):
        self._services, self._deadline, self._timeouts = services, deadline, timeouts
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
        if now > self._deadline:
            if 2 * self._client_seconds > now - self._asked_at:  # no channel's fault: else a client could put it out
                raise AttemptFailed(Blame.REQUEST, "read too slowly", message="The answer was read too slowly.")
            raise AttemptFailed(Blame.UPSTREAM, "no end before the deadline")
        services = self._services
        if received > services.settings.max_answer_bytes:
            raise AttemptFailed(Blame.UPSTREAM, "the answer is larger than the limit")
        if now > services.stop_streams_at:
            watch_drain(services, delivered)


def watch_drain(services: Services, delivered: bool) -> None:
    """Raises what a stream that runs beyond our drain ends in: ServiceUnavailable where nothing was delivered,
    otherwise AttemptFailed."""
    if time.monotonic() <= services.stop_streams_at:
        return
    error = services.restarts()
    if not delivered:
        raise error
    raise AttemptFailed(Blame.REQUEST, "our restart", message=error.message)
