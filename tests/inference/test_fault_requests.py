"""The table of faults: what an upstream refuses in a request is the request's fault, and how channels go out and come
back."""

import datetime
import json
from collections.abc import Iterator

import gevent
import pytest
import requests

from bridge.catalogue.editing import find_channel, set_price
from bridge.db import now_utc
from tests import services
from tests.fault_upstreams import SECRETS
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.served import Served, await_request
from tests.upstream import ScriptedUpstream, fails, pauses, says

ODD = "'messages' is too odd. "
SCRUBBED = (
    f"{ODD}See https://far.test/help or 169.254.169.254, key sk-operator-0123456789, id org-operator1234, "
    "proj_operator12, acct_operator12, operator@far.test. Your organization Far Ltd in project 3.17 has to. " + ODD * 20
)
COMPLAINTS = {
    "400 known": (
        fails(
            400,
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
            "context_length_exceeded",
        ),
        "context_length_exceeded",
    ),
    "400 unknown": (fails(400, SCRUBBED), None),
    "413": (fails(413, SCRUBBED), None),
    "422": (fails(422, SCRUBBED), None),
}
IN_BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def gateway(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("requests")
    patient = {"first_content_timeout_seconds": 20, "answer_timeout_seconds": 20, "total_timeout_seconds": 20}
    settings = make_settings(folder, database_url=databases.open("postgresql"), cooldown_seconds=0.5, **patient)
    gateway = Gateway(settings, folder / "log")
    yield gateway
    gateway.stop()


@pytest.fixture
def second() -> Iterator[ScriptedUpstream]:
    second = ScriptedUpstream()
    second.plays(says("Good", prompt_tokens=10, completion_tokens=5))
    yield second
    second.close()


def channel_of(served: Served, place: int) -> str:
    """The name of one of its channels."""
    return next(
        attempt["channel"]
        for row in served.gateway.make.list_usage(served.key.account_id)
        for number, attempt in enumerate(json.loads(row.attempts))
        if number == place
    )


def ask(served: Served, stream: bool) -> requests.Response:
    """The answer, read to its end: then the request is settled."""
    answer = served.post(stream)
    assert answer.content
    return answer


def attempts_of(served: Served, answer: requests.Response) -> list[tuple[str, str]]:
    return [(attempt["channel"], attempt["outcome"]) for attempt in served.receipt(answer)["attempts"]]


@IN_BOTH_MODES
@pytest.mark.parametrize("name", COMPLAINTS)
def test_what_is_the_requests_fault_is_400_in_our_words_and_not_tried_elsewhere(
    gateway, upstream, second, name: str, stream: bool
):
    served = Served(gateway, upstream.base_url, second.base_url)
    play, code = COMPLAINTS[name]
    upstream.plays(play)
    answer = ask(served, stream)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    if code:
        assert error["code"] == code
    assert 10 < len(error["message"]) <= 300
    for secret in SECRETS:
        assert secret not in answer.text
    assert second.requests == []
    usage = served.await_usage()
    assert (usage.outcome, usage.state, usage.status, usage.charge_nanos) == ("failed", "released", 400, 0)
    assert served.spent() == (0, 0)
    [attempt] = json.loads(usage.attempts)
    assert [line for line in gateway.log_lines("attempt_failed") if line["channel"] == attempt["channel"]] == []


@IN_BOTH_MODES
def test_five_failures_in_a_row_take_a_channel_out_and_one_probe_brings_it_back(gateway, upstream, second, stream):
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(fails(500))
    for number in range(5):
        answer = ask(served, stream)
        assert (answer.status_code, answer.headers["x-bridge-attempts"]) == (200, "2"), number
    first = channel_of(served, 0)
    for event, times in (("attempt_failed", 5), ("channel_out", 1)):
        assert [line["channel"] for line in gateway.log_lines(event)].count(first) == times
    asked = len(upstream.requests)
    upstream.plays(says("Back", prompt_tokens=10, completion_tokens=5))
    with gevent.Timeout(60):
        while "Back" not in ask(served, stream).text:
            assert len(upstream.requests) == asked  # it is not asked until its time is over
            gevent.sleep(0.02)
    assert attempts_of(served, ask(served, stream)) == [(first, "200")]
    assert served.spent()[0] == 20_000 * len(gateway.make.list_usage(served.key.account_id))


@IN_BOTH_MODES
def test_a_limited_channel_rests_as_long_as_it_said_and_a_later_longer_limit_extends_it(
    gateway, upstream, second, stream
):
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(fails(429, headers="Retry-After: 60\r\n"), says("never"))
    assert ask(served, stream).headers["x-bridge-attempts"] == "2"
    first = channel_of(served, 0)
    assert ask(served, stream).headers["x-bridge-attempts"] == "1"  # it rests
    assert len(upstream.requests) == 1
    assert 0 < await_rest(gateway, first, above=0) <= 60
    upstream.plays(fails(429, headers="Retry-After: 86400\r\n"))
    second.plays(fails(429, headers="Retry-After: 200\r\n"))
    assert ask(served, stream).status_code == 503
    assert ask(served, stream).status_code == 503  # the second rests longer, so the first is asked after all
    assert 60 < await_rest(gateway, first, above=60) <= 300


def await_rest(gateway: Gateway, channel: str, above: float) -> float:
    """For how many seconds its row says that it rests, once that is more than so many."""
    with gevent.Timeout(60):
        while True:
            with gateway.make.app.app_context():
                row = find_channel(channel)
                until = row.cooling_until or now_utc()
                left = (until - now_utc()) / datetime.timedelta(seconds=1)
            if left > above:
                assert row.health == "cooling"
                return left
            gevent.sleep(0.05)


@IN_BOTH_MODES
def test_with_all_channels_out_the_least_bad_is_probed(gateway, upstream, second, stream):
    served = Served(gateway, upstream.base_url, second.base_url)
    upstream.plays(fails(401))  # out for five minutes
    second.plays(fails(429, headers="Retry-After: 100\r\n"))
    assert ask(served, stream).status_code == 503
    first, other = channel_of(served, 0), channel_of(served, 1)
    second.plays(says("Good"))
    answer = ask(served, stream)
    assert answer.status_code == 200
    assert attempts_of(served, answer) == [(other, "200")]
    assert first != other


@IN_BOTH_MODES
def test_a_model_whose_only_channel_is_disabled_says_that_nobody_serves_it(gateway, upstream, stream):
    served = Served(gateway, upstream.base_url)
    gateway.make.disable_channels(served.model)
    answer = ask(served, stream)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "upstream_error"
    assert "No provider is connected" in answer.json()["error"]["message"]
    assert served.spent() == (0, 0)


@IN_BOTH_MODES
def test_a_running_request_ends_at_its_price_whatever_is_changed_meanwhile(gateway, upstream, stream):
    """Its price is raised, its channel switched off, its key revoked: the next one feels it."""
    served = Served(gateway, upstream.base_url)
    upstream.plays(pauses(says("Hello", prompt_tokens=10, completion_tokens=5)))
    running = gevent.spawn(ask, served, stream)
    await_request(upstream)
    with gateway.make.app.app_context():
        set_price(served.model, input_nanos=10**12, cached_nanos=10**12, output_nanos=10**12)
    gateway.make.disable_channels(served.model)
    gateway.make.revoke_key(served.key)
    upstream.resume()
    answer = running.get(timeout=60)
    assert answer.status_code == 200
    assert "Hello" in answer.text
    usage = served.await_usage()
    assert (usage.outcome, usage.charge_nanos, served.spent()) == ("complete", 20_000, (20_000, 0))
    assert served.post(stream).status_code == 401
