"""What `make run` does once the packages are there: secrets, database, catalogue, demo; then it becomes gunicorn."""

from gevent import monkey

monkey.patch_all()

import logging
import os
import sys
import tempfile

import flask_migrate
from flask import Flask
from gunicorn.app import wsgiapp
from sqlalchemy.exc import SQLAlchemyError

from bridge.catalogue.connect import offer_local_upstreams
from bridge.catalogue.sync import sync_catalogue
from bridge.config import Settings, read_settings
from bridge.errors import MisconfiguredError
from bridge.ops.address import is_taken, listen_address
from bridge.ops.demo import prepare_demo
from bridge.ops.env_file import load_env_file, write_env_file
from bridge.ops.health import newest_migration, read_migration

MOST_LINES = 8


def main() -> None:
    """Set up what is missing, then serve, unless --only-prepare. What can't be helped is said, a line each, with status
    1."""
    serves = "--only-prepare" not in sys.argv
    try:
        write_env_file()
        load_env_file()
        settings = read_settings()
    except MisconfiguredError as error:
        raise SystemExit("\n".join(error.complaints)) from None
    if serves and is_taken(settings):
        raise SystemExit(f"{listen_address(settings)} is taken. Choose another port: PORT={settings.port + 1} make run")
    try:
        settings.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=settings.data_path).close()
    except OSError as error:
        raise SystemExit(f"DATA_DIR {settings.data_path} can't be written: {error.strerror}.") from None
    from wsgi import app  # reads the environment, which is complete only now

    # in a child: the server has to start from a process that has never opened a connection or a thread
    child = os.fork()
    if not child:
        os._exit(prepare(app, settings))
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(1)
    if not serves:
        return
    if is_taken(settings):  # by whoever came while the packages and the database were made ready
        raise SystemExit(f"{listen_address(settings)} is taken. Choose another port: PORT={settings.port + 1} make run")
    sys.argv = ["gunicorn", "-c", "python:bridge.ops.gunicorn", "wsgi:app"]
    wsgiapp.run()


def prepare(app: Flask, settings: Settings) -> int:
    """Everything that serving needs; what is there stays as it is. Returns the exit status, 1 after a complaint."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with app.app_context():
            if read_migration() != newest_migration():
                flask_migrate.upgrade()
            say(sync_catalogue(settings))
            say(offer_local_upstreams(settings))
            if settings.development:
                prepare_demo(settings)
    except MisconfiguredError as error:
        print("\n".join(error.complaints), file=sys.stderr, flush=True)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        print(f"The database can't be used: {reason[0]}", file=sys.stderr, flush=True)
    else:
        return 0
    return 1


def say(done: list[str]) -> None:
    """What was changed: each line, or, when that would fill the screen, how many there are."""
    if len(done) > MOST_LINES:
        done = [f"The catalogue is filled: {len(done)} additions, which `.venv/bin/flask --app wsgi model list` shows."]
    for line in done:
        print(line, flush=True)


if __name__ == "__main__":
    main()
