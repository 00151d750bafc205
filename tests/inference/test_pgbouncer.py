"""Behind a pooler that gives each transaction another connection, everything works as without one."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import psycopg
import pytest
import requests
import sqlalchemy as sa

from bridge.db import db
from bridge.ledger import postgres
from tests.gateway import Gateway, as_environment
from tests.pgbouncer import PgBouncer
from tests.rooms import close_rooms, make_settings, open_rooms
from tests.served import Served
from tests.services import Databases
from tests.upstream import ScriptedUpstream
from tests.warm import ROOT

Start = Callable[..., Gateway]
pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.fixture
def pooler(databases: Databases, engine: str) -> Iterator[PgBouncer]:
    pooler = PgBouncer(databases.open(engine))
    yield pooler
    pooler.close()


def test_many_at_once_are_all_served_and_paid(
    start_gateway: Start, pooler: PgBouncer, redis_url: str, upstream: ScriptedUpstream, engine: str
):
    gateway = start_gateway(engine, database_url=pooler.url, web_concurrency=2, redis_url=redis_url)
    served = Served(gateway, upstream.base_url)

    def ask(stream: bool) -> requests.Response:
        answer = served.post(stream)
        assert answer.content  # a stream is read to its end, or its client has left
        return answer

    for _ in range(10):
        asked = [gevent.spawn(ask, number % 2 == 0) for number in range(12)]
        gevent.joinall(asked, timeout=60)
        assert Counter(one.get(timeout=60).status_code for one in asked) == {200: 12}
    rows = gateway.make.list_usage(served.key.account_id)
    assert len(rows) == 120
    assert {row.outcome for row in rows} == {"complete"}
    assert served.spent() == (sum(row.charge_nanos for row in rows), 0)
    assert gateway.make.check_ledger() == []
    assert gateway.log_lines("hold_failed") == []


def test_an_empty_database_is_migrated_through_it(databases: Databases, tmp_path: Path, engine: str):
    pooler = PgBouncer(databases.open_empty(engine))
    environ = as_environment(make_settings(tmp_path, database_url=pooler.url))
    try:
        for command in (["db", "upgrade"], ["catalogue", "sync"], ["model", "list"], ["ledger", "check"]):
            done = subprocess.run(
                [sys.executable, "-m", "flask", "--app", "wsgi", *command],
                cwd=ROOT,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    finally:
        pooler.close()


@pytest.mark.parametrize("said", [True, False], ids=["said by the address", "noticed"])
def test_nothing_is_left_in_a_session_that_is_everybodys(pooler: PgBouncer, said: bool, engine: str):
    connection = postgres.connect(pooler.url, is_pooled=said)
    others = [psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) for _ in range(3)]
    assert connection.is_pooled
    assert postgres.commit_batch(connection, []) == []
    for other in others:
        for name, default in (("enable_seqscan", "on"), ("statement_timeout", "0"), ("lock_timeout", "0")):
            assert other.execute(f"SHOW {name}").fetchone() == (default,)
        assert other.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
        other.close()
    connection.close()


def test_a_transaction_works_by_our_settings_whatever_the_roles_are(pooler: PgBouncer, tmp_path: Path, engine: str):
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as connection:
        (name,) = connection.execute("SELECT current_database()").fetchone() or ("",)
        for default in ("default_transaction_isolation = 'serializable'", "statement_timeout = '1h'"):
            connection.execute(f'ALTER DATABASE "{name}" SET {default}')  # type: ignore[arg-type]
    for url in (pooler.url, pooler.database_url):
        rooms = open_rooms(make_settings(tmp_path, database_url=url))
        with rooms.app_context(), db.engine.connect() as session:
            found = [session.scalar(sa.text(f"SHOW {what}")) for what in ("transaction_isolation", "statement_timeout")]
            assert found == ["read committed", "10s"], url
        close_rooms(rooms)
        connection = postgres.connect(url)
        with connection.transaction():
            shown = connection.execute("SHOW transaction_isolation").fetchone()
        assert shown == ("read committed",), url
        connection.close()
