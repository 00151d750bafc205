"""The envelope in which clients carry what a provider wants back of its reasoning: they see a text that means nothing
to them, and give it back word for word.

It is signed under the master key and bound to the account, so whoever alters it, or hands in another account's, has
handed in nothing. It is not encrypted: what is inside is the provider's own, and meant for whoever got the answer. See
docs/decisions/envelope.md."""

import base64
import binascii

import msgspec

from bridge import vault
from bridge.json_types import JsonObject

PREFIX = "ab1."
_decode = msgspec.json.Decoder(dict[str, object]).decode


def seal_value(value: JsonObject, account_id: int) -> str:
    """The value as a text that only this account can give back."""
    payload = msgspec.json.encode(value)
    signature = vault.sign(_bind(payload, account_id))
    return PREFIX + base64.urlsafe_b64encode(signature + payload).decode().rstrip("=")


def open_value(text: str, account_id: int) -> JsonObject | None:
    """The value; None for what isn't ours, was altered, or is another account's."""
    if not is_ours(text):
        return None
    letters = text[len(PREFIX) :]
    try:
        data = base64.b64decode(letters + "=" * (-len(letters) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    signature, payload = data[: vault.SIGNATURE_BYTES], data[vault.SIGNATURE_BYTES :]
    if not vault.is_signed(_bind(payload, account_id), signature):
        return None
    return _decode(payload)


def is_ours(text: str) -> bool:
    """Whether the text looks like an envelope, whatever is in it."""
    return text.startswith(PREFIX)


def _bind(payload: bytes, account_id: int) -> bytes:
    return b"envelope\0%d\0%b" % (account_id, payload)
