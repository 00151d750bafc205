"""What is locked stays installable: nothing that is released later changes what `make run` and `make test` install."""

import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.txt", "requirements-dev.txt")
OTHER_LOCKS = ("scripts/model-requirements.txt", "tests/sdks/python/requirements.txt")  # not for our own environment
ASKED = (
    *("requirements.in", "requirements-dev.in", "scripts/model-requirements.in"),
    "tests/sdks/python/requirements.in",
)
NPM = [
    path.parent
    for top in ("scripts/node", "tests/sdks/node", "tests/agents/node")
    for path in sorted((ROOT / top).rglob("package.json"))
]
PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[([^\]]+)\])?==([^\s;\\]+)", re.MULTILINE)
LINE = re.compile(r"^(?![#-]|\s).+", re.MULTILINE)


class Pin:
    """A line of a lock: a package, the extras that it is pinned with, and its version."""

    def __init__(self, match: re.Match[str]):
        self.name = canonicalize_name(match[1])
        self.extras = frozenset((match[2] or "").replace(" ", "").split(",")) - {""}
        self.version = match[3]


def read_lock(name: str) -> dict[str, Pin]:
    pins = [Pin(match) for match in PINNED.finditer((ROOT / name).read_text())]
    return {pin.name: pin for pin in pins}


def wanted_by(pin: Pin) -> Iterator[Requirement]:
    """What the installed package asks for on this machine, with the extras that it is pinned with."""
    for line in importlib.metadata.requires(pin.name) or ():
        requirement = Requirement(line)
        if requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", *pin.extras)
        ):
            yield requirement


def find_gaps(pins: dict[str, Pin]) -> list[str]:
    """What pip would look up at the registry, because no line pins it as it is asked for."""
    gaps = []
    for pin in pins.values():
        for requirement in wanted_by(pin):
            found = pins.get(canonicalize_name(requirement.name))
            if found is None:
                gaps.append(f"{pin.name} asks for {requirement}, and nothing pins it")
            elif requirement.extras - found.extras:
                gaps.append(f"{pin.name} asks for {requirement}, pinned without {requirement.extras - found.extras}")
            elif not requirement.specifier.contains(found.version, prereleases=True):
                gaps.append(f"{pin.name} asks for {requirement}, pinned is {found.version}")
    return gaps


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_everything_with_the_extras_that_are_asked_for(name: str) -> None:
    assert find_gaps(read_lock(name)) == []


def test_a_pin_without_its_extra_is_noticed() -> None:
    pins = read_lock("requirements-dev.txt")
    pins["coverage"].extras = frozenset()
    assert find_gaps(pins) == ["pytest-cov asks for coverage[toml]>=7.10.6, pinned without {'toml'}"]


@pytest.mark.parametrize("name", [*LOCKS, *OTHER_LOCKS])
def test_each_line_of_a_lock_has_a_version_and_a_hash(name: str) -> None:
    blocks = re.split(r"\n(?=\S)", (ROOT / name).read_text())
    lines = [block for block in blocks if LINE.match(block)]
    assert lines
    assert [line for line in lines if not PINNED.match(line) or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_for_by_name_has_a_version(name: str) -> None:
    lines = LINE.findall((ROOT / name).read_text())
    assert lines
    assert [line for line in lines if not PINNED.match(line)] == []


def test_the_development_lock_is_held_to_what_ships() -> None:
    development = {name: pin.version for name, pin in read_lock("requirements-dev.txt").items()}
    shipped = {name: pin.version for name, pin in read_lock("requirements.txt").items()}
    assert {name: version for name, version in shipped.items() if development.get(name) != version} == {}


def test_the_tests_run_on_what_is_locked() -> None:
    pins = read_lock("requirements-dev.txt").values()
    assert [pin.name for pin in pins if importlib.metadata.version(pin.name) != pin.version] == []


@pytest.mark.parametrize("folder", NPM, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_what_npm_brings_is_pinned_to_the_file(folder: Path) -> None:
    wanted = json.loads((folder / "package.json").read_text())
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    asked = wanted["dependencies"] | wanted.get("optionalDependencies", {})
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in asked.values()), "no ranges"
    installed = {path: entry for path, entry in lock.items() if path}
    assert {f"node_modules/{name}" for name in asked} <= set(installed)
    assert [path for path, entry in installed.items() if not entry.get("integrity")] == []
    assert [path for path, entry in installed.items() if "resolved" in entry] == [], "no registry is named"


def test_debian_packages_of_ci_have_a_version() -> None:
    lines = LINE.findall((ROOT / ".ci/packages").read_text())
    assert lines
    assert [line for line in lines if len(line.split()) != 3] == []
