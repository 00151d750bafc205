"""The SDKs that people use, in their current versions: the same list on a model of every provider (`cases.py`), through
one gateway, as it ships. Each SDK asks everything in one process of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge.ledger.tables import UsageRecord
from tests.played import Providers
from tests.sdks.cases import CASES, Seen
from tests.sdks.programs import SDKS
from tests.sdks.upstreams import UPSTREAMS, Upstream, plays

WRONG_KEY = "sk-wrong"
# the other two of OpenAI's and Anthropic's SDKs for Python are those of our own tests
SHORT = {"openai-python-responses", "openai-node-chat", "openai-node-responses", "anthropic-node"}
NAMES = [pytest.param(name, marks=pytest.mark.short) if name in SHORT else name for name in SDKS]
pytestmark = pytest.mark.clients


class Asking:
    """All that one SDK is asked. Its account has a key for each case of the list, by which the usage records tell them
    apart, and a model for each provider whose channel may fail without anybody else's notice."""

    def __init__(self, name: str, providers: Providers):
        self.name, self.providers, self.make = name, providers, providers.gateway.make
        self.account = self.make.make_account()
        self.keys = {case: self.make.make_key(self.account) for case in CASES}
        self.secrets = {
            "slow": self.make.make_key(tpm=1).secret,
            "poor": self.make.make_key(self.make.make_account(0)).secret,
            "wrong": WRONG_KEY,
        }
        self.failing = {name: self._make_failing(upstream) for name, upstream in UPSTREAMS.items()}

    def _make_failing(self, upstream: Upstream) -> str:
        model, base_url = self.make.make_model(), self.providers[upstream.provider].base_url
        self.make.make_channel(base_url, provider=upstream.provider, models={model: upstream.model}, waits=False)
        return model

    def mark(self, upstream: str, case: str) -> str:
        """How a request of this case is known at the upstream."""
        return f"{self.name}/{upstream}/{case}"

    def model_of(self, upstream: str, case: str) -> str:
        return self.failing[upstream] if CASES[case].fails else UPSTREAMS[upstream].model

    def list_cases(self) -> list[dict[str, Any]]:
        """What the program is given."""
        base_url = self.providers.gateway.base_url
        return [
            {
                "id": self.mark(upstream, name),
                "base_url": base_url,
                "key": self.secrets.get(case.key, self.keys[name].secret),
                "model": self.model_of(upstream, name),
                "prompt": f"This is case {self.mark(upstream, name)}.",
                "stream": case.stream,
                "thinks": case.thinks,
                **case.asked,
            }
            for upstream in UPSTREAMS
            for name, case in CASES.items()
        ]

    def see(self, said: dict[str, Any], upstream: str, case: str, booked: Sequence[UsageRecord]) -> Seen:
        """What came of one case."""
        mark = self.mark(upstream, case)
        received = self.providers[UPSTREAMS[upstream].provider].requests
        sent = [request.json for request in received if f"case {mark}.".encode() in request.body]
        known = (self.keys[case].id, self.model_of(upstream, case))
        rows = [row for row in booked if (row.key_id, row.model_id) == known]
        return Seen(SDKS[self.name], UPSTREAMS[upstream], case, said, sent, rows)


@pytest.mark.parametrize("name", NAMES)
def test_an_sdk_does_all_of_the_list_on_every_provider(
    name: str, providers: Providers, tmp_path: Path, subtests: pytest.Subtests
):
    for replay in providers.replays.values():
        replay.requests.clear()
        replay.plays(plays({name: case.plan for name, case in CASES.items()}))
    asking = Asking(name, providers)
    said = SDKS[name].converse(asking.list_cases(), tmp_path)
    booked = asking.make.list_usage(asking.account.id)
    for upstream in UPSTREAMS:
        for case in CASES:
            with subtests.test(upstream=upstream, case=case):
                seen = asking.see(said[asking.mark(upstream, case)], upstream, case, booked)
                CASES[case].check(seen)
