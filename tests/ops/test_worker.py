"""What a worker does beside its requests, whatever is away when it begins."""

from pathlib import Path

import pytest

from app import create_app
from bridge.ops import worker
from tests.rooms import close_rooms, make_settings
from tests.upstream import free_port


def test_a_worker_starts_without_a_database_and_goes_on_looking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """gunicorn would end all workers for one that doesn't start."""
    begun = []
    monkeypatch.setattr(worker, "run_every", lambda _app, seconds, *_, **__: begun.append(seconds))
    settings = make_settings(tmp_path, database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    app = create_app(settings)
    worker.start(app)
    assert settings.sweep_seconds in begun
    close_rooms(app)
