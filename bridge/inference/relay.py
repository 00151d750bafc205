"""The page that all inference goes through: money is set aside, channels are asked in turn, and what they say is paid.

A channel is one endpoint of a provider, with our key to it. The order never changes: the hold is committed before any
channel is asked, and the settlement before the end of the answer goes out."""

from collections.abc import Generator, Iterable
from typing import Protocol

from bridge.inference.ask import Ask
from bridge.inference.attempts import Attempt, Attempts
from bridge.inference.purchase import Purchase
from bridge.inference.resumable import ResumableStream
from bridge.inference.stream import Stream
from bridge.inference.whole import WholeAnswer
from bridge.providers.base import AttemptFailed

Pieces = Generator[bytes, None, None]


def serve(ask: Ask) -> WholeAnswer | Stream:
    """Answer one request. A stream is for the server to iterate and to close: `close` settles what nothing else has
    settled, also when the client hangs up or never reads. Raises BridgeError, which the client is told instead."""
    attempts = Attempts(ask)
    purchase = Purchase(ask, attempts)
    try:
        attempts.recall_reasoning()  # it goes out with the prompt, so it is a part of the worst case
        purchase.place_hold()
    except Exception:  # whatever it is, nothing was paid: the Idempotency-Key is not to stay taken
        purchase.free_key()
        raise
    answer: WholeAnswer | Stream
    if ask.recording is not None:
        answer = ResumableStream(ask, attempts, purchase)
    elif ask.plan.request.stream:
        answer = Stream(ask, attempts, purchase)
    else:
        answer = WholeAnswer(ask, attempts, purchase)
    answer.open(ask_channels(attempts, answer))
    return answer


def ask_channels(attempts: Attempts, answer: "Answer") -> Pieces:
    """The pieces of the answer, or b"" for a moment of silence. Another channel is asked only while nothing was
    delivered. Raises BridgeError when no channel has answered to its end."""
    for attempt in attempts:
        try:
            yield from _listen(answer, attempt)
        except AttemptFailed as failure:
            attempt.failed(failure)  # which raises where no other channel may be asked
            continue
        attempt.succeeded()
        yield answer.finish(attempt)
        return
    raise attempts.explain()


def _listen(answer: "Answer", attempt: Attempt) -> Pieces:
    """What the attempt's channel says, asked once more where it takes the request in another way than it was written:
    that is no failure of the channel's. Raises AttemptFailed."""
    while True:
        try:
            yield from answer.listen(attempt)
        except AttemptFailed as failure:
            if not attempt.may_go_on(failure):
                raise
        else:
            return


class Answer(Protocol):
    """What the client gets, whole or streamed."""

    def open(self, pieces: Pieces) -> None:
        """Wait until something can be sent."""
        ...

    def listen(self, attempt: Attempt) -> Iterable[bytes]:
        """Ask the attempt's channel: what can be sent of its answer, as it comes. Raises AttemptFailed."""
        ...

    def finish(self, attempt: Attempt) -> bytes:
        """Settle, then give the end of the answer."""
        ...
