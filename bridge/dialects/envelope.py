"""Seals what a provider wants back of its reasoning, so that a client can carry it: nobody else's passes for ours, and
none of another account's.

It is signed and not encrypted: what providers give out for clients to carry is theirs to protect."""

import base64
import binascii
import hmac

import msgspec

from bridge import vault
from bridge.json_types import JsonObject

PREFIX = "ab1."
_MAC_BYTES = 12


def seal_value(value: JsonObject, account_id: int) -> str:
    """The value in an envelope that only this account can give back."""
    payload = msgspec.json.encode(value)
    return PREFIX + base64.urlsafe_b64encode(_sign(payload, account_id) + payload).decode()


def open_value(text: str, account_id: int) -> JsonObject | None:
    """What is in the envelope; None for anything that isn't ours, was altered, or is another account's."""
    if not text.startswith(PREFIX):
        return None
    try:
        data = base64.b64decode(text[len(PREFIX) :], altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    mac, payload = data[:_MAC_BYTES], data[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _sign(payload, account_id)):
        return None
    value = msgspec.json.decode(payload)
    return value if isinstance(value, dict) else None


def _sign(payload: bytes, account_id: int) -> bytes:
    return bytes.fromhex(vault.fingerprint("envelope", str(account_id), payload.hex()))
