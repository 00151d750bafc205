"""The end of a stream that goes on beyond the cap that its upstream was given: nobody pays for what follows it."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bridge.providers.base import AttemptFailed, Blame
from bridge.v1.estimate import count_tokens, cut_text

SPARE_TOKENS = 16  # what our own count may be wrong by where a cap is small
NEVER = 2**63
TEXTS = ("content", "reasoning_content", "refusal")


class Overrun:
    """Looks at what a stream has said, as seldom as a stream can pass its cap: each token takes a byte at least, so
    nothing has to be counted before as many bytes have come. `look_at` is the next of them."""

    __slots__ = ("_counted", "_limit", "_most", "_possible", "_seen", "_waiting", "look_at")

    def __init__(self, most_tokens: int | None):
        self._most = NEVER if most_tokens is None else most_tokens
        # our tokens are not the provider's: half as many again are still its own count's difference
        self._limit = self._most + self._most // 2 + SPARE_TOKENS
        self._counted = 0  # tokens of the text before `_waiting`
        self._waiting: list[str] = []  # what was said since, and can't be beyond the limit
        self._possible = 0  # tokens that `_waiting` can be at the most: its bytes
        self._seen = 0
        self.look_at = self._limit

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
        if self._counted + self._possible > self._limit:
            delivered = self._counted + count_tokens("".join(self._waiting[:before]))
            counted = delivered + count_tokens("".join(self._waiting[before:]))
            if counted > self._limit:
                yield cut_frames(frames, max(0, self._most - delivered))
                raise AttemptFailed(Blame.UPSTREAM, "the answer is longer than its cap")
            self._counted, self._possible = counted, 0
            self._waiting.clear()
        # without frames, what has come is a piece of something that is still to be read
        self.look_at = received + (self._limit - self._counted - self._possible if frames else 0)
        yield frames


def cut_frames(frames: bytes, most_tokens: int) -> bytes:
    """What of these chunks' texts is within so many tokens: the chunks up to there, the last one cut."""
    kept = []
    for frame in frames.split(b"\n\n"):
        if not frame:
            continue
        chunk = msgspec.json.decode(frame[6:])
        said = sum(count_tokens("".join(_texts(choice["delta"]))) for choice in chunk["choices"])
        if said > most_tokens:
            if most_tokens and (cut := _cut_chunk(chunk, most_tokens)):
                kept.append(b"data: " + msgspec.json.encode(cut))
            break
        most_tokens -= said
        kept.append(frame)
    return b"".join(frame + b"\n\n" for frame in kept)


def _texts(delta: dict[str, Any]) -> Iterator[str]:
    yield from (delta[field] for field in TEXTS if delta.get(field))
    functions = [call.get("function") for call in delta.get("tool_calls") or ()]
    for function in (*functions, delta.get("function_call")):
        if function:
            yield from (function[name] for name in ("name", "arguments") if function.get(name))


def _cut_chunk(chunk: dict[str, Any], most_tokens: int) -> dict[str, Any] | None:
    """The chunk with its first text cut; None for a call's, which would be none."""
    for choice in chunk["choices"]:
        for field in TEXTS:
            if text := choice["delta"].get(field):
                only = {"index": choice["index"], "delta": {field: cut_text(text, most_tokens)}, "finish_reason": None}
                return {**chunk, "choices": [only]}
    return None
