"""Answers in one piece: the first channel that gives a whole answer is paid before it goes out."""

import time
from collections.abc import Callable, Generator, Iterable

import gevent

from bridge.config import Settings
from bridge.conversation.answer import Completion, has_unreadable_call
from bridge.errors import BridgeError, ServiceUnavailable
from bridge.inference.answers import keep_reasoning_of, note_mended, open_writer, read_failure
from bridge.inference.ask import Ask
from bridge.inference.attempts import Attempt, Attempts
from bridge.inference.choices import call_all, join_vectors, merge_completions
from bridge.inference.counts import find_usage
from bridge.inference.purchase import Purchase
from bridge.inference.upstream import UpstreamAnswer
from bridge.money import format_dollars
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.recast import is_whole, read_any_answer
from bridge.providers.wire.http import Timeouts
from bridge.turns import LARGE_BYTES, by_size, rest


class WholeAnswer:
    """An answer that is sent once all of it is there."""

    def __init__(self, ask: Ask, attempts: Attempts, purchase: Purchase):
        self._ask, self._attempts, self._purchase = ask, attempts, purchase
        self._waiting, self._here = ask.services.waiting, gevent.getcurrent()
        self.body = b""
        self._completion: Completion
        self._received = 0  # bytes of it

    def open(self, pieces: Generator[bytes, None, None]) -> None:
        """Wait for all of it, paid for. Raises what the client is told instead."""
        self._waiting.add(self._here)
        try:
            try:
                self.body = b"".join(pieces)
            finally:
                self._waiting.discard(self._here)
        except BridgeError as error:
            self._purchase.release(error)
            raise
        except Exception:
            self._purchase.release(ServiceUnavailable(""))
            raise
        except BaseException:  # the greenlet is ended: the sweeper settles, the channel is free at once
            self._attempts.leave(0)
            raise

    def headers(self) -> list[tuple[str, str]]:
        """What it costs, and how it has come about."""
        return [("x-bridge-cost", format_dollars(self._purchase.charge_nanos)), *self._attempts.adapted_headers()]

    def listen(self, attempt: Attempt) -> Iterable[bytes]:
        """Wait for all of the attempt's answer. Nothing goes out before."""
        self._completion = completion = self._call(attempt)
        if self._ask.dialect.reads_arguments and has_unreadable_call(completion):
            raise AttemptFailed(Blame.UPSTREAM, "the answer calls a tool with what is no JSON object")
        keep_reasoning_of(self._ask, completion.kept)
        return ()

    def finish(self, attempt: Attempt) -> bytes:
        """Settle, then the answer that it pays for."""
        completion, purchase = self._completion, self._purchase
        note_mended(attempt, completion.mended)
        writer = open_writer(self._ask, purchase, attempt.offer)
        counted = usage, _ = find_usage(attempt, completion.usage, completion.text)
        self._waiting.discard(self._here)  # from here on the drain lets it end

        def write() -> bytes:
            cost = format_dollars(purchase.charge_nanos)
            return by_size(self._received, writer.whole, completion, usage, cost)

        purchase.settle(
            "complete",
            counted,
            status=200,
            finish_reason=completion.finish_reason,
            answer=write,
            empty=not completion.says_something and not usage.completion_tokens,
        )
        return write()

    def _call(self, attempt: Attempt) -> Completion:
        """One call, or as many as there are choices, or parts of the request. An answer that only drips is given up for
        the next channel while there is time. Raises AttemptFailed."""
        settings = self._ask.services.settings
        outgoing, timeouts = self._attempts.write(attempt), attempt.timeouts()
        self._received = 0

        def call(place: int = 0) -> Completion:
            part = outgoing if not place or not outgoing.beside else outgoing.beside[place - 1]
            completion, received = _call(attempt, part, timeouts, settings)
            self._received += received
            return completion

        if outgoing.beside:
            return join_vectors(call_all(1 + len(outgoing.beside), call))
        return call() if attempt.calls == 1 else merge_completions(call_all(attempt.calls, call))


def read_whole(
    answer: UpstreamAnswer,
    max_bytes: int,
    timeouts: Timeouts,
    end_seconds: float,
    is_all: Callable[[bytes], bool],
    limit: str,
) -> bytes:
    """The whole body of an answer; also one whose connection stays open, or is cut, after all of it has come, as
    `is_all` says. Raises AttemptFailed when it is too large, silent, cut short, or not there by `timeouts.until`, which
    is within the `limit`."""
    idle_seconds = timeouts.idle_seconds
    pieces: list[bytes] = []
    received, silent, rest_at = 0, 0.0, LARGE_BYTES
    announced = answer.headers.get("content-length", "")
    while max(received, int(announced) if announced.isdecimal() else 0) <= max_bytes:
        if (left := timeouts.until - time.monotonic()) <= 0:
            raise AttemptFailed(Blame.UPSTREAM, f"no whole answer {limit}")
        wait = min(end_seconds, idle_seconds - silent, left)
        try:
            data = answer.read_some(wait)
        except AttemptFailed:
            if is_all(body := b"".join(pieces)):
                return body
            raise
        if data == b"":
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data is None:
            silent += wait
            if received and is_all(body := b"".join(pieces)):
                return body
            if silent >= idle_seconds:
                raise AttemptFailed(Blame.UPSTREAM, f"silent for {idle_seconds:g} s", status=answer.status)
            continue
        silent = 0.0
        pieces.append(data)
        received += len(data)
        if received > rest_at:  # a read that needn't wait gives nobody else a turn
            rest()
            rest_at = received + LARGE_BYTES
    raise AttemptFailed(Blame.UPSTREAM, f"the answer is larger than {max_bytes} bytes", status=answer.status)


def _call(attempt: Attempt, outgoing: Outgoing, timeouts: Timeouts, settings: Settings) -> tuple[Completion, int]:
    """One channel's answer, and how many bytes it came in. Raises AttemptFailed."""
    provider, translator = attempt.provider, attempt.translator
    answer = attempt.upstream().send(outgoing, timeouts=timeouts)
    attempt.answered(answer.headers)
    try:
        if answer.status != 200:
            raise read_failure(provider, answer, timeouts)
        choices = attempt.offer.choices if attempt.calls == 1 else 1
        is_last = timeouts.until >= attempt.deadline
        limit = "before the deadline" if is_last else f"within {timeouts.first_byte_seconds:g} s"
        data = read_whole(
            answer,
            max(settings.max_answer_bytes, outgoing.answer_bytes),
            timeouts,
            settings.end_mark_seconds,
            lambda data: by_size(len(data), is_whole, translator, data, outgoing, choices),
            limit,
        )
        return by_size(len(data), read_any_answer, translator, data, outgoing, choices), len(data)
    finally:
        answer.close()
