"""`make bench ARGS=--pages`: what each page of a customer costs, in CPU and in SQL statements, where the account has
thousands of keys and a million requests."""

import argparse
import http.client
import re
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg

from bench.gateway import EMAIL, Gateway, run_commands, running_gateway
from bench.load import Result
from bench.measure import let_settle, running_home, say
from bench.processes import cpu_nanos
from bench.report import Row, draw_table
from bench.results import figure_of
from bench.scenarios import Figure
from bench.seeds import add_keys, add_month, add_payment, add_refusals
from bench.servers import LOOPBACK, BenchError, Server
from bridge.db import now_utc

ROWS, KEYS = 1_000_000, 5_000
QUICK_ROWS, QUICK_KEYS = 20_000, 200
HEADER = "x-bench-statements"  # see counting.py
VISITS = 9  # of each page and round, of which the median counts
MOST_CPU_MS, MOST_STATEMENTS = 50.0, 10.0
ROLLED_SECONDS = 600.0
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


class Visitor:
    """A browser in which the account's owner is signed in."""

    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection(LOOPBACK, port, timeout=60)
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str, int]:
        """Status, body, and how many statements it took."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, urlencode(form) if form else None, headers)
        answer = self.connection.getresponse()
        body = answer.read().decode(errors="replace")
        for line in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, body, int(answer.headers.get(HEADER, 0))

    def enter(self, password: str) -> None:
        """Sign in. Raises BenchError if that fails."""
        token = TOKEN.search(self.ask("GET", "/sign-in")[1])
        form = {"csrf_token": token[1] if token else "", "email": EMAIL, "password": password}
        status, body, _ = self.ask("POST", "/sign-in", form)
        if status != 303:
            raise BenchError(f"Signing in answers {status}: {body[-500:]}")


def measure_pages(
    arguments: argparse.Namespace, upstream: Server, folder: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure every page and print the table. Returns figures and failures."""
    rows, keys = (QUICK_ROWS, QUICK_KEYS) if arguments.quick else (ROWS, KEYS)
    rounds = 1 if arguments.quick else arguments.repeat
    say("Setting up by the gateway's own commands …")
    with running_home(upstream, False, arguments.postgres, arguments.redis, folder / "pages") as home:
        password = secrets.token_urlsafe(18)
        run_commands(home.environment, f"account password {EMAIL} --password {password}")
        url = home.stores.database_url
        say(f"Writing {keys:,} keys and {rows:,} requests of a month")
        first = add_keys(url, keys)
        places = {"key": str(first + 1), "request": add_month(url, rows, first, keys), "payment": add_payment(url)}
        add_refusals(url, first, keys)
        with running_gateway(home, config="bench.counting") as gateway:
            wait_until_rolled_up(url)
            table, failures = _visit_all(gateway, password, places, rounds)
    print(f"\nPages of an account with {keys:,} keys and {rows:,} requests.\n\n{draw_table(table)}")
    return [figure_of("pages", row) for row in table], failures


def list_pages(places: dict[str, str]) -> dict[str, str]:
    """Every page of a customer, by its name. `places` are the ids of a key, a request and a payment."""
    key = places["key"]
    return {
        "overview": "/dashboard/",
        "  of today": "/dashboard/?period=today",
        "keys": "/dashboard/keys",
        "  by spend": "/dashboard/keys?sort=spend",
        "a key": f"/dashboard/keys/{key}",
        "a new key": "/dashboard/keys/new",
        "usage": "/dashboard/usage",
        "usage of 30 days": "/dashboard/usage?period=30",
        "  by key": "/dashboard/usage?period=30&by=key",
        "  by end user": "/dashboard/usage?period=30&by=end_user",
        "  by tag": "/dashboard/usage?period=30&by=tag",
        "  of one key": f"/dashboard/usage?period=30&key={key}",
        "  of refused calls": "/dashboard/usage?period=30&status=refused",
        "a receipt": f"/dashboard/usage/{places['request']}",
        "billing": "/dashboard/billing",
        "a payment": f"/dashboard/billing/payments/{places['payment']}",
        "a statement": f"/dashboard/billing/statement/{now_utc():%Y-%m}",
        "settings": "/dashboard/settings",
        "  security": "/dashboard/settings/security",
        "  second factor": "/dashboard/settings/two-factor",
        "  notifications": "/dashboard/settings/notices",
        "  data": "/dashboard/settings/data",
        "models, signed in": "/models",
    }


def _visit_all(gateway: Gateway, password: str, places: dict[str, str], rounds: int) -> tuple[list[Row], list[str]]:
    """CPU and statements of each page, and what was answered otherwise than by a page."""
    visitor, table, failures = Visitor(gateway.server.port), [], []
    visitor.enter(password)
    for name, path in list_pages(places).items():
        say(f"Pages: {name.strip()}")
        cpu, statements = {}, 0
        for number in range(1, rounds + 1):
            costs = []
            for visit in range(VISITS + 1):  # the first one fills caches
                if visit == 0:
                    let_settle(gateway.server)
                before = cpu_nanos(gateway.server.pid)
                status, _, statements = visitor.ask("GET", path)
                costs.append((cpu_nanos(gateway.server.pid) - before) / 1e6)
                if status != 200:
                    failures.append(f"{name.strip()} answers {status}.")
            cpu[number] = sorted(costs[1:])[VISITS // 2]
        table.append(_row(name, "ms CPU", MOST_CPU_MS, cpu))
        table.append(_row(f"  {name.strip()}: statements", "", MOST_STATEMENTS, {1: float(statements)}))
    return table, failures


def _row(title: str, unit: str, reach: float, values: dict[int, float]) -> Row:
    figure = Figure(title, unit, _nothing, reach, ratio=False, beside_nginx=False)
    return Row("pages", figure, {}, values)


def _nothing(_: Result) -> None:
    return None


def wait_until_rolled_up(database_url: str) -> None:
    """Wait for the gateway's own job. Raises BenchError when that takes too long."""
    until = time.monotonic() + ROLLED_SECONDS
    with psycopg.connect(database_url, autocommit=True) as connection:
        while time.monotonic() < until:
            found = connection.execute(
                "SELECT least(number, labels_number) >= (SELECT max(number) FROM usage) FROM rollup_progress"
            ).fetchone()
            if found and found[0]:
                connection.execute("VACUUM ANALYZE")
                return
            time.sleep(1)
    raise BenchError("The roll-ups did not reach the last request in time.")
