"""Ends a stream that goes on beyond the cap that its upstream was given: nobody pays for what follows it."""

from collections.abc import Callable, Iterator, Sequence

from bridge.conversation.answer import AnswerWriter, ChoiceWriter, Chunks, TokenCounter
from bridge.conversation.request import CHAT
from bridge.inference import estimate
from bridge.inference.estimate import count_tokens
from bridge.providers.base import AttemptFailed, Blame

SPARE_TOKENS = 16  # what our own count may be wrong by where a cap is small
SAMPLED = 8
NEVER = 2**63
Cut = Callable[[bytes, int, TokenCounter], bytes]  # see AnswerWriter.cut


class CapPassed(AttemptFailed):
    """The answer goes on beyond its cap."""

    def __init__(self) -> None:
        super().__init__(Blame.UPSTREAM, "the answer is longer than its cap")


class Heard:
    """Gives a reader the writer's choices, and remembers them: so an answer can be ended where its reader won't."""

    def __init__(self, writer: AnswerWriter):
        self._writer = writer
        self._choices: dict[int, ChoiceWriter] = {}

    @property
    def chunks(self) -> Chunks | None:
        """See Listener."""
        return self._writer.chunks

    def choice(self, index: int) -> ChoiceWriter:
        """See Listener."""
        found = self._choices[index] = self._writer.choice(index)
        return found

    def stop(self) -> bytes:
        """The end of the one choice, as at its cap. b"" where events of another dialect than chat's passed as they
        were: what of them is still open is not known."""
        chunks = self._writer.chunks
        if not self._choices and chunks is not None and chunks.dialect != CHAT:
            return b""
        return (self._choices.get(0) or self._writer.choice(0)).finish("length")


class Overrun:
    """Looks at what a stream has said, as seldom as a stream can pass its cap: each token takes a byte at least, so
    nothing has to be counted before as many bytes have come. `look_at` is the next of them."""

    __slots__ = ("_counted", "_cut", "_limit", "_most", "_possible", "_seen", "_waiting", "look_at")

    def __init__(self, most_tokens: int | None, cut: Cut):
        self._cut = cut
        self._most = NEVER if most_tokens is None else most_tokens
        # our tokens are not the provider's: half as many again are still its own count's difference
        self._limit = self._most + self._most // 2 + SPARE_TOKENS
        self._counted = 0  # tokens of the text before `_waiting`
        self._waiting: list[str] = []  # what was said since, and can't be beyond the limit
        self._possible = 0  # tokens that `_waiting` can be at the most: its bytes
        self._seen = 0
        self.look_at = self._limit

    def look_soon(self) -> None:
        """Look at the next frames, however few bytes they came in."""
        self.look_at = 0

    def look(self, text: Sequence[str], frames: bytes, received: int) -> Iterator[bytes]:
        """These frames; or what of them is within the cap, and then AttemptFailed is raised. `text` is all that was
        said, `received` the bytes that it came in."""
        if received <= self.look_at:
            yield frames
            return
        before, new = len(self._waiting), text[self._seen :]
        self._waiting += new
        self._seen += len(new)
        self._possible += len("".join(new).encode(errors="replace"))
        if self._counted + self._possible > self._limit and not self._is_probably_within():
            delivered = self._counted + count_tokens("".join(self._waiting[:before]))
            counted = delivered + count_tokens("".join(self._waiting[before:]))
            if counted > self._limit:
                yield self._cut(frames, max(0, self._most - delivered), estimate)
                raise CapPassed
            self._counted, self._possible = counted, 0
            self._waiting.clear()
        # without frames, what has come is a piece of something that is still to be read
        self.look_at = received + (self._limit - self._counted - self._possible if frames else 0)
        yield frames

    def _is_probably_within(self) -> bool:
        """Whether what waits is within the cap by a count of every eighth piece, which spares an honest stream seven
        eighths of the counting. The sample may be wrong by what lies between cap and limit."""
        about = self._counted + SAMPLED * count_tokens("".join(self._waiting[::SAMPLED]))
        if about > self._most:
            return False
        self._counted, self._possible = about, 0
        self._waiting.clear()
        return True


def keep_none(frames: bytes, most_tokens: int, counter: TokenCounter) -> bytes:
    """The cut of a stream that has no cap."""
    return b""
