"""An upstream's own words about its failure, as an operator reads them: whole sentences, without credentials."""

import re

from bridge.providers.blame.error_bodies import list_said

MOST_CHARACTERS = 800
_TAGS = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^<>]{0,500}>", re.S | re.I)
# Every repetition is bounded: a hostile body is not to hold the event loop.
_CREDENTIALS = re.compile(
    r"\b(?:bearer|basic)\s+\S{4,400}|"
    r"\b(?:sk|pk|rk|gsk|xai|key|hf|ghp)[-_][\w*.-]{4,200}|\b(?:AIza|eyJ|AKIA)[\w.-]{8,400}|"
    r"\S{0,40}\*{3,40}\S{0,40}|"  # what the provider has masked in part
    r"(?<=://)[^\s/@]{1,200}@|"
    r"\b(?=\w{0,80}\d)(?=\w{0,80}[a-z])\w{24,200}\b",
    re.I,
)


def quote_error(data: bytes) -> str:
    """What an error's body says, its code before its message; of a page or a bare text the text. "" for nothing."""
    said = [one for one in list_said(data) if one.message or one.code or one.kind]
    if said:
        parts = [": ".join(part for part in (one.code or one.kind, one.message) if part) for one in said]
        text = " · ".join(dict.fromkeys(parts))
    else:
        text = _TAGS.sub(" ", data[: 8 * MOST_CHARACTERS].decode(errors="replace"))
    return _CREDENTIALS.sub("…", " ".join(text.replace("\0", "").split())[: 2 * MOST_CHARACTERS])[:MOST_CHARACTERS]
