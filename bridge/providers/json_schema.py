"""JSON schemas for providers that know no references: each is replaced by what it points to."""

from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from bridge.json_types import Json, JsonObject

MAX_DEPTH = 64
MAX_NODES = 5000  # a few nested references can stand for millions of schemas
MAX_ADDED_BYTES = 256 * 1024  # and a few plain ones for one long text, again and again
_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_ONE = frozenset(
    {"items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames"}
    | {"not", "if", "then", "else", "additionalItems"}
)
_MANY = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties", "dependentSchemas")
_DEFINITIONS = ("$defs", "definitions")  # to which nobody refers once they are inlined


class Room:
    """How much longer the schemas of one request may become, all together."""

    def __init__(self, bytes_left: int = MAX_ADDED_BYTES):
        self._bytes_left = bytes_left

    def take(self, size: int) -> bool:
        """Whether there was so much room; then there is that much less."""
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True


def inline_references(schema: JsonObject, room: Room | None = None) -> JsonObject:
    """The schema without `$schema`, and without local references where it has any. `room` is that of the request.

    What refers to itself, and what would become too large, ends in a schema that only says its type; what can't be
    found is left out. The given schema stays as it is."""
    schema = {name: value for name, value in schema.items() if name != "$schema"}
    if not refers(schema):
        return schema
    inlined: JsonObject = _Inliner(schema, room or Room()).inline(schema, (), 0)
    return inlined


def map_schemas(schema: Json, change: Callable[[JsonObject], JsonObject]) -> Json:
    """The schema with `change` made to it and to all schemas within, the inner ones first."""
    if not isinstance(schema, dict):
        return schema
    out: JsonObject = {}
    for name, value in schema.items():
        if name in (*_NAMED, *_DEFINITIONS) and isinstance(value, dict):
            out[name] = {key: map_schemas(one, change) for key, one in value.items()}
        elif name in _MANY and isinstance(value, list):
            out[name] = [map_schemas(one, change) for one in value]
        else:
            out[name] = map_schemas(value, change) if name in _ONE else value
    return change(out)


def refers(value: Json) -> bool:
    """Whether a reference stands anywhere in it: what is written is searched first, for that takes least."""
    return b'"$ref"' in msgspec.json.encode(value) and _finds_reference(value)


def _finds_reference(value: Json) -> bool:
    if isinstance(value, dict):
        return isinstance(value.get("$ref"), str) or any(_finds_reference(one) for one in value.values())
    return isinstance(value, list) and any(_finds_reference(one) for one in value)


class _Inliner:
    def __init__(self, root: JsonObject, room: Room):
        self._root = root
        self._room = room
        self._nodes = 0
        self._sizes: dict[str, int] = {}  # of what is referred to, in bytes

    def inline(self, schema: Json, open_references: tuple[str, ...], depth: int) -> Json:
        """The schema with its references replaced. `open_references` are those that it stands within."""
        if not isinstance(schema, dict):
            return schema  # true and false are schemas too
        self._nodes += 1
        reference = schema.get("$ref")
        if isinstance(reference, str):
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            found = self._find(reference)
            ends = reference in open_references or depth >= MAX_DEPTH or self._nodes > MAX_NODES
            if ends or not self._room.take(self._measure(reference, found)):
                kept = {name: found[name] for name in ("type", "title", "description") if name in found}
                if not self._room.take(len(msgspec.json.encode(kept))):
                    kept = {"type": found["type"]} if found.get("type") in _TYPES else {}
                return {**kept, **self._inline_children(beside, open_references, MAX_DEPTH)}
            schema, open_references = {**found, **beside}, (*open_references, reference)
            if isinstance(schema.get("$ref"), str):  # one that points to another
                return self.inline(schema, open_references, depth + 1)
        return self._inline_children(schema, open_references, depth)

    def _inline_children(self, schema: JsonObject, open_references: tuple[str, ...], depth: int) -> JsonObject:
        out: JsonObject = {}
        for name, value in schema.items():
            if name in _DEFINITIONS:
                continue
            if name in _NAMED and isinstance(value, dict):
                out[name] = {key: self.inline(one, open_references, depth + 1) for key, one in value.items()}
            elif name in _MANY and isinstance(value, list):
                out[name] = [self.inline(one, open_references, depth + 1) for one in value]
            elif name in _ONE:
                out[name] = self.inline(value, open_references, depth + 1)
            else:  # a value: what looks like a reference in it is none
                out[name] = value
        return out

    def _measure(self, reference: str, found: JsonObject) -> int:
        if reference not in self._sizes:
            self._sizes[reference] = len(msgspec.json.encode(found))
        return self._sizes[reference]

    def _find(self, reference: str) -> JsonObject:
        """What a local reference points to; {} for what is elsewhere or nowhere."""
        if not reference.startswith("#"):
            return {}
        place: Json = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict):
                place = place.get(step)
            elif isinstance(place, list) and step.isdecimal() and len(step) < 10 and int(step) < len(place):
                place = place[int(step)]
            else:
                return {}
        return place if isinstance(place, dict) else {}
