"""Whom a request was for, in its customer's own words: an end user and tags. This is the one rule for both."""

import re
import unicodedata

import msgspec

from bridge.errors import InvalidRequest

MAX_END_USER, MAX_TAG, MAX_TAGS = 256, 64, 8  # characters
TAGS_HEADER = "x-bridge-tags"
# Characters that a database can't keep, that break a line, or that turn the text around them on a page.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_NAME = re.compile(r"[a-z0-9_.-]+")
_TAG_EXAMPLE = "Write name=value pairs with commas between them, such as project=search, env=prod."


class Labels(msgspec.Struct, frozen=True, gc=False):
    """`tags` are `name=value`, each name once, sorted."""

    end_user: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def encoded_tags(self) -> str | None:
        """The tags as a JSON array; None if there are none. No tag has a character that JSON escapes."""
        return msgspec.json.encode(self.tags).decode() if self.tags else None


NO_LABELS = Labels()


def read_end_user(value: object, param: str) -> str | None:
    """An end user as it is kept, and None for a blank one. Texts that Unicode holds to be the same are the same.

    Raises InvalidRequest, which names the field."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} must be a string, or be left out.", param=param, code="invalid_type")
    text = _normalise(value, param)
    if len(text) > MAX_END_USER:
        raise InvalidRequest(
            f"{param} is too long: {len(text)} characters. Use at most {MAX_END_USER}, such as an id or a hash.",
            param=param,
            code="invalid_value",
        )
    return text or None


def read_tags(header: str) -> tuple[str, ...]:
    """The tags of a header as HTTP servers give it: its bytes as Latin-1. Names are read in lower case, and empty
    elements of the list are none. Raises InvalidRequest, which names the header."""
    try:
        text = header if header.isascii() else header.encode("latin-1").decode()
    except UnicodeError:
        raise _refuse("must be UTF-8") from None
    found: dict[str, str] = {}
    for element in _normalise(text.replace("\t", " "), TAGS_HEADER).split(","):
        if not (element := element.strip()):
            continue
        name, value = _read_tag(element)
        if name in found:
            raise _refuse(f"has {name} twice: give each name once")
        found[name] = value
    if len(found) > MAX_TAGS:
        raise _refuse(f"has {len(found)} tags: give at most {MAX_TAGS}")
    return tuple(sorted(f"{name}={value}" for name, value in found.items()))


def split_tags(encoded: str | None) -> dict[str, str]:
    """Kept tags, by their names."""
    tags: list[str] = msgspec.json.decode(encoded) if encoded else []
    return {name: value for name, _, value in (tag.partition("=") for tag in tags)}


def _read_tag(element: str) -> tuple[str, str]:
    name, equals, value = element.partition("=")
    name, value = name.strip().lower(), value.strip()
    shown = element[:MAX_TAG]
    if not equals or not value:
        raise _refuse(f"has {shown!r}, which is no name=value")
    if not _NAME.fullmatch(name):
        raise _refuse(f"has {shown!r}: a name is made of letters, digits, '_', '-' and '.'")
    if '"' in value or "\\" in value:
        raise _refuse(f"has {shown!r}: leave out quotes and backslashes")
    if len(name) + 1 + len(value) > MAX_TAG:
        raise _refuse(f"has {shown!r}…, which is too long: a tag has at most {MAX_TAG} characters")
    return name, value


def _normalise(text: str, param: str) -> str:
    """The text in Unicode's composed form, without blanks around it."""
    if _UNFIT.search(text):
        message = f"{param} has a control character. Leave it out."
        raise InvalidRequest(message, param=param, code="invalid_value")
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).strip()


def _refuse(what: str) -> InvalidRequest:
    return InvalidRequest(f"{TAGS_HEADER} {what}. {_TAG_EXAMPLE}", param=TAGS_HEADER, code="invalid_value")
