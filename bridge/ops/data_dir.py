"""Checks that DATA_DIR can be written. Otherwise a charge could be lost."""

import os
import tempfile
from pathlib import Path

from bridge.config import Settings

ENOUGH_BYTES = 2**16


def find_data_dir_problem(settings: Settings) -> str:
    """What is wrong with the folder, as a sentence with the remedy; "" if nothing is. One that is missing is made."""
    try:
        for folder in (settings.data_path, settings.data_path / "spool"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_something(folder)
    except OSError as error:
        return (
            f"DATA_DIR {settings.data_path} can't be written ({error.strerror}): set DATA_DIR to a folder on a disk "
            "with room that this user may write to."
        )
    return ""


def _write_something(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(ENOUGH_BYTES))
        file.flush()
        os.fsync(file.fileno())  # a full disk may fail only here
