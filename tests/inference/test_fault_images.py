"""The table of faults at the door of pictures, whole and streamed: the next channel draws, or it is a 503; what failed
is free."""

import json
from collections.abc import Iterator

import pytest

from tests import services
from tests.certificate import write_certificate
from tests.fault_upstreams import FAULTS, SECRETS, Nobody
from tests.gateway import Gateway
from tests.inference.test_fault_embeddings import KINDS, Asked, Table
from tests.rooms import make_settings
from tests.upstream import PIXEL, draws, picture_counts, pictures

COUNTS = picture_counts(10, 200)
FIELDS = {"kinds": ["images"], "max_output_tokens": 300, "input_price": 10**9, "output_price": 10**9}
ASKED = {
    "whole": Asked("images/generations", {"prompt": "A cat"}, pictures(usage=COUNTS), FIELDS),
    "stream": Asked("images/generations", {"prompt": "A cat", "stream": True}, draws(0, usage=COUNTS), FIELDS),
}
# Where an answer of pictures is read in its own words: the faults that begin like a chat's stream end there. One may be
# longer than those of texts.
NO_EVENT = "what is no event"
OTHER_WORDS = {name: f"{FAULTS[name].reason}|{NO_EVENT}" for name in ("cut", "drips", "an end alone")}
OTHER_WORDS |= {"wrong shape": f"the answer has no pictures|{NO_EVENT}", "no content in time": f"for|within|{NO_EVENT}"}
OTHER_WORDS["an end alone"] += "|without an end"
OTHER_WORDS["oversized"] = f"larger than|is not JSON|no pictures|{NO_EVENT}"


@pytest.fixture(scope="module", params=ASKED)
def table(
    request: pytest.FixtureRequest, databases: services.Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("faults")
    short = {"answer_timeout_seconds": 1.5, "idle_timeout_seconds": 0.5, "max_answer_bytes": 100_000}
    gateway = Gateway(make_settings(folder, database_url=databases.open("sqlite"), **short), folder / "log")
    nobody = Nobody(write_certificate(folder))
    table = Table(gateway, nobody, ASKED[request.param])
    yield table
    for each in (table.bad, table.good, nobody):
        each.close()
    gateway.stop()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_nothing_and_the_next_channel_draws_if_there_is_one(table: Table, name: str):
    for kind in KINDS:
        answer = table.answers[name, kind]
        booked = table.booked[answer.headers["x-request-id"]]
        attempts = json.loads(booked.attempts)
        expected = OTHER_WORDS.get(name, FAULTS[name].reason).split("|")
        assert any(words in attempts[0]["outcome"] for words in expected), attempts
        assert not any(secret in answer.text for secret in SECRETS)
        if kind == "both":
            assert (answer.status_code, len(attempts)) == (200, 2)
            assert PIXEL in answer.text
            assert (booked.outcome, booked.state, booked.charge_nanos) == ("complete", "captured", 210_000)
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_error")
            assert (booked.outcome, booked.state, booked.charge_nanos) == ("failed", "released", 0)


def test_the_sum_of_all_is_what_the_good_channel_drew(table: Table):
    balance, held = table.gateway.make.find_money(table.key.account_id)
    assert (table.before - balance, held) == (210_000 * len(FAULTS), 0)
    assert table.gateway.make.check_ledger() == []
