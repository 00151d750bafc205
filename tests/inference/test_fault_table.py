"""The table of faults, a row each, before an upstream's first content: answer, ledger, and what is logged of the
channel agree. What breaks later is in test_fault_streams.py, what clients do in test_fault_clients.py."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests import services
from tests.certificate import write_certificate
from tests.fault_upstreams import FAULTS, MODES, SECRETS, Table, name_model
from tests.gateway import Gateway
from tests.pgbouncer import PgBouncer
from tests.rooms import make_settings
from tests.served import HELLO

ROWS = pytest.mark.parametrize("name", FAULTS)
IN_BOTH_MODES = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module", params=["direct", "pooled"])
def table(
    request: pytest.FixtureRequest, databases: services.Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("faults")
    url = databases.open("postgresql")
    pooler = PgBouncer(url) if request.param == "pooled" else None
    short = {"first_content_timeout_seconds": 0.5, "answer_timeout_seconds": 0.5, "idle_timeout_seconds": 0.5}
    bounds = {"max_answer_bytes": 100_000, "max_event_bytes": 50_000}
    settings = make_settings(folder, database_url=pooler.url if pooler else url, **short, **bounds)
    gateway = Gateway(settings, folder / "log")
    table = Table(gateway, write_certificate(folder))
    yield table
    table.close()
    gateway.stop()
    if pooler:
        pooler.close()


class Asked:
    """One request to the table, and all that is known of it afterwards."""

    def __init__(self, table: Table, model: str, stream: bool):
        make, account_id = table.gateway.make, table.key.account_id
        before, logged = make.find_money(account_id)[0], len(table.gateway.log_lines("attempt_failed"))
        body = {"model": model, "messages": HELLO, "stream": stream}
        url = f"{table.gateway.base_url}/chat/completions"
        self.answer = requests.post(url, json=body, headers=table.key.headers, timeout=60)
        self.usage = next(
            row for row in make.list_usage(account_id) if row.request_id == self.answer.headers["x-request-id"]
        )
        balance, self.held = make.find_money(account_id)
        self.spent = before - balance
        self.attempts = json.loads(self.usage.attempts)
        self.logged = table.gateway.log_lines("attempt_failed")[logged:]

    @property
    def events(self) -> list[Any]:
        """What a stream said, in order; its end as it is."""
        lines = [line.removeprefix("data: ") for line in self.answer.text.splitlines() if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


def check_attempt(table: Table, asked: Asked, name: str, mode: str) -> None:
    """The fault stands in the receipt, and in the log with whom it speaks against."""
    fault, first = FAULTS[name], asked.attempts[0]
    assert fault.reason.split("|")[-1 if mode == "stream" else 0] in first["outcome"]
    assert first["channel"] == table.channels[f"{name}-{mode}"]
    failed = [attempt for attempt in asked.attempts if attempt["outcome"] != "200"]
    assert [(line["channel"], line["reason"]) for line in asked.logged] == [
        (attempt["channel"], attempt["outcome"]) for attempt in failed
    ]
    assert {line["blame"] for line in asked.logged} == {fault.blame}
    left = table.gateway.log_lines(f"channel_{fault.leaves}") if fault.leaves else []
    assert bool(fault.leaves) == (first["channel"] in [line["channel"] for line in left])
    for secret in SECRETS:
        assert secret not in asked.answer.text
        assert secret not in json.dumps(asked.logged)


@IN_BOTH_MODES
@ROWS
def test_the_next_channel_answers_and_the_failed_attempt_is_free(table: Table, name: str, mode: str):
    asked = Asked(table, name_model(name, mode, "both"), mode == "stream")
    assert asked.answer.status_code == 200
    assert asked.answer.headers["x-bridge-attempts"] == "2"
    if mode == "stream":
        deltas = [event["choices"][0]["delta"] for event in asked.events[:-1]]
        assert [delta.get("content") for delta in deltas if delta] == ["", "Hello", " there"]
        assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
        assert asked.events[-2]["choices"][0]["finish_reason"] == "stop"
        assert asked.events[-1] == "[DONE]"
    else:
        assert asked.answer.json()["choices"][0]["message"]["content"] == "Hello there"
        assert asked.answer.json()["usage"]["completion_tokens"] == 5
    assert (asked.usage.outcome, asked.usage.state, asked.usage.tokens_source) == ("complete", "captured", "provider")
    assert (asked.usage.charge_nanos, asked.spent, asked.held) == (20_000, 20_000, 0)
    assert asked.attempts[1]["outcome"] == "200"
    check_attempt(table, asked, name, mode)


@IN_BOTH_MODES
@ROWS
def test_without_a_next_channel_it_is_a_503_that_is_free(table: Table, name: str, mode: str):
    asked = Asked(table, name_model(name, mode, "alone"), mode == "stream")
    assert asked.answer.status_code == 503
    assert asked.answer.headers["content-type"] == "application/json"
    error = asked.answer.json()["error"]
    assert (error["code"], error["param"]) == ("upstream_error", None)
    assert error["message"].endswith("You were not charged.")
    assert int(asked.answer.headers["retry-after"]) >= 1
    assert (asked.usage.outcome, asked.usage.state, asked.usage.status) == ("failed", "released", 503)
    assert (asked.usage.error_code, asked.usage.charge_nanos) == ("upstream_error", 0)
    assert (asked.spent, asked.held) == (0, 0)
    assert len(asked.attempts) == (3 if FAULTS[name].again else 1)
    check_attempt(table, asked, name, mode)
