"""Requests with an Idempotency-Key: which of them runs, and the answer that is kept for repetitions.

There is one row for each account and key, and inserting it decides which of several requests runs. Only an answer that
cost money is kept; after a refusal the key is free again. Answers are sealed under the master key and deleted after a
day."""

import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa
import structlog
from gevent import get_hub
from sqlalchemy.dialects import postgresql, sqlite

from bridge import vault
from bridge.accounts.tables import Account
from bridge.db import UtcDateTime, now_utc, write
from bridge.errors import IdempotencyConflict, IdempotencyMismatch, ServiceUnavailable
from bridge.ledger.tables import Hold
from bridge.ledger.tables import IdempotencyKey as Row

KEPT_FOR = datetime.timedelta(hours=24)
# While a hold exists, a charge and its answer may still come out of a spool: a request that ran then would be charged
# too.
_IS_SETTLED = ~sa.exists().where(Hold.request_id == Row.request_id)
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Claim:
    """One request's claim to run under a key."""

    account_id: int
    key: str
    request_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer of the request that ran."""

    request_id: str
    stream: bool
    body: bytes


def claim_key(claim: Claim, fingerprint: str, *, stream: bool, seconds: float) -> KeptAnswer | None:
    """None if the request is to run: then no other may for this many seconds, nor before its hold has ended. Otherwise
    the answer to give again.

    Raises IdempotencyConflict while another request runs, IdempotencyMismatch if the key was used with another body,
    and ServiceUnavailable without a database, since the promise couldn't be kept. Needs an app context."""
    try:
        row = write(lambda connection: _insert_or_find(connection, claim, fingerprint, stream, seconds))
    except sa.exc.SQLAlchemyError as error:
        log.error("idempotency_key_not_claimed", error=type(error).__name__)
        raise ServiceUnavailable(
            "The ledger can't be reached, so nothing was started. You were not charged.", retry_after_seconds=2
        ) from None
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise IdempotencyMismatch(
            "This Idempotency-Key was used with another body. Use a new key for a new request.",
            param="Idempotency-Key",
        )
    if row.sealed is None:
        raise IdempotencyConflict(
            "The first request with this Idempotency-Key is still running.",
            param="Idempotency-Key",
            retry_after_seconds=1,
        )
    return KeptAnswer(row.request_id, row.stream, get_hub().threadpool.apply(vault.unseal, (row.sealed,)).encode())


def seal_answer(body: bytes) -> str:
    """An answer in the form in which it is stored."""
    return str(get_hub().threadpool.apply(vault.seal, (body.decode(),)))


def keep_answer(claim: Claim, sealed: str) -> bool:
    """Store the answer for a day, durably, before its end goes out. False without a database: then the key stays taken
    for as long as its request could have run. Needs an app context."""
    return _change(claim, sa.update(Row).values(sealed=sealed, expires_at=now_utc() + KEPT_FOR))


def free_key(claim: Claim) -> None:
    """Free the key, since the request cost nothing. Needs an app context."""
    _change(claim, sa.delete(Row))


def delete_expired_keys() -> None:
    """Delete rows older than a day, and those that dead workers left, once their holds are swept. Needs an app
    context."""
    old = sa.delete(Row).where(Row.expires_at < now_utc(), _IS_SETTLED)
    write(lambda connection: connection.execute(old) and None)


def _insert_or_find(connection: sa.Connection, claim: Claim, fingerprint: str, stream: bool, seconds: float) -> Any:
    """The existing row; None if we inserted ours. An expired row is replaced."""
    on_sqlite = connection.dialect.name == "sqlite"
    insert: Any = sqlite.insert if on_sqlite else postgresql.insert
    now = sa.literal(now_utc(), UtcDateTime) if on_sqlite else sa.func.now()
    running = datetime.timedelta(seconds=seconds)
    # a key that came here with a merged account may repeat what it began there
    former = sa.select(Account.id).where(Account.merged_into == claim.account_id)
    mine = ((Row.account_id == claim.account_id) | Row.account_id.in_(former)) & (Row.key == claim.key)
    is_known = sa.select(Row.key).where(Row.account_id.in_(former), Row.key == claim.key).correlate(None).exists()
    connection.execute(sa.delete(Row).where(mine, Row.expires_at < now, _IS_SETTLED))
    expires_at = now_utc() + running if on_sqlite else now + running  # by the clock that later compares it
    values: dict[str, Any] = {
        "account_id": sa.literal(claim.account_id, sa.BigInteger),
        "key": sa.literal(claim.key, sa.String),
        "fingerprint": sa.literal(fingerprint, sa.String),
        "request_id": sa.literal(claim.request_id, sa.String),
        "stream": sa.literal(stream, sa.Boolean),
        "expires_at": sa.literal(expires_at, UtcDateTime) if on_sqlite else expires_at,
    }
    take = (
        insert(Row)
        .from_select(list(values), sa.select(*values.values()).where(~is_known))
        .on_conflict_do_nothing()
        .returning(Row.key)
    )
    look = sa.select(Row.fingerprint, Row.sealed, Row.request_id, Row.stream).where(mine)
    found = None
    while found is None:  # the row's request may free it between the two statements: then nobody has it yet
        if connection.execute(take).first() is not None:
            return None
        found = connection.execute(look).first()
    return found


def _change(claim: Claim, statement: Any) -> bool:
    statement = statement.where(
        Row.account_id == claim.account_id, Row.key == claim.key, Row.request_id == claim.request_id
    )
    try:
        write(lambda connection: connection.execute(statement) and None)
    except sa.exc.SQLAlchemyError as error:
        log.error("idempotency_key_not_changed", request_id=claim.request_id, error=type(error).__name__)
        return False
    return True
