"""Promises that no single test owns: floors, guards, documented settings, numbered migrations, files that say why."""

import ast
import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from bridge.config import Settings
from tests.factories import Factories
from tests.rooms import close_rooms, make_settings
from tests.services import Databases

ROOT = Path(__file__).parents[1]
GROUND = {
    "addresses",
    "api_paths",
    "batcher",
    "body_time",
    "chart",
    "config",
    "counters",
    "daily",
    "database_url",
    "db",
    "errors",
    "extensions",
    "forms",
    "headers",
    "money",
    "postgres_connection",
    "settings_rules",
    "spreadsheet",
    "telemetry",
    "vault",
    "versions",
}
FLOORS = (
    GROUND,
    {"mail", "providers"},
    {"accounts", "catalogue", "ledger", "limits", "payments", "reasoning"},
    {"admin", "dashboard", "ops", "v1", "webhooks"},
)
FIRST_FLOOR_MAY_USE = {"errors", "telemetry"}
# the ledger names whose money differs; a payment and its entry are one transaction; a worker keeps what /v1's requests
# share, and `make run` starts the app; an operator's page and command send the same drill
NEIGHBOURS = {("ledger", "accounts"), ("payments", "ledger"), ("ops", "v1"), ("admin", "ops")}
ENTRANCES = {"ops/setup.py": "wsgi"}
MACHINE = re.compile(r"/(?:home|root|work)/\w|\b(?:pypi|npmjs)\.org\b|/opt/")
TEXT = {
    ".py",
    ".html",
    ".css",
    ".js",
    ".md",
    ".toml",
    ".txt",
    ".in",
    ".sh",
    ".json",
    ".yml",
    ".ini",
    ".mako",
    ".example",
    "",
}
NOT_OURS = ("static/vendor/", "bridge/data/", "tests/test_house.py", "requirements")


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def committed_files() -> list[str]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def imports(path: Path) -> Iterator[str]:
    """Whatever a file imports, also inside a function, each with its full name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "bridge").parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def is_allowed(room: str, used: str) -> bool:
    if room == used or (room, used) in NEIGHBOURS:
        return True
    if room == "providers":
        return used in FIRST_FLOOR_MAY_USE
    return floor_of(used) < floor_of(room) or floor_of(room) == floor_of(used) == 0


def test_floors_import_downwards():
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("bridge")
        for name in imports(path)
        if name.startswith("bridge.") and not is_allowed(room_of(path), name.split(".")[1])
    }
    assert not wrong


def test_only_the_entrance_knows_the_roof():
    wrong = set()
    for path in [*python_files("bridge"), *python_files("bench"), *python_files("migrations")]:
        allowed = ENTRANCES.get("/".join(path.parts[len(ROOT.parts) + 1 :]))
        wrong |= {str(path) for name in imports(path) if name.split(".")[0] in {"app", "wsgi"} - {allowed}}
    assert not wrong


@pytest.fixture
def open_doors(databases: Databases, tmp_path: Path) -> Iterator[Flask]:
    """The whole app; forms need no token here, for a guard must not lean on that."""
    app = create_app(make_settings(tmp_path, database_url=databases.open("sqlite")))
    app.config["WTF_CSRF_ENABLED"] = False
    yield app
    close_rooms(app)


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    """Method, path and endpoint of every view, with something in place of what varies."""
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, re.sub(r"<(\w+:)?\w+>", "1", rule.rule), rule.endpoint


def is_open(app: Flask, endpoint: str) -> bool:
    return endpoint == "static" or getattr(app.view_functions[endpoint], "anyone_may_enter", False)


def test_every_page_has_a_guard(open_doors: Flask):
    client = open_doors.test_client()
    guarded = [route for route in routes(open_doors) if not is_open(open_doors, route[2])]
    assert guarded
    for method, path, _endpoint in guarded:
        answer = client.open(path, method=method)
        assert answer.status_code == 302, (method, path)
        assert answer.location.startswith("/sign-in"), (method, path)


def test_operators_rooms_are_closed_to_customers(open_doors: Flask):
    client, account = open_doors.test_client(), Factories(open_doors).make_account()
    client.post("/sign-in", data={"email": account.email, "password": account.password})
    rooms = [route for route in routes(open_doors) if route[1].startswith("/admin")]
    assert rooms
    for method, path, _endpoint in rooms:
        assert client.open(path, method=method).status_code in (403, 404), (method, path)


def test_every_endpoint_of_the_api_needs_a_key(open_doors: Flask):
    api: Flask = open_doors.extensions["bridge_api"]
    client = open_doors.test_client()
    guarded = [route for route in routes(api) if route[1] != "/openapi.json"]
    assert guarded
    for method, path, _endpoint in guarded:
        answer = client.open(path, method=method)
        assert (answer.status_code, answer.json["error"]["code"]) == (401, "invalid_api_key"), (method, path)


def test_every_setting_is_in_the_readme():
    section = (ROOT / "README.md").read_text().partition("## Configuration")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `([A-Z0-9_]+)`", section, re.MULTILINE)
    assert sorted(documented) == sorted(field.name.upper() for field in dataclasses.fields(Settings))


def test_migrations_are_numbered_without_gaps():
    names = sorted(path.name for path in (ROOT / "migrations" / "versions").glob("*.py"))
    assert [name[:5] for name in names] == [f"{number:04d}_" for number in range(1, len(names) + 1)]


def test_every_file_says_what_it_is_for():
    silent = {
        str(path.relative_to(ROOT))
        for folder in ("bridge", "tests", "bench", "migrations")
        for path in python_files(folder)
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    }
    assert not silent


def test_no_file_knows_the_machine_it_was_written_on():
    found = set()
    for name in committed_files():
        path = ROOT / name
        if path.suffix not in TEXT or name.startswith(NOT_OURS) or not path.is_file():
            continue
        found |= {f"{name}: {match[0]}" for match in MACHINE.finditer(path.read_text())}
    assert not found
