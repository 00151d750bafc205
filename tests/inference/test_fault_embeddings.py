"""The table of faults at the door of embeddings: the next channel answers, or it is a 503; what failed is free."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
import requests

from tests import services
from tests.certificate import write_certificate
from tests.factories import Factories
from tests.fault_upstreams import FAULTS, SECRETS, Nobody
from tests.gateway import Gateway
from tests.rooms import make_settings
from tests.upstream import Received, Scenario, ScriptedUpstream, Step, vectors

OTHER_WORDS = {"wrong shape": "the answer has no vectors", "no content in time": "for"}


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a door is asked for, beside the model, what a good upstream plays for it, and the model's own fields."""

    door: str
    body: dict[str, Any]
    good: Scenario
    fields: dict[str, Any]


EMBEDDINGS = Asked("embeddings", {"input": "Hello!"}, vectors(usage=10), {"kinds": ["embeddings"], "output_price": 0})


class Table:
    """A model for each fault and kind: "both" has a good channel as its second. All are asked at once."""

    def __init__(self, gateway: Gateway, nobody: Nobody, asked: Asked = EMBEDDINGS):
        self.gateway = gateway
        self.bad, self.good = ScriptedUpstream(), ScriptedUpstream()
        self.bad.plays(self._play)
        self.good.plays(asked.good)
        make = Factories(gateway.make.app)
        names = {(fault, kind): f"{fault}-{kind}".replace(" ", "_") for fault, kind in itertools.product(FAULTS, KINDS)}
        for name in names.values():
            make.make_model(id_=name, **asked.fields)
        for fault in FAULTS:
            served = {names[fault, kind]: fault for kind in KINDS}
            make.make_channel(nobody.address_of(FAULTS[fault], self.bad), priority=0, models=served)
        make.make_channel(self.good.base_url, *(names[fault, "both"] for fault in FAULTS), priority=1)
        self.key = gateway.make.make_key()
        self.before = gateway.make.find_money(self.key.account_id)[0]
        gateway.make.wait_for_gateway()
        url = f"{gateway.base_url}/{asked.door}"

        def ask(name: str) -> requests.Response:
            body = {"model": name, **asked.body}
            return requests.post(url, json=body, headers=self.key.headers, timeout=60)

        asking = {place: gevent.spawn(ask, name) for place, name in names.items()}
        gevent.joinall(asking.values(), raise_error=True)
        self.answers = {place: one.get() for place, one in asking.items()}
        self.booked = {row.request_id: row for row in gateway.make.list_usage(self.key.account_id)}

    def _play(self, request: Received) -> list[Step]:
        scenario = FAULTS[request.json["model"]].plays
        assert scenario is not None
        return scenario(request)  # type: ignore[return-value]


KINDS = ("both", "alone")


@pytest.fixture(scope="module")
def table(databases: services.Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("faults")
    short = {"answer_timeout_seconds": 1.5, "idle_timeout_seconds": 0.5, "max_answer_bytes": 100_000}
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite"), **short), folder / "log")
    nobody = Nobody(write_certificate(folder))
    table = Table(gateway, nobody)
    yield table
    for each in (table.bad, table.good, nobody):
        each.close()
    gateway.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_nothing_and_the_next_channel_answers_if_there_is_one(table: Table, name: str):
    fault = FAULTS[name]
    for kind in KINDS:
        answer = table.answers[name, kind]
        booked = table.booked[answer.headers["x-request-id"]]
        attempts = json.loads(booked.attempts)
        expected = OTHER_WORDS.get(name, fault.reason.split("|")[0])
        assert expected in attempts[0]["outcome"]
        assert not any(secret in answer.text for secret in SECRETS)
        if kind == "both":
            assert (answer.status_code, answer.headers["x-bridge-attempts"]) == (200, "2")
            assert answer.json()["data"][0]["embedding"] == [6.0, 0.5]
            assert (booked.outcome, booked.state, booked.charge_nanos) == ("complete", "captured", 10_000)
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_error")
            assert int(answer.headers["retry-after"]) >= 1
            assert (booked.outcome, booked.state, booked.charge_nanos) == ("failed", "released", 0)
            assert len(attempts) == (3 if fault.again else 1)


def test_the_sum_of_all_is_what_the_good_channel_counted(table: Table):
    balance, held = table.gateway.make.find_money(table.key.account_id)
    assert (table.before - balance, held) == (10_000 * len(FAULTS), 0)
    assert table.gateway.make.check_ledger() == []
