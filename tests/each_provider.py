"""A gateway with a model of every provider, all played by one upstream in any bytes that a test wants."""

import json
from typing import Any

import requests

from tests.gateway import Gateway
from tests.replay import BASES
from tests.replies import Call, Reply
from tests.served import HELLO
from tests.upstream import STREAM_HEAD, ScriptedUpstream, Step

PROVIDERS = ("openai", "anthropic", "gemini", "deepseek", "moonshot")
UPSTREAM_IDS = {"gemini": "gemini-2.5-flash", "anthropic": "claude-sonnet-4-5"}
REPLIES = {
    "text": Reply(text="Hello there, friend.", prompt_tokens=10, cached_tokens=0, completion_tokens=5),
    "call": Reply(
        calls=(Call("call_1", "weather", {"city": "Oslo"}),), prompt_tokens=10, cached_tokens=0, completion_tokens=5
    ),
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
LAST_CHUNK = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    """These bytes as one chunk of the transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def end(body: bytes, *rest: Step) -> list[Step]:
    return [STREAM_HEAD, piece(body), *(rest or (LAST_CHUNK,))]


class Door:
    """A gateway with a model of each provider, all played by one upstream, and a client of it."""

    def __init__(self, gateway: Gateway):
        self.gateway, self.upstream, self.key = gateway, ScriptedUpstream(), gateway.make.make_key()
        self.models = {}
        for provider in PROVIDERS:
            model = self.models[provider] = gateway.make.make_model()
            base_url = self.upstream.base_url.removesuffix("/v1") + BASES.get(provider, "")
            served = {model: UPSTREAM_IDS.get(provider, "theirs")}
            gateway.make.make_channel(base_url, provider=provider, models=served, waits=False)

    def ask(self, provider: str, steps: Any, **more: Any) -> "Asked":
        """Send one request to this provider's model, which is answered in these steps."""
        self.upstream.requests.clear()
        self.upstream.plays(steps if callable(steps) else lambda _request: steps)
        return Asked(self, {"model": self.models[provider], "messages": HELLO, "tools": [TOOL], **more})

    def receipt(self, asked: "Asked") -> Any:
        url = f"{self.gateway.base_url}/requests/{asked.booked.request_id}"
        return requests.get(url, headers=self.key.headers, timeout=60).json()


class Asked:
    """An answer, and its usage row."""

    def __init__(self, door: Door, body: dict[str, Any]):
        url = f"{door.gateway.base_url}/chat/completions"
        self.answer = requests.post(url, json=body, headers=door.key.headers, timeout=60)
        rows = door.gateway.make.list_usage(door.key.account_id)
        [self.booked] = [row for row in rows if row.request_id == self.answer.headers["x-request-id"]]

    @property
    def events(self) -> list[Any]:
        lines = [line.removeprefix("data: ") for line in self.answer.text.splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


def check_complete(asked: Asked, reply: Reply) -> None:
    """The whole reply is there, once, with its end, and was charged by the provider's counts."""
    assert asked.answer.status_code == 200
    *chunks, last = asked.events
    assert last == "[DONE]"
    assert not [one for one in chunks if "error" in one]
    choices = [choice for one in chunks for choice in one["choices"]]
    deltas = [choice["delta"] for choice in choices]
    assert "".join(delta.get("content") or "" for delta in deltas) == reply.text
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [call["name"] for call in calls if call.get("name")] == [call.name for call in reply.calls]
    arguments = "".join(call.get("arguments") or "" for call in calls)
    assert ([json.loads(arguments)] if arguments else []) == [call.arguments for call in reply.calls]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == [reply.finish_reason]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    booked = asked.booked
    assert (booked.outcome, booked.state, booked.tokens_source) == ("complete", "captured", "provider")
    assert (booked.prompt_tokens, booked.completion_tokens) == (reply.prompt_tokens, reply.completion_tokens)
    assert [attempt["outcome"] for attempt in json.loads(booked.attempts)] == ["200"]
