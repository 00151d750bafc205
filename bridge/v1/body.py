"""Turns a body's bytes into one JSON object that every reader understands the same, or a 400 that says what is wrong.

msgspec checks the syntax, UTF-8 and surrogates. It lets some things pass that two JSON readers could understand
differently: depth, integers beyond 64 bits, repeated keys. One walk finds these, and costs less than the parsing."""

import json
import re
from typing import TypeVar

import msgspec

from bridge.errors import InvalidRequest
from bridge.json_types import Json, JsonObject
from bridge.turns import LARGE_BYTES, by_size

MAX_DEPTH = 64
MAX_CONTAINERS = 65_536  # objects and arrays: cheap to send must not be expensive to read
# A hundred numbers in each of 4,096 messages pass, and thirty keys: reading that many takes some fifty milliseconds.
MAX_VALUES, MAX_KEYS = 2**19, 2**17
LEAST_HEAVY_BYTES = 5 * MAX_KEYS  # a smaller body can't hold that many
MAX_EXPONENTS = 2**13  # decoding 1.5e300 takes some seven microseconds, a hundred times the usual
LEAST_SLOW_BYTES = 5 * MAX_EXPONENTS
SAMPLE_BYTES, MOST_RARE = 4096, 80
_EXPONENT = re.compile(rb"[eE][+-]?0*[1-9]\d")
_NO_MARKS = bytes(set(range(256)) - set(b'",:'))
LEAST_INTEGER, MOST_INTEGER = -(2**63), 2**63 - 1
_COLON_ESCAPE = b"\\u003"
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_FIELD = re.compile(r"(?:missing required|unknown) field `([^`]*)`")
_FORMS = {"size": "Send auto, or width and height, such as 1024x1024"}  # what a pattern means, for its reader

T = TypeVar("T")


class _Messages(msgspec.Struct):
    messages: msgspec.Raw


_decode_messages = msgspec.json.Decoder(_Messages).decode


def read_object(data: bytes, sought: str = "") -> tuple[JsonObject, bool]:
    """The JSON object in `data`, and whether one of its texts is `sought`, however JSON spells it. Raises
    InvalidRequest (`invalid_json`) for anything else."""
    if not data.strip():
        raise InvalidRequest("The body is empty: send a JSON object.", code="invalid_json")
    if len(data) > LEAST_HEAVY_BYTES:
        _refuse_heavy(data)
    if len(data) > LEAST_SLOW_BYTES and _count(data, b",") >= MAX_EXPONENTS:
        _refuse_slow(data)
    try:
        body = by_size(len(data), msgspec.json.decode, data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_json")
    colons, found = by_size(len(data), _look_through, body, sought)
    # parsing drops a repeated key and its colon
    written = _count(data, b":")
    if data.rfind(_COLON_ESCAPE) >= 0:  # from behind takes half the time
        written += by_size(len(data), _count_escaped_colons, data)
    if written != colons:
        _refuse_repeated_keys(data)
    return body, found


def _count(data: bytes, mark: bytes) -> int:
    """How often this byte occurs. Where it is rare, as in a long text, removing it is up to fifteen times as fast as
    counting it, since each search for the next one runs at the speed of memory."""
    if len(data) > LARGE_BYTES or data.count(mark, 0, SAMPLE_BYTES) > MOST_RARE:
        return data.count(mark)
    return len(data) - len(data.replace(mark, b""))


def _refuse_heavy(data: bytes) -> None:
    """Refuse more values or keys than can be read without delaying others, before any of them is made. Counting the
    separators nearly always suffices; if there are many, a thread counts those outside of strings."""
    if data.count(b",") <= MAX_VALUES and data.count(b":") <= MAX_KEYS:
        return
    values, keys = by_size(LARGE_BYTES, count_separators, data)
    if values > MAX_VALUES or keys > MAX_KEYS:
        raise InvalidRequest(
            f"The body holds more than {MAX_VALUES} values or {MAX_KEYS} keys: send less at once.", code="invalid_json"
        )


def _refuse_slow(data: bytes) -> None:
    """Refuse more numbers with large exponents than can be read without delaying others."""
    if by_size(LARGE_BYTES, count_exponents, data) > MAX_EXPONENTS:
        raise InvalidRequest(
            f"The body holds more than {MAX_EXPONENTS} numbers with an exponent of two digits or more.",
            code="invalid_json",
        )


def count_exponents(data: bytes) -> int:
    """How many numbers of a JSON text have an exponent of 10 or more, not counting those within its strings."""
    outside = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    return sum(len(_EXPONENT.findall(part)) for part in outside)


def count_separators(data: bytes) -> tuple[int, int]:
    """How many commas and colons of a JSON text are outside of its strings. If it has more strings than a body may
    have, they are not skipped: theirs count too."""
    marks = data.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _NO_MARKS)
    strings = marks.count(b'"') // 2
    if strings > MAX_VALUES + MAX_KEYS:
        return strings, strings
    outside = b"".join(marks.split(b'"')[::2])
    return outside.count(b","), outside.count(b":")


def find_messages(data: bytes) -> msgspec.Raw:
    """The bytes of `messages` in a body that `read_object` has read. Passing them on costs less than writing them
    again, and leaves them unchanged."""
    return by_size(len(data), _decode_messages, data).messages


def _count_escaped_colons(data: bytes) -> int:
    """How many colons are spelt as an escape."""
    plain = data.replace(b"\\\\", b"")  # a backslash that is itself escaped begins no escape
    return plain.count(b"\\u003a") + plain.count(b"\\u003A")


def _refuse_repeated_keys(data: bytes) -> None:
    """Refuse the body, which has a key twice. A large one is not read again to find out which."""
    try:
        if len(data) <= LARGE_BYTES:
            json.loads(data, object_pairs_hook=_unique)
    except RecursionError:  # a value hidden by a repeated key may be too deep for this reader
        raise _too_deep() from None
    raise InvalidRequest("The body names a key of one of its objects twice.", code="invalid_json")


def _look_through(body: JsonObject, sought: str) -> tuple[int, bool]:  # noqa: C901 - one walk: a call for each value would cost more than the value
    """How many colons it takes to write this body: one per key, and those within strings. Also whether a string is
    `sought`. The same walk checks depth and integers, since a walk costs by the number of values, and most of a large
    body is a few long strings."""
    colons, containers, found = 0, 1, False
    waiting: list[tuple[Json, int]] = [(body, 1)]
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


def _unique(pairs: list[tuple[str, Json]]) -> None:
    seen = set()
    for key, _ in pairs:
        if key in seen:
            raise InvalidRequest(f"The body names the key {key[:64]!r} twice.", code="invalid_json")
        seen.add(key)


def convert(body: JsonObject, type_: type[T]) -> T:
    """The body as a typed request. Raises InvalidRequest whose `param` is the field, such as `messages[2].content`."""
    try:
        return msgspec.convert(body, type_)
    except msgspec.ValidationError as error:
        raise explain(str(error)) from None


def explain(text: str) -> InvalidRequest:
    """msgspec's error as ours: its path becomes `param`, its kind the code."""
    path = _PATH.search(text)
    param = path.group(1) if path else ""
    message = _PATH.sub("", text).replace("`", "")
    if "matching regex" in message:
        message = _FORMS.get(param, message)
    field = _FIELD.search(text)
    if field:
        param = f"{param}.{field.group(1)}".lstrip(".")
        return InvalidRequest(f"{param} is required.", param=param, code="missing_required_parameter")
    code = "invalid_type" if message.startswith("Expected") and "got" in message else "invalid_value"
    return InvalidRequest(f"{param}: {message}." if param else f"{message}.", param=param or None, code=code)
