"""The table of faults, a row each, before an upstream's first content: answer, ledger, and what is logged of the
channel agree. What breaks later is in test_fault_streams.py, what clients do in test_fault_clients.py."""

import json
from collections.abc import Iterator

import gevent
import pytest
import requests

from tests import services
from tests.certificate import write_certificate
from tests.doors import TEXT_DOORS, Counts, read_told
from tests.fault_upstreams import FAULTS, MODES, SECRETS, Table, name_model
from tests.gateway import Gateway
from tests.pgbouncer import PgBouncer
from tests.resumed import RESUME, split_events
from tests.rooms import make_settings

ROWS = pytest.mark.parametrize("name", FAULTS)
IN_BOTH_MODES = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module", params=["direct", "pooled"])
def table(
    request: pytest.FixtureRequest, databases: services.Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Table]:
    """Asked through every door; behind a pooler, which no door knows of, through one."""
    folder = tmp_path_factory.mktemp("faults")
    url = databases.open("postgresql")
    pooler = PgBouncer(url) if request.param == "pooled" else None
    # an answer has longer than a silence, so that on a busy machine too it is the silence that ends the attempt
    short = {"first_content_timeout_seconds": 0.5, "answer_timeout_seconds": 1.5, "idle_timeout_seconds": 0.5}
    bounds = {"max_answer_bytes": 100_000, "max_event_bytes": 50_000}
    settings = make_settings(folder, database_url=pooler.url if pooler else url, **short, **bounds)
    gateway = Gateway(settings, folder / "log")
    table = Table(gateway, write_certificate(folder), ["chat"] if pooler else TEXT_DOORS)
    yield table
    table.close()
    gateway.stop()
    if pooler:
        pooler.close()


class Asked:
    """One request to the table, and all that is known of it afterwards."""

    def __init__(self, table: Table, name: str, mode: str, door: str, kind: str):
        make, key = table.gateway.make, table.keys[door]
        self.name, self.mode, self.door = name, mode, TEXT_DOORS[door]
        self.channel = table.channels[name, mode, door]
        before, logged = make.find_money(key.account_id)[0], len(table.gateway.log_lines("attempt_failed"))
        body = self.door.ask(name_model(name, mode, door, kind), "Hello!", stream=mode == "stream")
        url = f"{table.gateway.site_url}{self.door.path}"
        more = RESUME if mode == "stream" and len(table.keys) == 1 else {}  # behind the pooler streams are resumable
        self.answer = requests.post(url, json=body, headers={**key.headers, **more}, timeout=60)
        request_id = self.answer.headers["x-request-id"]
        content, is_stream = self.answer.content, self.answer.ok and mode == "stream"
        if more and is_stream:
            content = b"".join(event + b"\n\n" for _, event in split_events(content))
        self.told = read_told(self.door, content, stream=is_stream)
        [self.usage] = [row for row in make.list_usage(key.account_id) if row.request_id == request_id]
        balance, self.held = make.find_money(key.account_id)
        self.spent = before - balance
        self.attempts = json.loads(self.usage.attempts)
        failed = table.gateway.log_lines("attempt_failed")[logged:]
        self.logged = [line for line in failed if line["channel"] == self.channel]


def ask_every_door(table: Table, name: str, mode: str, kind: str) -> list[Asked]:
    """The same of all doors at once: some faults take their time."""
    asking = [gevent.spawn(Asked, table, name, mode, door, kind) for door in table.keys]
    gevent.joinall(asking, raise_error=True)
    return [one.get() for one in asking]


def check_attempt(table: Table, asked: Asked) -> None:
    """The fault stands in the receipt, and in the log with whom it speaks against."""
    fault, first = FAULTS[asked.name], asked.attempts[0]
    assert fault.reason.split("|")[-1 if asked.mode == "stream" else 0] in first["outcome"]
    assert first["channel"] == asked.channel
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
    for asked in ask_every_door(table, name, mode, "both"):
        assert asked.answer.status_code == 200
        assert asked.answer.headers["x-bridge-attempts"] == "2"
        assert (asked.told.end, asked.told.text) == ("done", "Hello there")
        assert asked.told.finish in ("stop", "end_turn", "completed")
        assert asked.told.counts == Counts(10, 0, 0, 5, 0)
        assert asked.told.cost == "0.00002"
        usage = asked.usage
        assert (usage.outcome, usage.state, usage.tokens_source) == ("complete", "captured", "provider")
        assert (usage.charge_nanos, asked.spent, asked.held) == (20_000, 20_000, 0)
        assert asked.attempts[1]["outcome"] == "200"
        check_attempt(table, asked)


@IN_BOTH_MODES
@ROWS
def test_without_a_next_channel_it_is_a_503_that_is_free(table: Table, name: str, mode: str):
    for asked in ask_every_door(table, name, mode, "alone"):
        assert asked.answer.status_code == 503
        assert asked.answer.headers["content-type"] == "application/json"
        asked.door.check_failure(asked.told, 503)
        assert asked.told.error["message"].endswith("You were not charged.")
        assert int(asked.answer.headers["retry-after"]) >= 1
        usage = asked.usage
        assert (usage.outcome, usage.state, usage.status) == ("failed", "released", 503)
        assert (usage.error_code, usage.charge_nanos) == ("upstream_error", 0)
        assert (asked.spent, asked.held) == (0, 0)
        assert len(asked.attempts) == (3 if FAULTS[name].again else 1)
        check_attempt(table, asked)
