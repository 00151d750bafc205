"""A worker ends at each of the places between the hold and the last byte: the ledger comes out right each time, and the
other workers go on serving. The places are in tests/audit/dying.py."""

import contextlib
import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import requests
import sqlalchemy as sa

from bridge.db import now_utc, transaction
from bridge.ledger.tables import Hold
from bridge.payments.check import check_payments
from bridge.payments.rows import new_payment_id
from bridge.payments.tables import Payment
from tests import services
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.inference.test_database_away import holding_the_database
from tests.payments.conftest import CENT, KEY
from tests.payments.stripe_side import SECRET, make_event, make_session, send_over_socket
from tests.rooms import make_settings
from tests.upstream import PAUSE, ScriptedUpstream, pauses, says, starts

WORDS = (" one", " two", " three", " four", " five")
PRICE = 12_000  # a prompt of 7 and 5 words at 1,000 nano-dollars
WAIT_SECONDS = 60
# long: a hold's deadline comes when its test says so
PATIENT = {
    "total_timeout_seconds": 300,
    "first_content_timeout_seconds": 10,
    "answer_timeout_seconds": 10,
    "idle_timeout_seconds": 10,
    "database_wait_seconds": 2.5,
}
STRIPE = {"stripe_secret_key": KEY, "stripe_webhook_secret": SECRET}


class Mortals:
    """A gateway whose workers end where a test says, one worker on SQLite, two on PostgreSQL and Redis."""

    def __init__(self, gateway: Gateway, folder: Path):
        self.gateway, self.make, self._folder = gateway, gateway.make, folder

    def arm(self, *places: str) -> None:
        for place in places:
            (self._folder / place).touch()

    def await_end(self, *places: str) -> None:
        """Until a worker has ended at each of them."""
        wait_until(lambda: not any((self._folder / place).exists() for place in places))


class Served:
    """A model, and a request of an account of its own."""

    def __init__(self, mortals: Mortals, upstream: ScriptedUpstream):
        self.mortals, self.make, self.upstream = mortals, mortals.make, upstream
        self.model = self.make.make_model(input_price=DOLLAR, output_price=DOLLAR)
        self.make.make_channel(upstream.base_url, self.model)
        self.renew()

    def renew(self) -> None:
        """Use another account from now on."""
        self.key = self.make.make_key()
        self.upstream.requests.clear()
        self.upstream.plays(says(*WORDS))

    def ask(self, stream: bool, **headers: str) -> int:
        """Send the request; returns how many words came."""
        text = ""
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
        url = f"{self.mortals.gateway.base_url}/chat/completions"
        with contextlib.suppress(requests.RequestException):
            asked = {"json": body | {"stream": stream}, "headers": self.key.headers | headers, "timeout": WAIT_SECONDS}
            with requests.post(url, **asked, stream=True) as answer:
                for piece in answer.iter_content(None):
                    text += piece.decode()
        return sum(word.strip() in text for word in WORDS)

    def ask_while_the_database_is_away(self, stream: bool) -> int:
        """The answer is under way when the database goes, and comes back at the answer's end."""
        self.upstream.plays(pauses(says(*WORDS)))
        asking = gevent.spawn(self.ask, stream)
        wait_until(lambda: bool(self.upstream.requests))
        with holding_the_database(self.mortals.gateway):
            self.upstream.resume()
            return int(asking.get(timeout=WAIT_SECONDS))

    def lapse(self) -> None:
        """Let the hold's deadline pass."""
        past = now_utc() - datetime.timedelta(seconds=1)
        with self.make.app.app_context(), transaction() as session:
            lapsed = sa.update(Hold).where(Hold.account_id == self.key.account_id).values(deadline_at=past)
            session.execute(lapsed)

    def row(self) -> Any:
        """The request's row, once it is settled; the account is right then."""
        wait_until(lambda: bool(self.make.list_usage(self.key.account_id)))
        (row,) = self.make.list_usage(self.key.account_id)
        assert self.make.find_money(self.key.account_id) == (10 * DOLLAR - row.charge_nanos, 0)
        return row


def wait_until(true: Callable[[], bool]) -> None:
    with gevent.Timeout(WAIT_SECONDS):
        while not true():
            gevent.sleep(0.05)


@pytest.fixture(scope="module")
def find_mortals(
    databases: services.Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Mortals]]:
    running: dict[str, Mortals] = {}
    redis = services.open_redis()

    def find(engine: str) -> Mortals:
        if engine not in running:
            folder = tmp_path_factory.mktemp(f"dying-{engine}")
            changes: dict[str, Any] = {
                "database_url": databases.open(engine),
                "database_wait_seconds": 2.5,
                **PATIENT,
                **STRIPE,
            }
            if engine == "postgresql":
                changes |= {"web_concurrency": 2, "redis_url": next(redis)}
            (places := folder / "places").mkdir()
            environ = {"DIES_IN": str(places), "PYTHONPATH": "."}
            settings = make_settings(folder, **changes)
            running[engine] = Mortals(Gateway(settings, folder / "log", environ, "tests.audit.dying"), places)
        return running[engine]

    yield find
    gevent.joinall([gevent.spawn(mortals.gateway.stop) for mortals in running.values()], raise_error=True)
    redis.close()


@pytest.fixture
def mortals(engine: str, find_mortals: Callable[[str], Mortals]) -> Iterator[Mortals]:
    mortals = find_mortals(engine)
    yield mortals
    assert mortals.make.check_ledger() == []


@pytest.fixture
def served(mortals: Mortals, upstream: ScriptedUpstream) -> Served:
    return Served(mortals, upstream)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_worker_that_ends_between_hold_and_last_byte_takes_no_more_than_was_received(served: Served, stream: bool):
    lost = []
    for place in ("after the hold", "after the upstream was asked", "after the first content", "before the charge"):
        if place == "after the first content" and not stream:
            continue
        served.renew()
        served.mortals.arm(place)
        received = served.ask(stream)
        served.mortals.await_end(place)
        lost.append((place, received, served.key))
    served.renew()
    served.mortals.arm("after the charge")
    served.ask(stream)
    served.mortals.await_end("after the charge")
    row = served.row()
    assert (row.outcome, row.charge_nanos) == ("complete", PRICE)
    served.renew()
    assert served.ask(stream) == len(WORDS)  # the other workers go on serving
    assert served.row().charge_nanos == PRICE
    for place, received, served.key in lost:
        served.lapse()
        row = served.row()
        assert row.outcome == "worker_lost", place
        assert 0 <= row.charge_nanos <= (7 + received) * 1_000 * bool(received), place


def test_a_stream_whose_worker_ends_is_charged_what_was_marked_as_delivered(served: Served):
    served.upstream.plays(starts(" one", " two", then=PAUSE))
    asking = gevent.spawn(served.ask, True)
    wait_until(lambda: "captured" in "".join(served.make.list_hold_details(served.key.account_id)))
    served.mortals.arm("after the first content")
    served.upstream.resume()
    assert asking.get(timeout=WAIT_SECONDS) == 2
    served.lapse()
    row = served.row()
    assert (row.outcome, row.charge_nanos) == ("worker_lost", 2_000)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_worker_that_ends_between_the_kept_answer_and_its_charge_leaves_an_answer_that_nobody_paid_for(
    served: Served, stream: bool
):
    served.mortals.arm("after the answer was kept")
    assert served.ask(stream, **{"Idempotency-Key": "order"}) < len(WORDS) or stream
    served.mortals.await_end("after the answer was kept")
    assert served.ask(stream, **{"Idempotency-Key": "order"}) == len(WORDS)
    assert len(served.upstream.requests) == 1
    served.lapse()
    row = served.row()
    assert (row.outcome, row.charge_nanos) == ("worker_lost", 0)


@pytest.mark.parametrize(
    ("place", "stream", "charge"),
    [
        ("before spooling", False, 0),
        ("after spooling", True, PRICE),
        ("before a spooled charge is committed", False, PRICE),
        ("before a spool is removed", True, PRICE),
    ],
)
def test_a_worker_that_ends_around_a_spool_charges_once_or_not_at_all(
    served: Served, place: str, stream: bool, charge: int
):
    served.mortals.arm(place)
    served.ask_while_the_database_is_away(stream)
    served.mortals.await_end(place)
    spools = served.mortals.gateway.settings.data_path / "spool"
    wait_until(lambda: not list(spools.glob("*")))
    if not charge:
        served.lapse()
    row = served.row()
    assert (row.charge_nanos, row.loss_nanos) == (charge, 0)
    assert row.outcome == ("complete" if charge else "worker_lost")


def test_a_worker_that_ends_while_it_sweeps_leaves_the_rest_to_the_next_sweep(served: Served):
    lost = []
    for _ in range(2):
        served.renew()
        served.mortals.arm("after the hold")
        served.ask(False)
        served.mortals.await_end("after the hold")
        lost.append(served.key)
    sweeping = ("before a hold is swept", "after a hold was swept")
    served.mortals.arm(*sweeping)
    for served.key in lost:
        served.lapse()
    served.mortals.await_end(*sweeping)
    for served.key in lost:
        row = served.row()
        assert (row.outcome, row.charge_nanos) == ("worker_lost", 0)


def test_a_payment_whose_worker_ends_before_it_says_so_is_credited_once(mortals: Mortals):
    account, payment = mortals.make.make_account(0), new_payment_id()
    with mortals.make.app.app_context(), transaction() as session:
        fields = {"kind": "checkout", "amount_minor": 2000, "currency": "usd", "credit_nanos": 2000 * CENT}
        session.add(Payment(id=payment, account_id=account.id, **fields))
    event = make_event("checkout.session.completed", make_session(payment, 2000))
    mortals.arm("after a payment was credited")
    with pytest.raises(requests.RequestException):
        send_over_socket(mortals.gateway.site_url, event)
    assert mortals.make.find_money(account.id) == (2000 * CENT, 0)
    assert send_over_socket(mortals.gateway.site_url, event) == 200
    assert mortals.make.find_money(account.id) == (2000 * CENT, 0)
    with mortals.make.app.app_context():
        assert check_payments() == []
