"""Does long work in slices, and lets other greenlets run in between."""

import functools
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import gevent
import gevent.monkey
from gevent.threadpool import ThreadPool

SLICE_SECONDS = 0.001  # a page asks the database up to ten times, and each answer may arrive during a slice
SWITCH_SECONDS = 0.0005
REST_SECONDS = 0.001  # a sleep of zero would not do: gevent looks at sockets and timers only after fifty of those
THREADS = 1  # it takes turns with the loop alone: of two, each would pass the interpreter to the other half the time
SHORT_SECONDS, LONGEST_PAUSE_SECONDS = 0.01, 0.25
LARGE_BYTES = 2**18  # of a text: work on a larger one may take more than ten milliseconds
_sleep = gevent.monkey.get_original("time", "sleep")  # the thread's own, which lets the loop run
Item = TypeVar("Item")
Result = TypeVar("Result")


def rest() -> None:
    """Let others run for a moment."""
    gevent.sleep(REST_SECONDS)


def in_slices(items: Iterable[Item]) -> Iterator[Item]:
    """The same items. Other greenlets run each time the caller has worked on them for a millisecond."""
    until = time.monotonic() + SLICE_SECONDS
    for item in items:
        yield item
        if time.monotonic() >= until:
            rest()
            until = time.monotonic() + SLICE_SECONDS


def by_size(size_bytes: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call the function, in a thread if that many bytes are large, since threads take turns with the event loop by
    themselves. Returns or raises what it does. The function must not wait for anything."""
    if size_bytes < LARGE_BYTES:
        return function(*arguments)
    result, error = _pool().apply(_Pace.run, (function, arguments))
    if error is not None:
        try:
            raise error
        finally:  # the error has this frame, with the arguments: each would keep the other in memory
            del error
    found: Result = result
    return found


def share_processor() -> None:
    """Shorten the event loop's wait for the interpreter while a thread works. The default is five milliseconds, and a
    request may wait twenty times. Each worker calls this once."""
    sys.setswitchinterval(SWITCH_SECONDS)


@functools.cache
def _pool() -> ThreadPool:
    """Our own thread pool. The hub's runs statements and name lookups, which large texts must not delay. It is made in
    the worker, at its first use."""
    return ThreadPool(THREADS)


class _Pace:
    """The pool's thread rests after long work for as long as that took. Much of it holds the interpreter for tens of
    milliseconds at a time, and whoever has many small waits, as a page has, would lose one to each."""

    rested_at = 0.0  # monotonic

    @classmethod
    def run(cls, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Any, Exception | None]:
        """Call the function and return its error: gevent would also print an error that a thread raises."""
        if (left := cls.rested_at - time.monotonic()) > 0:
            _sleep(left)
        began = time.monotonic()
        try:
            return function(*arguments), None
        except Exception as error:  # noqa: BLE001 - it goes on in the caller
            return None, error
        finally:
            took = time.monotonic() - began
            if took > SHORT_SECONDS:
                cls.rested_at = began + took + min(took, LONGEST_PAUSE_SECONDS)
