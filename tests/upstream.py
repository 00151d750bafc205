"""An upstream of OpenAI's dialect on a loopback socket: it plays what a test says, and notes what it was asked."""

import base64
import contextlib
import dataclasses
import io
import json
import random
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from gevent import socket, ssl
from gevent.event import Event
from gevent.server import StreamServer
from werkzeug.formparser import parse_form_data

PATIENCE_SECONDS = 60  # of whatever a test waits for; reached only when it fails
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT, STALL, PAUSE = "cut", "stall", "pause"
Step = bytes | str
Scenario = Callable[["Received"], Iterable[Step]]


@dataclasses.dataclass
class Received:
    """One request that arrived. `hung_up` is set once its sender is gone."""

    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    hung_up: Event = dataclasses.field(default_factory=Event)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> tuple[dict[str, str], list[tuple[str, str, bytes]]]:
        """The fields of a form, and its files: name, type and bytes."""
        given = {"CONTENT_TYPE": self.headers["content-type"], "CONTENT_LENGTH": str(len(self.body))}
        stream = {"wsgi.input": io.BytesIO(self.body), "REQUEST_METHOD": "POST"}

        def in_memory(**_: Any) -> io.BytesIO:
            return io.BytesIO()

        _, fields, files = parse_form_data({**given, **stream}, in_memory)
        found = [(name, file.content_type, file.read()) for name, file in files.items(multi=True)]
        return fields.to_dict(), found

    @property
    def asked(self) -> Any:
        """The fields of the body, in whichever form it came."""
        return self.form[0] if self.headers["content-type"].startswith("multipart") else self.json

    @property
    def streams(self) -> bool:
        return bool(self.body and self.json.get("stream"))

    @property
    def wants_text(self) -> bool:
        """Whether it asks for a plain completion."""
        return self.path.endswith("/completions") and "/chat/" not in self.path

    def fit(self, event: dict[str, Any]) -> dict[str, Any]:
        """A chat's chunk as this request wants it."""
        if not self.wants_text:
            return event
        choices = [
            {"index": one["index"], "text": one["delta"].get("content", ""), "finish_reason": one["finish_reason"]}
            for one in event["choices"]
        ]
        return {**event, "object": "text_completion", "choices": choices}


def says(*words: str, prompt_tokens: Any = 7, completion_tokens: Any = None, usage: bool = True) -> Scenario:
    """A good answer, whole or streamed as the request wants it, a chunk for each word. Usage counts a token a word
    unless told otherwise; without `usage` there is none."""
    counts = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens or len(words)}
    counts["total_tokens"] = sum(count for count in counts.values() if isinstance(count, int))

    def play(request: Received) -> list[Step]:
        if not request.streams:
            return [whole(completion("".join(words), counts if usage else None, plain=request.wants_text))]
        frames = [chunk(delta={"role": "assistant", "content": ""})]
        frames += [chunk(delta={"content": word}) for word in words]
        frames.append(chunk(finish_reason="stop"))
        if usage:
            frames.append(chunk(choices=[], usage=counts))
        frames = [request.fit(frame) for frame in frames]
        return [STREAM_HEAD, *map(framed, frames), framed("[DONE]"), b"0\r\n\r\n"]

    return play


def vectors(usage: Any = ...) -> Scenario:
    """A vector for each input of embeddings, in the form that was asked for: its length, and a half. Usage counts a
    token an input unless told otherwise; None: there is none."""

    def play(request: Received) -> list[Step]:
        given = request.json["input"]
        inputs = given if isinstance(given, list) and not isinstance(given[0], int) else [given]
        numbers: list[Any] = [[float(len(each)), 0.5] for each in inputs]
        if request.json.get("encoding_format") == "base64":
            numbers = [base64.b64encode(struct.pack("<2f", *each)).decode() for each in numbers]
        data = [{"object": "embedding", "index": place, "embedding": each} for place, each in enumerate(numbers)]
        count = len(inputs) if usage is ... else usage
        counts = {} if usage is None else {"usage": {"prompt_tokens": count, "total_tokens": count}}
        return [whole(json.dumps({"object": "list", "data": data, "model": "upstream", **counts}).encode())]

    return play


PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n a picture").decode()


def pictures(usage: Any = ..., pictures: int | None = None) -> Scenario:
    """As many pictures as were asked for, unless told otherwise. Usage counts 10 tokens of prompt and 200 of each
    picture unless told otherwise; None: there is none."""

    def play(request: Received) -> list[Step]:
        asked = request.asked
        count = int(asked.get("n", 1)) if pictures is None else pictures
        counts = picture_counts(10, 200 * count) if usage is ... else usage
        answer = {
            "created": 1,
            "data": [{"b64_json": PIXEL} for _ in range(count)],
            "background": "opaque",
            "output_format": "png",
            "quality": asked.get("quality", "medium"),
            "size": "1024x1024",
        }
        return [whole(json.dumps({**answer, **({} if counts is None else {"usage": counts})}).encode())]

    return play


def draws(partial: int = 0, usage: Any = ..., then: str = "", kind: str = "image_generation") -> Scenario:
    """A stream of so many unfinished pictures and the finished one, or what comes `then` in its place: CUT, or PAUSE
    until `resume()`."""

    def play(request: Received) -> list[Step]:
        about = {"created_at": 1, "size": "1024x1024", "quality": "low", "background": "opaque", "output_format": "png"}
        events: list[dict[str, Any]] = [
            {"type": f"{kind}.partial_image", "b64_json": f"{PIXEL[:-4]}{place:04}", "partial_image_index": place}
            for place in range(partial)
        ]
        counts = picture_counts(10, 200 + 100 * partial) if usage is ... else usage
        last = {"type": f"{kind}.completed", "b64_json": PIXEL, **({} if counts is None else {"usage": counts})}
        shown: list[Step] = [STREAM_HEAD, *(framed({**event, **about}) for event in events)]
        end: list[Step] = [framed({**last, **about}), b"0\r\n\r\n"]
        return [*shown, *([then] if then else []), *([] if then == CUT else end)]

    return play


def picture_counts(text: int, drawn: int, seen: int = 0, written: int = 0) -> dict[str, Any]:
    """OpenAI's usage of pictures: tokens of the prompt's text, of what was drawn, of pictures that were sent, and of
    text in the answer."""
    details = {"output_tokens_details": {"image_tokens": drawn, "text_tokens": written}} if written else {}
    return {
        "input_tokens": text + seen,
        "input_tokens_details": {"text_tokens": text, "image_tokens": seen},
        "output_tokens": drawn + written,
        "total_tokens": text + seen + drawn + written,
        **details,
    }


def starts(*words: str, then: str = CUT) -> Scenario:
    """A stream that says these words, then is cut off, stalls for good, or pauses until `resume()` and ends well."""

    def play(request: Received) -> list[Step]:
        frames: list[Step] = [STREAM_HEAD, framed(request.fit(chunk(delta={"role": "assistant", "content": ""})))]
        frames += [framed(request.fit(chunk(delta={"content": word}))) for word in words]
        end: list[Step] = [framed(request.fit(chunk(finish_reason="stop"))), framed("[DONE]"), b"0\r\n\r\n"]
        return [*frames, then, *(end if then == PAUSE else [])]

    return play


def stalls() -> Scenario:
    """Takes the request and never answers."""
    return lambda _request: [STALL]


def hangs_up() -> Scenario:
    """Takes the request and closes the connection."""
    return lambda _request: [CUT]


def pauses(scenario: Scenario) -> Scenario:
    """Plays the scenario after `resume()`."""
    return lambda request: [PAUSE, *scenario(request)]


def fails(status: int, message: str = "It went wrong.", code: str | None = None, headers: str = "") -> Scenario:
    """OpenAI's error of this status. `headers` are whole lines."""
    error = {"error": {"message": message, "type": "error", "code": code, "param": None}}
    return lambda _request: [whole(json.dumps(error).encode(), status, headers)]


def sends(body: bytes, status: int = 200, content_type: str = "application/json") -> Scenario:
    """These bytes as a whole body, whatever they are."""
    return lambda _request: [whole(body, status, content_type=content_type)]


def whole(body: bytes, status: int = 200, headers: str = "", content_type: str = "application/json") -> bytes:
    """An answer with its length."""
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def framed(event: dict[str, Any] | str) -> bytes:
    """One event of a stream, as one chunk of its transfer encoding."""
    data = b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunk(
    *,
    delta: dict[str, Any] | None = None,
    finish_reason: str | None = None,
    choices: list[Any] | None = None,
    usage: dict[str, int] | None = None,
) -> dict[str, Any]:
    """A chat.completion.chunk."""
    one = [{"index": 0, "delta": delta or {}, "finish_reason": finish_reason}]
    found = {"id": "chatcmpl-upstream", "object": "chat.completion.chunk", "created": 1, "model": "upstream"}
    found |= {"choices": one if choices is None else choices}
    return found | ({"usage": usage} if usage else {})


def completion(text: str, usage: dict[str, int] | None, *, plain: bool = False) -> bytes:
    """A chat.completion, or a plain one."""
    said = {"text": text} if plain else {"message": {"role": "assistant", "content": text}}
    choice = {"index": 0, **said, "finish_reason": "stop"}
    found = {"id": "chatcmpl-upstream", "object": "chat.completion", "created": 1, "model": "upstream"}
    return json.dumps(found | {"choices": [choice]} | ({"usage": usage} if usage else {})).encode()


class ScriptedUpstream:
    """Each request plays the next scenario; the last one goes on for all that follow."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.requests: list[Received] = []
        self.patience_seconds: float = PATIENCE_SECONDS
        self._scenarios: list[Scenario] = [says("Hello", " there")]
        self._resumed, self._closing = Event(), Event()
        self._scheme = "https" if certificate else "http"
        secure = {"ssl_context": _server_context(certificate)} if certificate else {}
        self._server = _Server(("127.0.0.1", 0), self._serve, **secure)
        self._server.start()

    @property
    def base_url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/v1"

    def plays(self, *scenarios: Scenario) -> None:
        """From now on, these."""
        self._scenarios = list(scenarios)
        self._resumed.clear()

    def resume(self) -> None:
        """Let every pause end, also those to come."""
        self._resumed.set()

    def close(self) -> None:
        """Refuse connections, and end those that are open."""
        self._closing.set()
        self._server.stop(timeout=1)

    def _serve(self, sock: Any, _address: Any) -> None:
        with contextlib.suppress(OSError), sock, sock.makefile("rb") as file:
            for request in iter(lambda: _read_request(file), None):
                self.requests.append(request)
                scenario = self._scenarios[0] if len(self._scenarios) == 1 else self._scenarios.pop(0)
                if not self._play(scenario(request), request, sock):
                    return

    def _play(self, steps: Iterable[Step], request: Received, sock: Any) -> bool:
        """Whether the connection may serve another request."""
        for step in steps:
            if step == CUT:
                return False
            if step == STALL:
                self._note_hang_up(request, sock)
                return False
            if step == PAUSE:
                self._resumed.wait(self.patience_seconds)
                continue
            try:
                sock.sendall(step)
            except OSError:
                request.hung_up.set()
                return False
        return True

    def _note_hang_up(self, request: Received, sock: Any) -> None:
        """Wait for the other side's end, or ours."""
        sock.settimeout(0.05)
        while not self._closing.is_set():
            try:
                if sock.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        request.hung_up.set()


class _Server(StreamServer):
    """Says nothing of clients that don't trust its certificate."""

    def wrap_socket_and_handle(self, *arguments: Any) -> None:
        with contextlib.suppress(OSError):
            super().wrap_socket_and_handle(*arguments)


def _server_context(certificate: Path) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def _read_request(file: Any) -> Received | None:
    line = file.readline().split()
    if len(line) < 2:
        return None
    headers = dict(_read_headers(file))
    body = file.read(int(headers.get("content-length", 0)))
    return Received(line[0].decode(), line[1].decode(), headers, body)


def _read_headers(file: Any) -> Iterator[tuple[str, str]]:
    while (line := file.readline().decode().strip()) != "":
        name, _, value = line.partition(":")
        yield name.lower(), value.strip()


def free_port() -> int:
    """A port of this machine that nobody listens on. It is below those that connections take for themselves: one of
    them could have it before whoever asks listens there."""
    while True:
        port = random.SystemRandom().randrange(10_240, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
