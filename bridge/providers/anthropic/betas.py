"""Anthropic's trials that a client may ask for by `anthropic-beta`: those in bridge/data/anthropic_betas.toml."""

import re
import tomllib
from pathlib import Path

from bridge.json_types import JsonObject

HEADER = "anthropic-beta"
_FILE = Path(__file__).parents[2] / "data" / "anthropic_betas.toml"
_DATED = re.compile(r"([a-z0-9-]{1,48}?)-(20\d{6}|20\d\d-\d\d-\d\d)", re.ASCII)


def _read_file() -> tuple[frozenset[str], dict[str, int]]:
    listed: JsonObject = tomllib.loads(_FILE.read_text())
    return frozenset(listed["passes"]), listed["windows"]


KNOWN, WINDOWS = _read_file()


def pick_betas(asked: tuple[str, ...], context_tokens: int) -> list[str]:
    """Those that go on to a model with this window. Nothing is said of the others: clients send them to everybody."""
    return [beta for beta in dict.fromkeys(asked) if _passes(beta, context_tokens)]


def _passes(beta: str, context_tokens: int) -> bool:
    found = _DATED.fullmatch(beta)
    if found is None:
        return False
    name = found.group(1)
    return name in KNOWN or 0 < WINDOWS.get(name, 0) <= context_tokens
