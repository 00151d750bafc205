"""Seals and opens provider keys, and values that are kept for a day, under the master keys (FERNET_KEYS, newest first),
which live outside the database."""

import base64
import hashlib
import hmac
import secrets
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bridge.db import Table, db, transaction
from bridge.errors import MisconfiguredError

MOST_AT_ONCE = 50  # rows that are locked together
SIGNATURE_BYTES = 24
DATA_KEY_BYTES, NONCE_BYTES = 32, 12


class _Keys:
    """The master keys of this process."""

    vault: MultiFernet | None = None
    fingerprint = b""
    all: tuple[bytes, ...] = ()


def open_vault(keys: list[str]) -> None:
    """Take the master keys. Called once, by create_app()."""
    _Keys.all = tuple(base64.urlsafe_b64decode(key) for key in keys)
    _Keys.fingerprint = _Keys.all[0]
    _Keys.vault = MultiFernet([Fernet(key) for key in keys])


def _opened() -> MultiFernet:
    assert _Keys.vault is not None, "open_vault() comes first"
    return _Keys.vault


def seal(secret: str) -> str:
    """Encrypt with authentication under the newest master key."""
    return _opened().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """Decrypt. Raises MisconfiguredError when no master key fits, so that a wrong key stops the start."""
    try:
        return _opened().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise MisconfiguredError(["FERNET_KEYS does not open the stored provider keys: restore the old key."]) from None


def fingerprint(*secrets: str) -> str:
    """A short name that is the same for equal secrets and reveals nothing else without the master key."""
    assert _Keys.fingerprint, "open_vault() comes first"
    digest = hashlib.blake2b(key=_Keys.fingerprint, digest_size=12, person=b"fingerprint")
    for secret in secrets:
        digest.update(len(secret).to_bytes(4, "big") + secret.encode())
    return digest.hexdigest()


def sign(data: bytes) -> bytes:
    """What proves later, under any master key of now, that these bytes come from us: SIGNATURE_BYTES of them."""
    assert _Keys.all, "open_vault() comes first"
    return _mac(_Keys.all[0], data)


def is_signed(data: bytes, signature: bytes) -> bool:
    """Whether the signature is ours, and of these bytes."""
    return any(hmac.compare_digest(_mac(key, data), signature) for key in _Keys.all)


def _mac(key: bytes, data: bytes) -> bytes:
    return hashlib.blake2b(data, key=key, digest_size=SIGNATURE_BYTES, person=b"signature").digest()


class DataKey:
    """A key for one thing that is sealed in many pieces: each costs a tenth of what it would under the master keys.
    `sealed` is the key itself, under the newest master key, to be kept beside the pieces."""

    __slots__ = ("_cipher", "sealed")

    def __init__(self, sealed: str = ""):
        """Draw a key, or open a sealed one. Raises MisconfiguredError when no master key fits."""
        text = base64.b64encode(secrets.token_bytes(DATA_KEY_BYTES)).decode() if not sealed else unseal(sealed)
        self.sealed = sealed or seal(text)
        self._cipher = AESGCM(base64.b64decode(text))

    def seal(self, number: int, data: bytes) -> bytes:
        """Encrypt a piece with authentication. No two pieces may have the same number."""
        return self._cipher.encrypt(number.to_bytes(NONCE_BYTES, "big"), data, None)

    def unseal(self, number: int, sealed: bytes) -> bytes:
        """Decrypt the piece with this number. Raises MisconfiguredError for any other bytes."""
        try:
            return self._cipher.decrypt(number.to_bytes(NONCE_BYTES, "big"), sealed, None)
        except InvalidTag:
            raise MisconfiguredError(["A kept piece was altered, or isn't where it belongs."]) from None


def reseal(sealed: str) -> str:
    """The same secret, sealed under the newest master key."""
    return _opened().rotate(sealed.encode()).decode()


def reseal_rows(table: type[Table]) -> int:
    """Reseal every `sealed` value of a table, and return how many there were. It works on a few rows at a time, since
    the gateway keeps running. A value that no master key opens stays. Needs an app context."""
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
