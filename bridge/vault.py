"""Seals and opens provider keys under the master keys (FERNET_KEYS, newest first), which live outside the database."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from bridge.errors import MisconfiguredError

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
