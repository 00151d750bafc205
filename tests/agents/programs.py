"""Coding agents, as npm and pip bring them, and how they are run."""

import contextlib
import dataclasses
import mmap
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.agents.offline import can_be_offline, offline
from tests.gateway import Gateway
from tests.installed import install_node, install_python, list_bins

# A folder for each program, with its packages and their lock.
NODE, PYTHON = (Path(__file__).parent / name for name in ("node", "python"))
RUN_SECONDS = 240  # a program that hangs; reached only when a test fails


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
    """An installed program, and the folder that it is in."""

    folder: Path

    def knows(self, pattern: str, *words: str) -> bool:
        """Whether the file that this pattern finds below node_modules, the program's own code, has all these words."""
        (code,) = self.folder.glob(f"node_modules/{pattern}")
        with code.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return all(content.find(word.encode()) >= 0 for word in words)

    def run_script(
        self,
        script: str,
        environment: Mapping[str, str],
        folder: Path,
        gateway: Gateway,
        seconds: float = RUN_SECONDS,
    ) -> Finished:
        """Run lines of bash that know the program by its name, in this folder and with nobody at the keyboard. They see
        this environment and PATH alone; HOME is the folder too. They reach this gateway and no other address, where the
        kernel lets us see to that. All that they started ends with them, or when the time is over. Raises
        AssertionError then, with what was printed so far."""
        alone = offline(gateway.port) if can_be_offline() else []
        path = ":".join([*map(str, list_bins(self.folder)), os.environ["PATH"]])
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [*alone, "bash", "-c", script],
                cwd=folder,
                env={"HOME": str(folder), "LANG": "C.UTF-8", **environment, "PATH": path},
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
    """The agent that a folder here pins. Skips the test where there is no registry, and fails it in CI."""
    if (NODE / name).exists():
        return Program(install_node(NODE / name))
    return Program(install_python(PYTHON / name).parents[1])
