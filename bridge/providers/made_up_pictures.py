"""The sandbox's pictures: stripes of colours that the prompt's words choose, the same for the same prompt."""

import binascii
import struct
import zlib
from collections.abc import Iterator
from hashlib import blake2b

import msgspec

from bridge.json_types import Json, JsonObject

SIDE = 64  # pixels, whatever size was asked for: it is to be small
TOKENS = 196  # of each picture
_STRIPES = 8


def draw_pieces(body: JsonObject) -> Iterator[bytes]:
    """The answer to a request in OpenAI's dialect, whole or as a stream."""
    if not body.get("stream"):
        yield answer_images(body)
        return
    for place in range(int(body.get("partial_images") or 0)):
        shown = {**describe(), "partial_image_index": place, "b64_json": encode_picture("unfinished", place)}
        yield _event("partial_image", shown)
    usage = count(body, 1)
    yield _event("completed", {**describe(), "b64_json": encode_picture(body["prompt"], 0), "usage": usage})


def _event(name: str, picture: JsonObject) -> bytes:
    return b"data: " + msgspec.json.encode({"type": f"image_generation.{name}", "created_at": 1, **picture}) + b"\n\n"


def answer_images(body: JsonObject) -> bytes:
    """The answer in one piece."""
    pictures = [{"b64_json": encode_picture(body["prompt"], place)} for place in range(body.get("n") or 1)]
    return msgspec.json.encode({"created": 1, "data": pictures, **describe(), "usage": count(body, len(pictures))})


def describe() -> JsonObject:
    """What such an answer says of its pictures."""
    return {"background": "opaque", "output_format": "png", "quality": "low", "size": f"{SIDE}x{SIDE}"}


def count(body: JsonObject, pictures: int) -> JsonObject:
    """Its usage: a token a word, and the same of each picture."""
    read: int = max(1, len(body["prompt"].split()))
    seen: int = TOKENS * body.get("pictures", 0)
    details = {"text_tokens": read, "image_tokens": seen}
    drawn = TOKENS * pictures
    totals = {"input_tokens": read + seen, "output_tokens": drawn, "total_tokens": read + seen + drawn}
    return {**totals, "input_tokens_details": details}


def encode_picture(prompt: Json, place: int) -> str:
    """The picture at this place as base64."""
    return binascii.b2a_base64(draw(f"{prompt}\0{place}"), newline=False).decode()


def draw(seed: str) -> bytes:
    """A PNG of stripes."""
    colours = blake2b(seed.encode(errors="replace"), digest_size=3 * _STRIPES).digest()
    row = b"".join(colours[3 * stripe : 3 * stripe + 3] * (SIDE // _STRIPES) for stripe in range(_STRIPES))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    data = zlib.compress((b"\0" + row) * SIDE)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
