"""Migrations go up from nothing and down again, on both databases, and end where the table classes are."""

from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask

from bridge.db import Table, db
from bridge.extensions import migrate
from tests.rooms import close_rooms, make_settings, open_rooms


@pytest.fixture
def rooms(empty_database_url: str, tmp_path: Path) -> Iterator[Flask]:
    app = open_rooms(make_settings(tmp_path, database_url=empty_database_url))
    migrate.init_app(app, db)
    with app.app_context():
        yield app
    close_rooms(app)


def tables_and_functions() -> set[str]:
    found = set(sa.inspect(db.engine).get_table_names())
    if db.engine.dialect.name == "postgresql":
        with db.engine.connect() as connection:
            query = sa.text("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
            found |= set(connection.scalars(query))
    return found


def constraint_names() -> set[str]:
    """Those that were given names: SQLite and PostgreSQL keep them alike."""
    inspector, found = sa.inspect(db.engine), set()
    for table in Table.metadata.tables:
        found |= {check["name"] for check in inspector.get_check_constraints(table)}
        found |= {unique["name"] for unique in inspector.get_unique_constraints(table)}
        found |= {key["name"] for key in inspector.get_foreign_keys(table)}
        found.add(inspector.get_pk_constraint(table)["name"])
    return {str(name) for name in found}


@pytest.mark.usefixtures("rooms")
def test_up_from_nothing_ends_where_the_table_classes_are():
    flask_migrate.upgrade()
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Table.metadata) == []
    declared = {str(constraint.name) for table in Table.metadata.tables.values() for constraint in table.constraints}
    assert constraint_names() == declared


@pytest.mark.usefixtures("rooms")
def test_down_leaves_nothing_and_up_works_again():
    flask_migrate.upgrade()
    full = tables_and_functions()
    flask_migrate.downgrade(revision="base")
    assert tables_and_functions() == {"alembic_version"}
    flask_migrate.upgrade()
    assert tables_and_functions() == full


@pytest.mark.usefixtures("rooms")
def test_each_step_down_can_be_taken_alone():
    flask_migrate.upgrade()
    for _ in (Path(__file__).parents[1] / "migrations" / "versions").glob("*.py"):
        flask_migrate.downgrade(revision="-1")
        flask_migrate.upgrade(revision="+1")
        flask_migrate.downgrade(revision="-1")
    assert tables_and_functions() == {"alembic_version"}
