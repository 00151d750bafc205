"""Packages of other people that tests run as programs of their own: pinned, and installed once on a machine."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

INSTALL_SECONDS = 600
UNREACHABLE = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT"),
    *("NewConnectionError", "Failed to establish a new connection", "Connection error", "dns error"),
)


def install_node(pins: Path) -> Path:
    """A folder with the node_modules that `package-lock.json` in `pins` names. Nothing of theirs runs meanwhile."""
    files = [pins / "package.json", pins / "package-lock.json"]

    def install(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)
        _run("npm", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)

    return _install_once(pins, files, install)


def find_node(folder: Path) -> Path:
    """The Node that came with the packages: the system's may be too old for them."""
    [node] = folder.glob("node_modules/node-*/bin/node")
    return node


def install_python(pins: Path) -> Path:
    """The Python of an environment with what `requirements.txt` in `pins` names, and nothing of ours."""
    lock = pins / "requirements.txt"

    def install(folder: Path) -> None:
        _run("venv", [sys.executable, "-m", "venv", str(folder)], folder)
        python, pinned = (
            str(folder / "bin/python"),
            ["--only-binary", ":all:", "--require-hashes", "-r", str(lock.absolute())],
        )
        if shutil.which("uv") and os.environ.get("INSTALL_WITH") != "pip":
            command = ["uv", "pip", "install", "--quiet", "--python", python, *pinned]
        else:
            more = ["--quiet", "--disable-pip-version-check", "--no-compile"]
            command = [python, "-m", "pip", "install", *more, *pinned]
        _run("pip", command, folder)

    return _install_once(pins, [lock], install) / "bin/python"


def _install_once(pins: Path, files: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """The folder into which these files were installed. The first to ask on this machine does it, the others wait; what
    was broken off lies under another name and is never taken for it."""
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai-bridge-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{pins.parent.name}-{pins.name}-{stamp}"
    with _locked(cache / f"{folder.name}.lock"):
        if not folder.exists():
            unfinished = cache / f"{folder.name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            install(unfinished)
            unfinished.rename(folder)
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all processes of this machine. The kernel takes the lock from one that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(name: str, command: list[str], folder: Path) -> None:
    """Without its registry the test is skipped, and fails in CI."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except FileNotFoundError:
        _do_without(f"{name} is missing.")
    said = (done.stdout + done.stderr)[-4000:]
    if done.returncode and any(word in said for word in UNREACHABLE):
        _do_without(f"{name} does not reach its registry:\n{said}")
    assert done.returncode == 0, f"{name} could not install:\n{said}"


def _do_without(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
