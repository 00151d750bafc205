"""What `make run` does once the packages are installed: secrets, database, catalogue, demo; then it becomes
gunicorn."""

from gevent import monkey

monkey.patch_all()

import logging
import os
import sys

import flask_migrate
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from bridge.catalogue.connect import connect_local_upstreams
from bridge.catalogue.sync import sync_catalogue
from bridge.config import Settings, read_settings
from bridge.errors import MisconfiguredError
from bridge.ops.address import is_taken, listen_address
from bridge.ops.data_dir import find_data_dir_problem
from bridge.ops.demo import prepare_demo
from bridge.ops.env_file import load_env_file, write_env_file
from bridge.ops.health import newest_migration, read_migration
from bridge.providers import COMPANIES

MOST_LINES = 8


def main() -> None:
    """Set up what is missing, then serve, unless --only-prepare. Problems are printed, a line each, with status 1."""
    serves = "--only-prepare" not in sys.argv
    try:
        write_env_file()
        load_env_file()
        settings = read_settings(COMPANIES)
    except MisconfiguredError as error:
        raise SystemExit("\n".join(error.problems)) from None
    if serves and is_taken(settings):
        raise SystemExit(f"{listen_address(settings)} is taken. Choose another port: PORT={settings.port + 1} make run")
    if problem := find_data_dir_problem(settings):
        raise SystemExit(problem)
    from wsgi import app  # reads the environment, which is complete only now

    # in a child process: the server must start from one that has never opened a connection or a thread
    child = os.fork()
    if not child:
        os._exit(prepare(app, settings))
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(1)
    if not serves:
        return
    if is_taken(settings):  # somebody took the address while we prepared
        raise SystemExit(f"{listen_address(settings)} is taken. Choose another port: PORT={settings.port + 1} make run")
    from gunicorn.app import wsgiapp  # reads WEB_CONCURRENCY, which may not be a number, as soon as it is imported

    os.environ.pop("GUNICORN_CMD_ARGS", None)  # it would override our settings, and serve elsewhere than we print
    sys.argv = ["gunicorn", "-c", "python:bridge.ops.gunicorn", "wsgi:app"]
    wsgiapp.run()


def prepare(app: Flask, settings: Settings) -> int:
    """Prepare everything that serving needs; what exists stays. Returns the exit status, 1 if something is wrong."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with app.app_context():
            if read_migration() != newest_migration():
                flask_migrate.upgrade()
            print_changes(sync_catalogue(settings))
            print_changes(connect_local_upstreams(settings))
            if settings.development:
                prepare_demo(settings)
    except MisconfiguredError as error:
        print("\n".join(error.problems), file=sys.stderr, flush=True)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
        print(f"The database can't be used: {reason[0]}", file=sys.stderr, flush=True)
    else:
        return 0
    return 1


def print_changes(done: list[str]) -> None:
    """Print what was changed: each line, or, if that would fill the screen, how many there are."""
    if len(done) > MOST_LINES:
        done = [f"The catalogue is filled: {len(done)} additions, which `.venv/bin/flask --app wsgi model list` shows."]
    for line in done:
        print(line, flush=True)


if __name__ == "__main__":
    main()
