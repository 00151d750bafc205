"""From the bytes of a body to one JSON object that reads the same everywhere, or a 400 that says what is wrong.

msgspec checks the syntax, UTF-8 and surrogates. What it lets pass, and two JSON readers could understand differently,
is found here by a few scans that cost little beside the parsing: depth, integers beyond 64 bits, repeated keys."""

import json
import re
from typing import Any, TypeVar

import msgspec

from bridge.errors import InvalidRequest

MAX_DEPTH = 64
INT64 = range(-(2**63), 2**63)
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"{}[]'))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")  # the parser sees to it that they match
_STRINGS = re.compile(rb'"[^"]*"')
_LONG_INTEGER = re.compile(rb"\d{19}")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_FIELD = re.compile(r"(?:missing required|unknown) field `([^`]*)`")

T = TypeVar("T")


def read_object(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`. Raises InvalidRequest (`invalid_json`) for anything else."""
    if not data.strip():
        raise InvalidRequest("The body is empty: send a JSON object.", code="invalid_json")
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _is_deeper(data, MAX_DEPTH):
        raise InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json")
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    if _LONG_INTEGER.search(data) and not _fits_int64(body):
        raise InvalidRequest("The body holds an integer of more than 64 bits.", code="invalid_json")
    _refuse_repeated_keys(data, body)
    return body


def _is_deeper(data: bytes, limit: int) -> bool:
    """Without escapes and strings only brackets are left; each round takes one level of innermost pairs out."""
    bare = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = _STRINGS.sub(b"", bare.translate(_ONE_KIND, _NOT_STRUCTURE))
    for _ in range(limit):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _fits_int64(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_fits_int64(item) for item in value.values())
    if isinstance(value, list):
        return all(_fits_int64(item) for item in value)
    return not isinstance(value, int) or value in INT64


def _refuse_repeated_keys(data: bytes, body: dict[str, Any]) -> None:
    """A repeated key is lost in parsing, and its colon with it: written again, the body has fewer of them. Only a body
    that spells a colon as an escape needs the slow way."""
    try:
        written = msgspec.json.encode(body)
    except UnicodeEncodeError:
        raise InvalidRequest("The body holds half of a surrogate pair.", code="invalid_json") from None
    if data.count(b":") == written.count(b":") and b"\\u003" not in data:
        return
    json.loads(data, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidRequest(f"The body names the key {key[:64]!r} twice.", code="invalid_json")
        seen.add(key)


def convert(body: dict[str, Any], type_: type[T]) -> T:
    """The body as a typed request. Raises InvalidRequest whose `param` is the field, such as `messages[2].content`."""
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None


def explain(text: str) -> InvalidRequest:
    """msgspec's complaint as ours: its path becomes `param`, its kind the code."""
    path = _PATH.search(text)
    param = path.group(1) if path else ""
    message = _PATH.sub("", text).replace("`", "")
    field = _FIELD.search(text)
    if field:
        param = f"{param}.{field.group(1)}".lstrip(".")
        return InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
    code = "invalid_type" if message.startswith("Expected") and "got" in message else "invalid_value"
    return InvalidRequest(f"{param}: {message}." if param else f"{message}.", param=param or None, code=code)
