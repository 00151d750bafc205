"""What upstreams answered to attempts that failed: for the operator's view of a request, for a week.

It isn't in the usage row, which is kept for good: an error's words are for whoever looks into a failure now, and the
ledger is not to grow by them in an outage. A worker gathers them and writes every two seconds, beside the requests.
What a killed worker had not written is lost."""

import datetime
from collections import deque
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from bridge.accounts.tables import Account
from bridge.db import db, now_utc, write
from bridge.ledger.tables import AttemptError
from bridge.telemetry import created_at_of, hide_keys

KEPT_FOR = datetime.timedelta(days=7)
MOST_WAITING = 500  # of a process, until they are written: in an outage the newest tell as much as all
CHARACTERS = 1000


class AttemptErrors:
    """What one process has heard since it last wrote."""

    def __init__(self) -> None:
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)

    def note(self, account_id: int, request_id: str, attempt: int, status: int | None, said: str) -> None:
        """Keep what an attempt (the first is 1) of this request was answered."""
        row = {"request_id": request_id, "attempt": attempt, "account_id": account_id, "status": status}
        self._waiting.append({**row, "said": _fit(hide_keys(said)), "created_at": created_at_of(request_id)})

    def write(self) -> None:
        """Write what was gathered. What can't be written is kept for the next time. Needs an app context."""
        rows, self._waiting = list(self._waiting), deque(maxlen=MOST_WAITING)
        if not rows:
            return
        try:
            write(lambda connection: _add(connection, rows))
        except sa.exc.SQLAlchemyError:
            self._waiting.extendleft(reversed(rows[: MOST_WAITING - len(self._waiting)]))
            raise


def _fit(text: str) -> str:
    """The text as a column takes it: neither NUL nor half a surrogate pair."""
    return text.encode(errors="replace").decode().replace("\0", "�")[:CHARACTERS]


def _add(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    connection.execute(insert(AttemptError).on_conflict_do_nothing(), rows)


def list_errors(request_id: str) -> dict[int, AttemptError]:
    """What the request's failed attempts were answered, by the attempt's number."""
    found = db.session.scalars(sa.select(AttemptError).where(AttemptError.request_id == request_id))
    return {error.attempt: error for error in found}


def delete_old_errors() -> None:
    """Delete what is older than a week, and all of accounts that were deleted."""
    gone = sa.select(Account.id).where(Account.deleted_at.is_not(None))
    old = AttemptError.created_at < now_utc() - KEPT_FOR
    statement = sa.delete(AttemptError).where(sa.or_(old, AttemptError.account_id.in_(gone)))
    write(lambda connection: connection.execute(statement) and None)
