"""From the bytes of a body to one JSON object that reads the same everywhere, or a 400 that says what is wrong.

msgspec checks the syntax, UTF-8 and surrogates. What it lets pass, and two JSON readers could understand differently,
is found here by one walk that costs less than the parsing: depth, integers beyond 64 bits, repeated keys."""

import json
import re
from typing import Any, TypeVar

import msgspec
from gevent import get_hub

from bridge.errors import InvalidRequest

MAX_DEPTH = 64
MAX_CONTAINERS = 65_536  # objects and arrays: what is cheap to send must not be dear to read
# A hundred numbers in each of 4,096 messages pass, and thirty keys: to read as many takes some fifty milliseconds.
MAX_VALUES, MAX_KEYS = 2**19, 2**17
LEAST_HEAVY_BYTES = 5 * MAX_KEYS  # what is smaller can't hold that many
_NO_MARKS = bytes(set(range(256)) - set(b'",:'))
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**63 - 1
_FIND_ESCAPED_COLON = re.compile(rb"\\u003").search  # quicker than the operator `in`
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_FIELD = re.compile(r"(?:missing required|unknown) field `([^`]*)`")

T = TypeVar("T")


class _Messages(msgspec.Struct):
    messages: msgspec.Raw


_decode_messages = msgspec.json.Decoder(_Messages).decode


def read_object(data: bytes, sought: str = "") -> tuple[dict[str, Any], bool]:
    """The JSON object in `data`, and whether one of its texts is `sought`, however JSON spells it. Raises
    InvalidRequest (`invalid_json`) for anything else."""
    if not data.strip():
        raise InvalidRequest("The body is empty: send a JSON object.", code="invalid_json")
    if len(data) > LEAST_HEAVY_BYTES:
        _refuse_heavy(data)
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    colons, found = _look_through(body, sought)
    # a repeated key is lost in parsing, and its colon with it; only one spelt as an escape needs the slow way
    if data.count(b":") != colons or _FIND_ESCAPED_COLON(data):
        _refuse_repeated_keys(data)
    return body, found


def _refuse_heavy(data: bytes) -> None:
    """Refuse more values or keys than can be read without making others wait, before any of them is made. Counting the
    separators tells nearly always; where there are many, a thread counts those outside of texts."""
    if data.count(b",") <= MAX_VALUES and data.count(b":") <= MAX_KEYS:
        return
    values, keys = get_hub().threadpool.apply(count_separators, (data,))
    if values > MAX_VALUES or keys > MAX_KEYS:
        raise InvalidRequest(
            f"The body holds more than {MAX_VALUES} values or {MAX_KEYS} keys: send less at once.", code="invalid_json"
        )


def count_separators(data: bytes) -> tuple[int, int]:
    """The commas and colons of a JSON text that stand outside of its strings. Of more strings than a body may have,
    none is looked at: those count as values and keys then."""
    marks = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
    strings = marks.count(b'"') // 2
    if strings > MAX_VALUES + MAX_KEYS:
        return strings, strings
    outside = b"".join(marks.split(b'"')[::2])
    return outside.count(b","), outside.count(b":")


def find_messages(data: bytes) -> msgspec.Raw:
    """The bytes of `messages` in what `read_object` has read: to pass them on costs less than to write them again, and
    leaves them as they are."""
    return _decode_messages(data).messages


def _refuse_repeated_keys(data: bytes) -> None:
    try:
        json.loads(data, object_pairs_hook=_unique)
    except RecursionError:  # what a repeated key hid may be deeper than this reader can follow
        raise _too_deep() from None


def _look_through(body: dict[str, Any], sought: str) -> tuple[int, bool]:
    """How many colons it takes to write this: one for each key, and those within texts; and whether a text is `sought`.
    One walk, in which depth and integers are checked as well: a walk costs by the number of values, and most of a large
    body is a few long texts."""
    colons, containers, found = 0, 1, False
    waiting: list[tuple[Any, int]] = [(body, 1)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _too_deep()
        if type(node) is dict:
            colons += len(node)
            for key in node:
                if ":" in key:
                    colons += key.count(":")
            values = node.values()
        else:
            values = node
        if containers > MAX_CONTAINERS:
            raise InvalidRequest(f"The body holds more than {MAX_CONTAINERS} objects and arrays.", code="invalid_json")
        for value in values:
            kind = type(value)
            if kind is str:
                if ":" in value:
                    colons += value.count(":")
                elif value == sought:
                    found = True
            elif kind is dict or kind is list:
                waiting.append((value, depth + 1))
                containers += 1
            elif kind is int and not LEAST_INTEGER <= value <= MOST_INTEGER:
                raise InvalidRequest("The body holds an integer of more than 64 bits.", code="invalid_json")
    return colons, found


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep.", code="invalid_json")


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
