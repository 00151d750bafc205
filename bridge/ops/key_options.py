"""The command options for a key's terms: one for each field of KeyTerms."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from bridge.accounts.key_rules import BUDGET_PERIODS
from bridge.accounts.key_terms import TERMS, KeyTerms, Kind, Term
from bridge.ops.command_line import read_dollars, read_list, read_moment

SHAPES: dict[Kind, dict[str, Any]] = {
    "name": {"default": "Untitled"},
    "count": {"type": click.IntRange(0)},
    "period": {"type": click.Choice(BUDGET_PERIODS), "default": "day"},
}


def key_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each term to the command; `read_key_terms` turns their values into terms."""
    for term in reversed(TERMS):
        shape = SHAPES.get(term.kind, {})
        command = click.option(term.option, term.field, help=term.option_help or None, **shape)(command)
    return command


def read_key_terms(given: Mapping[str, Any]) -> KeyTerms:
    """The terms from the options' values. Raises InvalidRequest naming the option that can't be read."""
    return KeyTerms(**{term.field: _read(term, given[term.field]) for term in TERMS})


def _read(term: Term, value: Any) -> Any:
    if value is None:
        return None
    if term.kind == "dollars":
        return read_dollars(value, term.form_name)
    if term.kind == "moment":
        return read_moment(value, term.option.removeprefix("--"))
    return read_list(value) if term.kind in ("models", "networks") else value
