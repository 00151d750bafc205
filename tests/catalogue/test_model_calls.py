"""A model that fails while its channel answers is told from the channel, once more than one account has met that."""

import dataclasses
import datetime
import time
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

from bridge.catalogue import editing
from bridge.catalogue.breaker_states import OURS
from bridge.catalogue.channel_events import record_test
from bridge.catalogue.channel_state import find_availability, find_model_state, find_state
from bridge.catalogue.health import Health
from bridge.catalogue.tables import Channel
from bridge.db import db, now_utc, transaction
from bridge.providers.base import AttemptFailed, Blame
from tests.catalogue.test_health import OneRoute

pytestmark = pytest.mark.usefixtures("app")
ANN, BOB = 1, 2
SECOND = datetime.timedelta(seconds=1)


@dataclasses.dataclass
class Worker:
    """A worker's health of a channel with two models, `good` and `bad`, and what its row then says."""

    clock: Any
    channel_id: int
    health: Health = dataclasses.field(default_factory=lambda: Health(0.001))  # what is out may be tried at once

    def call(self, model: str, *, ok: bool, account: int = ANN, blame: Blame = Blame.UPSTREAM) -> None:
        route = OneRoute(channel_id=self.channel_id, upstream_id=model)
        if ok:
            self.health.succeeded(route, account_id=account)
        else:
            self.health.failed(route, AttemptFailed(blame, "500 for this model"), account_id=account)
        self.clock.shift(SECOND)
        self.health.write_notes(at_the_end=True)

    def row(self) -> Channel:
        row = editing.find_channel("main")
        db.session.refresh(row)
        db.session.commit()
        return row

    def availability(self, model: str) -> str:
        return find_availability([(self.row(), model)], now_utc())


@pytest.fixture
def worker() -> Iterator[Worker]:
    with transaction() as session:
        row = Channel(name="main", provider="openai")
        session.add(row)
    with time_machine.travel(now_utc(), tick=False) as clock:
        yield Worker(clock, row.id)


def fail_apart(worker: Worker, *accounts: int) -> None:
    """The bad model fails for each of these accounts, and the good one is answered in between."""
    for account in accounts:
        worker.call("bad", ok=False, account=account)
        worker.call("good", ok=True, account=account)


def test_a_model_that_fails_while_its_channel_answers_is_unavailable_until_it_is_answered(worker: Worker):
    fail_apart(worker, ANN, BOB, ANN)
    assert (worker.availability("bad"), worker.availability("good")) == ("unavailable", "live")
    state = find_state(worker.row())
    assert (state.code, state.why) == ("partly", "bad: its last 3 calls failed: 500 for this model")
    assert find_model_state(worker.row(), "bad").word == "Failing"
    assert find_model_state(worker.row(), "good").code == "healthy"
    worker.call("bad", ok=True)
    assert worker.availability("bad") == "live"
    for _ in range(10):
        worker.call("bad", ok=True)
    assert worker.row().model_calls is None


def test_what_fails_apart_does_not_make_its_channel_fail(worker: Worker):
    fail_apart(worker, ANN, BOB)
    for _ in range(20):
        worker.call("bad", ok=False)
    assert worker.availability("good") == "live"
    assert find_state(worker.row()).code == "partly"


def test_what_fails_apart_is_passed_over_alone(worker: Worker):
    worker.health = Health(30)
    good, bad = (OneRoute(channel_id=worker.channel_id, upstream_id=name) for name in ("good", "bad"))
    fail_apart(worker, ANN, BOB)
    for account in (ANN, BOB) * 15:
        worker.call("bad", ok=False, account=account)
    now = time.monotonic()
    assert worker.health.seconds_out(bad, now, ANN) > 0
    assert worker.health.seconds_out(good, now, ANN) == 0
    assert worker.row().health == "healthy"


def test_what_all_models_of_a_channel_have_met_says_nothing_of_any_of_them(worker: Worker):
    worker.call("good", ok=True)
    for account in (ANN, BOB) * 5:
        worker.call("bad", ok=False, account=account)
        worker.call("good", ok=False, account=account)
    assert worker.availability("bad") == worker.availability("good") == "unavailable"
    worker.call("good", ok=True)
    assert worker.availability("bad") == worker.availability("good") == "live"


@pytest.mark.parametrize("judge", [BOB, OURS])
def test_one_account_alone_says_nothing_for_the_others(worker: Worker, judge: int):
    fail_apart(worker, *(ANN,) * 5)
    assert worker.availability("bad") == "live"
    state = find_model_state(worker.row(), "bad")
    assert (state.kind, state.word) == ("warn", "Fails for one account")
    worker.call("bad", ok=False, account=judge)
    assert worker.availability("bad") == "unavailable"


def test_a_check_that_is_answered_ends_one_accounts_doubt(worker: Worker):
    fail_apart(worker, *(ANN,) * 5)
    worker.call("bad", ok=True, account=OURS)
    assert find_model_state(worker.row(), "bad").code != "failing"
    worker.call("bad", ok=False)
    worker.call("bad", ok=False)
    assert worker.availability("bad") == "live"


def test_five_minutes_of_one_accounts_failures_are_believed_where_nothing_checks(worker: Worker):
    fail_apart(worker, ANN, ANN)
    worker.clock.shift(datetime.timedelta(minutes=5))
    assert worker.availability("bad") == "live"  # no time that passes says anything
    worker.call("bad", ok=False)
    assert worker.availability("bad") == "unavailable"


def test_an_answer_in_another_worker_counts(worker: Worker):
    other = Worker(worker.clock, worker.channel_id)
    other.call("bad", ok=True)
    fail_apart(worker, ANN, BOB, ANN)
    assert worker.availability("bad") == "unavailable"
    other.call("bad", ok=True)
    assert worker.availability("bad") == "live"


def test_a_refused_key_says_nothing_of_a_model(worker: Worker):
    for account in (ANN, BOB, ANN):
        worker.call("bad", ok=False, account=account, blame=Blame.CREDENTIAL)
        worker.call("good", ok=True)
    assert worker.row().model_calls is None


def test_a_test_of_one_model_says_nothing_of_another_and_a_new_key_forgets_all(worker: Worker):
    fail_apart(worker, ANN, BOB)
    record_test("main", True, "good answered.", upstream_id="good")
    assert worker.availability("bad") == "unavailable"
    record_test("main", True, "bad answered.", upstream_id="bad")
    assert worker.availability("bad") == "live"
    record_test("main", False, "bad did not answer.", ended="f", upstream_id="bad")
    record_test("main", False, "bad did not answer.", ended="f", upstream_id="bad")
    assert worker.row().model_calls is not None
    editing.update_channel("main", api_key="another")
    assert worker.row().model_calls is None
