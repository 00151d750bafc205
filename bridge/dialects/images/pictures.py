"""The pictures of an edit: what says that they are some, by the bytes that they begin with."""

import base64
import binascii
import re

from bridge.conversation.images import Picture
from bridge.errors import InvalidRequest
from bridge.json_types import Json

_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[^;,]*)*?;base64,", re.I | re.ASCII)
_MOST_HEAD = 1024


def read_picture(data: bytes, place: str) -> Picture:
    """A picture. Raises InvalidRequest for what begins like none."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return Picture(data, "image/png")
    if data.startswith(b"\xff\xd8\xff"):
        return Picture(data, "image/jpeg")
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return Picture(data, "image/webp")
    raise _no_picture(f"{place} is no PNG, JPEG or WebP.", place)


def read_mask(data: bytes, place: str) -> Picture:
    """A mask. Raises InvalidRequest for what is no PNG: no other picture says where it can be seen through."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise _no_picture(f"{place} must be a PNG.", place)
    return Picture(data, "image/png")


def decode_reference(value: Json, place: str) -> tuple[bytes, str]:
    """The bytes of a picture that stands in JSON, and the name of its place there. Raises InvalidRequest: nothing is
    fetched here, and no files are kept."""
    url = value.get("image_url") if isinstance(value, dict) else None
    if not isinstance(url, str):
        message = f"{place} must hold the picture as image_url, a data URL: no files are kept here."
        raise InvalidRequest(message, param=place, code="invalid_type")
    place = f"{place}.image_url"
    head = _DATA_URL.match(url, 0, _MOST_HEAD)
    if head is None:
        raise _no_picture(f"{place} must be a base64 data URL: nothing is fetched here.", place)
    try:
        return base64.b64decode(url[head.end() :], validate=True), place
    except (binascii.Error, ValueError):
        raise _no_picture(f"{place} holds no base64.", place) from None


def _no_picture(message: str, place: str) -> InvalidRequest:
    return InvalidRequest(message, param=place, code="invalid_image")
