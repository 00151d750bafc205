"""What the fields of a model may hold, for whoever adds or changes one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.catalogue.price_file import INPUT_KINDS
from bridge.conversation.kinds import ENDPOINTS, IMAGES, writes_tokens
from bridge.errors import InvalidRequest
from bridge.providers.openai.wires import WIRES

MAX_TOKENS = 10**9
MOST_CHARACTERS = 128
MOST_NOTE = 300
AS_NAMED = "auto"  # the wire of a model for which operators chose none


def check_kinds(kinds: Sequence[str]) -> list[str]:
    """The kinds in our order, each once. Raises InvalidRequest."""
    if not kinds or not set(kinds) <= ENDPOINTS.keys():
        raise InvalidRequest(f"A model takes one or several of {', '.join(ENDPOINTS)}.", param="kinds")
    return [kind for kind in ENDPOINTS if kind in kinds]


def find_most_output(kinds: Sequence[str], most: int | None, context_tokens: int) -> int:
    """The longest answer of a model of these kinds. If no limit is known, the context window bounds it. Raises
    InvalidRequest."""
    if not writes_tokens(kinds):
        return 0
    found = context_tokens if most is None else most
    check_tokens("max_output_tokens", found, context_tokens)
    return found


def check_tokens(field: str, tokens: int, most: int) -> None:
    """Raises InvalidRequest unless it is a whole number from 1 to `most`."""
    if type(tokens) is not int or not 1 <= tokens <= most:
        raise InvalidRequest(f"Must be a whole number from 1 to {most}.", param=field)


def check_columns(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns for these fields of a model. Raises InvalidRequest naming the field."""
    found = {}
    for field, value in fields.items():
        if field not in COLUMNS:
            raise InvalidRequest("A model has no such field.", param=field)
        found[field] = COLUMNS[field](field, value)
    return found


def _check_text(field: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_CHARACTERS or not value.isprintable():
        raise InvalidRequest(f"Give a text of at most {MOST_CHARACTERS} characters.", param=field)
    return value


def _check_note(field: str, value: Any) -> str | None:
    if not isinstance(value, str) or len(value) > MOST_NOTE or not value.isprintable():
        raise InvalidRequest(f"Give a text of at most {MOST_NOTE} characters.", param=field)
    return value or None


def _check_inputs(field: str, value: Any) -> list[str]:
    if not {"text"} <= set(value) <= set(INPUT_KINDS):
        raise InvalidRequest(f"Give some of {', '.join(INPUT_KINDS)}, and text among them.", param=field)
    return [kind for kind in INPUT_KINDS if kind in value]


def _check_count(field: str, value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:
        raise InvalidRequest(f"Give a whole number of tokens from 0 to {MAX_TOKENS}.", param=field)
    return value


def _check_wire(field: str, value: Any) -> str | None:
    if value not in (AS_NAMED, *WIRES):
        raise InvalidRequest(f"OpenAI is asked by {', '.join((AS_NAMED, *WIRES))}.", param=field)
    return None if value == AS_NAMED else str(value)


def _check_flag(_field: str, value: Any) -> bool:
    return bool(value)


# the fields of a model that need no other field to be checked
COLUMNS: dict[str, Callable[[str, Any], Any]] = {
    "name": _check_text,
    "upstream_id": _check_text,
    "note": _check_note,
    "input_modalities": _check_inputs,
    "image_tokens": _check_count,
    "thinks": _check_flag,
    "added_tokens": _check_count,
    "openai_wire": _check_wire,
}


def check_sizes(context_tokens: int, columns: Mapping[str, Any]) -> None:
    """Raises InvalidRequest for what leaves no room in the window."""
    most = context_tokens - 1
    for field in ("image_tokens", "added_tokens"):
        if columns.get(field, 0) > most:
            raise InvalidRequest(f"Give a whole number of tokens from 0 to {most}.", param=field)


def find_modalities(kinds: Sequence[str], known: Sequence[str]) -> list[str]:
    """What a model of these kinds takes: one that draws pictures may be sent some, and its upstream says if not."""
    return [*known, "image"] if IMAGES in kinds and "image" not in known else [*known]
