"""Promises that no single test owns: floors, documented settings, numbered migrations, files that say why."""

import ast
import dataclasses
import functools
import graphlib
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bridge.config import Settings
from bridge.providers import PROVIDERS

ROOT = Path(__file__).parents[1]
GROUND = {
    "acts",
    "addresses",
    "api_paths",
    "batcher",
    "body_time",
    "chart",
    "line_chart",
    "conceal",
    "config",
    "cookies",
    "counters",
    "daily",
    "database_url",
    "dates",
    "db",
    "errors",
    "extensions",
    "forms",
    "headers",
    "json_types",
    "languages",
    "metrics",
    "money",
    "multipart",
    "odd_values",
    "postgres_connection",
    "settings_problems",
    "settings_rules",
    "shared_redis",
    "spreadsheet",
    "sqlite_connection",
    "telemetry",
    "turns",
    "vault",
    "versions",
    "viewing",
}
ROOMS = {"accounts", "catalogue", "ledger", "limits", "payments", "reasoning", "resume"}
FLOORS = (
    GROUND,
    {"conversation", "dialects", "mail", "providers"},
    ROOMS,
    {"inference"},
    {"admin", "dashboard", "ops", "v1", "webhooks"},
)
FIRST_FLOOR_MAY_USE = {
    "conversation": {"errors", "json_types"},
    "dialects": {"errors", "json_types", "telemetry", "vault", "conversation", "multipart"},
    "providers": {"errors", "json_types", "telemetry", "conversation", "multipart"},
}
# whom a room of the second floor may ask beside it, and what for
NEIGHBOURS = {
    ("accounts", "catalogue"): "a key names models",
    ("ledger", "accounts"): "an account is opened with its balance; its owners are told of it",
    ("ledger", "catalogue"): "a receipt names the classes of its price, and an operator's what they cost",
    ("limits", "accounts"): "a caller has limits",
    ("limits", "catalogue"): "so has a channel",
    ("payments", "accounts"): "a suspended account pays nothing, and owners are told",
    ("payments", "ledger"): "a payment and its entry are one transaction",
}
ENTRANCES = {"ops/setup.py": "wsgi"}
SQL_TABLE = re.compile(r'\b(?:FROM|INTO|UPDATE|JOIN|TABLE)\s+"?(\w+)')  # in capitals, for prose says "from" too
MACHINE = re.compile(r"/(?:home|root|work)/\w|\b(?:pypi|npmjs)\.org\b|/opt/")
TEXT = {
    ".py",
    ".html",
    ".css",
    ".js",
    ".sql",
    ".lua",
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


@functools.cache
def parse(path: Path) -> ast.Module:
    """Each file once: nearly every test here looks at all of them."""
    return ast.parse(path.read_text())


def python_files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def committed_files() -> list[str]:
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def imports(path: Path) -> Iterator[str]:
    """The full names of a file's imports, also those inside functions."""
    for node in ast.walk(parse(path)):
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
    if room in FIRST_FLOOR_MAY_USE:
        return used in FIRST_FLOOR_MAY_USE[room]
    return floor_of(used) < floor_of(room) or floor_of(room) == floor_of(used) == 0


def test_floors_import_downwards():
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("bridge")
        for name in imports(path)
        if name.startswith("bridge.") and not is_allowed(room_of(path), name.split(".")[1])
    }
    assert not wrong


def test_what_works_in_every_dialect_knows_none():
    """A client's dialect is read and written at its door: between that and the provider there are plain values."""
    rooms = {"conversation", "inference", "limits", "providers", "reasoning"}
    wrong = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("bridge")
        for name in imports(path)
        if room_of(path) in rooms and name.startswith("bridge.dialects")
    }
    assert not wrong


def test_neighbours_are_asked_one_way_alone_and_none_in_vain():
    """The arrows between rooms of the second floor are those in the list, and form no circle."""
    arrows = {
        (room_of(path), name.split(".")[1])
        for path in python_files("bridge")
        for name in imports(path)
        if room_of(path) in ROOMS and name.startswith("bridge.") and name.split(".")[1] in ROOMS
    }
    assert {arrow for arrow in arrows if arrow[0] != arrow[1]} == set(NEIGHBOURS)
    below: dict[str, set[str]] = {}
    for room, used in NEIGHBOURS:
        below.setdefault(room, set()).add(used)
    graphlib.TopologicalSorter(below).prepare()  # raises CycleError


def owners_of_tables() -> dict[str, str]:
    """Table -> the room that declares it."""
    return {
        match: room_of(path)
        for path in python_files("bridge")
        for match in re.findall(r'^ +__tablename__ = "(\w+)"$', path.read_text(), re.MULTILINE)
    }


def strings_of(path: Path) -> Iterator[str]:
    """The strings of a Python file, each piece of an f-string by itself; any other file is one string, in capitals."""
    if path.suffix != ".py":
        yield path.read_text().upper()
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def name_foreign_tables(texts: Iterable[str], room: str, owners: dict[str, str]) -> set[str]:
    """The tables of other rooms that SQL in these strings names."""
    named = {name.lower() for text in texts for name in SQL_TABLE.findall(text)}
    return {name for name in named if owners.get(name, room) != room}


def declares_again(path: Path) -> Iterator[str]:
    """`sa.table("accounts")` and `metadata.tables["accounts"]`, which name a table without its class."""
    for node in ast.walk(parse(path)):
        is_made = isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("table", "Table")
        is_found = isinstance(node, ast.Attribute) and node.attr == "tables" and "metadata" in ast.unparse(node.value)
        if is_made or is_found:
            yield ast.unparse(node)


def test_no_room_names_another_rooms_table_in_a_string():
    """A room that needs a table imports its class, or asks the room that owns it, so that the floors' test sees it."""
    owners = owners_of_tables()
    assert {"accounts", "models", "balances", "payments", "versions"} <= set(owners)
    files = [*python_files("bridge"), *sorted((ROOT / "bridge").rglob("*.sql"))]
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for name in name_foreign_tables(strings_of(path), room_of(path), owners)
    }
    wrong |= {f"{path.relative_to(ROOT)}: {text}" for path in python_files("bridge") for text in declares_again(path)}
    assert not wrong


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT status FROM accounts WHERE id = 1",
        "INSERT INTO accounts (name) VALUES ('x')",
        "UPDATE accounts SET status = 'active'",
        'DELETE FROM "accounts"',
        "SELECT 1 FROM holds h JOIN accounts a ON a.id = h.account_id",
    ],
)
def test_a_table_named_in_sql_is_found(sql: str):
    owners = {"accounts": "accounts", "holds": "ledger"}
    assert name_foreign_tables([sql], "ledger", owners) == {"accounts"}
    assert name_foreign_tables([sql], "accounts", {"accounts": "accounts"}) == set()


def members_of(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> set[str]:
    """The names that a class's objects have: its own, and those of its bases that are ours."""
    names = {
        each.target.id if isinstance(each, ast.AnnAssign) else each.name
        for each in node.body
        if isinstance(each, ast.FunctionDef) or (isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name))
    }
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self":
            names.add(each.attr)
    for base in node.bases:
        if (known := classes.get(ast.unparse(base))) is not None and known is not node:
            names |= members_of(known, classes)
    return names


def test_no_protocol_stands_in_for_an_import():
    """A room's Protocol is for several shapes. If only one class of another room has this shape, the Protocol just
    hides the arrow to that room."""
    found = [
        (room_of(path), node)
        for path in python_files("bridge")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef)
    ]
    classes = {node.name: node for _room, node in found}
    protocols = [each for each in found if any("Protocol" in ast.unparse(base) for base in each[1].bases)]
    assert protocols
    hidden = set()
    for room, protocol in protocols:
        wanted = members_of(protocol, classes)
        shapes = [each for each in found if each not in protocols and wanted <= members_of(each[1], classes)]
        if room in ROOMS and len(shapes) == 1 and shapes[0][0] != room:
            hidden.add(f"{room}: {protocol.name} is {shapes[0][1].name} of {shapes[0][0]}")
    assert not hidden


def test_only_the_entrance_knows_the_roof():
    wrong = set()
    for path in [*python_files("bridge"), *python_files("bench"), *python_files("migrations")]:
        allowed = ENTRANCES.get("/".join(path.parts[len(ROOT.parts) + 1 :]))
        wrong |= {str(path) for name in imports(path) if name.split(".")[0] in {"app", "wsgi"} - {allowed}}
    assert not wrong


def names_of_providers(path: Path) -> Iterator[str]:
    """Every string of a file that is a provider's name, or its model for a first try; examples are none."""
    names = {*PROVIDERS, *(one.trial_model for one in PROVIDERS.values())}
    tree = parse(path)
    examples = {
        id(word)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for given in call.keywords
        if given.arg == "examples"
        for word in ast.walk(given.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in examples:
            if node.value in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        elif isinstance(node, ast.Compare):  # a constant with a provider's name may be written, but not asked for
            sides = (node.left, *node.comparators)
            yield from (
                f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(side)}"
                for side in sides
                if isinstance(side, ast.Name) and side.id in ("SANDBOX", "COMMON_DIALECT")
            )


def test_what_is_true_of_one_provider_is_an_attribute_of_its_class():
    """Another provider is added without a look at the rooms: nothing outside `providers/` asks for one by its name."""
    rooms = [path for path in python_files("bridge") if room_of(path) not in ("providers", "data")]
    assert [found for path in rooms for found in names_of_providers(path)] == []
    pages = sorted((ROOT / "templates").rglob("*.html"))
    asked = re.compile(rf"""[=!]= *["'](?:{"|".join(PROVIDERS)})["']""")
    assert [str(path.relative_to(ROOT)) for path in pages if asked.search(path.read_text())] == []


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
        if path.read_text().strip() and not ast.get_docstring(parse(path))
    }
    silent |= {str(path) for path in (ROOT / "bridge").rglob("*.lua") if not path.read_text().startswith("-- ")}
    assert not silent


def test_no_file_knows_the_machine_it_was_written_on():
    found = set()
    for name in committed_files():
        path = ROOT / name
        if path.suffix not in TEXT or name.startswith(NOT_OURS) or not path.is_file():
            continue
        found |= {f"{name}: {match[0]}" for match in MACHINE.finditer(path.read_text())}
    assert not found


MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 60
MOST_ANY, MOST_BROAD = 8, 1  # in a thousand lines


def test_no_file_and_no_function_of_the_product_is_too_long_to_be_read_at_once():
    long = set()
    for path in python_files("bridge"):
        text = path.read_text()
        if text.count("\n") > MOST_LINES:
            long.add(str(path.relative_to(ROOT)))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                long.add(f"{path.relative_to(ROOT)}: {node.name}")
    assert not long


def test_nothing_is_global():
    """What requests change is in the database, the counters, or a snapshot that is swapped whole."""
    found = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files("bridge")
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Global)
    }
    assert not found


def test_papers_and_comments_name_only_files_that_there_are():
    files = set(committed_files())
    names = {name.rpartition("/")[2] for name in files}
    lost = set()
    for name in files:
        if not name.endswith((".md", ".py")) or name.startswith("migrations/") or name == "CHANGELOG.md":
            continue
        for found in re.findall(r"`([\w/]+\.(?:py|lua|sql|html|css|md))`", (ROOT / name).read_text()):
            places = (found, f"bridge/{found}", f"bridge/providers/{found}", f"tests/{found}")
            if found not in names and not files.intersection(places):
                lost.add(f"{name}: {found}")
    assert not lost


def test_few_values_have_no_type_and_few_handlers_take_whatever_comes():
    """`Any` is for libraries without types; JSON has names of its own (`bridge/json_types.py`)."""
    lines = [line for path in python_files("bridge") for line in path.read_text().splitlines()]
    code = [line for line in lines if not re.match(r"\s*(from|import) ", line)]
    untyped = sum(len(re.findall(r"\bAny\b", line)) for line in code)
    broad = sum(bool(re.search(r"\bexcept (Exception|BaseException)?\b ?(as \w+)?:", line)) for line in code)
    assert untyped * 1000 < MOST_ANY * len(lines)
    assert broad * 1000 < MOST_BROAD * len(lines)


def test_every_sdk_that_a_test_opens_is_closed_at_its_end():
    """One left open is collected during another test, which then fails for a socket that isn't its own."""
    opened = re.compile(r'^[^"\n]*\b(openai\.OpenAI|anthropic\.Anthropic)\(', re.MULTILINE)
    names = {str(path.relative_to(ROOT)) for path in python_files("tests") if opened.search(path.read_text())}
    # programs of tests/sdks run in processes of their own
    assert {name for name in names if not name.startswith("tests/sdks/")} <= {"tests/sdk.py"}
