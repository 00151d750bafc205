"""Streams an answer: frames as they come, keep-alives in silence, and one settlement whatever ends it."""

import contextlib
import functools
import time
from collections.abc import Generator, Iterator

import gevent
import msgspec
import structlog

from bridge.conversation.answer import AnswerWriter
from bridge.errors import BridgeError, ServiceUnavailable, UpstreamError
from bridge.inference.answers import keep_reasoning_of, note_mended, open_writer, read_failure
from bridge.inference.ask import Ask
from bridge.inference.attempts import Attempt, Attempts
from bridge.inference.choices import ParallelAnswer, ParallelReader, call_all
from bridge.inference.counts import Counted, count_begun, find_delivered, find_usage
from bridge.inference.intake import TICK_SECONDS, Intake
from bridge.inference.overrun import CapPassed, Heard
from bridge.inference.purchase import Purchase
from bridge.inference.upstream import Upstream, UpstreamAnswer
from bridge.inference.watch import Watch, watch_drain
from bridge.ledger.batch import Mark
from bridge.ledger.charge_rules import LEFT_EARLY_PAID
from bridge.limits.abandoned_streams import take_free_one
from bridge.money import format_dollars
from bridge.providers.base import AttemptFailed, Blame, Outgoing, StreamOrder, StreamReader, Translator
from bridge.providers.recast import JsonReader
from bridge.providers.wire.http import Timeouts
from bridge.providers.wire.transport import LeftUnsent

CHARACTERS_PER_TOKEN = 4  # rather too many, so that a mark says too little
log = structlog.get_logger()


class Stream:
    """What the server iterates for frames and closes at the end, also when the client hangs up or never reads."""

    def __init__(self, ask: Ask, attempts: Attempts, purchase: Purchase):
        self._ask, self._attempts, self._purchase, self._client = ask, attempts, purchase, ask.client
        self._services, self._settings = ask.services, ask.services.settings
        self._keepalive = ask.dialect.keepalive
        self._work: Generator[bytes, None, None]
        self._first = b""
        self._left = False  # the client, before it got anything
        self._answer: UpstreamAnswer | None = None
        self._reader: StreamReader | None = None
        self._writer: AnswerWriter | None = None  # of the last attempt
        self._heard: Heard | None = None  # of its answer
        self._stopped = False  # we have ended it
        self._sent_at = time.monotonic()
        self._handed = 0  # pieces of the answer that the server has got from us
        self._sent = 0  # and those that it has sent: it has come back for more
        self._marked = 0
        self._recorded: list[bytes] | None = [] if purchase.keeps_answer else None  # what goes out, to be given again

    # what the server calls

    def open(self, pieces: Generator[bytes, None, None]) -> None:
        """Wait for the first content, at most OPEN_STREAM_AFTER_SECONDS. Raises what the client is told instead."""
        self._work = pieces
        self._services.streams.add(self)
        try:
            self._await_first()
        except BaseException as error:
            with contextlib.closing(self):
                if isinstance(error, Exception):
                    self._release_after_fault()
            raise

    def headers(self) -> list[tuple[str, str]]:
        """How it has come about so far."""
        return self._attempts.adapted_headers()

    def _await_first(self) -> None:
        limit = self._sent_at + self._settings.open_stream_after_seconds
        try:
            for frames in self._work:
                if frames:
                    self._first = frames
                    break
                if self._client.has_left():
                    self._left = True
                    break
                if time.monotonic() >= limit:
                    self._first = self._keepalive
                    break
        except BridgeError as error:
            if self._client.has_left():  # nobody is left to be told, and no attempt delivered anything
                self._left = True
                self._close_answer()
                return
            self._purchase.release(error)
            raise

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:  # noqa: C901 - the order of events is the point: it is read in one piece
        self._sent = self._handed
        if self._first:
            frames, self._first = self._first, b""
            if frames is not self._keepalive:
                self._note_handed(frames)
            elif self._recorded is not None:
                self._recorded.append(self._ask.dialect.opening(self._ask.request_id))
            return frames
        if self._left:
            raise StopIteration
        try:
            for frames in self._work:
                if frames:
                    self._sent_at = time.monotonic()
                    self._note_handed(frames)
                    return frames
                if self._client.has_left():
                    break
                if time.monotonic() - self._sent_at >= self._settings.keepalive_seconds:
                    self._sent_at = time.monotonic()
                    return self._keepalive
        except BridgeError as error:
            if (last := self._attempts.last) is not None and last.delivered:
                return self._break_off(last, error)
            if self._client.has_left():
                self._close_answer()
                raise StopIteration from None
            self._purchase.settle("failed", None, status=200, error_code=error.code)
            self._writer = None  # whatever it wrote was kept back
            return self._write_error(error)
        except Exception:
            self._release_after_fault()
            raise
        raise StopIteration

    def _release_after_fault(self) -> None:
        """A mistake of ours costs nothing where nothing was delivered, as whoever waits is told."""
        last = self._attempts.last
        if not self._purchase.settled and (last is None or not last.delivered):
            self._purchase.release(ServiceUnavailable(""))

    def mark(self) -> Mark | None:
        """What was delivered, for the sweeper, if there is more of it than last time. Never more than the client has:
        a piece is a token at least, unless it is shorter than tokens are. None under an Idempotency-Key: its answer
        would be lost with the worker, and whoever asks again pays for another."""
        sent, reader = self._sent, self._reader
        if reader is None or sent <= self._marked or self._purchase.settled or self._purchase.keeps_answer:
            return None
        self._marked = sent
        pieces = reader.text[:sent]
        completion = min(len(pieces), sum(map(len, pieces)) // CHARACTERS_PER_TOKEN)
        attempt = self._attempts.last
        assert attempt is not None  # whose reader it is
        return self._purchase.mark(find_delivered(attempt, reader.usage, completion))

    def let_go(self) -> None:
        """Close a client that took so long over a piece that its hold would be swept next: for less than is due."""
        late = time.monotonic() - self._ask.deadline > self._settings.hold_grace_seconds / 2
        if late and not self._purchase.settled:
            self._client.close_slow()

    def _note_handed(self, frames: bytes) -> None:
        reader, writer = self._reader, self._writer
        if reader is not None and writer is not None and next(iter(writer.list_unwritten()), None) is None:
            self._handed = len(reader.text)  # of which nothing is kept back by now
        if self._recorded is not None:
            self._recorded.append(frames)

    def _written(self, last: bytes) -> bytes:
        """For the same Idempotency-Key: what was delivered, and how it ended."""
        return b"".join([*(self._recorded or ()), last])

    def close(self) -> None:
        """Shut the upstream, and settle if nothing has yet: then the client left. Safe to call twice."""
        self._services.streams.discard(self)
        try:
            self._work.close()  # which ends a call that is still under way
            if self._answer is not None:
                self._answer.close()
            if not self._purchase.settled:
                self._settle_client_gone()
        finally:
            self._ask.seat.leave()

    # the frames

    def listen(self, attempt: Attempt) -> Iterator[bytes]:  # noqa: C901 - the order of events is the point: it is read in one piece
        """The frames of the attempt's channel, or b"" for a moment of silence. Until content has come they are kept
        back, so that the next channel may be tried. Raises AttemptFailed."""
        if len(self._attempts.records) > 1:
            yield b""  # a moment to see whether the client is still there
        kept: list[bytes] = []
        try:
            answer, intake, watch = yield from self._begin(attempt)
            reader = self._reader = intake.reader
            for frames in intake.frames(answer):
                now = time.monotonic()
                if attempt.first_content_at is None:
                    reader = self._reader = intake.reader  # another one, where it was JSON that came
                    if frames and reader.started:
                        attempt.heard(now)
                if not reader.started:
                    if frames:
                        kept.append(frames)
                    frames = b""  # however busy the upstream is: until there is content, the client may leave
                elif kept:
                    frames, kept = b"".join((*kept, frames)), []
                if frames and not attempt.delivered:
                    attempt.deliver()
                yield frames
                if frames:
                    watch.moved(now)  # what the client took to read it is no silence of the upstream's
                if not reader.ended:
                    watch.check(now, intake.received, reader.started, attempt.delivered)
            if not reader.finish_reason:
                raise AttemptFailed(Blame.UPSTREAM, "the stream ended without a finish reason")
        except AttemptFailed as failure:
            if isinstance(failure, CapPassed) and (end := self._stop(attempt)):
                yield end
                return
            if not attempt.delivered:
                self._close_answer()
            elif failure.frames:  # they are charged, so they are delivered
                yield failure.frames
            raise
        if kept:
            yield b"".join(kept)

    def _stop(self, attempt: Attempt) -> bytes:
        """The end of an answer that is to stop before it costs more; b"" where it can't be ended like that."""
        reader, heard = self._reader, self._heard
        if not attempt.offer.stopped or attempt.offer.choices > 1 or not attempt.delivered:
            return b""
        if reader is None or heard is None or reader.finish_reason:
            return b""
        end = heard.stop()
        self._stopped = bool(end)
        return end

    def _begin(self, attempt: Attempt) -> Generator[bytes, None, tuple[UpstreamAnswer, Intake, Watch]]:
        """Send the request. An answer that is one, what reads it, and its limits."""
        outgoing, timeouts = self._attempts.write(attempt), attempt.timeouts()
        watch = Watch(self._services, self._ask.deadline, timeouts)
        answer = yield from self._connect(attempt, outgoing, timeouts)
        attempt.answered(answer.headers)
        if answer.status != 200:
            raise read_failure(attempt.provider, answer, timeouts)
        return answer, self._open_intake(attempt, answer, outgoing), watch

    def _open_intake(self, attempt: Attempt, answer: UpstreamAnswer, outgoing: Outgoing) -> Intake:
        """What reads the answer, or all of them where each gives one choice."""
        writer = self._writer = open_writer(self._ask, self._purchase, attempt.offer)
        self._heard = Heard(writer)
        most = max(self._settings.max_event_bytes, outgoing.answer_bytes)
        order = StreamOrder(self._heard, most, choices=attempt.offer.choices)
        if not isinstance(answer, ParallelAnswer):
            return self._open_one(attempt.translator, outgoing, order, attempt.most_output_tokens(), writer)
        most = attempt.most_output_tokens() // attempt.calls
        orders = [
            msgspec.structs.replace(order, index=index, parallel=True, choices=1) for index in range(attempt.calls)
        ]
        intakes = [self._open_one(attempt.translator, outgoing, one, most, writer) for one in orders]
        answer.read_by(intakes)
        return Intake(ParallelReader(intakes, answer.said))

    def _open_one(
        self, translator: Translator, outgoing: Outgoing, order: StreamOrder, most_tokens: int, writer: AnswerWriter
    ) -> Intake:
        return Intake(
            translator.open_reader(outgoing, order),
            functools.partial(JsonReader, translator, outgoing, order),
            end_seconds=self._settings.end_mark_seconds,
            most_tokens=most_tokens,
            cut=writer.cut,
        )

    def _connect(
        self, attempt: Attempt, outgoing: Outgoing, timeouts: Timeouts
    ) -> Generator[bytes, None, UpstreamAnswer]:
        """Send the request in a greenlet of its own: this one looks at the client while the upstream thinks."""
        self._close_answer()
        call = gevent.spawn(_send, attempt.upstream(), outgoing, timeouts, attempt.calls)
        try:
            while not call.ready():
                call.join(TICK_SECONDS)
                if not call.ready():
                    watch_drain(self._services, delivered=False)
                    yield b""
        except BaseException:
            call.kill()
            if isinstance(call.value, LeftUnsent):
                attempt.never_sent()
            if call.value is not None and not isinstance(call.value, BaseException):
                call.value.close()  # it came in the very moment in which nobody waits for it any more
            raise
        result: UpstreamAnswer | BridgeError | AttemptFailed = call.get()
        if isinstance(result, BridgeError | AttemptFailed):
            raise result
        self._answer = result
        return result

    # the ends

    def finish(self, attempt: Attempt) -> bytes:
        """The capture, then the tail that it pays for."""
        reader, writer, purchase = self._reader, self._writer, self._purchase
        assert reader is not None
        assert writer is not None
        note_mended(attempt, reader.mended)
        keep_reasoning_of(self._ask, reader.kept)
        counted = usage, _ = find_usage(attempt, reader.usage, reader.text, True, reader.uncounted)

        def write_tail() -> bytes:
            return writer.tail(usage, format_dollars(purchase.charge_nanos))

        purchase.settle(
            "complete",
            counted,
            status=200,
            finish_reason="length" if self._stopped else reader.finish_reason,
            empty=not reader.started and not usage.completion_tokens,
            answer=lambda: self._written(write_tail()),
        )
        return write_tail()

    def _break_off(self, attempt: Attempt, error: BridgeError) -> bytes:
        """Prompt and what was received are charged; then the error."""
        counted = self._count(attempt)

        def write_end() -> bytes:
            return self._write_error(error, counted)

        self._purchase.settle(
            "cut", counted, status=200, error_code=error.code, answer=lambda: self._written(write_end())
        )
        return write_end()

    def _settle_client_gone(self) -> None:
        """From the upstream's headers on the prompt is charged, and what was received until then. Before them it is the
        prompt too, for the provider has it to read, unless nothing of it had left yet, or the stream is one of the
        account's free ones. Between two attempts is before. Once the last has failed nothing is charged."""
        attempt = self._attempts.last
        answered = self._answer is not None and self._answer.status == 200 and self._reader is not None
        waited = attempt is not None and attempt.under_way
        self._attempts.drop("client gone")
        counted: Counted | None = None
        code = None
        if attempt is not None and answered:
            counted = self._count(attempt, left=True)
        elif attempt is not None and waited and attempt.sent and not self._is_free():
            counted = find_usage(attempt, None, (), ended=False)
            code = LEFT_EARLY_PAID.name
        error = UpstreamError("The client of this request left before its end.")
        outcome = "client_slow" if self._client.is_slow else "client_gone"
        self._purchase.settle(
            outcome,
            counted,
            status=499,
            error_code=code,
            answer=lambda: self._written(self._write_error(error, counted)),
        )

    def _write_error(self, error: BridgeError, counted: Counted | None = None) -> bytes:
        """How what was written so far breaks off, with what is charged for it."""
        writer = self._writer or open_writer(self._ask, self._purchase, self._attempts.offer)
        if counted is None:
            return writer.error(error)
        return writer.error(error, counted[0], format_dollars(self._purchase.charge_nanos))

    def _is_free(self) -> bool:
        """Whether the client's leaving is one of those that its account has free."""
        return take_free_one(self._services.counters, self._ask.caller.account_id, self._ask.request_id)

    def _count(self, attempt: Attempt, left: bool = False) -> Counted:
        """The provider's counts, and our own of what it gave none for, as of the cut, or as its client has `left`."""
        reader, writer = self._reader, self._writer
        assert reader is not None
        assert writer is not None
        unwritten, begun = list(writer.list_unwritten()), reader.started and not reader.finish_reason
        usage = count_begun(attempt, reader.usage) if left and begun else reader.usage
        return find_usage(attempt, usage, reader.text, False, reader.uncounted, unwritten)

    def _close_answer(self) -> None:
        if self._answer is not None:
            self._answer.close()
        self._answer = self._reader = None


def _send(
    upstream: Upstream, outgoing: Outgoing, timeouts: Timeouts, calls: int
) -> UpstreamAnswer | BridgeError | AttemptFailed:
    """The answer, or the error as a value: a greenlet that raises prints its traceback."""
    try:
        if calls == 1:
            return upstream.send(outgoing, timeouts=timeouts)
        return ParallelAnswer(
            call_all(calls, lambda _: upstream.send(outgoing, timeouts=timeouts), lambda answer: answer.close())
        )
    except (AttemptFailed, BridgeError) as error:
        return error
