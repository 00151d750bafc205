"""The part of a start that needs the database, which a worker repeats if the database was away: our prefix in Redis,
and channels in line with the environment."""

import gevent
import sqlalchemy as sa
import structlog
from flask import Flask

from bridge import vault
from bridge.catalogue.connect import connect_environment
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.db import db
from bridge.errors import MisconfiguredError
from bridge.ledger.first_operator import issue_link_at_start

PREPARED = "bridge_prepared"  # key in app.extensions: whether the parent process has done this
AGAIN_SECONDS = 5.0
log = structlog.get_logger()


def prepare(app: Flask, settings: Settings) -> bool:
    """Read our prefix in Redis, open every sealed key once, connect the providers that the environment names, and let
    the first operator in, while there is none.

    Raises MisconfiguredError. False if the database is away: then a worker calls `keep_trying`."""
    with app.app_context():
        try:
            if (shared := app.extensions["bridge_redis"]) is not None:
                shared.read_prefix()
            for sealed in db.session.scalars(sa.select(Channel.sealed_key)):
                if sealed:
                    vault.unseal(sealed)
            for line in connect_environment(settings):
                log.info(line)
            print_operator_link(issue_link_at_start(settings))
        except sa.exc.SQLAlchemyError as error:
            log.error("The database can't be read yet.", error=type(error).__name__)
            return False
        finally:
            db.session.remove()
        return True


def print_operator_link(link: str | None) -> None:
    """Print where the first operator begins, for whoever can read this output, and nowhere else: no log has it as a
    field of its own."""
    if link:
        print(f"This gateway has no operator yet. Open this link within 24 hours to become it:\n{link}", flush=True)


def keep_trying(app: Flask, settings: Settings) -> None:
    """Repeat `prepare` in a worker until it succeeds. If the master keys don't open what is stored, that is logged, and
    it ends."""
    seconds = min(AGAIN_SECONDS, settings.sweep_seconds)
    try:
        while not prepare(app, settings):
            gevent.sleep(seconds)
    except MisconfiguredError as error:
        log.error("channels_not_prepared", complaints=error.problems)
