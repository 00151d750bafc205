"""Packages of other people that tests run as programs of their own: pinned, and installed once on a machine."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

INSTALL_SECONDS = 600
UNREACHABLE = (
    *("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT"),
    *("NewConnectionError", "Failed to establish a new connection", "Connection error", "dns error"),
)


def install_node(pins: Path) -> Path:
    """A folder with the node_modules that `package-lock.json` in `pins` names. Of their scripts only the one runs that
    `config.setup` in `package.json` names."""
    files = [pins / "package.json", pins / "package-lock.json"]

    def install(folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)
        _run(pins, ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        setup = json.loads(files[0].read_text()).get("config", {}).get("setup")
        if setup:
            _run(pins, ["node", setup], folder)

    return _install_once(pins, files, install)


def find_node(folder: Path) -> Path:
    """The Node that came with the packages: the system's may be too old for them."""
    [node] = folder.glob("node_modules/node-*/bin/node")
    return node


def install_python(pins: Path) -> Path:
    """The Python of an environment with what `requirements.txt` in `pins` names, and nothing of ours."""
    lock = pins / "requirements.txt"

    def install(folder: Path) -> None:
        _run(pins, [sys.executable, "-m", "venv", str(folder)], folder)
        python = str(folder / "bin/python")
        pinned = ["--only-binary", ":all:", "--require-hashes", "-r", str(lock.absolute())]
        if shutil.which("uv") and os.environ.get("INSTALL_WITH") != "pip":
            command = ["uv", "pip", "install", "--quiet", "--python", python, *pinned]
        else:
            more = ["--quiet", "--disable-pip-version-check", "--no-compile"]
            command = [python, "-m", "pip", "install", *more, *pinned]
        _run(pins, command, folder)

    return _install_once(pins, [lock], install) / "bin/python"


def list_bins(folder: Path) -> list[Path]:
    """Where the programs of an installed folder are, also a Node or a program that no package links."""
    return [folder / "bin", folder / "node_modules/.bin", *folder.glob("node_modules/*-linux-*/bin")]


def _install_once(pins: Path, files: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """The folder into which these files were installed. The first to ask on this machine does it, the others wait; what
    was broken off has no mark, and is installed anew."""
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai-bridge-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{pins.parent.name}-{pins.name}-{stamp}"
    whole = folder / "whole"
    with _locked(cache / f"{folder.name}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            install(folder)
            whole.touch()
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all processes of this machine. The kernel takes the lock from one that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(pins: Path, command: list[str], folder: Path) -> None:
    """Without its registry the test is skipped, and fails in CI."""
    path = ":".join([*map(str, list_bins(folder)), os.environ["PATH"]])
    if not shutil.which(command[0], path=path):
        _do_without(f"{command[0]} is missing.")
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    said = (done.stdout + done.stderr)[-4000:]
    if done.returncode and any(word in said for word in UNREACHABLE):
        _do_without(f"{command[0]} does not reach its registry:\n{said}")
    if "EBADPLATFORM" in said:
        pytest.skip(f"{pins.name} is not made for this kind of machine.")
    assert done.returncode == 0, f"{pins.name} could not be installed:\n{said}"


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
