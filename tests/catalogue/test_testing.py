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
from bridge.errors import NotFound
from bridge.providers.base import AttemptFailed, Blame, Outgoing

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

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def upstream(app: Flask, monkeypatch: pytest.MonkeyPatch) -> FakeUpstream:
    """Stands behind the channel `main`, which serves gpt-x as upstream-x."""
    editing.add_model("gpt-x", provider="openai", input_price_nanos=1, output_price_nanos=1, context_tokens=9_000)
    editing.add_channel("main", "openai", api_key="k", models={"gpt-x": "upstream-x"})
    upstream = FakeUpstream()
    monkeypatch.setattr(testing, "open_channel", lambda *_: upstream)
    return upstream


def test_a_channel_that_answers_says_what_the_model_said(upstream: FakeUpstream):
    result = testing.test_channel("main")
    assert (result.ok, result.detail, result.text) == (True, "upstream-x answered.", "Hello.")
    assert result.took_ms >= 0
    body: dict[str, Any] = json.loads(upstream.sent[0].body)
    assert body["model"] == "upstream-x"
    assert 16 in (body.get("max_tokens"), body.get("max_completion_tokens"))
    assert upstream.closed == 2  # the answer, and the upstream after it


def test_a_channel_is_tested_before_it_is_enabled(upstream: FakeUpstream):
    editing.set_channel_enabled("main", False)
    assert testing.test_channel("main").ok


def test_an_error_answer_is_told_and_closed(upstream: FakeUpstream):
    upstream.status, upstream.body = 401, b'{"error": {"message": "Incorrect API key provided: sk-secret"}}'
    result = testing.test_channel("main")
    assert not result.ok
    assert "sk-secret" not in result.detail
    assert upstream.closed == 2  # the answer, and the upstream after it


def test_an_error_status_counts_whatever_the_body_says(upstream: FakeUpstream):
    upstream.status = 503
    assert not testing.test_channel("main").ok


def test_an_upstream_out_of_reach_is_told(upstream: FakeUpstream):
    upstream.failure = AttemptFailed(Blame.UPSTREAM, "connection refused")
    result = testing.test_channel("main")
    assert (result.ok, result.detail) == (False, "upstream-x did not answer: connection refused")


def test_a_channel_without_a_model_has_nothing_to_ask(app: Flask):
    editing.add_channel("main", "openai", api_key="k")
    assert testing.test_channel("main").detail == "This channel serves no model of the catalogue."
    with pytest.raises(NotFound):
        testing.test_channel("other")


@pytest.fixture
def asked() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The base URL of a model server on loopback, and what it was asked."""
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
    result = testing.test_channel("real")
    assert (result.detail, result.text) == ("upstream-x answered.", "Hello.")
    assert [(one["path"], one["key"], one["model"]) for one in seen] == [("/v1/chat/completions", sent, "upstream-x")]


def test_the_sandbox_answers_its_test(app: Flask):
    for id_ in ("sandbox-402", "sandbox-echo"):
        editing.add_model(id_, provider="sandbox", input_price_nanos=0, output_price_nanos=0, context_tokens=9_000)
    connect_environment(app.config["BRIDGE"], {})
    result = testing.test_channel("sandbox")
    assert result.ok
    assert result.text.startswith("[sandbox]")
