"""A database that is silent, read-only or full: paid requests are refused in time, everything else goes on."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

import gevent
import psycopg
import pytest
import requests
from flask.testing import FlaskClient
from psycopg import sql

from bridge.ledger import sqlite
from tests.factories import Factories
from tests.gateway import Gateway
from tests.proxy import Proxy
from tests.served import Served
from tests.services import Databases
from tests.upstream import PATIENCE_SECONDS, ScriptedUpstream, pauses, says

Start = Callable[..., Gateway]
FULL = """
CREATE FUNCTION refuse_for_want_of_room() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON holds
FOR EACH STATEMENT EXECUTE FUNCTION refuse_for_want_of_room();
"""
NO_LONGER_FULL = "DROP TRIGGER full_disk ON holds; DROP FUNCTION refuse_for_want_of_room()"


class Fault:
    """What is wrong with the database, from `begin()` to `end()`."""

    def __init__(self, url: str, proxy: Proxy):
        self._url, self._proxy = url, proxy

    def run(self, statement: str | sql.Composed) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(statement)  # type: ignore[arg-type]


class Frozen(Fault):
    def begin(self) -> None:
        self._proxy.freeze()

    def end(self) -> None:
        self._proxy.thaw()


class ReadOnly(Fault):
    """As after a failover: existing connections stay on a server that is read-only."""

    def begin(self) -> None:
        self._set("on")

    def end(self) -> None:
        self._set("off")

    def _set(self, value: str) -> None:
        name = sql.Identifier(urlsplit(self._url).path.strip("/"))
        self.run(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(name, sql.SQL(value)))
        if value == "on":
            self._proxy.cut()


class Full(Fault):
    def begin(self) -> None:
        self.run(FULL)

    def end(self) -> None:
        self.run(NO_LONGER_FULL)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_whatever_is_wrong_with_postgresql_streams_go_on_and_it_recovers_by_itself(
    start_gateway: Start, databases: Databases, upstream: ScriptedUpstream, engine: str
):
    url = urlsplit(databases.open(engine))
    proxy = Proxy(url.port or 5432)
    through = urlunsplit(url._replace(netloc=f"{url.username or ''}@127.0.0.1:{proxy.port}"))
    patient = dict.fromkeys(("first_content_timeout_seconds", "answer_timeout_seconds", "idle_timeout_seconds"), 60)
    gateway = start_gateway(
        engine,
        database_url=through,
        total_timeout_seconds=120,
        sweep_seconds=0.2,
        database_wait_seconds=2.5,
        **patient,
    )
    served = Served(gateway, upstream.base_url)
    for number, kind in enumerate((Frozen, ReadOnly, Full)):
        fault = kind(url.geturl(), proxy)
        upstream.plays(pauses(says("Hello", " there")))
        stream = gevent.spawn(served.post, True)
        with gevent.Timeout(PATIENCE_SECONDS):
            while len(upstream.requests) == number * 2:
                gevent.sleep(0.02)
        fault.begin()
        answers = gevent.joinall([gevent.spawn(served.post, stream=False) for _ in range(20)], timeout=60)
        for refused in answers:
            answer = refused.get(timeout=60)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable"), kind
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.elapsed.total_seconds() < 20  # without a limit it would never end
        assert requests.get(f"{gateway.site_url}/livez", timeout=60).status_code == 200
        assert requests.get(f"{gateway.site_url}/readyz", timeout=60).status_code == 503, kind
        upstream.resume()
        said = stream.get(timeout=60)
        assert "there" in said.text
        assert "[DONE]" in said.text
        fault.end()
        with gevent.Timeout(60):
            while (answer := served.post()).status_code != 200:
                gevent.sleep(0.05)
            while requests.get(f"{gateway.site_url}/readyz", timeout=60).status_code != 200:
                gevent.sleep(0.05)
        assert len(upstream.requests) == number * 2 + 2  # no refused request has gone out
    with gevent.Timeout(60):
        while served.spent()[1] or len(complete := outcomes(served)) < 6:
            gevent.sleep(0.05)
    assert complete == ["complete"] * 6
    assert gateway.make.check_ledger() == []
    proxy.close()


def outcomes(served: Served) -> list[str]:
    """Of what was charged."""
    return [row.outcome for row in served.gateway.make.list_usage(served.key.account_id) if row.charge_nanos]


@contextlib.contextmanager
def no_more_pages(connection: sqlite3.Connection) -> Iterator[None]:
    """The file can't grow."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    yield
    connection.execute("PRAGMA max_page_count = 1000000")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_full_sqlite_refuses_what_is_paid_and_recovers(
    client: FlaskClient, make: Factories, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, engine: str
):
    opened: list[sqlite3.Connection] = []
    connect = sqlite.connect
    monkeypatch.setattr(sqlite, "connect", lambda path: opened.append(connect(path)) or opened[-1])
    model = make.make_model()
    make.make_channel(upstream.base_url, model)
    key = make.make_key()

    def ask() -> int:
        body = {"model": model, "messages": [{"role": "user", "content": "x" * 20_000}]}
        return client.post("/v1/chat/completions", json=body, headers=key.headers).status_code

    assert ask() == 200
    with no_more_pages(opened[0]):
        statuses = {ask() for _ in range(200)}
        assert 503 in statuses
        assert statuses <= {200, 503}
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200
    assert ask() == 200
    with gevent.Timeout(PATIENCE_SECONDS):  # most of the last minute's failed, until that is some seconds ago
        while client.get("/readyz").status_code != 200:
            gevent.sleep(0.05)
