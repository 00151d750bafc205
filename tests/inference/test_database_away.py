"""A database that is away when an answer ends: the answer goes out, and is charged once the database is back."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator

import gevent
import psycopg
import pytest
import requests

from tests.gateway import Gateway
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, pauses, says

HELLO = [{"role": "user", "content": "Hello!"}]
DOLLAR = 1_000_000_000
Start = Callable[..., Gateway]


@contextlib.contextmanager
def holding_the_database(gateway: Gateway) -> Iterator[None]:
    """Nobody else can write to it."""
    url = gateway.settings.sqlalchemy_url
    if gateway.settings.on_sqlite:
        with contextlib.closing(sqlite3.connect(url.split("///", 1)[1], isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        return
    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        connection.execute("LOCK TABLE balances IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_answer_that_ends_while_the_database_is_away_goes_out_and_is_charged_later(
    start_gateway: Start, upstream: ScriptedUpstream, engine: str, stream: bool
):
    gateway = start_gateway(engine, sweep_seconds=0.2, total_timeout_seconds=60, database_wait_seconds=2.5)
    model = gateway.make.make_model(input_price=DOLLAR, output_price=DOLLAR)
    gateway.make.make_channel(upstream.base_url, model)
    key = gateway.make.make_key()
    upstream.plays(pauses(says("Hello", " there")))
    body = {"model": model, "messages": HELLO, "stream": stream}
    asked = {"json": body, "headers": key.headers | {"Idempotency-Key": "order-1"}, "timeout": 60}
    ask = gevent.spawn(requests.post, f"{gateway.base_url}/chat/completions", **asked)
    with gevent.Timeout(PATIENCE_SECONDS):
        while not upstream.requests:
            gevent.sleep(0.02)
    with holding_the_database(gateway):
        upstream.resume()
        answer = ask.get(timeout=60)
    assert answer.status_code == 200
    assert "there" in answer.text
    assert ("[DONE]" in answer.text) is stream
    spooled = gateway.settings.data_path / "spool"
    with gevent.Timeout(60):
        while not (rows := gateway.make.list_usage(key.account_id)) or list(spooled.glob("*")):
            gevent.sleep(0.05)
    assert [(row.state, row.outcome, row.charge_nanos, row.loss_nanos) for row in rows] == [
        ("captured", "complete", 9_000, 0)
    ]
    again = requests.post(f"{gateway.base_url}/chat/completions", **asked)
    assert (again.headers["Idempotent-Replayed"], again.content) == ("true", answer.content)
    assert gateway.make.find_money(key.account_id) == (10 * DOLLAR - 9_000, 0)
    assert gateway.make.check_ledger() == []
    # of SQLite the whole was held: there the answer could not be kept either, and was spooled with its charge
    assert gateway.log_lines("idempotency_key_not_changed" if engine == "sqlite" else "settle_failed")
