"""Who is let in, in which sequence errors are answered, and what every answer carries."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
import requests

from bridge.ledger.refunds import refund_request
from tests.upstream import says

HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def served(gateway, upstream):
    """A model, and a function that posts to it."""
    model = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello"))

    def post(key, body=None, **more) -> requests.Response:
        headers = {**(key.headers if key else {}), **more.pop("headers", {})}
        body = HELLO | {"model": model} if body is None else body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers.setdefault("Content-Type", "application/json")
        return requests.post(f"{gateway.base_url}/chat/completions", data=data, headers=headers, timeout=60)

    return post


def test_a_revoked_key_is_refused_by_the_next_request_on_every_worker(gateway, served):
    key = gateway.make.make_key()
    for _ in range(8):  # every worker has it in its cache
        assert served(key).status_code == 200
    gateway.make.revoke_key(key)
    answers = [served(key) for _ in range(16)]
    assert {answer.status_code for answer in answers} == {401}
    assert answers[0].json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ({}, "No API key"),
        ({"Authorization": "Basic abc"}, "No API key"),
        ({"Authorization": "Bearer sk-wrong"}, "not valid"),
        ({"Authorization": "Bearer " + "x" * 4000}, "not valid"),
    ],
)
def test_a_missing_or_wrong_key_is_401(served, header, hint):
    answer = served(None, headers=header)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert hint in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_unknown_routes_and_methods_answer_in_the_errors_shape(gateway):
    for method, path, status, code in (
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "", 404, "not_found"),
        ("GET", "/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/models", 405, "method_not_allowed"),
    ):
        answer = requests.request(method, gateway.base_url + path, timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["access-control-allow-origin"] == "*"


def test_a_bad_body_counts_and_a_key_over_its_limit_gets_429_before_400(gateway, served):
    key = gateway.make.make_key(rpm=2)
    assert served(key, b"{").status_code == 400
    answer = served(key, {"model": "no-such-model", **HELLO})
    assert answer.status_code == 404
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert served(key, b"{").status_code == 429
    assert served(key).status_code == 429


def test_tokens_are_reserved_and_given_back(gateway, served):
    key = gateway.make.make_key(tpm=5_000)
    left = [int(served(key).headers["x-ratelimit-remaining-tokens"]) for _ in range(3)]
    assert left[0] < 5_000
    assert left[0] - left[2] < 50  # of each reservation of some 280 tokens only what was used stays counted


def test_what_can_never_fit_the_token_limit_is_429_without_retry(gateway, served):
    key = gateway.make.make_key(tpm=100)
    answer = served(key)
    assert answer.status_code == 429
    assert "100 TPM" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_keys_models_and_addresses_bind(gateway, served):
    assert served(gateway.make.make_key(models=["gpt-4o"])).json()["error"]["code"] == "model_not_allowed"
    assert served(gateway.make.make_key(addresses=["10.0.0.0/8"])).json()["error"]["code"] == "ip_not_allowed"
    assert served(gateway.make.make_key(addresses=["127.0.0.0/8"])).status_code == 200


def test_bodies_of_the_wrong_kind_and_size_are_refused(gateway, served):
    key = gateway.make.make_key()
    answer = served(key, headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_media_type")
    where = urlsplit(gateway.base_url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    headers = {**key.headers, "Content-Type": "application/json", "Content-Length": str(33 * 2**20)}
    connection.request("POST", "/v1/chat/completions", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["code"]) == (413, "request_too_large")
    connection.close()


def test_a_chunked_body_is_read_like_any_other(gateway, served):
    key = gateway.make.make_key()
    answer = requests.post(
        f"{gateway.base_url}/chat/completions",
        data=iter([b'{"model":"sandbox-echo",', b'"messages":[{"role":"user","content":"Hi"}]}']),
        headers={**key.headers, "Content-Type": "application/json"},
        timeout=60,
    )
    assert answer.json()["choices"][0]["message"]["content"].startswith("[sandbox]")


def test_a_browsers_preflight_is_answered_and_no_cookie_is_set(gateway, served):
    answer = requests.options(f"{gateway.base_url}/chat/completions", timeout=60)
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "set-cookie" not in served(gateway.make.make_key()).headers


def test_another_accounts_receipt_looks_missing(gateway, served):
    key, stranger = gateway.make.make_key(), gateway.make.make_key()
    request_id = served(key).headers["x-request-id"]
    url = f"{gateway.base_url}/requests/{request_id}"
    assert requests.get(url, headers=key.headers, timeout=60).status_code == 200
    answer = requests.get(url, headers=stranger.headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_receipt_is_found_by_the_answers_own_id_and_adds_up(gateway, served):
    key = gateway.make.make_key()
    answer = served(key)
    receipt = requests.get(f"{gateway.base_url}/requests/{answer.json()['id']}", headers=key.headers, timeout=60).json()
    assert receipt["id"] == answer.headers["x-request-id"]
    assert receipt["charge"] == answer.headers["x-bridge-cost"]
    assert f'"cost":{receipt["charge"]}}}' in answer.text  # a number, with the same digits
    credits = requests.get(f"{gateway.base_url}/credits", headers=key.headers, timeout=60).json()
    assert credits["total_used"] == receipt["charge"]
    assert credits["held"] == "0"
    assert receipt["balance_after"] == credits["balance"]
    assert (receipt["rule"]["name"], receipt["refund"]) == ("complete", None)


def test_a_refund_is_on_its_receipt(gateway, served):
    key = gateway.make.make_key()
    answer = served(key)
    url = f"{gateway.base_url}/requests/{answer.headers['x-request-id']}"
    before = requests.get(url, headers=key.headers, timeout=60).json()
    with gateway.make.app.app_context():
        refund_request(before["id"], reason="It was empty.", made_by="a test")
    after = requests.get(url, headers=key.headers, timeout=60).json()
    assert after.pop("refund")["amount"] == before["charge"]
    assert after == {name: value for name, value in before.items() if name != "refund"}
    credits = requests.get(f"{gateway.base_url}/credits", headers=key.headers, timeout=60).json()
    assert credits["balance"] == "10"


def test_the_sandboxs_error_models_show_a_client_each_documented_code(gateway):
    key = gateway.make.make_key()
    for model, status, code in (
        ("sandbox-402", 402, "insufficient_balance"),
        ("sandbox-429", 429, "rate_limit_exceeded"),
        ("sandbox-503", 503, "upstream_error"),
        ("sandbox-500", 503, "upstream_error"),
        ("sandbox-malformed", 503, "upstream_error"),
    ):
        for stream in (False, True):
            answer = requests.post(
                f"{gateway.base_url}/chat/completions",
                json=HELLO | {"model": model, "stream": stream},
                headers=key.headers,
                timeout=60,
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_overload_is_refused_at_once(start_gateway, upstream):
    gateway = start_gateway("sqlite", max_in_flight=0)
    answer = requests.get(f"{gateway.base_url}/models", headers=gateway.make.make_key().headers, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"


def test_a_refusal_has_its_line_in_the_log_and_a_served_request_only_the_ledgers(gateway, served):
    key = gateway.make.make_key()
    refused = served(key, b"{").headers["x-request-id"]
    answered = served(key).headers["x-request-id"]
    lines = {line["request_id"]: line for line in gateway.log_lines("refused")}
    assert (lines[refused]["status"], lines[refused]["error_code"], lines[refused]["key_id"]) == (
        400,
        "invalid_json",
        key.id,
    )
    assert answered not in lines
    assert [line["event"] for line in gateway.log_lines() if line.get("request_id") == answered] == ["request"]
