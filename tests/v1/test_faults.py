"""What an upstream or a client can do wrong, over real sockets: the answer, the ledger and the receipt agree."""

import json
import socket

import gevent
import pytest
import requests

from bridge.providers.token_scale import OPENAI, find_scale
from tests.gateway import Gateway
from tests.upstream import CUT, PAUSE, STALL, ScriptedUpstream, fails, free_port, hangs_up, says, sends, stalls, starts

DOLLAR = 1_000_000_000
HELLO = [{"role": "user", "content": "Hello!"}]
FAILURES = {
    "hangs up": hangs_up(),
    "answers rubbish": sends(b"\x00\xffnot json"),
    "answers the wrong shape": sends(b'{"choices": "none"}'),
    "answers html": sends(b"<html></html>", content_type="text/html"),
    "fails inside a 200": sends(b'{"error": {"message": "no", "type": "server_error"}}'),
    "answers 500": fails(500),
    "answers 503": fails(503),
    "answers 401": fails(401, "Incorrect API key provided: sk-operator", "invalid_api_key"),
    "answers 402": fails(402, "Your balance of $3.17 is too low"),
    "answers 404": fails(404, "The model `upstream` does not exist", "model_not_found"),
    "answers 429": fails(429, "Slow down", headers="Retry-After: 7\r\n"),
    "redirects": fails(302, headers="Location: http://169.254.169.254/\r\n"),
    "never answers": stalls(),
}


class Served:
    """A model of one test, its key, and requests to it."""

    def __init__(self, gateway: Gateway, *upstreams: str):
        self.gateway = gateway
        self.model = gateway.make.make_model()
        for priority, base_url in enumerate(upstreams):
            gateway.make.make_channel(base_url, self.model, priority=priority)
        self.key = gateway.make.make_key()

    def post(self, stream: bool = False, **more) -> requests.Response:
        body = {"model": self.model, "messages": HELLO, "stream": stream, **more}
        return requests.post(
            f"{self.gateway.base_url}/chat/completions", json=body, headers=self.key.headers, stream=stream, timeout=30
        )

    def spent(self) -> tuple[int, int]:
        """Nano-dollars charged, and still held."""
        balance, held = self.gateway.make.find_money(self.key.account_id)
        return 10 * DOLLAR - balance, held

    def receipt(self, answer: requests.Response) -> dict:
        return requests.get(
            f"{self.gateway.base_url}/requests/{answer.headers['x-request-id']}", headers=self.key.headers, timeout=30
        ).json()

    def await_usage(self):
        """The settled request's row, once it is there."""
        with gevent.Timeout(20):
            while not (rows := self.gateway.make.list_usage(self.key.account_id)):
                gevent.sleep(0.02)
        return rows[-1]


def estimate_of(words: int, ended: bool = False) -> int:
    """Our own count of an answer of so many tokens by a model that nobody knows."""
    return find_scale(OPENAI, "model").answer(words, calls=0, ended=ended)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", FAILURES)
def test_a_fault_before_the_first_token_is_503_free_and_tells_nothing_of_the_provider(gateway, upstream, fault, stream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(FAILURES[fault])
    answer = served.post(stream)
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "upstream_error"
    assert int(answer.headers["retry-after"]) >= 1
    for secret in ("sk-operator", "3.17", "upstream`", "html", "169.254"):
        assert secret not in answer.text
    assert served.spent() == (0, 0)
    receipt = served.receipt(answer)
    assert (receipt["outcome"], receipt["state"], receipt["charge"]) == ("failed", "released", "0")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_refused_connection_fails_over_to_the_next_channel(gateway, upstream, stream):
    served = Served(gateway, f"http://127.0.0.1:{free_port()}/v1", upstream.base_url)
    upstream.plays(says("Hello", " there", prompt_tokens=10, completion_tokens=5))
    answer = served.post(stream)
    assert answer.status_code == 200
    assert "there" in answer.text
    assert answer.headers["x-bridge-attempts"] == "2"
    assert served.spent() == (20_000, 0)
    attempts = served.receipt(answer)["attempts"]
    assert len(attempts) == 2
    assert attempts[1]["outcome"] == "200"


def test_the_role_chunk_alone_does_not_commit_to_a_channel(gateway, upstream):
    second = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(starts(then=CUT))
    second.plays(says("Good"))
    answer = served.post(stream=True)
    assert "Good" in answer.text
    assert answer.text.count('"role"') == 1
    assert "error" not in answer.text
    second.close()


def test_a_request_at_fault_is_not_tried_elsewhere(gateway, upstream):
    second = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(fails(400, "'messages' is too odd"))
    answer = served.post()
    assert answer.status_code == 400
    assert second.requests == []
    assert served.spent() == (0, 0)
    second.close()


@pytest.mark.parametrize("then", [CUT, STALL])
def test_a_stream_that_breaks_ends_in_an_error_event_and_costs_what_was_delivered(gateway, upstream, then):
    served = Served(gateway, upstream.base_url)
    upstream.plays(starts("Once", " upon", " a", " time", then=then))
    answer = served.post(stream=True)
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "upstream_error"
    assert "[DONE]" not in answer.text
    usage = served.await_usage()
    assert (usage.outcome, usage.state, usage.tokens_source) == ("cut", "captured", "estimate")
    assert usage.completion_tokens == estimate_of(4)
    assert served.spent() == (usage.charge_nanos, 0)
    assert usage.charge_nanos == usage.prompt_tokens * 1000 + estimate_of(4) * 2000


def test_rubbish_in_mid_stream_is_not_passed_on(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    play = starts("Fine", then=CUT)
    upstream.plays(lambda request: [*play(request)[:-1], PAUSE, b"c\r\ndata: rub}\n\n\r\n", STALL])
    lines = served.post(stream=True).iter_lines(chunk_size=1)
    while b"Fine" not in next(lines):
        pass
    upstream.resume()
    rest = b"".join(lines)
    assert b"upstream_error" in rest
    assert b"rub}" not in rest
    assert b"[DONE]" not in rest
    assert served.await_usage().outcome == "cut"


def test_a_silent_upstream_is_kept_alive_and_its_late_answer_arrives(start_gateway, upstream):
    gateway = start_gateway("sqlite", keepalive_seconds=0.1, open_stream_after_seconds=0.1, idle_timeout_seconds=20)
    served = Served(gateway, upstream.base_url)
    upstream.plays(lambda request: ["pause", *says("Late")(request)])
    answer = served.post(stream=True)
    lines = answer.iter_lines(chunk_size=1)
    assert next(lines) == b": keep-alive"
    upstream.resume()
    assert b"Late" in b"".join(lines)


def test_a_client_that_leaves_in_mid_stream_pays_for_what_it_got_and_the_upstream_is_closed(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(starts("One", " two", then=STALL))
    answer = served.post(stream=True)
    lines = answer.iter_lines(chunk_size=1)
    while b" two" not in next(lines):
        pass
    answer.close()
    with gevent.Timeout(20):
        upstream.requests[0].hung_up.wait()
    usage = served.await_usage()
    assert (usage.outcome, usage.state) == ("client_gone", "captured")
    assert usage.completion_tokens == estimate_of(2)
    assert served.spent() == (usage.charge_nanos, 0)


def test_a_client_that_leaves_before_the_upstream_answered_pays_nothing(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(stalls())
    body = json.dumps({"model": served.model, "messages": HELLO, "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", gateway.settings.port)) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key.secret}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        with gevent.Timeout(20):
            while not upstream.requests:
                gevent.sleep(0.02)
    usage = served.await_usage()
    assert (usage.outcome, usage.state) == ("client_gone", "released")
    assert served.spent() == (0, 0)


def test_a_client_that_leaves_a_whole_answer_is_served_and_charged_as_if_it_had_stayed(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    play = says("Hello", prompt_tokens=10, completion_tokens=5)
    upstream.plays(lambda request: ["pause", *play(request)])
    body = json.dumps({"model": served.model, "messages": HELLO}).encode()
    with socket.create_connection(("127.0.0.1", gateway.settings.port)) as client:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key.secret}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body)
        with gevent.Timeout(20):
            while not upstream.requests:
                gevent.sleep(0.02)
    upstream.resume()
    assert served.await_usage().outcome == "complete"
    assert served.spent() == (20_000, 0)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_without_the_providers_counts_our_own_are_charged(gateway, upstream, stream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("One", " two", " three", usage=False))
    assert served.post(stream).status_code == 200
    usage = served.await_usage()
    assert (usage.outcome, usage.tokens_source, usage.completion_tokens) == (
        "complete",
        "estimate",
        estimate_of(3, ended=True),
    )
    assert usage.prompt_tokens > 0


def test_a_model_whose_only_channel_is_disabled_says_that_nobody_serves_it(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    gateway.make.disable_channels(served.model)
    answer = served.post()
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_error"
    assert "No provider is connected" in answer.json()["error"]["message"]
    assert served.spent() == (0, 0)


def test_a_killed_workers_request_is_free_and_its_hold_is_swept(start_gateway, upstream, redis_url):
    gateway = start_gateway("postgresql", web_concurrency=2, redis_url=redis_url, total_timeout_seconds=1)
    served = Served(gateway, upstream.base_url)
    upstream.plays(stalls())

    def ask() -> None:
        with pytest.raises(requests.ConnectionError):
            served.post()

    asking = [gevent.spawn(ask) for _ in range(4)]
    with gevent.Timeout(20):
        while len(upstream.requests) < 4:
            gevent.sleep(0.02)
        for _ in range(2):
            gateway.kill_worker()
            gevent.sleep(0)
    gevent.joinall(asking, timeout=20)
    with gevent.Timeout(30):
        while gateway.make.count_holds(served.key.account_id):
            gevent.sleep(0.05)
    assert served.spent() == (0, 0)
    assert gateway.make.check_ledger() == []


def test_a_killed_workers_stream_is_charged_what_was_delivered_and_no_more(start_gateway, upstream):
    gateway = start_gateway("sqlite", total_timeout_seconds=6, idle_timeout_seconds=30, sweep_seconds=0.2)
    served = Served(gateway, upstream.base_url)
    words = [f"word{number} " for number in range(20)]
    upstream.plays(starts(*words, then=STALL))
    answer = served.post(stream=True)
    pieces, received = answer.iter_content(None), b""  # held on to: without a reader the client would be gone
    with gevent.Timeout(20):
        while b"word19" not in received:
            received += next(pieces)
        while not marked(gateway, served):
            gevent.sleep(0.05)
    gateway.kill_worker()
    row = served.await_usage()
    assert (row.state, row.outcome) == ("captured", "worker_lost")
    assert 0 < row.completion_tokens <= 20
    assert served.spent() == (row.charge_nanos, 0)
    assert gateway.make.check_ledger() == []


def marked(gateway: Gateway, served: Served) -> bool:
    return any('"captured"' in details for details in gateway.make.list_hold_details(served.key.account_id))
