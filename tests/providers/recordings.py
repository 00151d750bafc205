"""Exchanges with providers that our code is held against, one JSON file each.

Those in `fixtures/` are our own, written by hand after the shapes of recorded ones, and always there. Recorded ones are
used as well, where RECORDINGS_DIR names a folder of them.

Their form: `id`, `provider`, `api`, `request` (`url_path`, `json`), `response` (`status`, `headers`, `body_text`)."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

OWN_FOLDER = Path(__file__).parent / "fixtures"
FOLDER = os.environ.get("RECORDINGS_DIR", "")
FOLDERS = (OWN_FOLDER, Path(FOLDER)) if FOLDER else (OWN_FOLDER,)
# for what is true of the recorded ones alone: how many they are, and which
needs_recordings = pytest.mark.skipif(not FOLDER, reason="RECORDINGS_DIR is not set")

Exchanges = tuple[dict[str, Any], ...]


@functools.cache
def _read(folder: Path, pattern: str) -> Exchanges:
    return tuple(json.loads(path.read_text()) for path in sorted(folder.glob(pattern)))


def list_own() -> Exchanges:
    """Every exchange of our own."""
    return _read(OWN_FOLDER, "*/*.json")


def list_recorded() -> Exchanges:
    """Every recorded exchange of every provider; none without the folder."""
    return _read(Path(FOLDER), "*/*.json") if FOLDER else ()


def list_exchanges(provider: str, *apis: str) -> Exchanges:
    """Our own and the recorded ones of a provider and of these APIs, each in the order of their ids."""
    found = [each for folder in FOLDERS for each in _read(folder, f"{provider}/*.json")]
    return tuple(each for each in found if each["api"] in apis)
