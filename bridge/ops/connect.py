"""Brings the channels in line with the environment: at start, or once the database is there."""

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

PREPARED = "bridge_channels_prepared"  # of app.extensions: whether the process that forked us could
AGAIN_SECONDS = 5.0
log = structlog.get_logger()


def prepare_channels(app: Flask, settings: Settings) -> bool:
    """Open every sealed key once, and connect the providers that the environment names. Raises MisconfiguredError. A
    database that is away has no say: False, and `keep_trying` is to go on."""
    with app.app_context():
        try:
            for sealed in db.session.scalars(sa.select(Channel.sealed_key)):
                if sealed:
                    vault.unseal(sealed)
            for line in connect_environment(settings):
                log.info(line)
        except sa.exc.SQLAlchemyError as error:
            log.error("The database can't be read yet.", error=type(error).__name__)
            return False
        finally:
            db.session.remove()
        return True


def keep_trying(app: Flask, settings: Settings) -> None:
    """The same in a worker, until it worked. Master keys that don't open what is stored are said, and it ends."""
    seconds = min(AGAIN_SECONDS, settings.sweep_seconds)
    try:
        while not prepare_channels(app, settings):
            gevent.sleep(seconds)
    except MisconfiguredError as error:
        log.error("channels_not_prepared", complaints=error.complaints)
