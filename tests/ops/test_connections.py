"""How many connections a worker opens: PostgreSQL plans are sold by their number."""

from collections.abc import Callable

import gevent
import psycopg
import pytest
import requests

from bridge.db import db
from tests.gateway import Gateway
from tests.served import HELLO, Served
from tests.upstream import ScriptedUpstream, says

MOST, AT_ONCE = 5, 24


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_a_worker_opens_no_more_connections_than_it_may(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, engine: str
):
    # nobody is refused because the machine is slow
    gateway = start_gateway(engine, database_connections=MOST)
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("Hello"))
    keys = [gateway.make.make_key() for _ in range(AT_ONCE)]  # each is looked up in the database

    def ask(number: int) -> int:
        if number % 2:
            return requests.get(f"{gateway.site_url}/models", timeout=60).status_code
        body, url = {"model": served.model, "messages": HELLO}, f"{gateway.base_url}/chat/completions"
        return requests.post(url, json=body, headers=keys[number].headers, timeout=60).status_code

    with gateway.make.app.app_context():
        db.engine.dispose()  # ours beside the gateway's
    asking = [gevent.spawn(ask, number) for number in range(AT_ONCE)]
    opened = 0
    with psycopg.connect(gateway.settings.database_url, autocommit=True) as connection:
        while not all(one.ready() for one in asking):
            found = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            ).fetchone()
            opened = max(opened, found[0] if found else 0)
    assert {one.get() for one in asking} == {200}
    assert 3 <= opened <= MOST
