"""A worker that ends at each of the places between the hold and the last byte: the ledger comes out right each time."""

from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
import requests

from tests.gateway import Gateway
from tests.upstream import ScriptedUpstream, pauses, says
from tests.v1.test_database_away import holding_the_database

DOLLAR = 1_000_000_000
WORDS = (" one", " two", " three", " four", " five")
PRICE = 12_000  # a prompt of 7 and 5 words at 1,000 nano-dollars
BODY = {"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 20}
PLACES = (  # see tests/audit/dying.py
    "after the hold",
    "after the upstream was asked",
    "midway",
    "before the charge",
    "after the charge",
    "before spooling",
    "after spooling",
)
PAID = ("after the charge", "after spooling")  # from here on it is settled, whatever becomes of the last bytes
CASES = [(place, stream) for place in PLACES for stream in (False, True) if stream or place != "midway"]


@pytest.mark.parametrize(("place", "stream"), CASES)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_worker_that_ends_there_leaves_a_ledger_that_is_right(
    start_gateway: Callable[..., Gateway],
    upstream: ScriptedUpstream,
    tmp_path: Path,
    engine: str,
    place: str,
    stream: bool,
):
    gateway = start_gateway(
        engine,
        config="tests.audit.dying",
        environ={"DIES_AT": place, "DIES_ONCE": str(tmp_path / "died"), "PYTHONPATH": "."},
        total_timeout_seconds=6 if place.endswith("spooling") else 2,  # the hold's deadline, which the sweep waits for
        hold_grace_seconds=1,
    )
    model = gateway.make.make_model(input_price=DOLLAR, output_price=DOLLAR)
    gateway.make.make_channel(upstream.base_url, model)
    key = gateway.make.make_key()
    upstream.plays(says(*WORDS))
    url, body = f"{gateway.base_url}/chat/completions", BODY | {"model": model, "stream": stream}

    def ask() -> int:
        """How many words came."""
        text = ""
        try:
            with requests.post(url, json=body, headers=key.headers, timeout=60, stream=True) as answer:
                for piece in answer.iter_content(None):
                    text += piece.decode()
        except requests.RequestException:
            pass
        return sum(word.strip() in text for word in WORDS)

    if place.endswith("spooling"):
        received = ask_while_the_database_is_away(gateway, upstream, ask)
    else:
        received = ask()
    with gevent.Timeout(60):
        while not (tmp_path / "died").exists() or not (rows := gateway.make.list_usage(key.account_id)):
            gevent.sleep(0.05)
    (row,) = rows
    charge = row.charge_nanos
    if place in PAID:
        assert (row.outcome, charge) == ("complete", PRICE)
    else:
        assert row.outcome == "worker_lost"
        assert 0 <= charge <= (7 + received) * 1_000 * bool(received)
    assert gateway.make.find_money(key.account_id) == (10 * DOLLAR - charge, 0)
    assert gateway.make.check_ledger() == []


def ask_while_the_database_is_away(gateway: Gateway, upstream: ScriptedUpstream, ask: Callable[[], int]) -> int:
    """The answer is under way when the database goes, and comes back when the worker is gone."""
    upstream.plays(pauses(says(*WORDS)))
    asking = gevent.spawn(ask)
    with gevent.Timeout(60):
        while not upstream.requests:
            gevent.sleep(0.02)
    with holding_the_database(gateway):
        upstream.resume()
        return int(asking.get(timeout=60))
