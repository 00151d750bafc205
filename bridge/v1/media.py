"""Checks a request's images, audio and files as far as that needs no network: a URL's scheme and host, and whether
base64 is valid. The provider fetches the URL from its own network: an operator's own server may reach hosts that no
customer should reach."""

import base64
import binascii
import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote

from bridge.conversation.turns import Media
from bridge.errors import InvalidRequest
from bridge.turns import in_slices, rest

MAX_HEAD = 1024  # characters of a data URL before its data
MAX_ADDRESS = 2**14  # characters; browsers and servers take half as many
MAX_PORT = 65_535
SLICE = 2**20  # characters of base64 checked before others run
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BLANKS = "\r\n\t "  # some break lines with these
_DATA_URL = re.compile(r"data:([\w.+/-]*)(?:;[^;,]*)*?;base64(?:;[^;,]*)*,", re.I | re.ASCII)
_AUTHORITY = re.compile(r"https?://([^/?#\\]*)(.?)", re.I | re.ASCII)
_PORT = re.compile(r":\d{0,5}", re.ASCII)
_NUMBER = re.compile(r"0x[0-9a-f]*|\d+", re.I | re.ASCII)
_NAME = re.compile(r"[\w-]+(\.[\w-]+)+", re.ASCII)
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
_UNTYPED = ("", "application/octet-stream")
# Names that mean the machine itself or its neighbours, wherever they are resolved.
_NEAR = ("localhost", "local", "internal", "localdomain", "lan", "intranet", "home.arpa")
_EMBEDDING = (  # networks whose addresses contain an IPv4 address, and how many bits follow it
    (ipaddress.IPv6Network("::/96"), 0),
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),
    (ipaddress.IPv6Network("64:ff9b:1::/48"), 0),
    (ipaddress.IPv6Network("2002::/16"), 80),
)


def check_media(media: Sequence[Media]) -> None:
    """Raises InvalidRequest for a picture, sound or file that no provider is to be sent."""
    for one in in_slices(media):
        if one.media_type:
            _check_base64(one)
        elif one.kind == "image":
            _check_picture(one.source, one.source_place)
        elif one.kind == "audio":
            _check_sound(one)
        elif one.linked:
            _check_link(one)
        elif not one.stored:  # which is refused with words of its own
            _check_file(one)


def _check_base64(media: Media) -> None:
    """Base64 of a type that its client names beside it."""
    if media.kind == "image" and not media.media_type.lower().startswith("image/"):
        raise _no_picture(media.source_place, "is no picture by its type")
    if not is_base64(media.source, 0):
        param = media.source_place
        raise InvalidRequest(f"{param} holds no base64.", param=param, code="invalid_value")


def _check_picture(url: str, place: str) -> None:
    if url[:5].lower() == "data:":
        head = _DATA_URL.match(url, 0, MAX_HEAD)
        if head is None:
            raise _no_picture(place, "is no base64 data URL")
        kind, start = head.group(1).lower(), head.end()
        if not kind.startswith("image/") and not (kind in _UNTYPED and _looks_like_a_picture(url, start)):
            raise _no_picture(place, "is no picture by its type")
        if not is_base64(url, start):
            raise _no_picture(place, "holds no base64")
    elif not is_public_address(url):
        raise _no_picture(place, "is neither a data URL nor the http(s) URL of a public host")


def _check_link(media: Media) -> None:
    if not is_public_address(media.source):
        param = media.source_place
        message = f"{param} is not the http(s) URL of a public host. Send the document itself, as base64."
        raise InvalidRequest(message, param=param, code="invalid_value")


def _looks_like_a_picture(url: str, start: int) -> bool:
    try:
        return base64.b64decode(url[start : start + 8]).startswith(_SIGNATURES)
    except (binascii.Error, ValueError):
        return False


def _no_picture(place: str, why: str) -> InvalidRequest:
    message = f"{place} {why}. Send the picture as data:image/png;base64,… or as a URL that anybody can open."
    return InvalidRequest(message, param=place, code="invalid_image")


def _check_sound(media: Media) -> None:
    if not is_base64(media.source, 0):
        param = f"{media.source_place}.data"
        raise InvalidRequest(f"{param} must be the sound in base64.", param=param, code="invalid_value")
    if not media.sound_format.isalnum():
        param = f"{media.source_place}.format"
        raise InvalidRequest(f"{param} must be the sound's format: wav or mp3.", param=param, code="invalid_value")


def _check_file(media: Media) -> None:
    data, start = media.source, 0
    if data[:5].lower() == "data:":
        head = _DATA_URL.match(data, 0, MAX_HEAD)
        start = head.end() if head else len(data)
    if not is_base64(data, start):
        param = media.source_place
        message = f"{param} must be the file itself: a base64 data URL such as data:application/pdf;base64,…."
        raise InvalidRequest(message, param=param, code="invalid_value")


def is_base64(text: str, start: int) -> bool:
    """Whether the text is base64 from `start` on: at least one letter, line breaks allowed, padded correctly if at
    all."""
    blanks = sum(text.count(blank, start) for blank in _BLANKS)
    tail = "".join(text[max(start, len(text) - 8) :].split())
    padding = len(tail) - len(tail.rstrip("="))
    letters = len(text) - start - blanks - padding
    if letters < 1 or padding > 2 or (letters % 4 == 1 if not padding else (letters + padding) % 4):
        return False
    left = 0
    for place in range(start, len(text), SLICE):
        if place > start:
            rest()
        others = text[place : place + SLICE].encode().translate(None, _LETTERS + b"\r\n\t ")
        left += len(others)
        if left > padding or others.strip(b"="):
            return False
    return left == padding


def is_public_address(url: str) -> bool:
    """Whether the text is an http(s) URL with a host that is neither the reader's own machine nor its network. The
    reader may normalise the host as a browser does: percent signs, other scripts' digits, numbers in any base."""
    found = _AUTHORITY.match(url) if len(url) <= MAX_ADDRESS else None
    if found is None or found.group(2) == "\\" or any(sign <= " " or sign == "\x7f" for sign in url):
        return False
    host = unicodedata.normalize("NFKC", unquote(found.group(1))).lower()
    if "@" in host or any(sign in host for sign in "/?#\\% "):
        return False  # readers differ on what is before the @
    if host.startswith("["):
        address, closed, port = host[1:].partition("]")
        return bool(closed) and (not port or _PORT.fullmatch(port) is not None) and _is_public_ipv6(address)
    host, colon, port = host.partition(":")
    if colon and (_PORT.fullmatch(colon + port) is None or int(port or 0) > MAX_PORT):
        return False
    try:
        host = host.encode("idna").decode().removesuffix(".")  # this also removes invisible characters
    except UnicodeError:
        return False
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _is_public_ipv4(labels)
    if any(host == name or host.endswith(f".{name}") for name in _NEAR):
        return False
    return _NAME.fullmatch(host) is not None


def _is_public_ipv4(labels: list[str]) -> bool:
    """One to four numbers, decimal, octal or hexadecimal; the last one covers all remaining bytes."""
    try:
        numbers = [_read_number(label) for label in labels]
    except ValueError:
        return False
    *first, last = numbers
    if len(first) > 3 or any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        return False
    value = last + sum(number << (8 * (3 - place)) for place, number in enumerate(first))
    return _is_public(ipaddress.IPv4Address(value))


def _read_number(label: str) -> int:
    if not _NUMBER.fullmatch(label):
        raise ValueError
    if label[:2].lower() == "0x":
        return int(label[2:] or "0", 16)
    return int(label, 8) if label[0] == "0" and len(label) > 1 else int(label)


def _is_public_ipv6(text: str) -> bool:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    if address.scope_id:
        return False
    for network, behind in _EMBEDDING:
        if address in network:
            return _is_public(ipaddress.IPv4Address((int(address) >> behind) & 0xFFFFFFFF))
    return _is_public(address) and not address.teredo


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved
