"""Removes a credential from a text that others wrote: a provider that refuses a key likes to quote it, in part or
masked."""

import base64
import re
import string
from urllib.parse import quote

PART = 8  # characters in a row that are no coincidence, if one is a digit or a capital
LONG_PART = 16  # the same without one: keys that people make up are words
TELLING = 4  # characters of a key's end: providers name a key by them
LEAST_KEY = 16  # a shorter key, or its ends, may be an ordinary word
HIDDEN = "…"
_RANDOM = re.compile(r"[0-9A-Z]").search
_WORD = re.compile(r"[a-z]+|[0-9]+")  # a word or a number, which any text may contain
_CHUNK = re.compile(r"\S+")
_SPACE = re.compile(r"\s")
_LAST_WORD = re.compile(r"(?<!\S)\S+\Z")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)  # keeps positions, which lower() doesn't
_MASK = re.compile(r"[*•·xX#_-]{3,}|\.{2,}|…+|\*+|•+|[<\[({](?:redacted|masked|hidden|secret)[>\])}]", re.I)
_WRAPPING = "\"'`“”‘’()[]{}<>.,:;!?="


def conceal(text: str, secret: str) -> str:
    """The text without the secret, whether plain, as base64 or encoded for a URL, and without any telling part of it:
    eight characters in a row, sixteen of a secret that may be made of words, or its ends in a mask or as a word alone.
    The word that contains such a part is removed whole.

    This costs time in proportion to text and secret, so use it for error texts only."""
    if not secret or not text:
        return text
    if len(secret) < PART:  # it could be a part of other words
        return re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", HIDDEN, text)
    for length in (PART, LONG_PART):
        parts = {part for form in _list_forms(secret) for part in _cut(form, length) if length > PART or _RANDOM(part)}
        text = _hide_parts(text, {part.translate(_LOWER) for part in parts}, length)
    if len(secret) < LEAST_KEY:
        return text
    return _CHUNK.sub(lambda found: HIDDEN if _tells(found.group(0), secret) else found.group(0), text)


def _cut(form: str, length: int) -> set[str]:
    """All parts of this length; a shorter text is its only part."""
    return {form[start : start + length] for start in range(max(1, len(form) - length + 1))}


def _hide_parts(text: str, parts: set[str], length: int) -> str:
    """The text without the words that contain one of the parts."""
    length = min(length, min(map(len, parts), default=length))
    lower, kept, done = text.translate(_LOWER), [], 0
    for start in range(len(text) - length + 1):
        if start >= done - length + 1 and lower[start : start + length] in parts:
            if start >= done:
                kept += [_LAST_WORD.sub("", text[done:start]), HIDDEN]
            after = _SPACE.search(text, start + length)
            done = after.start() if after else len(text)
    return "".join([*kept, text[done:]])


def _list_forms(secret: str) -> set[str]:
    """The forms in which the secret may be written, in any case. Base64 depends on the number of preceding bytes modulo
    three; the characters that mix with neighbouring bytes are cut off."""
    data = secret.encode()
    encoded = [base64.b64encode(b"\0" * before + data).decode()[before and before + 1 : -4] for before in range(3)]
    forms = {secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe=""), data.hex(), *encoded}
    forms |= {form.replace("+", "-").replace("/", "_") for form in encoded}
    return forms


def _tells(chunk: str, secret: str) -> bool:
    pieces = re.split(r"[\"'`“”‘’(){}\[\]<>,;:=]", chunk)  # as in `key="sk-..."`
    return any(_is_end(piece.strip(_WRAPPING), secret) or _is_masked(piece, secret) for piece in (chunk, *pieces))


def _is_end(word: str, secret: str) -> bool:
    if len(word) < TELLING or _WORD.fullmatch(word):
        return False
    return secret.startswith(word) or secret.endswith(word)


def _is_masked(piece: str, secret: str) -> bool:
    """Whether the piece contains a mask with an end of the secret beside it."""
    found = list(_MASK.finditer(piece))
    if not found:
        return False
    before, after = piece[: found[0].start()].lstrip(_WRAPPING), piece[found[-1].end() :].rstrip(_WRAPPING)
    starts = len(before) >= 2 and secret.startswith(before)
    return starts or (len(after) >= 2 and secret.endswith(after))
