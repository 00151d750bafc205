"""What the document says about a value beside its type: descriptions, patterns, bounds. None of this is checked."""

from msgspec import Meta

STAMP = Meta(extra_json_schema={"format": "date-time"})
DOLLARS = "Dollars, a plain decimal of at most nine places."


def whole(description: str = "") -> Meta:
    """A number that is never below zero."""
    return Meta(ge=0, description=description or None)


def text(description: str = "", *, pattern: str | None = None, example: str | None = None) -> Meta:
    return Meta(description=description or None, pattern=pattern, examples=None if example is None else [example])


def dollars(description: str = DOLLARS, places: int = 9) -> Meta:
    """A decimal as a string, since a number would lose digits on its way."""
    return text(description, pattern=rf"^-?\d+(\.\d{{1,{places}}})?$", example="0.000045")


def one_of(*words: str, description: str = "") -> Meta:
    return Meta(description=description or None, extra_json_schema={"enum": list(words)})
