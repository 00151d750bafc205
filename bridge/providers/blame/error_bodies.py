"""What is said in an upstream's error body, wherever it stands in it, whoever wrapped it.

Providers, and the gateways and servers in front of them, agree on no place: `error.message`, `error` as a text,
`message`, `detail` as a text or as FastAPI's list, `errors`, a list at the root, another provider's answer as JSON
within a text. HTML and plain texts say nothing: they are an edge's, not the provider's."""

import ast
import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from bridge.json_types import Json, JsonObject

MAX_TEXT = 2000
MAX_NESTED = 16_000  # of a text that holds another body
MOST_SAID = 12
MOST_CHARACTERS = 2500  # of all complaints: a hostile body is not to hold the event loop
MOST_DEPTH = 8
# Where one body holds another, or its list of complaints.
_HOLDERS: tuple[str, ...] = (
    "error",
    "errors",
    "detail",
    "details",
    "message",
    "msg",
    "raw",
    "body",
    "response",
    "innererror",
    "cause",
)
_HOLDERS += ("metadata", "base_resp", "exception", "original", "upstream_error", "provider_error")
_MESSAGES: tuple[str, ...] = (
    "message",
    "msg",
    "error_message",
    "error_msg",
    "errormessage",
    "detail",
    "status_msg",
    "error",
    "raw",
)
_MESSAGES += ("title", "description", "error_description")
_CODES = ("code", "error_code", "errorcode", "__type", "err_code")
_KINDS = ("type", "status", "reason")
# What gateways and SDKs put before the provider's own words.
_WRAPPERS = re.compile(
    r"\s*(?:(?:litellm\.)?[A-Za-z_.]{0,60}(?:Error|Exception)(?: ?[-:] |: ?)|"
    r"An error occurred \(\w{1,60}\) when calling the \w{1,60} operation(?: \([^)]{0,60}\))?: ?|<\d{3}> ?|"
    r"\[[a-z]{1,30}(?:_[a-z]{1,30}){1,5}\] ?|"
    r"InternalError\.[\w.]{1,60}: ?|[A-Z]+(?:_[A-Z]+)+: ?|"
    r"(?:HTTP )?(?:[Ee]rror )?(?:code: ?)?[45]\d{2}(?: [A-Z][A-Za-z ]{0,30})?(?: ?[:,-] ?)|[45]\d{2} (?=[{\[`\"A-Z])|"
    r"(?i:(?:the )?(?:upstream )?provider (?:has )?returned (?:an )?error[:.,-]? ?|bad request to \w{1,30}: ?|"
    r"(?:open ?router|upstream|api|provider|server|client|ollama|mistral|vertex|bedrock|llm request rejected|"
    r"invalid request|bad request|error)(?: error)?: ?)|`(?=\w))"
)
_QUOTED_PAIR = re.compile(
    r"['\"](message|msg|code|type|param|status)['\"]\s{0,3}:\s{0,3}(?:'([^']{1,2000})'|\"([^\"]{1,2000})\")"
)


class Said(NamedTuple):
    """One complaint in a provider's own words; "" or None for what it doesn't say. `place` is FastAPI's `loc`: where
    in the request the fault is."""

    code: str
    kind: str
    message: str
    param: str | None
    place: tuple[Json, ...] = ()


def list_said(data: bytes) -> list[Said]:
    """All complaints in a body, the outermost first; none where it holds none. Never raises."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    return list_said_in(body)


def find_error(data: bytes) -> JsonObject:
    """The outermost `error` object of a body; {} where there is none. Never raises."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return {}
    error = body.get("error")
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else body  # some put the error's fields at the top


def list_said_in(body: Json) -> list[Said]:
    """The same of a decoded body."""
    found: list[Said] = []
    left = MOST_CHARACTERS
    for said in _walk(body, 0):
        if said not in found and len(found) < MOST_SAID:
            found.append(said._replace(message=said.message[:left]))
            left -= len(said.message)
        if left <= 0:
            break
    return found


def unwrap(text: str) -> str:
    """The provider's own words, without what gateways and SDKs have put before them."""
    place = 0
    for _ in range(8):
        found = _WRAPPERS.match(text, place)
        if not found or found.end() == place:
            break
        place = found.end()
    return text[place:].lstrip()


def text_of(value: Json) -> str:
    """A text from an upstream, of bounded length; "" for whatever is none."""
    return value[:MAX_TEXT].replace("\0", "") if isinstance(value, str) else ""  # NUL is no text for PostgreSQL


def _walk(value: Json, depth: int) -> Iterator[Said]:  # noqa: C901 - a branch for each shape of JSON
    if depth > MOST_DEPTH:
        return
    if isinstance(value, str):
        yield from _read_text(value, depth)
    elif isinstance(value, list):
        for item in value[:MOST_SAID]:
            yield from _walk(item, depth + 1)
    elif isinstance(value, dict):
        fields = {key.lower(): item for key, item in list(value.items())[:60] if isinstance(key, str)}
        own = _read_fields(fields)
        if own.message or own.code or own.kind:
            yield own
        for key in dict.fromkeys((*_HOLDERS, *_MESSAGES)):
            held = fields.get(key)
            if isinstance(held, dict | list) or (isinstance(held, str) and "{" in held):
                yield from _walk(held, depth + 1)
        for choice in _list_of(fields.get("choices")):  # never what a model said: only what failed in its place
            if isinstance(choice, dict) and choice.get("error"):
                yield from _walk({"error": choice["error"]}, depth + 1)


def _read_fields(fields: JsonObject) -> Said:
    message = next((text for key in _MESSAGES if (text := text_of(fields.get(key)).strip())), "")
    code = next((word for key in _CODES if (word := _word_of(fields.get(key)))), "")
    kind = next((word for key in _KINDS if (word := text_of(fields.get(key)))), "")
    param = fields.get("param")
    place = fields.get("loc")
    return Said(
        code,
        kind,
        message,
        param if isinstance(param, str) and 0 < len(param) < 200 else None,
        tuple(place[:20]) if isinstance(place, list | tuple) else (),
    )


def _read_text(text: str, depth: int) -> Iterator[Said]:
    """What a text says: itself, or the body that it holds from its first word on."""
    text = text[:MAX_NESTED].replace("\0", "")
    inner = unwrap(text)
    if inner[:2] in ("b'", 'b"'):
        inner = inner[2:]
    if inner[:1] not in ("{", "["):
        if text.strip():
            yield Said("", "", text[:MAX_TEXT].strip(), None)
        return
    held = _decode_nested(inner)
    if isinstance(held, dict | list):
        yield from _walk(held, depth + 1)
    else:
        pairs = {name: single or double for name, single, double in reversed(_QUOTED_PAIR.findall(inner[:MAX_TEXT]))}
        yield _read_fields(pairs)


def _decode_nested(text: str) -> Json:
    """JSON at the text's beginning, or Python's way of writing the same; None for what is neither, or cut off."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except (ValueError, RecursionError):
        pass
    end = max(text.rfind("}"), text.rfind("]"))
    try:
        return ast.literal_eval(text[: end + 1])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _word_of(value: Json) -> str:
    return str(value) if type(value) is int and abs(value) < 10**9 else text_of(value)


def _list_of(value: Json) -> list[Json]:
    return value[:MOST_SAID] if isinstance(value, list) else []
