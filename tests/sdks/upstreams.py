"""The providers that every SDK is tried on: a model of each, which answers what the case in the question wants."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests import responses_answers
from tests.replay import stream_steps, wants_stream
from tests.replies import Reply, write_stream, write_whole
from tests.upstream import CUT, Received, Scenario, Step, whole
from tests.v1.test_providers_sdk import error_of
from tests.v1.test_tool_loops import TOOLU, Loop

MARK = re.compile(rb"case ([\w-]+)/([\w-]+)/([\w-]+)")
PIECES = (30, 300, 2, 77)  # in which a stream arrives


@dataclasses.dataclass(frozen=True)
class Upstream(Loop):
    """A provider, and the model that it is asked for."""

    @property
    def reveals_thoughts(self) -> bool:
        """OpenAI's chat completions keep what the model thought to themselves."""
        return self.model != "gpt-5.1"

    def speak(self, reply: Reply) -> Reply:
        """The reply as this provider can give it."""
        return reply if self.reveals_thoughts else dataclasses.replace(reply, thought="", signature="")


CALLS = ("call_a1", "call_b2", "call_c3")
UPSTREAMS = {
    "openai-chat": Upstream("openai", "gpt-5.1", {}, CALLS),
    "openai-responses": Upstream("openai", "gpt-5.4", {}, CALLS),
    "anthropic": Upstream("anthropic", "claude-sonnet-4-5", {}, TOOLU),
    "gemini": Upstream("gemini", "gemini-3.5-flash", {}, ("fc_a1", "fc_b2", "fc_c3")),
    "deepseek": Upstream("deepseek", "deepseek-v4-pro", {}, ("call_00_xa1", "call_01_xb2", "call_00_xc3")),
    "moonshot": Upstream(
        "moonshot", "kimi-k2.6", {}, ("functions.weather:0", "functions.weather:1", "functions.time:2")
    ),
}
Plan = Callable[[Upstream], Sequence[Reply | int]]  # what is answered to each question of a case; a number is an error


def plays(plans: Mapping[str, Plan]) -> Scenario:
    """Answers each request as its case wants it: `plans` by the cases' names. Calls whose results are there already
    were answered before."""

    def play(request: Received) -> list[Step]:
        found = MARK.search(request.body)
        assert found, request.body
        upstream, case = UPSTREAMS[found[2].decode()], found[3].decode()
        results = request.body.count(b"Result of ")
        for reply in plans[case](upstream):
            if isinstance(reply, int):
                status = 500 if reply == 503 else reply
                return [whole(json.dumps(error_of(upstream.provider, status)).encode(), status)]
            if not results:
                steps = write(upstream, request, upstream.speak(reply))
                return [*steps[: len(steps) // 2], CUT] if case == "cut" else steps
            results -= len(reply.calls)
        raise AssertionError(f"More was asked than the case has: {request.body!r}")

    return play


def write(upstream: Upstream, request: Received, reply: Reply) -> list[Step]:
    """The reply in the dialect in which it was asked for."""
    if not request.path.endswith("/responses"):
        if wants_stream(request):
            return stream_steps(write_stream(upstream.provider, reply), PIECES)
        return [whole(write_whole(upstream.provider, reply))]
    items = list_items(reply)
    if wants_stream(request):
        return stream_steps(responses_answers.encode(responses_answers.list_events(*items)), PIECES)
    return [whole(json.dumps(responses_answers.response(*items)).encode())]


def list_items(reply: Reply) -> list[dict[str, Any]]:
    """The reply as Responses have it, its signature being the encrypted reasoning."""
    items = []
    if reply.thought:
        number = sum(reply.signature.encode())
        items.append({**responses_answers.thought(number, reply.thought), "encrypted_content": reply.signature})
    if reply.text:
        items.append(responses_answers.message(reply.text))
    return items + [responses_answers.call(call.id, call.name, json.dumps(call.arguments)) for call in reply.calls]
