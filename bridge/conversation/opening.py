"""How a conversation begins: what stays the same of it while it grows."""

from collections.abc import Iterable

from bridge.conversation.turns import Media, Part, Result, Text, Turn

OPENING_MESSAGES = 4  # with the first that a user wrote, or without


def read_opening(turns: Iterable[Turn], most_characters: int) -> str:
    """What a conversation begins with, up to the first thing that its user said; so many characters of each message."""
    found = []
    for turn in turns:
        found.append(_read_first(turn.parts)[:most_characters])
        if _is_users(turn) or len(found) == OPENING_MESSAGES:
            break
    return "\0".join(found)


def _is_users(turn: Turn) -> bool:
    """Whether a user speaks in this turn, and not only tools."""
    return turn.role == "user" and any(not isinstance(part, Result) for part in turn.parts)


def _read_first(parts: Iterable[Part]) -> str:
    """The first part that says something: a text, or a picture by its address."""
    for part in parts:
        if isinstance(part, Result):
            said = _read_first(part.parts)
        elif isinstance(part, Media):
            said = part.source if part.kind == "image" else ""
        else:
            said = part.text if isinstance(part, Text) and not part.refusal else ""
        if said:
            return said
    return ""
