"""A DATA_DIR that can't be written ends the start with a sentence, since charges may have to be stored there."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway import CONFIG, as_environment
from tests.rooms import make_settings
from tests.warm import ROOT


def _missing_parent(tmp_path: Path) -> Path:
    return Path("/proc/nowhere/data")


def _a_file(tmp_path: Path) -> Path:
    (tmp_path / "data").write_text("a file")
    return tmp_path / "data"


def _below_a_file(tmp_path: Path) -> Path:
    return _a_file(tmp_path) / "deeper"


def _read_only(tmp_path: Path) -> Path:
    return Path("/proc/sys")


def _with_a_file_for_spools(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "spool").write_text("a file")
    return tmp_path / "data"


@pytest.mark.parametrize("make", [_missing_parent, _a_file, _below_a_file, _read_only, _with_a_file_for_spools])
def test_a_folder_that_cannot_be_written_ends_the_start_before_a_worker_boots(
    tmp_path: Path, make: Callable[[Path], Path]
):
    folder = make(tmp_path)
    settings = make_settings(
        folder,
        bridge_env="production",
        database_url="postgresql://nobody@127.0.0.1:1/nothing",
        public_base_url="https://gateway.example",
    )
    command = [sys.executable, "-m", "gunicorn", "-c", f"python:{CONFIG}", "wsgi:app"]
    done = subprocess.run(
        command, cwd=ROOT, env=as_environment(settings), capture_output=True, text=True, timeout=120, check=False
    )
    said = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode != 0
    assert len(said) == 1
    assert said[0].startswith(f"DATA_DIR {folder}")
    assert "set DATA_DIR to a folder" in said[0]


def test_a_folder_that_is_missing_is_made_for_its_owner_alone(tmp_path: Path, start_gateway):
    folder = tmp_path / "not" / "yet"
    start_gateway("sqlite", data_dir=str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in (folder / "spool").iterdir()) == []
