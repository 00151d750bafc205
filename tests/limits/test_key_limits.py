"""A key can't lift its account's limits: however they are entered, on every worker, and its limits are shown so."""

import re

import pytest
import requests

from bridge.accounts.customers import set_account_limits
from tests.upstream import says

HELLO = {"messages": [{"role": "user", "content": "Hello!"}]}


@pytest.fixture
def served(gateway, upstream):
    """A function that sends a chat completion with a key."""
    model = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    upstream.plays(says("Hello"))

    def post(key, **more) -> requests.Response:
        url = f"{gateway.base_url}/chat/completions"
        return requests.post(url, json={**HELLO, "model": model, **more}, headers=key.headers, timeout=60)

    return post


def limit(gateway, account, **limits: int | None) -> None:
    with gateway.make.app.app_context():
        set_account_limits(account.id, limits)
        gateway.make.wait_for_gateway()


@pytest.mark.parametrize("own", [None, 0, 1000])
@pytest.mark.parametrize("stream", [False, True])
def test_an_accounts_rpm_counts_over_all_keys_whatever_they_were_given(gateway, served, own, stream):
    account = gateway.make.make_account()
    keys = [gateway.make.make_key(account, rpm=own) for _ in range(2)]
    limit(gateway, account, rpm=3)
    answers = [served(keys[number % 2], stream=stream) for number in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    assert answers[-1].json()["error"]["message"] == "Rate limit exceeded: 3 RPM"
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    assert len(gateway.make.list_usage(account.id)) == 3


def test_an_accounts_tpm_and_concurrency_bind_a_key_that_has_more(gateway, served):
    account = gateway.make.make_account()
    key = gateway.make.make_key(account, tpm=10**9, concurrency=0)
    limit(gateway, account, tpm=100)
    answer = served(key, max_tokens=200)
    assert (answer.status_code, answer.headers["x-should-retry"]) == (429, "false")
    assert answer.json()["error"]["message"].startswith("Rate limit exceeded: 100 TPM")
    limit(gateway, account, tpm=None)
    assert served(key, max_tokens=200).status_code == 200


def test_the_key_endpoint_tells_the_limits_in_effect(gateway):
    account = gateway.make.make_account()
    key = gateway.make.make_key(account, rpm=1000, tpm=50)
    limit(gateway, account, rpm=60, tpm=200, concurrency=4)

    def told() -> dict[str, int | None]:
        return requests.get(f"{gateway.base_url}/key", headers=key.headers, timeout=60).json()["limits"]

    assert told() == {"requests_per_minute": 60, "tokens_per_minute": 50, "concurrent_requests": 4}
    limit(gateway, account, rpm=0, tpm=0, concurrency=0)
    assert told() == {"requests_per_minute": 1000, "tokens_per_minute": 50, "concurrent_requests": None}


def test_the_gateways_defaults_are_an_accounts_own_where_it_has_none(start_gateway, engine):
    gateway = start_gateway(engine, default_rpm=3, default_tpm=100_000, default_concurrency=9)
    account = gateway.make.make_account()
    lifted, other = (gateway.make.make_key(account, rpm=rpm, concurrency=rpm) for rpm in (1000, None))
    codes = [
        requests.post(f"{gateway.base_url}/quote", json=HELLO, headers=key.headers, timeout=60).status_code
        for key in (lifted, other, lifted, lifted, other)
    ]
    assert codes == [400, 400, 400, 429, 429]  # there is no model in it: a bad body counts, too
    reader = gateway.make.make_key(rpm=1000, concurrency=1000)  # of another account: to read is a request as well
    limits = requests.get(f"{gateway.base_url}/key", headers=reader.headers, timeout=60).json()["limits"]
    assert limits == {"requests_per_minute": 3, "tokens_per_minute": 100_000, "concurrent_requests": 9}


@pytest.mark.parametrize("whose", ["key", "account"])
def test_every_reading_endpoint_is_a_request_of_its_minute(app, make, whose):
    client, paths = app.test_client(), []
    for rule in app.extensions["bridge_api"].url_map.iter_rules():
        if "GET" in rule.methods and rule.rule != "/openapi.json":
            paths.append(re.sub(r"<[^>]+>", "nothing", rule.rule))
    assert len(paths) >= 5
    for path in paths:
        key = make.make_key(rpm=1 if whose == "key" else 0)
        if whose == "account":
            with app.app_context():
                set_account_limits(key.account_id, {"rpm": 1})
        first, second = (client.get(path, headers=key.headers) for _ in range(2))
        assert first.status_code in (200, 404), path
        assert first.headers["x-ratelimit-remaining-requests"] == "0", path
        assert (second.status_code, second.json["error"]["code"]) == (429, "rate_limit_exceeded"), path
        assert second.json["error"]["message"] == "Rate limit exceeded: 1 RPM"
        assert 1 <= int(second.headers["Retry-After"]) <= 120, path


def test_a_full_token_limit_does_not_keep_a_reader_out(app, make):
    key, client = make.make_key(tpm=1), app.test_client()
    assert [client.get("/v1/key", headers=key.headers).status_code for _ in range(3)] == [200] * 3
