"""Lets requests that wait at the same moment share one trip to the database or to Redis."""

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import gevent
from gevent.event import AsyncResult, Event

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """One greenlet takes all waiting items, passes them to `run`, and wakes each caller with its own result.

    `run` gets the items in order of arrival and returns their results in the same order. An exception that it raises
    goes to everyone in that batch; an exception among its results goes to that item's caller. While it runs, the next
    batch gathers: the busier it is, the larger the batches."""

    def __init__(self, run: Callable[[list[Item]], Sequence[Result | Exception]], *, max_items: int = 256):
        self._run = run
        self._max_items = max_items
        self._waiting: deque[tuple[Item, AsyncResult | None]] = deque()
        self._wake = Event()
        self._bell = _Bell()
        self._greenlet: gevent.Greenlet | None = None

    def ask(self, item: Item, timeout_seconds: float | None = None, *, withdraw: bool = False) -> Result:
        """Queue the item and wait for its result. Raises gevent.Timeout when that takes too long. The item may still be
        carried out then; with `withdraw`, only if that has begun."""
        answer = AsyncResult()
        self._put(item, answer)
        if timeout_seconds is not None:
            self._bell.watch(answer, timeout_seconds)
        try:
            result: Result = answer.get()
        except gevent.Timeout:
            if withdraw:
                self._waiting = deque(pair for pair in self._waiting if pair[1] is not answer)
            raise
        return result

    def tell(self, item: Item) -> None:
        """Queue the item; nobody waits for its result."""
        self._put(item, None)

    def _put(self, item: Item, answer: AsyncResult | None) -> None:
        self._waiting.append((item, answer))
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._serve)
        self._wake.set()

    def _serve(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._waiting:
                self._run_once()

    def _run_once(self) -> None:
        size = min(len(self._waiting), self._max_items)
        batch = [self._waiting.popleft() for _ in range(size)]
        try:
            answered = list(zip(batch, self._run([item for item, _ in batch]), strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, the waiting callers get it, and the next batch runs
            for _, answer in batch:
                if answer is not None:
                    answer.set_exception(error)
            return
        for (_, answer), result in answered:
            if answer is None or answer.ready():  # nobody waits any more
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set(result)


class _Bell:
    """Ends the waits that last too long, with gevent.Timeout. One timer serves them all: one for each wait would nearly
    never ring, and cost more than the wait itself."""

    def __init__(self) -> None:
        self._waits: list[tuple[float, int, AsyncResult]] = []  # a heap, by the moment at which each is over
        self._numbers = itertools.count()
        self._timer: Any = None
        self._rings_at = math.inf

    def watch(self, answer: AsyncResult, seconds: float) -> None:
        """If nothing has come by then, whoever waits for the answer is told."""
        waits = self._waits
        while waits and waits[0][2].ready():
            heapq.heappop(waits)
        over_at = time.monotonic() + seconds
        heapq.heappush(waits, (over_at, next(self._numbers), answer))
        if over_at < self._rings_at:
            self._set_timer(over_at, seconds)

    def _set_timer(self, rings_at: float, seconds: float) -> None:
        self._stop_timer()
        self._rings_at = rings_at
        self._timer = gevent.get_hub().loop.timer(seconds, ref=False)
        self._timer.start(self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._rings_at = math.inf

    def _ring(self) -> None:
        self._stop_timer()
        waits, now = self._waits, time.monotonic()
        while waits and (waits[0][0] <= now or waits[0][2].ready()):
            answer = heapq.heappop(waits)[2]
            if not answer.ready():
                answer.set_exception(gevent.Timeout())
        if waits:
            self._set_timer(waits[0][0], waits[0][0] - now)
