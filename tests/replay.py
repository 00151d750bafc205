"""Upstreams that play exchanges of any provider over a real socket, in that provider's bytes, and record requests."""

import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

from tests.replies import Reply, write_stream, write_whole
from tests.upstream import STREAM_HEAD, Received, Scenario, ScriptedUpstream, Step, whole

# where each is asked, and what stands before that in its base URL
PATHS = {
    "openai": r"/v1/chat/completions",
    "anthropic": r"/v1/messages",
    "gemini": r"/v1beta/models/[\w.%-]+:(generateContent|streamGenerateContent\?alt=sse)",
    "deepseek": r"/chat/completions",
    "moonshot": r"/v1/chat/completions",
}
BASES = {"openai": "/v1", "moonshot": "/v1"}
# where a stream is cut, over and over: inside events, inside characters, and several at once
CUTS = (1, 30, 300, 2, 5_000, 77)


def wants_stream(request: Received) -> bool:
    """Whether a request of any dialect asks for a stream."""
    return "streamGenerateContent" in request.path or bool(request.json.get("stream"))


def upstream_model(request: Received) -> str:
    """What the request calls the model, which Gemini's has in its path."""
    in_path = re.search(r"/models/([^:]+):", request.path)
    return in_path[1] if in_path else str(request.json["model"])


def is_expected(provider: str, request: Received) -> bool:
    return request.method == "POST" and bool(re.fullmatch(PATHS[provider], request.path))


def replies(provider: str, reply: Reply, cuts: Iterable[int] = CUTS) -> Scenario:
    """The reply in the provider's dialect, whole or streamed as asked; 404 where the provider has no such path."""

    def play(request: Received) -> list[Step]:
        if not is_expected(provider, request):
            return [whole(b'{"error":{"message":"No such path."}}', 404)]
        if wants_stream(request):
            return stream_steps(write_stream(provider, reply), cuts)
        return [whole(write_whole(provider, reply))]

    return play


def replays(recording: dict[str, Any], cuts: Iterable[int] = CUTS) -> Scenario:
    """A recorded answer, byte by byte as it stands there."""
    response = recording["response"]
    body, status = response["body_text"].encode(), response["status"]
    kind = response["headers"].get("content-type") or "application/json"
    streamed = kind.startswith("text/event-stream") or body.lstrip()[:5] in (b"data:", b"event")
    return lambda _request: stream_steps(body, cuts) if streamed else [whole(body, status, content_type=kind)]


def stream_steps(body: bytes, cuts: Iterable[int]) -> list[Step]:
    """A stream in pieces of these sizes, each a chunk of its transfer encoding."""
    steps: list[Step] = [STREAM_HEAD]
    sizes = itertools.cycle(cuts)
    while body:
        size = next(sizes)
        piece, body = body[:size], body[size:]
        steps.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return [*steps, b"0\r\n\r\n"]


class Replay(ScriptedUpstream):
    """One provider's stand-in. `base_url` is what its channel is given."""

    def __init__(self, provider: str):
        super().__init__()
        self.provider = provider

    @property
    def base_url(self) -> str:
        return super().base_url.removesuffix("/v1") + BASES.get(self.provider, "")

    def answers(self, *given: Reply) -> None:
        """Play these answers from now on, one per request; earlier requests are forgotten."""
        self.requests.clear()
        self.plays(*(replies(self.provider, reply) for reply in given))

    def refuses(self, status: int, error: dict[str, Any], headers: str = "") -> None:
        """Play this error body from now on."""
        self.requests.clear()
        self.plays(lambda _request: [whole(json.dumps(error).encode(), status, headers)])

    @property
    def sent(self) -> list[Any]:
        """The bodies that arrived."""
        return [request.json for request in self.requests]
