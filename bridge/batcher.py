"""Lets requests that wait at the same moment share one trip to the database or to Redis."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import gevent
from gevent.event import AsyncResult, Event

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """One greenlet takes all that wait, hands them to `run`, and wakes each with its own result.

    `run` gets the items in order of arrival and returns as many results, in the same order; what it raises goes to
    everyone in that batch, and a result that is an exception is raised to the one it belongs to. While it runs, the
    next batch gathers: the busier it is, the larger the batches."""

    def __init__(self, run: Callable[[list[Item]], Sequence[Result | Exception]], *, max_items: int = 256):
        self._run = run
        self._max_items = max_items
        self._waiting: deque[tuple[Item, AsyncResult | None]] = deque()
        self._wake = Event()
        self._greenlet: gevent.Greenlet | None = None

    def ask(self, item: Item, timeout_seconds: float | None = None, *, withdraw: bool = False) -> Result:
        """Queue the item and wait for its result. Raises gevent.Timeout when it takes longer than allowed; the item
        may still be carried out then: with `withdraw` only if that has begun."""
        answer = AsyncResult()
        self._put(item, answer)
        try:
            result: Result = answer.get(timeout=timeout_seconds)
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
        except Exception as error:  # whatever it is, it belongs to those who wait, and the next batch goes on
            for _, answer in batch:
                if answer is not None:
                    answer.set_exception(error)
            return
        for (_, answer), result in answered:
            if answer is None:
                continue
            if isinstance(result, Exception):
                answer.set_exception(result)
            else:
                answer.set(result)
