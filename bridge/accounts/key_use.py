"""Records when keys were last used, beside the requests."""

import datetime
from collections.abc import Mapping

import sqlalchemy as sa

from bridge.accounts.tables import Key
from bridge.db import UtcDateTime, write


def record_use(key_ids: Mapping[int, datetime.datetime]) -> None:
    """Record when keys were last used, in one statement for all of them. A moment earlier than the recorded one changes
    nothing."""
    if not key_ids:
        return
    used = sa.bindparam("used_at", type_=UtcDateTime)
    statement = (
        sa.update(Key)
        .where(Key.id == sa.bindparam("used_id"), sa.or_(Key.last_used_at.is_(None), Key.last_used_at < used))
        .values(last_used_at=used)
    )
    rows = [{"used_id": id_, "used_at": key_ids[id_]} for id_ in sorted(key_ids)]  # in order: no deadlocks
    write(lambda connection: connection.execute(statement, rows) and None)
