"""How migrations run: on the app's own database, one process at a time, all scripts of a run in one transaction."""

from typing import Any

import sqlalchemy as sa
from alembic import context
from flask import current_app

LOCK = 0x6D6967726174  # any number, the same for all: two releases at once wait for each other


def run() -> None:
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # in the transaction, and no longer: behind a pooler the next one may be on another connection
            driver: Any = connection.connection.driver_connection
            driver.patience_seconds = None
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.configure(
            connection=connection,
            target_metadata=current_app.extensions["migrate"].db.metadata,
            render_as_batch=True,
            compare_type=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
        connection.invalidate()  # closes it: it would wait for ever


run()
