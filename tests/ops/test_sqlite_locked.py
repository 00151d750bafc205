"""SQLite's file is locked by another process, such as a backup: everything else goes on, and charges are made once."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
import requests

from tests.factories import PASSWORD
from tests.gateway import Gateway
from tests.inference.test_redis_faults import CSRF
from tests.served import DOLLAR, Served, await_request
from tests.upstream import ScriptedUpstream, pauses, says

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN " + sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""
WAIT_SECONDS = 2.5
LOOKS = 20


@contextlib.contextmanager
def held_by_another_process(gateway: Gateway, how: str) -> Iterator[None]:
    path = gateway.settings.sqlalchemy_url.partition("///")[2]
    command = [sys.executable, "-c", HOLD, path, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:  # "held", unless it was locked by ourselves at that moment
            assert line == "held\n"
            break
        yield
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_while_another_process_holds_sqlite_nothing_stands_still_and_answers_go_out(
    start_gateway: Callable[..., Gateway], upstream: ScriptedUpstream, tmp_path: Path, how: str
):
    still = tmp_path / "still"
    patient = dict.fromkeys(("first_content_timeout_seconds", "answer_timeout_seconds", "idle_timeout_seconds"), 60)
    gateway = start_gateway(
        "sqlite",
        config="tests.ops.loop_gunicorn",
        environ={"STILL": str(still), "PYTHONPATH": "."},
        database_wait_seconds=WAIT_SECONDS,
        total_timeout_seconds=120,
        **patient,
    )
    served = Served(gateway, upstream.base_url)
    email = gateway.make.make_account().email
    upstream.plays(pauses(says("Hello", " there")))
    asking = [gevent.spawn(served.post, stream) for stream in (False, True)]
    await_request(upstream, 2)
    with held_by_another_process(gateway, how), requests.Session() as browser:
        refused = gevent.spawn(served.post)
        page = gevent.spawn(sign_in, gateway, browser, email)
        for _ in range(LOOKS):
            assert requests.get(f"{gateway.site_url}/livez", timeout=60).status_code == 200
        answer = refused.get(timeout=60)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "service_unavailable")
        assert "database does not answer" in page.get(timeout=60)
        assert requests.get(f"{gateway.site_url}/readyz", timeout=60).status_code == 503
        upstream.resume()
        whole, stream = [one.get(timeout=60) for one in asking]
        assert (whole.status_code, whole.json()["choices"][0]["message"]["content"]) == (200, "Hello there")
        assert "[DONE]" in stream.text
        assert list((gateway.settings.data_path / "spool").glob("*.jsonl"))
    with gevent.Timeout(60):
        while served.spent()[1] or list((gateway.settings.data_path / "spool").glob("*")):
            gevent.sleep(0.05)
    charged = [row.charge_nanos for row in gateway.make.list_usage(served.key.account_id) if row.charge_nanos]
    assert len(charged) == 2
    assert gateway.make.find_money(served.key.account_id) == (10 * DOLLAR - sum(charged), 0)
    assert gateway.make.check_ledger() == []
    assert served.post().status_code == 200
    assert float(still.read_text()) < WAIT_SECONDS, "the loop stood still"


def sign_in(gateway: Gateway, browser: requests.Session, email: str) -> str:
    """Sign in; returns the resulting page."""
    url = f"{gateway.site_url}/sign-in"
    token = CSRF.search(browser.get(url, timeout=60).text)
    assert token is not None
    form = {"email": email, "password": PASSWORD, "csrf_token": token[1]}
    return browser.post(url, data=form, timeout=60).text
