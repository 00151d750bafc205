"""One ledger on each engine for a whole process: every test makes accounts of its own in it."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from tests.ledger.orders import Ledger
from tests.rooms import close_rooms, make_settings, open_rooms
from tests.services import Databases


@pytest.fixture(scope="session")
def find_ledger(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Ledger]]:
    """`find_ledger("sqlite")`, opened when first asked for."""
    opened: dict[str, Ledger] = {}

    def find(engine: str) -> Ledger:
        if engine not in opened:
            folder = tmp_path_factory.mktemp(f"ledger-{engine}")
            settings = make_settings(folder, database_url=databases.open(engine))
            opened[engine] = Ledger(open_rooms(settings))
        return opened[engine]

    yield find
    for ledger in opened.values():
        ledger.close()
        close_rooms(ledger.app)


@pytest.fixture
def ledger(engine: str, find_ledger: Callable[[str], Ledger]) -> Iterator[Ledger]:
    """The ledger, in its app's context. It must add up after every test."""
    ledger = find_ledger(engine)
    with ledger.app.app_context():
        yield ledger
    assert ledger.check() == []


@pytest.fixture
def damaged(app: Flask) -> Iterator[Ledger]:
    """A ledger that a test may damage."""
    ledger = Ledger(app)
    with app.app_context():
        yield ledger
    ledger.close()
