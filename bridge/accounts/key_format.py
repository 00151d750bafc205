"""What a key looks like: `sk-`, 32 random characters, 6 of checksum; and the digest that is kept of it."""

import hashlib
import secrets
import string
import zlib

PREFIX = "sk-"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_LENGTH, CHECKSUM_LENGTH = 32, 6  # 62^32 is 190 bits


def make_secret() -> str:
    """A new secret."""
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    return PREFIX + body + checksum(body)


def looks_like_key(secret: str) -> bool:
    """Whether prefix, alphabet and checksum are right: a typing error is refused without a look-up."""
    body = secret[len(PREFIX) : -CHECKSUM_LENGTH]
    return (
        len(secret) == len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH
        and secret.startswith(PREFIX)
        and body.isascii()
        and body.isalnum()
        and secret[-CHECKSUM_LENGTH:] == checksum(body)
    )


def checksum(body: str) -> str:
    """CRC-32 of the random part, in base 62."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def digest(secret: str) -> bytes:
    """SHA-256, all that is kept of a secret. It needs no salt and no stretching: the secret is 190 random bits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
