"""Redis counts, is silent, slow or empty while requests are served: two workers share one count, and nobody waits for
it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import gevent
import pytest
import redis
import requests

from bridge.counters.redis import TRIPS
from tests.factories import PASSWORD, MadeAccount
from tests.gateway import Gateway
from tests.proxy import Proxy
from tests.served import HELLO, Served
from tests.services import empty_redis
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, pauses, says

POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
AT_ONCE = 30
LIMITS_SCRIPT = hashlib.sha1(TRIPS.encode()).hexdigest().encode()  # as Redis names it
CSRF = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@POSTGRESQL
@pytest.mark.parametrize("limit", ["rpm", "tpm", "concurrency"])
def test_of_many_at_once_on_two_workers_exactly_as_many_pass_as_the_limit_says(
    gateway: Gateway, upstream: ScriptedUpstream, engine: str, limit: str
):
    served = Served(gateway, upstream.base_url)
    upstream.plays(pauses(says("Hello")) if limit == "concurrency" else says("Hello"))
    most, cap = 7, 100
    body = {"model": served.model, "messages": HELLO, "max_tokens": cap}
    reserved = reserved_tokens(gateway, body | {"stream": False}) if limit == "tpm" else 0
    key = gateway.make.make_key(**{limit: reserved * most if limit == "tpm" else most})

    def ask(number: int) -> requests.Response:
        url, stream = f"{gateway.base_url}/chat/completions", {"stream": bool(number % 2)}
        return requests.post(url, json=body | stream, headers=key.headers, timeout=60)

    asking = [gevent.spawn(ask, number) for number in range(AT_ONCE)]
    if limit == "concurrency":
        with gevent.Timeout(PATIENCE_SECONDS):
            while sum(one.ready() for one in asking) < AT_ONCE - most:
                gevent.sleep(0.02)
        upstream.resume()
    answers = [one.get(timeout=60) for one in asking]
    statuses = Counter(answer.status_code for answer in answers)
    if limit != "tpm":  # what was reserved too much is given back, so that some who come late may pass
        assert statuses == {200: most, 429: AT_ONCE - most}
    others = [answer.text for answer in answers if answer.status_code not in (200, 429)]
    assert not others, (statuses, others)
    assert most <= statuses[200] < AT_ONCE, statuses
    for answer in answers:
        if limit != "concurrency":
            name = "requests" if limit == "rpm" else "tokens"
            assert int(answer.headers[f"x-ratelimit-limit-{name}"]) == (most if limit == "rpm" else reserved * most)
            assert int(answer.headers[f"x-ratelimit-remaining-{name}"]) >= 0
            assert answer.headers[f"x-ratelimit-reset-{name}"]
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 120


def reserved_tokens(gateway: Gateway, body: dict[str, Any]) -> int:
    """What such a request takes from the window, as it says itself."""
    key = gateway.make.make_key(tpm=10**6)
    with requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60) as answer:
        return 10**6 - int(answer.headers["x-ratelimit-remaining-tokens"])


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    proxy = Proxy(urlsplit(redis_url).port or 6379, urlsplit(redis_url).hostname or "127.0.0.1")
    yield proxy
    proxy.close()


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_whatever_becomes_of_redis_requests_are_served_and_limited_and_sign_in_stays_strict(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, redis_url: str, proxy: Proxy, engine: str
):
    through = f"redis://127.0.0.1:{proxy.port}{urlsplit(redis_url).path}"
    gateway = start_gateway(engine, redis_url=through)
    served = Served(gateway, upstream.base_url)
    served.key = gateway.make.make_key(account_of(served), rpm=1000)
    window = gateway.redis_key(f"{{a{served.key.account_id}}}:k{served.key.id}:rpm")
    with redis.Redis.from_url(redis_url) as direct:

        def await_redis() -> None:
            """Until requests are counted there again."""
            with gevent.Timeout(60):
                before = direct.hget(window, "c")
                while direct.hget(window, "c") == before:
                    served.post(stream=True)
                    gevent.sleep(0.1)

        served.post()  # from now on Redis knows the script
        proxy.sent.clear()
        assert served.post().headers["x-ratelimit-remaining-requests"] == "998"
        assert proxy.sent.count(LIMITS_SCRIPT) == 1  # one trip for all of a request's limits
        proxy.freeze()
        assert_limited(gateway, served)
        assert sign_in_statuses(gateway)[-1] == 429
        proxy.thaw()
        await_redis()
        proxy.delay_seconds = 2
        assert_limited(gateway, served)
        proxy.delay_seconds = 0
        await_redis()
        empty_redis(redis_url)
        assert served.post(stream=True).headers["x-ratelimit-remaining-requests"] == "999"
    assert len(gateway.log_lines("redis_away")) == 1  # within the same minute


def account_of(served: Served) -> MadeAccount:
    return MadeAccount(served.key.account_id, "")


def assert_limited(gateway: Gateway, served: Served) -> None:
    """By this process alone, whatever Redis has counted before."""
    key = gateway.make.make_key(account_of(served), rpm=3)
    body = {"model": served.model, "messages": HELLO}
    url = f"{gateway.base_url}/chat/completions"
    statuses = [requests.post(url, json=body, headers=key.headers, timeout=60).status_code for _ in range(6)]
    assert statuses.count(200) <= 4  # one at the most was counted by Redis, which was asked and didn't answer
    assert statuses[-1] == 429


def sign_in_statuses(gateway: Gateway) -> list[int]:
    url = f"{gateway.site_url}/sign-in"
    with requests.Session() as session:
        form = {"email": "nobody@example.com", "password": PASSWORD}
        token = CSRF.search(session.get(url, timeout=60).text)
        assert token is not None
        form["csrf_token"] = token[1]
        return [session.post(url, data=form, timeout=60).status_code for _ in range(12)]
