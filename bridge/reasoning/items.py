"""Keeps the output items of answers for an hour, sealed, so that a client may refer to them by their ids: some send
nothing else back of what a model said."""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa
import structlog
from sqlalchemy.dialects import postgresql, sqlite

from bridge import vault
from bridge.db import db, now_utc, write
from bridge.errors import MisconfiguredError
from bridge.json_types import JsonObject
from bridge.reasoning.tables import KeptItem

KEPT_FOR = datetime.timedelta(hours=1)
MAX_KEPT_BYTES = 2**20  # of one item
MOST_ITEMS = 1024  # that one request may refer to
log = structlog.get_logger()


def key_of(account_id: int, item_id: str) -> str:
    """Under what an item is kept."""
    return hashlib.sha256(f"{account_id}\0{item_id}".encode(errors="surrogatepass")).hexdigest()


def keep_items(account_id: int, items: Sequence[JsonObject]) -> None:
    """Keep the items by their ids. Where the database is away they are lost. Needs an app context."""
    rows: dict[str, JsonObject] = {}
    for item in items:
        text, item_id = msgspec.json.encode(item).decode(), item.get("id")
        if isinstance(item_id, str) and len(text) <= MAX_KEPT_BYTES:
            key = key_of(account_id, item_id)
            rows[key] = {"key": key, "sealed": vault.seal(text), "created_at": now_utc()}
    if not rows:
        return
    try:
        write(lambda connection: _insert(connection, list(rows.values())))
    except sa.exc.SQLAlchemyError as error:
        log.warning("items_not_kept", error=type(error).__name__)


def recall_items(account_id: int, ids: Iterable[str]) -> dict[str, JsonObject]:
    """Those of these items that are kept, by their ids. Needs an app context."""
    wanted = {key_of(account_id, item_id): item_id for item_id in list(ids)[:MOST_ITEMS]}
    if not wanted:
        return {}
    query = sa.select(KeptItem.key, KeptItem.sealed).where(
        KeptItem.key.in_(list(wanted)), KeptItem.created_at > now_utc() - KEPT_FOR
    )
    with db.engine.connect() as connection:
        rows = connection.execute(query).all()
    found: dict[str, JsonObject] = {}
    for row in rows:
        try:
            found[wanted[row.key]] = msgspec.json.decode(vault.unseal(row.sealed))
        except MisconfiguredError:  # its master key is gone
            log.warning("items_not_recalled", error="MisconfiguredError")
    return found


def forget_items() -> None:
    """Delete what is older than an hour. Needs an app context."""
    old = sa.delete(KeptItem).where(KeptItem.created_at < now_utc() - KEPT_FOR)
    write(lambda connection: connection.execute(old) and None)


def _insert(connection: sa.Connection, rows: list[JsonObject]) -> None:
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(KeptItem).values(rows)
    renewed = {"sealed": statement.excluded.sealed, "created_at": statement.excluded.created_at}
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=renewed))
