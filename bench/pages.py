"""`make bench ARGS=--pages`: what each page costs, in CPU and in SQL statements: a customer's, whose account has
fifty members, thousands of keys and a million requests, and operators', who have ten thousand such customers."""

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
from bench.seeds import add_customers, add_keys, add_members, add_month, add_payment, add_plan, add_refusals
from bench.servers import LOOPBACK, BenchError, Server
from bridge.db import now_utc

ROWS, KEYS, CUSTOMERS = 1_000_000, 5_000, 10_000
MEMBERS = 49  # beside the owner: as many as an account may have
QUICK_ROWS, QUICK_KEYS, QUICK_CUSTOMERS = 20_000, 200, 500
OPERATOR = "operator@example.com"
HEADER = "x-bench-statements"  # see counting.py
VISITS, QUICK_VISITS = 9, 3  # of each page and round, of which the median counts
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

    def enter(self, password: str, email: str = EMAIL) -> None:
        """Sign in. Raises BenchError if that fails."""
        token = TOKEN.search(self.ask("GET", "/sign-in")[1])
        form = {"csrf_token": token[1] if token else "", "email": email, "password": password}
        status, body, _ = self.ask("POST", "/sign-in", form)
        if status != 303:
            raise BenchError(f"Signing in answers {status}: {body[-500:]}")


def measure_pages(
    arguments: argparse.Namespace, upstream: Server, folder: Path
) -> tuple[list[dict[str, Any]], list[str]]:
    """Measure every page and print the table. Returns figures and failures."""
    whole, quick = (ROWS, KEYS, CUSTOMERS), (QUICK_ROWS, QUICK_KEYS, QUICK_CUSTOMERS)
    rows, keys, customers = quick if arguments.quick else whole
    rounds = 1 if arguments.quick else arguments.repeat
    say("Setting up by the gateway's own commands …")
    with running_home(upstream, False, arguments.postgres, arguments.redis, folder / "pages") as home:
        password = secrets.token_urlsafe(18)
        run_commands(home.environment, f"account password {EMAIL} --password {password}")
        run_commands(home.environment, f"account create {OPERATOR} --password {password} --operator")
        run_commands(home.environment, "incident open Slow Checking")
        url = home.stores.database_url
        say(f"Writing {keys:,} keys of {MEMBERS} members, {rows:,} requests of a month and {customers:,} customers")
        first = add_keys(url, keys)
        places = {"key": str(first + 1), "request": add_month(url, rows, first, keys), "payment": add_payment(url)}
        places["plan"] = add_plan(url)
        add_refusals(url, first, keys)
        add_members(url, MEMBERS, first, keys)
        add_customers(url, customers)
        places |= find_operators_places(url)
        with running_gateway(home, config="bench.counting") as gateway:
            wait_until_rolled_up(url)
            visits = QUICK_VISITS if arguments.quick else VISITS
            table, failures = _visit_all(gateway, password, places, rounds, visits)
    print(f"\nPages; {keys:,} keys, {rows:,} requests, {customers:,} customers.\n\n{draw_table(table)}")
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
        "playground": "/dashboard/playground",
        "a payment": f"/dashboard/billing/payments/{places['payment']}",
        "a statement": f"/dashboard/billing/statement/{now_utc():%Y-%m}",
        "settings": "/dashboard/settings",
        "  security": "/dashboard/settings/security",
        "  second factor": "/dashboard/settings/two-factor",
        "  notifications": "/dashboard/settings/notices",
        "  data": "/dashboard/settings/data",
        "team": "/dashboard/team",
        "  its log": "/dashboard/team/log",
        "  of a person": "/dashboard/team/log?by=operator&kind=money",
        "a new account": "/dashboard/accounts/new",
        "models, signed in": "/models",
        "  by price": "/models?sort=output",
        "a model, signed in": "/models/gpt-4o",
        "status": "/status",
        "docs, signed in": "/docs",
        "  models": "/docs/models",
        "  search": "/docs/search?q=idempotency+key",
    }


def list_operator_pages(places: dict[str, str]) -> dict[str, str]:
    """Every page of an operator, by its name. `places` also has the ids of a customer, a model, a plan and an incident,
    and the name of a channel."""
    customer, channel, model = f"/admin/customers/{places['account']}", places["channel"], places["model"]
    return {
        "operator: home": "/admin/",
        "  of 30 days": "/admin/?period=30",
        "  setup": "/admin/setup",
        "  connect": "/admin/setup/connect",
        "  requests": "/admin/requests",
        "  of seven days": "/admin/requests?period=7",
        "  failed, of one tag": "/admin/requests?period=7&status=failed&tag=env%3Dprod",
        "  the live tail": "/admin/requests/rows",
        "  a request": f"/admin/requests/{places['request']}",
        "  channels": "/admin/channels",
        "  a channel": f"/admin/channels/{channel}",
        "  a channel's form": f"/admin/channels/{channel}/edit",
        "  a new channel": "/admin/channels/new",
        "  models": "/admin/models",
        "  a model": f"/admin/models/one?id={model}",
        "  a new model": "/admin/models/new",
        "  prices in bulk": "/admin/models/bulk",
        "  list prices": "/admin/prices",
        "  customers": "/admin/customers",
        "  customers searched": "/admin/customers?q=bench",
        "  customers by balance": "/admin/customers?sort=balance",
        "  customers by spend": "/admin/customers?sort=spend",
        "  customers by use": "/admin/customers?sort=used",
        "  add customer": "/admin/customers/new",
        "  a customer": customer,
        "  a customer's keys": f"{customer}/keys",
        "  a customer's money": f"{customer}/money",
        "  a customer's terms": f"{customer}/terms",
        "  a customer's members": f"{customer}/members",
        "  payments": "/admin/payments",
        "  a payment in review": f"/admin/payments/{places['payment']}",
        "  usage and margin": "/admin/usage",
        "  codes": "/admin/codes",
        "  plans": "/admin/plans",
        "  a plan": f"/admin/plans/{places['plan']}",
        "  approvals": "/admin/approvals",
        "  drill": "/admin/drill",
        "  incidents": "/admin/incidents",
        "  an incident": f"/admin/incidents/{places['incident']}",
        "  a new incident": "/admin/incidents/new",
        "  audit log": "/admin/audit",
        "  operators": "/admin/operators",
        "  system": "/admin/system",
    }


def find_operators_places(database_url: str) -> dict[str, str]:
    """The first account, a channel, which has answered, so that home has figures and not the setup, a model and an
    incident."""
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE channels SET last_answer_at = now()")
        account = connection.execute("SELECT min(id) FROM accounts").fetchone()
        channel = connection.execute("SELECT name FROM channels ORDER BY id LIMIT 1").fetchone()
        model = connection.execute("SELECT id FROM models ORDER BY id LIMIT 1").fetchone()
        incident = connection.execute("SELECT min(id) FROM incidents").fetchone()
    assert account
    assert channel
    assert model
    assert incident
    return {"account": str(account[0]), "channel": channel[0], "model": model[0], "incident": str(incident[0])}


def _visit_all(
    gateway: Gateway, password: str, places: dict[str, str], rounds: int, visits: int
) -> tuple[list[Row], list[str]]:
    """CPU and statements of each page, and what was answered otherwise than by a page."""
    table: list[Row] = []
    failures: list[str] = []
    visitor, pages = Visitor(gateway.server.port), [*list_pages(places).items()]
    of_customers = len(pages)
    for place, (name, path) in enumerate([*pages, *list_operator_pages(places).items()]):
        if place in (0, of_customers):  # not before: a connection that nobody uses for a while is closed
            visitor = Visitor(gateway.server.port)
            visitor.enter(password, OPERATOR if place else EMAIL)
        say(f"Pages: {name.strip()}")
        cpu, statements = {}, 0
        for number in range(1, rounds + 1):
            costs = []
            for visit in range(visits + 1):  # the first one fills caches
                if visit == 0:
                    let_settle(gateway.server)
                before = cpu_nanos(gateway.server.pid)
                status, _, statements = visitor.ask("GET", path)
                costs.append((cpu_nanos(gateway.server.pid) - before) / 1e6)
                if status not in (200, 202):
                    failures.append(f"{name.strip()} answers {status}.")
            cpu[number] = sorted(costs[1:])[visits // 2]
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
