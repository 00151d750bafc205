"""The faults that an upstream can have, made up: an operator puts them before real channels to see what comes of them.

They speak OpenAI's dialect as bytes, like the sandbox, so that whoever reads them takes them for an upstream's own."""

from collections.abc import Callable, Iterator

import gevent
import msgspec

from bridge.json_types import JsonObject
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.made_up_pictures import answer_images, draw_pieces
from bridge.providers.made_up_vectors import answer_embeddings
from bridge.providers.openai.completions import PATH as COMPLETIONS_PATH
from bridge.providers.openai.embeddings import PATH as EMBEDDINGS_PATH
from bridge.providers.openai.images import EDITS_PATH, read_written
from bridge.providers.openai.images import PATH as IMAGES_PATH
from bridge.providers.wire.http import Timeouts

PREFIX = "drill-"  # of what the sandbox is asked for
FAULTS = {
    "429": "answers 429: too many requests, come back in 7 seconds",
    "402": "answers 402: the balance there is used up",
    "500": "answers 500: it is broken",
    "503": "answers 503: it is overloaded",
    "stall": "takes the request and never answers (stall)",
    "cut": "breaks off in the middle (cut)",
    "malformed": "answers what is no JSON (malformed)",
    "slow": "answers well, but slowly: a word each quarter of a second (slow)",
    "error-in-200": "answers 200 with an error in it (error-in-200)",
    "endless": "never stops answering (endless)",
}
_ERRORS = {
    "429": ("rate_limit_exceeded", "Too many requests (a fault drill)."),
    "402": ("insufficient_quota", "The balance is used up (a fault drill)."),
    "500": ("server_error", "Something broke (a fault drill)."),
    "503": ("overloaded", "There is too much to do (a fault drill)."),
}
_TEXT = "[drill] These words were made up by a fault drill, and no model was asked for them."
_WORDS = _TEXT.split()
_SLOW_SECONDS, _ENDLESS_SECONDS = 0.25, 0.1


def play(fault: str, outgoing: Outgoing, timeouts: Timeouts) -> "DrillAnswer":
    """What an upstream with this fault answers. Raises AttemptFailed where that is nothing."""
    if fault == "stall":
        gevent.sleep(timeouts.first_byte_seconds)
        raise AttemptFailed(Blame.UPSTREAM, f"no answer within {timeouts.first_byte_seconds:g} s")
    stream = bool(read_written(outgoing).get("stream"))
    if fault in _ERRORS:
        code, message = _ERRORS[fault]
        headers = {"retry-after": "7"} if fault == "429" else {}
        return DrillAnswer(int(fault), headers, iter([_error(code, message)]))
    if fault == "error-in-200":
        data = _error("server_error", "Something broke (a fault drill).")
        return DrillAnswer(200, {}, iter([b"data: " + data + b"\n\n" if stream else data]))
    if fault == "malformed":
        return DrillAnswer(200, {}, iter([b"data: {no chunk\n\n" if stream else b'{"choices": [{"mess']))
    pause = {"slow": _SLOW_SECONDS, "endless": _ENDLESS_SECONDS}.get(fault, 0)
    if stream and outgoing.path in (IMAGES_PATH, EDITS_PATH):
        return DrillAnswer(200, {}, _draw(fault, read_written(outgoing)), pause, is_cut=fault == "cut")
    write = _text_chunk if outgoing.path == COMPLETIONS_PATH else _chat_chunk
    pieces = _stream(fault, write) if stream else _whole(fault, _write_answer(outgoing))
    return DrillAnswer(200, {}, pieces, pause, is_cut=fault == "cut")


class DrillAnswer:
    """An answer piece by piece, with a pause before each, as if read from a socket."""

    def __init__(
        self, status: int, headers: dict[str, str], pieces: Iterator[bytes], pause: float = 0, is_cut: bool = False
    ):
        self.status = status
        self.headers = headers
        self._pieces = pieces
        self._pause_seconds = pause
        self._is_cut = is_cut

    def read_some(self, timeout_seconds: float) -> bytes | None:
        """The next piece; b"" at the end. Raises AttemptFailed where it is cut."""
        if self._pause_seconds:
            gevent.sleep(min(self._pause_seconds, timeout_seconds))
        piece = next(self._pieces, b"")
        if not piece and self._is_cut:
            raise AttemptFailed(Blame.UPSTREAM, "the answer was cut off")
        return piece

    def read_all(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """The whole of it. Raises AttemptFailed when it is larger than that, or cut."""
        data = b""
        while piece := self.read_some(timeout_seconds):
            data += piece
            if len(data) > max_bytes:
                raise AttemptFailed(Blame.UPSTREAM, f"the answer is larger than {max_bytes} bytes")
        return data

    def close(self) -> None:
        """Nothing more comes."""
        self._pieces = iter(())


def _error(code: str, message: str) -> bytes:
    return msgspec.json.encode({"error": {"message": message, "type": code, "code": code, "param": None}})


def _stream(fault: str, write: Callable[[str, str | None], bytes]) -> Iterator[bytes]:
    yield write("", None)
    words = [word if place == 0 else f" {word}" for place, word in enumerate(_WORDS)]
    while fault == "endless":
        yield write(" and on", None)
    for word in words[: len(words) // 2] if fault == "cut" else words:
        yield write(word, None)
    if fault != "cut":
        yield write("", "stop")
        yield _frame({"choices": [], "usage": _usage()})
        yield b"data: [DONE]\n\n"


def _draw(fault: str, asked: JsonObject) -> Iterator[bytes]:
    """A picture, half of one, or nothing but the line held open."""
    while fault == "endless":
        yield b": and on\n\n"
    for piece in draw_pieces(asked):
        yield piece[: len(piece) // 2] if fault == "cut" else piece


def _write_answer(outgoing: Outgoing) -> bytes:
    if outgoing.path == EMBEDDINGS_PATH:
        return answer_embeddings(msgspec.json.decode(outgoing.body))
    if outgoing.path in (IMAGES_PATH, EDITS_PATH):
        return answer_images(read_written(outgoing))
    said: JsonObject = {"message": {"role": "assistant", "content": " ".join(_WORDS)}}
    if outgoing.path == COMPLETIONS_PATH:
        said = {"text": " ".join(_WORDS)}
    choice = {"index": 0, **said, "finish_reason": "stop"}
    return msgspec.json.encode({"object": "chat.completion", "choices": [choice], "usage": _usage()})


def _whole(fault: str, data: bytes) -> Iterator[bytes]:
    """This answer, or half of it, or nothing but the line held open."""
    while fault == "endless":
        yield b" "
    size = -(-len(data) // len(_WORDS))
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    yield from pieces[: len(pieces) // 2] if fault == "cut" else pieces


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 10, "completion_tokens": len(_WORDS), "total_tokens": 10 + len(_WORDS)}


def _chat_chunk(text: str, finish_reason: str | None) -> bytes:
    delta = {"role": "assistant", "content": text}
    return _frame({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def _text_chunk(text: str, finish_reason: str | None) -> bytes:
    return _frame({"choices": [{"index": 0, "text": text, "finish_reason": finish_reason}]})


def _frame(more: JsonObject) -> bytes:
    head = {"id": "chatcmpl-drill", "object": "chat.completion.chunk", "created": 1, "model": "drill"}
    return b"data: " + msgspec.json.encode({**head, **more}) + b"\n\n"
