"""Seals and opens provider keys, and what is kept for a day, under the master keys (FERNET_KEYS, newest first), which
live outside the database."""

import base64
import hashlib
from typing import Any

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bridge.db import Table, db, transaction
from bridge.errors import MisconfiguredError

MOST_AT_ONCE = 50  # rows that are locked together
_vault: MultiFernet | None = None
_fingerprint_key = b""


def open_vault(keys: list[str]) -> None:
    """Take the master keys. Called once, by create_app()."""
    global _vault, _fingerprint_key
    _fingerprint_key = base64.urlsafe_b64decode(keys[0])
    _vault = MultiFernet([Fernet(key) for key in keys])


def seal(secret: str) -> str:
    """Encrypt with authentication under the newest master key."""
    assert _vault is not None, "open_vault() comes first"
    return _vault.encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Decrypt. Raises MisconfiguredError when no master key fits, so that a wrong key stops the start."""
    assert _vault is not None, "open_vault() comes first"
    try:
        return _vault.decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise MisconfiguredError(["FERNET_KEYS does not open the stored provider keys: restore the old key."]) from None


def fingerprint(*secrets: str) -> str:
    """A short name by which equal secrets are known as equal, and nothing else of them, without the master key."""
    assert _vault is not None, "open_vault() comes first"
    digest = hashlib.blake2b(key=_fingerprint_key, digest_size=12, person=b"fingerprint")
    for secret in secrets:
        digest.update(len(secret).to_bytes(4, "big") + secret.encode())
    return digest.hexdigest()


def reseal(sealed: str) -> str:
    """The same secret under the newest master key, for rotation."""
    assert _vault is not None, "open_vault() comes first"
    return _vault.rotate(sealed.encode()).decode()


def reseal_rows(table: type[Table]) -> int:
    """The same for all that a table keeps in `sealed`, and how many rows that were: a few at a time, since the gateway
    runs on meanwhile. What no master key opens stays as it is. Needs an app context."""
    columns: Any = table.__table__.c
    keys, done = tuple(sa.inspect(table).primary_key), 0
    found = db.session.execute(sa.select(*keys).where(columns.sealed.is_not(None)).order_by(*keys)).all()
    for start in range(0, len(found), MOST_AT_ONCE):
        some = found[start : start + MOST_AT_ONCE]
        with transaction() as session:
            wanted = sa.tuple_(*keys).in_([tuple(key) for key in some])
            rows = session.execute(sa.select(*keys, columns.sealed).where(wanted).order_by(*keys).with_for_update())
            for *values, sealed in rows.all():
                done += _reseal_row(table, dict(zip(keys, values, strict=True)), sealed)
    return done


def _reseal_row(table: type[Table], key: dict[Any, Any], sealed: str | None) -> bool:
    try:
        anew = reseal(sealed or "")
    except InvalidToken:
        return False
    row = (column == value for column, value in key.items())
    db.session.execute(sa.update(table.__table__).where(*row).values(sealed=anew))  # type: ignore[arg-type]
    return True
