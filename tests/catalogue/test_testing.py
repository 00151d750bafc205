"""A channel's test: one small real request, and a sentence about what came of it."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from gevent.pywsgi import WSGIServer

from bridge.catalogue import editing, testing
from bridge.catalogue.connect import connect_environment
from bridge.catalogue.seed import find_label
from bridge.errors import InvalidRequest, NotFound
from bridge.money import NANOS_PER_DOLLAR as DOLLAR
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from tests.replay import PATHS, Replay
from tests.replies import Reply

HELLO = {
    "id": "1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}


@dataclasses.dataclass
class FakeUpstream:
    """Answers once, and remembers what it was sent."""

    status: int = 200
    body: bytes = json.dumps(HELLO).encode()
    pieces: list[bytes | None] = dataclasses.field(default_factory=list)  # of a stream
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    sent: list[Outgoing] = dataclasses.field(default_factory=list)
    failure: Exception | None = None
    closed: int = 0

    def send(self, outgoing: Outgoing, *, timeouts: object) -> "FakeUpstream":
        self.sent.append(outgoing)
        if self.failure:
            raise self.failure
        return self

    def read_all(self, max_bytes: int, timeout_seconds: float) -> bytes:
        return self.body

    def read_some(self, timeout_seconds: float) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed += 1


def add_model(name: str, output_price: int = 6 * DOLLAR) -> None:
    prices = {"input_price_nanos": 2 * DOLLAR, "cached_price_nanos": DOLLAR // 2, "output_price_nanos": output_price}
    editing.add_model(name, provider="openai", context_tokens=9_000, **prices)


@pytest.fixture
def upstream(app: Flask, monkeypatch: pytest.MonkeyPatch) -> FakeUpstream:
    """The upstream of the channel `main`, which serves gpt-x as upstream-x."""
    add_model("gpt-x")
    editing.add_channel("main", "openai", api_key="k", models={"gpt-x": "upstream-x"})
    upstream = FakeUpstream()
    monkeypatch.setattr(testing, "open_channel", lambda *_: upstream)
    return upstream


def test_a_channel_that_answers_says_what_the_model_said(upstream: FakeUpstream):
    result = testing.probe_channel("main")
    assert (result.ok, result.detail, result.text) == (True, "upstream-x answered.", "Hello.")
    assert result.took_ms >= 0
    assert result.cost == "3 tokens in, 2 out: $0.000018. A million tokens: in $2.00, out $6.00."
    body: dict[str, Any] = json.loads(upstream.sent[0].body)
    assert body["model"] == "upstream-x"
    assert 16 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert upstream.closed == 2  # the answer, and the upstream after it


def test_a_channel_is_tested_before_it_is_enabled(upstream: FakeUpstream):
    editing.set_channel_enabled("main", False)
    assert testing.probe_channel("main").ok


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, {"message": "Incorrect API key provided: sk-secret"}, "OpenAI refuses the key (401): check"),
        (402, {"message": "Pay."}, "the credit behind it"),
        (404, {"code": "model_not_found"}, "https://api.openai.com/v1 has no upstream-x (404 model_not_found): check"),
        (429, {"message": "Slow down."}, "OpenAI limits this key (429): try again in 7 s."),
        (400, {"message": "No such thing."}, "OpenAI takes no such request for this model (400): No such thing."),
        (503, {"message": "Busy."}, "OpenAI is failing (503): the channel is not at fault"),
        (503, HELLO, "OpenAI is failing (503)"),  # an error status counts whatever the body says
    ],
)
def test_an_error_says_whom_it_speaks_against(upstream: FakeUpstream, status: int, body: dict[str, Any], told: str):
    upstream.status, upstream.headers = status, {"retry-after": "7"}
    upstream.body = json.dumps(body if body is HELLO else {"error": body}).encode()
    result = testing.probe_channel("main")
    assert not result.ok
    assert told in result.detail
    assert "sk-secret" not in result.detail
    assert upstream.closed == 2  # the answer, and the upstream after it


def test_an_answer_of_another_kind_speaks_against_the_address(upstream: FakeUpstream):
    upstream.body = b"<html>Welcome</html>"
    detail = testing.probe_channel("main").detail
    assert "What answers at https://api.openai.com/v1 does not speak as OpenAI does (the answer is not JSON)" in detail


def test_a_channel_without_the_key_that_is_wanted_is_told(upstream: FakeUpstream):
    editing.update_channel("main", base_url="https://models.example", api_key=None)
    upstream.status, upstream.body = 401, b"{}"
    assert "The channel has no API key, and https://models.example wants one" in testing.probe_channel("main").detail


def test_what_the_provider_does_not_count_we_estimate(upstream: FakeUpstream):
    upstream.body = json.dumps({**HELLO, "usage": None}).encode()
    result = testing.probe_channel("main")
    assert result.estimated
    assert result.usage is not None
    assert result.usage.completion_tokens >= 2
    assert "(our estimate: it gave no counts): $" in result.cost


def test_counts_are_told_by_class(upstream: FakeUpstream):
    usage = {"prompt_tokens": 30, "prompt_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 20}}
    usage |= {"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 4}}
    upstream.body = json.dumps({**HELLO, "usage": usage}).encode()
    cost = testing.probe_channel("main").cost
    assert cost.startswith("30 tokens in (10 cached, 20 written to the cache), 5 out (4 thinking): $0.000075. ")
    assert cost.endswith("A million tokens: in $2.00, cached $0.50, cache writes $2.00, out $6.00.")


def test_a_model_is_chosen_by_name_or_alias_or_else_the_cheapest(upstream: FakeUpstream):
    add_model("gpt-dear", 90 * DOLLAR)
    add_model("gpt-cheap", DOLLAR)
    editing.add_alias("dear", "gpt-dear")
    editing.update_channel("main", models={"gpt-x": "upstream-x", "gpt-dear": "", "gpt-cheap": ""})
    for name in (None, "gpt-x", "dear"):
        assert testing.probe_channel("main", name).ok
    asked = [json.loads(outgoing.body)["model"] for outgoing in upstream.sent]
    assert asked == ["gpt-cheap", "upstream-x", "gpt-dear"]
    with pytest.raises(InvalidRequest, match="main does not serve gpt-9. It serves gpt-cheap, gpt-x, gpt-dear."):
        testing.probe_channel("main", "gpt-9")


def test_a_stream_is_read_to_its_end(upstream: FakeUpstream):
    chunks = [{"delta": {"content": word}} for word in ("Hel", "lo")] + [{"delta": {}, "finish_reason": "stop"}]
    events = [{"choices": [{"index": 0, **chunk}]} for chunk in chunks]
    events.append({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
    upstream.pieces = [f"data: {json.dumps(event)}\n\n".encode() for event in events]
    upstream.pieces[1:1] = [None]  # a moment of silence
    upstream.pieces.append(b"data: [DONE]\n\n")
    result = testing.probe_channel("main", stream=True)
    assert (result.ok, result.text) == (True, "Hello")
    assert result.detail.startswith("upstream-x answered, its first words after ")
    assert result.cost.startswith("9 tokens in, 2 out: $0.00003.")
    assert json.loads(upstream.sent[0].body)["stream"] is True


def test_a_stream_without_an_end_has_failed(upstream: FakeUpstream):
    upstream.pieces = [b'data: {"choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n']
    result = testing.probe_channel("main", stream=True)
    assert not result.ok
    assert "the stream ended without an end" in result.detail


def test_an_upstream_out_of_reach_is_told(upstream: FakeUpstream):
    upstream.failure = AttemptFailed(Blame.UPSTREAM, "connection refused")
    result = testing.probe_channel("main")
    assert not result.ok
    assert result.detail.startswith(
        "upstream-x did not answer. Nothing answers at https://api.openai.com/v1 (connection"
    )
    assert (result.usage, result.cost) == (None, "")


def test_a_channel_without_a_model_has_nothing_to_ask(app: Flask):
    editing.add_channel("main", "openai", api_key="k")
    assert testing.probe_channel("main").detail == "This channel serves no model of the catalogue."
    with pytest.raises(NotFound):
        testing.probe_channel("other")


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The base URL of a model server on loopback, and the bodies that it was sent."""
    seen: list[dict[str, Any]] = []

    def answer(environ, start_response):
        body = json.loads(environ["wsgi.input"].read())
        seen.append({"path": environ["PATH_INFO"], "key": environ.get("HTTP_AUTHORIZATION"), **body})
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(HELLO).encode()]

    server = WSGIServer(("127.0.0.1", 0), answer, log=None)
    server.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", seen
    server.stop()


@pytest.mark.parametrize(("key", "sent"), [("k-1", "Bearer k-1"), (None, None)])
def test_a_request_goes_to_the_channel_s_address_with_its_key(
    app: Flask, asked: tuple[str, list[dict[str, Any]]], key: str | None, sent: str | None
):
    base_url, seen = asked
    editing.add_model("gpt-x", provider="openai", input_price_nanos=1, output_price_nanos=1, context_tokens=9_000)
    editing.add_channel("real", "openai", base_url=base_url, api_key=key, models={"gpt-x": "upstream-x"})
    result = testing.probe_channel("real")
    assert (result.detail, result.text) == ("upstream-x answered.", "Hello.")
    assert [(one["path"], one["key"], one["model"]) for one in seen] == [("/v1/chat/completions", sent, "upstream-x")]


def test_the_sandbox_answers_its_test(app: Flask):
    for id_ in ("sandbox-402", "sandbox-echo"):
        editing.add_model(id_, provider="sandbox", input_price_nanos=0, output_price_nanos=0, context_tokens=9_000)
    connect_environment(app.config["BRIDGE"], {})
    result = testing.probe_channel("sandbox")
    assert result.ok
    assert result.text.startswith("[sandbox]")


@pytest.mark.parametrize("provider", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_every_provider_is_tested_in_its_own_dialect(app: Flask, provider: str, stream: bool):
    prices = {"input_price_nanos": 2 * DOLLAR, "output_price_nanos": 6 * DOLLAR}
    editing.add_model("a-model", provider=provider, context_tokens=9_000, **prices)
    upstream = Replay(provider)
    editing.add_channel("real", provider, base_url=upstream.base_url, api_key="k")
    upstream.answers(Reply("Hello.", prompt_tokens=10, cached_tokens=4, completion_tokens=3))
    result = testing.probe_channel("real", stream=stream)
    upstream.refuses(401, {"error": {"message": "No such key."}})
    refused = testing.probe_channel("real", stream=stream)
    upstream.close()
    assert (result.ok, result.text, result.estimated) == (True, "Hello.", False)
    assert result.cost.startswith("10 tokens in (4 cached), 3 out: $0.000038.")
    assert f"{find_label(provider)} refuses the key (401" in refused.detail


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_makes_embeddings_is_asked_for_one_and_only_if_no_other_is_there(
    upstream: FakeUpstream, stream: bool
):
    terms = {"provider": "openai", "context_tokens": 9_000, "kinds": ["embeddings"]}
    editing.add_model("vectors", input_price_nanos=2 * DOLLAR, output_price_nanos=0, **terms)
    editing.update_channel("main", models={"gpt-x": "upstream-x", "vectors": "upstream-v"})
    assert testing.list_served_models(editing.find_channel("main")) == ["gpt-x", "vectors"]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    upstream.body = json.dumps({"data": [{"index": 0, "embedding": [0.5, 0.5]}], "usage": usage}).encode()
    result = testing.probe_channel("main", "vectors", stream)
    assert (result.ok, result.detail, upstream.sent[0].path) == (True, "upstream-v answered.", "/embeddings")
    assert result.cost.startswith("3 tokens in, 0 out: $0.000006.")


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_of_plain_completions_goes_on_with_a_text(upstream: FakeUpstream, stream: bool):
    editing.set_kinds("gpt-x", ["completions"])
    chunk = {"choices": [{"index": 0, "text": " Hello.", "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    upstream.body = json.dumps({**chunk, "usage": usage}).encode()
    upstream.pieces = [b"data: " + upstream.body + b"\n\ndata: [DONE]\n\n"]
    result = testing.probe_channel("main", stream=stream)
    assert (result.ok, result.text, upstream.sent[0].path) == (True, " Hello.", "/completions")
    assert json.loads(upstream.sent[0].body)["max_tokens"] == 16
    assert result.cost.startswith("3 tokens in, 2 out")
