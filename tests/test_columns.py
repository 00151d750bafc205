"""Nothing is stored in vain: the product writes and reads each column and reads each setting; an environment variable
is read where the docs name it, and named where it is read."""

import ast
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import sqlalchemy as sa
from jinja2 import nodes

import bridge.ops.worker  # noqa: F401 - it knows every table
from bridge.accounts.key_terms import KeyTerms
from bridge.catalogue.rates import PRICE_CLASSES
from bridge.catalogue.seed import SeedModel
from bridge.config import Settings
from bridge.db import Table
from bridge.payments.approvals import Wish
from bridge.providers import COMPANIES

ROOT = Path(__file__).parents[1]
TABLES = {mapper.class_.__name__: mapper.class_ for mapper in Table.registry.mappers}
CAPITAL = re.compile(r"[A-Z]\w*[a-z]\w*")
# what templates call a row, where that isn't the last word of its class
ROWS = {"MemberSession": "row", "Decision": "one", "AutoTopUp": "rule", "Member": "current_user", "Account": "customer"}
CARRIERS = {
    "Approval": Wish,
    "Model": SeedModel,
    "Key": KeyTerms,
}  # values of which a row is made whole, field by field, and that come as data
MADE_OF = {"UsageRecord": "Settlement"}  # the same, where the product itself has to fill in each field
# written in a way that can't be seen here
# Dropped by the release after 0034: workers of the version before it read them, and run on for a moment after it.
LEAVING = {("Key", "budget_nanos"), ("Key", "budget_period"), ("Hold", "budget_start"), ("Member", "is_unconfirmed")}
WRITTEN = {
    ("Price", "input_nanos_per_mtok"): "price_rows.py: for each class of PRICE_CLASSES",
    ("Price", "cached_nanos_per_mtok"): "the same",
    ("Price", "cache_write_nanos_per_mtok"): "the same",
    ("Price", "cache_write_hour_nanos_per_mtok"): "the same",
    ("Price", "output_nanos_per_mtok"): "the same",
    **{
        ("UsageRecord", f"{name}_nanos_per_mtok"): "price_snapshot.py: for each class of PRICE_CLASSES"
        for name in PRICE_CLASSES
    },
    ("UsageRecord", "pricing"): "the same file",
    ("LabelRollup", "kind"): "label_rollups.py: as one of LABEL_DIMENSIONS",
    **{
        ("Refusal", name): "refusals.py: as one of _PLACE or _LAST"
        for name in ("start", "model_id", "last_at", "last_message", "last_model", "last_request_id")
    },
    ("RollupProgress", "labels_number"): "rollups.py: follow_rollups, for the column that it is given",
    ("UsageRecord", "balance_after_nanos"): "the commit itself works it out: sqlite.py, and PostgreSQL's function",
}
READ = {
    ("Installation", "id"): "by its constraint: there is one row",
    ("Mail", "created_at"): "by people, in the database: how long a mail took",
}


@functools.cache
def parse(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text())))


@functools.cache
def list_files() -> tuple[Path, ...]:
    paths = [*(ROOT / "bridge").rglob("*.py"), ROOT / "app.py", ROOT / "wsgi.py"]
    return tuple(sorted(path for path in paths if not path.name.endswith(("tables.py", "columns.py"))))


@functools.cache
def files_about(table: type) -> tuple[Path, ...]:
    """The files of a table's room, and those that import something from there."""
    room = ".".join(table.__module__.split(".")[:2])
    folder = ROOT / room.replace(".", "/")
    return tuple(
        path
        for path in list_files()
        if folder in (*path.parents, path.with_suffix("")) or any(room in name for name in imports_of(path))
    )


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    found = [node for node in parse(path) if isinstance(node, ast.ImportFrom)]
    return frozenset(f"{node.module}.{alias.name}" for node in found for alias in node.names)


def word_of(table: type) -> str:
    """The usual name of a row: the last word of its class."""
    return re.findall(r"[A-Z][a-z]+", table.__name__)[-1].lower()


def is_of(owner: ast.expr, table: type) -> bool:
    """Whether an attribute may be this table's: it isn't if its owner is named like another table, or its rows."""
    name = ast.unparse(owner)
    if name in TABLES:
        return name == table.__name__
    return name == word_of(table) or name not in map(word_of, TABLES.values())


def writes(node: ast.AST, table: type, column: str) -> bool:
    """Whether something of that name is given a value: an attribute, a field of a statement, a key of a dict."""
    if isinstance(node, ast.Attribute):
        return node.attr == column and isinstance(node.ctx, ast.Store) and is_of(node.value, table)
    if isinstance(node, ast.Dict):
        return any(isinstance(key, ast.Constant) and key.value == column for key in node.keys)
    if isinstance(node, ast.Call) and any(keyword.arg == column for keyword in node.keywords):
        made = ast.unparse(node.func).rpartition(".")[2]
        ours = (table.__name__, MADE_OF.get(table.__name__))
        return made in ours or not CAPITAL.fullmatch(made)  # no field of another class
    return is_in_sql(node, column, "INSERT|UPDATE")


def reads(node: ast.AST, table: type, column: str) -> bool:
    """Whether an attribute of that name is looked at, or named to be."""
    if isinstance(node, ast.Attribute):
        return node.attr == column and isinstance(node.ctx, ast.Load) and is_of(node.value, table)
    if isinstance(node, ast.Constant) and node.value == column:
        return True
    return is_in_sql(node, column, "SELECT|WHERE|RETURNING")


def is_in_sql(node: ast.AST, column: str, verbs: str) -> bool:
    text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
    return bool(re.search(rf"\b({verbs})\b", text) and re.search(rf"\b{column}\b", text))


@functools.cache
def attributes_in_templates() -> frozenset[tuple[str, str]]:
    """What templates look at: the name before the dot, and the one behind it."""
    environment = jinja2.Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
    found = set()
    for path in (ROOT / "templates").rglob("*.html"):
        for node in environment.parse(path.read_text()).find_all(nodes.Getattr):
            found.add((getattr(node.node, "name", getattr(node.node, "attr", "")), node.attr))
    return frozenset(found)


def is_found(test: Callable[[ast.AST, type, str], bool], table: type, column: str) -> bool:
    return any(test(node, table, column) for path in files_about(table) for node in parse(path))


def is_written(table: type, column: sa.Column[Any]) -> bool:
    by_itself = (column.primary_key and isinstance(column.type, sa.Integer)) or getattr(
        column.default, "is_callable", False
    )
    carried = column.name in getattr(CARRIERS.get(table.__name__), "__annotations__", ())
    return bool(by_itself) or column.server_default is not None or carried or is_found(writes, table, column.name)


def is_read(table: type, column: sa.Column[Any]) -> bool:
    shown = {(row, column.name) for row in (word_of(table), ROWS.get(table.__name__))} & attributes_in_templates()
    return bool(shown) or is_found(reads, table, column.name)


def columns() -> Iterator[tuple[type, sa.Column[Any]]]:
    for table in TABLES.values():
        for column in table.__table__.columns:
            if (table.__name__, column.name) not in LEAVING:
                yield table, column


def test_what_leaves_is_in_the_database_and_no_longer_in_the_product():
    unmapped = {
        (name, column.name)
        for name, table in TABLES.items()
        for column in table.__table__.columns
        if column.name not in sa.inspect(table).column_attrs
    }
    assert unmapped == LEAVING


def test_every_column_is_written_by_the_product():
    unwritten = {(table.__name__, column.name) for table, column in columns() if not is_written(table, column)}
    assert unwritten == set(WRITTEN)


def test_every_column_is_read_by_the_product():
    unread = {(table.__name__, column.name) for table, column in columns() if not is_read(table, column)}
    assert unread == set(READ)


SETTINGS = re.compile(r"(settings|chosen|gateway|_settings\(\)|\['BRIDGE'\])$")  # what the product calls them


def list_reads_of_settings() -> set[str]:
    """Fields and properties of Settings that are read outside of it, and those that they read in turn."""
    found = {attr for name, attr in attributes_in_templates() if name == "settings"}
    for path in list_files():
        for node in parse(path):
            if isinstance(node, ast.Attribute) and SETTINGS.search(ast.unparse(node.value)):
                found.add(node.attr)
    own = next(
        node
        for node in parse(ROOT / "bridge" / "config.py")
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    inside = {
        method.name: {
            node.attr
            for node in ast.walk(method)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
        }
        for method in own.body
        if isinstance(method, ast.FunctionDef) and "problems" not in method.name
    }
    asked = set(found)
    while asked:
        asked = set().union(*(inside.get(name, set()) for name in asked)) - found
        found |= asked
    return found


def test_every_setting_is_read_by_the_product():
    names = {field.name for field in dataclasses.fields(Settings)}
    names |= {name for name, value in vars(Settings).items() if isinstance(value, property)}
    assert not names - list_reads_of_settings()


PAPERS = [ROOT / "README.md", ROOT / ".env.example", ROOT / "app.json", *sorted((ROOT / "docs").rglob("*.md"))]
# no setting of ours: a library's, set here; what an operator's command names
NOT_ASKED_FOR = {"TIKTOKEN_CACHE_DIR"}
NO_VARIABLES = {"YOUR_API_KEY"}  # in the papers: an example's placeholder
# in the papers, and read by the agents that come in
OF_AGENTS = {
    *("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
    *("CLAUDE_CODE_SUBAGENT_MODEL", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"),
}


def list_variables(paths: Iterable[Path]) -> set[str]:
    """The variables of the environment, beside the settings, that these programs, scripts and Makefile look at."""
    found = set()
    for path in paths:
        if path.suffix != ".py":
            pairs = re.findall(r"\$\{([A-Z_]+):-|^([A-Z_]+) \?=", path.read_text(), re.MULTILINE)
            found |= {one or other for one, other in pairs}
            continue
        for node in parse(path):
            if isinstance(node, ast.Call) and re.fullmatch(r"os\.(environ\.\w+|getenv)", ast.unparse(node.func)):
                found |= {word.value for word in node.args[:1] if isinstance(word, ast.Constant)}
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "os.environ":
                found |= {node.slice.value} if isinstance(node.slice, ast.Constant) else set()
    return found - NOT_ASKED_FOR


def list_named_variables() -> set[str]:
    """The variables that the docs name: a word in capitals, alone in a code span or before an equals sign."""
    text = "\n".join(path.read_text() for path in PAPERS)
    spans = re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]+)`", text)
    return {*spans, *re.findall(r"\b([A-Z][A-Z0-9]*_[A-Z0-9_]+)=", text)} - NO_VARIABLES - OF_AGENTS


def list_settings() -> set[str]:
    providers = {f"{name.upper()}_{what}" for name in COMPANIES for what in ("API_KEY", "BASE_URL")}
    return {field.name.upper() for field in dataclasses.fields(Settings)} | providers


def test_every_variable_that_is_read_is_in_the_papers_and_the_other_way_round():
    scripts = [path for path in (ROOT / "scripts").iterdir() if path.suffix in (".py", ".sh")]
    ours = list_variables([*list_files(), *scripts, ROOT / "Makefile", ROOT / "tests" / "services.py"])
    inner = list_variables((ROOT / "tests").rglob("*.py"))  # most are between a test and what it starts
    named = "\n".join(path.read_text() for path in PAPERS)
    assert {name for name in ours if not re.search(rf"\b{name}\b", named)} == set()
    assert list_named_variables() - list_settings() - ours - inner == set()
