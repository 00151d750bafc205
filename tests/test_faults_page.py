"""docs/faults.md names existing tests, and every one of the fault tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "faults.md").read_text()


def list_tests(path: Path) -> set[str]:
    return set(re.findall(r"^def (test_\w+)", path.read_text(), re.M))


def test_each_test_that_the_page_names_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    assert [f"{path}::{name}" for path, name in named if name not in list_tests(ROOT / path)] == []


def test_each_fault_test_is_on_the_page():
    paths = sorted((ROOT / "tests" / "inference").glob("test_fault_*.py"))
    assert len(paths) == 6
    assert [name for path in paths for name in list_tests(path) if f"{path.name}::{name}`" not in PAGE] == []
