"""What lies on the disk is its owner's alone."""

import stat
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
