"""A channel's own headers, query and proxy, and its several keys: what goes out, and who is asked next."""

import json
from collections.abc import Callable
from typing import Any

import gevent
import pytest
import requests

from bridge.catalogue.channel_keys import add_key
from bridge.catalogue.editing import find_channel, set_channel_enabled, update_channel
from bridge.catalogue.key_health import list_keys
from bridge.catalogue.tables import Channel
from tests.factories import MadeKey
from tests.gateway import LOOK_SECONDS, Gateway
from tests.socks import SocksServer
from tests.upstream import PATIENCE_SECONDS, Received, Scenario, ScriptedUpstream, fails, says, sends

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
WORDS = {"prompt_tokens": 10, "completion_tokens": 5}
KEY, SECRET = "sk-Azure-9fQ2hTr0Zq83", "Zq83hTr0-of-the-organisation"


def ask(gateway: Gateway, key: MadeKey, model: str, text: str = "Hello!") -> requests.Response:
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)


def test_azure_gets_exactly_what_it_documents(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(says("Hi", **WORDS))
    make = gateway.make
    key, model = make.make_key(), make.make_model()
    make.make_channel(
        upstream.base_url.removesuffix("/v1") + "/openai/deployments/{model}",
        models={model: "my deployment"},
        api_key=KEY,
        headers={"API-Key": "{key}"},
        query={"api-version": "2024-10-21"},
    )
    assert ask(gateway, key, model).status_code == 200
    sent: Received = upstream.requests[-1]
    assert (sent.method, sent.path) == (
        "POST",
        "/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21",
    )
    assert sent.headers == {
        "host": upstream.base_url.split("/")[2],
        "user-agent": "ai-bridge",
        "api-key": KEY,
        "content-type": "application/json",
        "accept-encoding": "identity",
        "content-length": str(len(sent.body)),
    }


def test_a_channels_headers_stand_beside_the_dialects_and_are_concealed_in_what_the_upstream_says(
    gateway: Gateway, upstream: ScriptedUpstream
):
    said = json.dumps({"error": {"message": f"The organisation {SECRET} is unknown", "param": SECRET}}).encode()
    upstream.plays(sends(said, 400))
    make = gateway.make
    key, model = make.make_key(), make.make_model()
    channel = make.make_channel(
        upstream.base_url, model, headers={"openai-organization": SECRET}, query={"tier": "a b"}
    )
    answer = ask(gateway, key, model)
    assert answer.status_code == 400
    sent: Received = upstream.requests[-1]
    assert sent.path.endswith("/chat/completions?tier=a%20b")
    assert sent.headers["openai-organization"] == SECRET
    assert sent.headers["authorization"].startswith("Bearer sk-")
    assert SECRET not in answer.text
    assert SECRET not in gateway.log()
    with make.app.app_context():
        assert SECRET not in (find_channel(channel).sealed_wire or "")
        update_channel(channel, headers=None)
    make.wait_for_gateway()
    ask(gateway, key, model)
    assert "openai-organization" not in upstream.requests[-1].headers


def test_a_channel_goes_through_its_own_proxy(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(says("Hi", **WORDS))
    make = gateway.make
    key, model = make.make_key(), make.make_model()
    with SocksServer(int(upstream.base_url.split(":")[2].split("/")[0]), ("name", "secret word")) as proxy:
        channel = make.make_channel(
            "http://upstream.test/v1", model, proxy=f"socks5h://name:secret%20word@{proxy.address}"
        )
        assert ask(gateway, key, model).status_code == 200
        assert proxy.asked == [("upstream.test", 80)]
        assert "secret%20word" not in gateway.log()
        with make.app.app_context():
            update_channel(channel, proxy="direct", base_url=upstream.base_url, api_key="sk-of-the-other-host")
        make.wait_for_gateway()
        assert ask(gateway, key, model).status_code == 200
        assert len(proxy.asked) == 1


class Keys:
    """A model with one channel of several keys; `refused` and `limited` are what their upstream says of each."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream, *keys: str, **fields: Any):
        self.gateway, self.upstream, self.make = gateway, upstream, gateway.make
        self.answers: dict[str, Scenario] = {}
        good = says("Hi", **WORDS)
        upstream.plays(lambda request: self.answers.get(key_of(request), good)(request))
        self.model = self.make.make_model()
        self.channel = self.make.make_channel(upstream.base_url, self.model, api_key=keys[0], **fields)
        with self.make.app.app_context():
            for each in keys[1:]:
                add_key(self.channel, each)
        self.make.wait_for_gateway()

    def used(self, count: int = 1, key: MadeKey | None = None) -> list[str]:
        """Which keys so many conversations came with, each of a new account."""
        before = len(self.upstream.requests)
        for number in range(count):
            assert ask(self.gateway, key or self.make.make_key(), self.model, f"{number}").status_code == 200
        return [key_of(request) for request in self.upstream.requests[before:]]


def key_of(request: Received) -> str:
    return request.headers["authorization"].removeprefix("Bearer ")


def wait_for_row(gateway: Gateway, name: str, holds: Callable[[Channel, dict[str, str]], bool]) -> None:
    """Until the channel's row and its keys' say so: workers write them every two seconds."""

    def look() -> bool:
        with gateway.make.app.app_context():
            channel = find_channel(name)
            return holds(channel, {key.last_four: key.health for key in list_keys(channel)})

    with gevent.Timeout(PATIENCE_SECONDS):
        while not look():
            gevent.sleep(LOOK_SECONDS)


A, B, C = "sk-first-Zq83hTr0-aaaA", "sk-second-Zq83hTr0-bbbB", "sk-third-Zq83hTr0-cccC"


def test_conversations_share_a_channels_keys_and_each_keeps_its_own(gateway: Gateway, upstream: ScriptedUpstream):
    keys = Keys(gateway, upstream, A, B)
    assert set(keys.used(24)) == {A, B}
    mine = keys.make.make_key()
    first = keys.used(1, mine)
    assert keys.used(1, mine) == keys.used(1, mine) == first


@pytest.mark.parametrize("status", [401, 402, 429])
def test_a_key_that_is_refused_makes_the_next_one_be_used_without_leaving_the_channel(
    gateway: Gateway, upstream: ScriptedUpstream, status: int
):
    keys = Keys(gateway, upstream, A, B)
    other = ScriptedUpstream()
    other.plays(says("elsewhere", **WORDS))
    keys.make.make_channel(other.base_url, keys.model)
    with keys.make.app.app_context():
        update_channel(keys.channel, weight=1_000_000)
    keys.make.wait_for_gateway()
    keys.answers[A] = fails(status, headers="Retry-After: 60\r\n")
    assert A in keys.used(12)  # some were answered in its place by B, none by the other channel
    assert set(keys.used(12)) == {B}
    assert not other.requests
    other.close()
    bad = "cooling" if status == 429 else "out"
    wait_for_row(gateway, keys.channel, lambda channel, found: found.get("aaaA") == bad and channel.health == "healthy")


def test_keys_that_are_all_refused_leave_an_attempt_to_another_channel(gateway: Gateway, upstream: ScriptedUpstream):
    keys = Keys(gateway, upstream, A, B, C)
    keys.answers |= dict.fromkeys((A, B, C), fails(401))
    other = ScriptedUpstream()
    other.plays(says("elsewhere", **WORDS))
    keys.make.make_channel(other.base_url, keys.model, priority=2)
    answer = ask(gateway, keys.make.make_key(), keys.model)
    assert answer.status_code == 200
    assert answer.headers["x-bridge-attempts"] == "3"
    assert answer.json()["choices"][0]["message"]["content"] == "elsewhere"
    other.close()


def test_a_key_that_was_put_right_is_used_again(gateway: Gateway, upstream: ScriptedUpstream):
    keys = Keys(gateway, upstream, A, B)
    keys.answers[A] = fails(401)
    keys.used(12)
    assert set(keys.used(6)) == {B}
    del keys.answers[A]
    with keys.make.app.app_context():
        set_channel_enabled(keys.channel, True)
    keys.make.wait_for_gateway()
    assert set(keys.used(24)) == {A, B}
