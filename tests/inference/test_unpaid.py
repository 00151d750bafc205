"""Ways to get an answer for less than its cost, or to leave something reserved: none of them works."""

import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from bridge.dialects.chat.request import ChatRequest
from bridge.dialects.chat.unpriced import refuse_unpriced
from bridge.errors import InvalidRequest
from bridge.inference.estimate import count_answer
from bridge.inference.meter import measure
from bridge.providers.token_scale import OPENAI, find_scale
from bridge.v1.body import convert
from tests.conversations import converse
from tests.factories import MadeKey
from tests.gateway import Gateway
from tests.inference.test_meter import MODEL
from tests.prices import make_version
from tests.served import Served, ask_and_leave, estimate_of
from tests.upstream import CUT, STREAM_HEAD, ScriptedUpstream, chunk, framed, says, stalls, starts

BODY: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.parametrize("kind", ["web_search", "openrouter:web_search", "builtin_function", "code_interpreter"])
def test_a_tool_that_the_provider_runs_and_bills_for_is_refused(kind: str):
    tools = [{"type": "function", "function": {"name": "mine"}}, {"type": kind}]
    with pytest.raises(InvalidRequest) as refused:
        refuse_unpriced(convert({**BODY, "tools": tools}, ChatRequest))
    assert (refused.value.param, refused.value.code) == ("tools[1].type", "unsupported_parameter")
    refuse_unpriced(convert({**BODY, "tools": [tools[0], {"type": "custom"}]}, ChatRequest))


def test_a_rejected_prediction_is_held_for_as_output():
    """Providers bill what they reject of it like output, beside the cap."""
    prediction = {"type": "content", "content": "word " * 1000}
    request = converse({**BODY, "max_tokens": 1, "prediction": prediction})
    found = measure(request, MODEL, 6000)
    assert found.cap_tokens == 1
    assert found.predicted_tokens >= 5000
    price = make_version(1, *[1_000_000_000] * 4, 4_000_000_000)
    assert price.worst_charge(found.prompt_bound_tokens, 1 + found.predicted_tokens) > 5000 * 4000


@pytest.mark.parametrize("character", [" ", "^", "a", "\n", "的"])
def test_no_text_breaks_our_own_count(character: str):
    """The tokenizer gives up over a million spaces, and with it would go the charge of whoever hangs up after them."""
    request = converse({**BODY, "messages": [{"role": "user", "content": character * 1_000_000}]})
    usage = count_answer(["Hello"], request, 2**31, find_scale(OPENAI, "gpt-4o"))
    assert usage.prompt_tokens > 1000
    assert usage.completion_tokens == 2


def test_an_upstream_that_only_clears_its_throat_is_given_up_for_the_next(start_gateway, upstream):
    """Chunks without content are no content: neither the limits nor the client wait for them for ever."""
    gateway = start_gateway("sqlite", first_content_timeout_seconds=2)
    second = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(lambda _request: drip(STREAM_HEAD, framed(chunk(delta={"role": "assistant", "content": ""}))))
    second.plays(says("Good"))
    with gevent.Timeout(60):
        answer = served.post(stream=True)
        assert "Good" in answer.text
    assert answer.text.count('"role"') == 1
    assert served.receipt(answer)["attempts"][0]["outcome"] == "no content in time"
    second.close()


@pytest.mark.parametrize(
    "busy", [b"12\r\n: still thinking\n\n\r\n", framed(chunk(delta={"content": ""}))], ids=["comments", "chunks"]
)
def test_a_client_that_leaves_a_busy_upstream_before_its_content_is_noticed(start_gateway, upstream, busy):
    gateway = start_gateway("sqlite", first_content_timeout_seconds=300, total_timeout_seconds=300)
    served = Served(gateway, upstream.base_url)
    upstream.plays(lambda _request: drip(STREAM_HEAD, busy))
    ask_and_leave(served, upstream, stream=True)
    assert served.await_usage().outcome == "client_gone"
    with gevent.Timeout(60):
        upstream.requests[0].hung_up.wait()


def test_a_client_that_leaves_before_the_upstream_answered_ends_the_call(start_gateway, upstream):
    gateway = start_gateway("sqlite", first_content_timeout_seconds=300, total_timeout_seconds=300)
    served = Served(gateway, upstream.base_url)
    upstream.plays(stalls())
    ask_and_leave(served, upstream, stream=True)
    with gevent.Timeout(60):
        upstream.requests[0].hung_up.wait()
    assert served.await_usage().outcome == "client_gone"


@ON_SQLITE
def test_counts_from_the_beginning_of_a_stream_are_no_price_for_the_rest(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    counts = {"prompt_tokens": 9, "completion_tokens": 0}
    play = starts("One", " two", " three", then=CUT)
    upstream.plays(lambda request: [STREAM_HEAD, framed(chunk(choices=[], usage=counts)), *play(request)[1:]])
    assert "upstream_error" in served.post(stream=True).text
    usage = served.await_usage()
    assert (usage.outcome, usage.tokens_source, usage.completion_tokens) == ("cut", "mixed", estimate_of(3))


def drip(head: bytes, step: bytes) -> Iterator[bytes]:
    """The head, then the same again and again for as long as somebody listens."""
    yield head
    while True:
        yield step
        gevent.sleep(0.02)


def open_body(gateway: Gateway, key: MadeKey, *lines: str) -> socket.socket:
    """A connection whose request's head is sent, with these lines, and of its body nothing yet."""
    connection = socket.create_connection(("127.0.0.1", gateway.port))
    head = ["POST /v1/chat/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {key.secret}", *lines, "", ""]
    connection.sendall("\r\n".join(head).encode())
    return connection


def test_bodies_that_are_announced_and_never_sent_keep_nobody_out(start_gateway, upstream):
    gateway = start_gateway("sqlite", max_body_bytes=20_000, max_bodies_in_memory_bytes=40_000)
    served = Served(gateway, upstream.base_url)
    idlers = [open_body(gateway, served.key, "Transfer-Encoding: chunked") for _ in range(3)]
    idlers += [open_body(gateway, served.key, "Content-Length: 20000") for _ in range(3)]
    assert served.post().status_code == 200
    for idler in idlers:
        idler.close()


@ON_SQLITE
@pytest.mark.parametrize("chunks", [b"zz\r\n", b"2\r\n{}never\r\n", b"2\r\n{}\r\n0\r\nbad trailer\r\n\r\n"])
def test_malformed_chunks_are_the_requests_fault(gateway, chunks: bytes):
    with open_body(gateway, gateway.make.make_key(), "Transfer-Encoding: chunked") as connection:
        connection.sendall(chunks)
        assert connection.recv(2**16).startswith(b"HTTP/1.1 400 ")
