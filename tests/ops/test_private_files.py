"""Files on the disk are readable by their owner alone."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from bridge.db import db
from tests.rooms import close_rooms, make_settings, open_rooms


@pytest.mark.parametrize("before", [None, 0o644])
def test_sqlites_files_are_their_owners_alone(tmp_path: Path, before: int | None):
    if before is not None:
        (tmp_path / "bridge.db").touch(before)
    app = open_rooms(make_settings(tmp_path))
    with app.app_context():
        db.session.execute(sa.text("CREATE TABLE anything (x INTEGER)"))
        db.session.commit()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("bridge.db*")}
    close_rooms(app)
    assert set(modes.values()) == {0o600}, modes


def test_another_process_never_takes_the_database_for_its_own(tmp_path: Path):
    """A process that closes the file drops its own locks on it: the next process would then throw away the log in
    between."""
    app = open_rooms(make_settings(tmp_path))
    path = tmp_path / "bridge.db"
    with app.app_context():
        db.session.execute(sa.text("CREATE TABLE anything (x INTEGER)"))
        db.session.commit()
        with db.engine.connect() as one, db.engine.connect() as another:  # the second is opened beside the first
            assert one.scalar(sa.text("SELECT count(*) FROM anything")) == 0
            one.rollback()
            write = (
                "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('INSERT INTO anything VALUES (1)')"
            )
            subprocess.run([sys.executable, "-c", f"{write}; c.commit(); c.close()", str(path)], check=True)
            assert (tmp_path / "bridge.db-wal").exists(), "the other process took itself for the last one"
            assert another.scalar(sa.text("SELECT count(*) FROM anything")) == 1
            assert one.scalar(sa.text("SELECT count(*) FROM anything")) == 1
    close_rooms(app)
