"""Recorded exchanges with real providers, in the folder that RECORDINGS_DIR names: one JSON file each.

Their form: `id`, `provider`, `api`, `request` (`url_path`, `json`), `response` (`status`, `headers`, `body_text`)."""

import functools
import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = os.environ.get("RECORDINGS_DIR", "")
needs_recordings = pytest.mark.skipif(not FOLDER, reason="RECORDINGS_DIR is not set")


@functools.cache
def list_recordings(provider: str, *apis: str) -> tuple[dict[str, Any], ...]:
    """Those of a provider and of these APIs, in the order of their ids; none without the folder."""
    if not FOLDER:
        return ()
    found = [json.loads(path.read_text()) for path in sorted((Path(FOLDER) / provider).glob("*.json"))]
    return tuple(each for each in found if each["api"] in apis)


def list_all() -> tuple[dict[str, Any], ...]:
    """Every exchange of every provider; none without the folder."""
    found = sorted(Path(FOLDER).glob("*/*.json")) if FOLDER else ()
    return tuple(json.loads(path.read_text()) for path in found)
