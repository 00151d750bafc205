"""Programs that people use with a gateway, as npm brings them: pinned, and installed once on a machine."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import mmap
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

# A folder for each program: package.json and its lock. The `config` in package.json names the command and, where the
# package needs one, the script of its own that ends an installation. No other script of a package is run.
PINS = Path(__file__).parent / "node"
INSTALL_SECONDS = 600
RUN_SECONDS = 240  # a program that hangs; reached only when a test fails
UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT")


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a program left behind."""

    status: int
    output: str
    errors: str

    def __str__(self) -> str:
        return f"exit status {self.status}\n--- stdout\n{self.output}\n--- stderr\n{self.errors}"


@dataclasses.dataclass(frozen=True)
class Program:
    """An installed program. `folder` has its node_modules."""

    command: str
    folder: Path

    def knows(self, pattern: str, *words: str) -> bool:
        """Whether the file that this pattern finds below node_modules, the program's own code, has all these words."""
        (code,) = self.folder.glob(f"node_modules/{pattern}")
        with code.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(word.encode()) >= 0 for word in words)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, seconds: float = RUN_SECONDS
    ) -> Finished:
        """Run it in this folder with these arguments and nobody at the keyboard. It sees this environment and PATH
        alone; HOME is the folder too, unless the environment says otherwise."""
        return self.run_script(shlex.join([self.command, *arguments]), environment, folder, seconds)

    def run_script(
        self, script: str, environment: Mapping[str, str], folder: Path, seconds: float = RUN_SECONDS
    ) -> Finished:
        """Run lines of bash that know the program by its name. All that they started ends with them, or when the time
        is over, which is an AssertionError with what was printed until then."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=folder,
                env={"HOME": str(folder), "LANG": "C.UTF-8", **environment, "PATH": _path(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            in_time = True
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                in_time = False
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
            output.seek(0)
            errors.seek(0)
            finished = Finished(status, output.read(), errors.read())
        assert in_time, f"{script!r} did not end within {seconds} s:\n{finished}"
        return finished


def install(name: str) -> Program:
    """The program of `tests/agents/node/{name}`. The first to ask on this machine installs it, the others wait for
    that and find it. Without npm's registry the test is skipped, and fails in CI."""
    pins = PINS / name
    found = hashlib.sha256(b"".join((pins / file).read_bytes() for file in ("package.json", "package-lock.json")))
    folder = _cache() / f"{name}-{found.hexdigest()[:16]}"
    config = json.loads((pins / "package.json").read_text())["config"]
    with _locked(folder.with_suffix(".lock")):
        if not folder.exists():
            _install(pins, folder, config.get("setup"))
    return Program(config["command"], folder)


def _path(folder: Path) -> str:
    """PATH with what was installed in the folder before all else, also a Node or a program that no package links."""
    bins = [folder / "node_modules/.bin", *folder.glob("node_modules/*-linux-*/bin")]
    return ":".join([*map(str, bins), os.environ["PATH"]])


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai-bridge-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among all processes of this machine. The kernel takes the lock from one that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(pins: Path, folder: Path, setup: str | None) -> None:
    """Install under another name and move it, so that what was broken off is never taken for a program."""
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(pins, unfinished)
    if shutil.which("npm") is None:
        _do_without("npm is missing: apt-get install npm")
    done = _run_here(unfinished, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    if done.returncode and any(word in done.stderr for word in UNREACHABLE):
        _do_without(f"npm does not reach its registry:\n{done.stderr[-1000:]}")
    if done.returncode and "EBADPLATFORM" in done.stderr:
        pytest.skip(f"{pins.name} is not made for this kind of machine.")
    if done.returncode == 0 and setup:
        done = _run_here(unfinished, "node", setup)
    assert done.returncode == 0, f"{pins.name} could not be installed:\n{done.stdout}{done.stderr[-4000:]}"
    unfinished.rename(folder)


def _run_here(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": _path(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
