"""The columns of a usage row, in one list from which SQLite's statement and the lists in `commit.sql` are made.

`python -m bridge.ledger.columns` rewrites the lists in `commit.sql` after a field was added to `Settlement` or
`HoldOrder`. See docs/decisions/one-source-for-the-commit.md for what else a new field needs."""

import datetime
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import msgspec

from bridge.ledger.batch import BudgetWindow, HoldOrder, Settlement

COMMIT_SQL = Path(__file__).with_name("commit.sql")
# The commit takes these columns from the hold or computes them; they are not in a settlement.
WORKED_OUT = (
    *("account_id", "key_id", "hold_nanos", "charge_nanos", "loss_nanos", "settled_at", "balance_after_nanos"),
)
# The price becomes charge and loss. Every other field of a settlement is a column of the same name.
SETTLED = tuple(name for name in Settlement.__struct_fields__ if name != "price_nanos")
USAGE_COLUMNS = (*WORKED_OUT, *SETTLED)
# What PostgreSQL writes for a field that a worker of an older version doesn't send: such workers run until a deploy has
# replaced them. A nullable field needs no line here.
WHEN_ABSENT = {
    "cache_write_tokens": "0",
    "cache_write_hour_tokens": "0",
    "cache_write_nanos_per_mtok": "input_nanos_per_mtok",
    "cache_write_hour_nanos_per_mtok": "input_nanos_per_mtok",
    "cost_nanos": "price_nanos",
    "uncharged_tokens": "0",
    "uncharged_nanos": "0",
}
SQL_TYPES: dict[Any, str] = {
    bool: "boolean",
    int: "bigint",
    float: "double precision",
    str: "text",
    datetime.datetime: "timestamptz",
    tuple[BudgetWindow, ...]: "jsonb",
}
LINE_LENGTH = 120
_LIST = re.compile(r"^( *)-- list: (\w+)\n.*?^ *-- end of list$", re.MULTILINE | re.DOTALL)


def write_lists(text: str) -> str:
    """The text of `commit.sql` with its lists made from the current fields."""
    lists = {
        "settlement": _declare(Settlement),
        "hold": _declare(HoldOrder),
        "columns": USAGE_COLUMNS,
        "values": tuple(_value_of(name) for name in SETTLED),
    }
    return _LIST.sub(lambda found: _format(found[1], found[2], lists[found[2]]), text)


def type_of(kind: object) -> tuple[type, bool]:
    """A field's type, and whether it may be None."""
    (inner,) = (each for each in get_args(kind) or (kind,) if each is not NoneType)
    return inner, NoneType in get_args(kind)


def _declare(order: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of an order as `jsonb_to_recordset` reads them from its JSON."""
    return tuple(f"{field.name} {SQL_TYPES[type_of(field.type)[0]]}" for field in msgspec.structs.fields(order))


def _value_of(name: str) -> str:
    return f"coalesce({name}, {WHEN_ABSENT[name]})" if name in WHEN_ABSENT else name


def _format(indent: str, name: str, items: Iterable[str]) -> str:
    unbroken = ", ".join(item.replace(" ", "\xa0") for item in items)
    lines = textwrap.wrap(unbroken, LINE_LENGTH - len(indent), break_long_words=False, break_on_hyphens=False)
    whole = "\n".join([f"-- list: {name}", *lines, "-- end of list"]).replace("\xa0", " ")
    return textwrap.indent(whole, indent)


if __name__ == "__main__":
    COMMIT_SQL.write_text(write_lists(COMMIT_SQL.read_text()))
