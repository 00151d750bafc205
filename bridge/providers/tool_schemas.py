"""Fits a tool's schema to a provider: unions at its root are folded into one object, types go within the branches of a
union, keys of properties follow a rule. The result accepts all that a call could hold before."""

import functools
import re
from collections.abc import Callable

import msgspec
from msgspec import Struct

from bridge.json_types import Json, JsonObject
from bridge.providers.json_schema import Room, inline_references, map_schemas, refers
from bridge.providers.tool_names import NameRule, SafeNames

UNIONS = ("anyOf", "oneOf", "allOf")
MOST_ALTERNATIVES_BYTES = 1000  # told in the description; beyond, the model has to find out by itself
MOST_REMEMBERED_BYTES = 4096  # of a schema: a thousand of them are 4 MiB
# Keywords that mean something in pairs: of two schemas that have some, the later one stands for both.
_PAIRED = frozenset({"if", "then", "else", "contains", "minContains", "maxContains"})
_SAID = frozenset({"title", "description", "default", "examples", "$comment"})  # what asks nothing of a value
_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("object", ("properties", "required", "additionalProperties", "patternProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems")),
    ("string", ("minLength", "maxLength", "pattern", "format")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)
_KIND_OF_VALUE = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}


class ToolRule(Struct, frozen=True):
    """What a provider asks of tools: their names; whether a schema's root has to be one plain object, without the
    keywords of `refused`; whether the branches of a union have to have the types; how properties may be called."""

    names: NameRule
    plain_root: bool = False
    refused: tuple[str, ...] = ()
    typed_branches: bool = False
    keys: NameRule | None = None


class _Shape(Struct):
    """What an object may be: `rest` is what holds for properties that are not named (True: anything); those of
    `partial` are named by some branches alone."""

    properties: JsonObject
    required: list[str]
    rest: Json
    partial: frozenset[str] = frozenset()


def fit_parameters(schema: JsonObject, rule: ToolRule, room: Room) -> JsonObject:
    """The schema by the rule, but for its keys; the very same one where nothing about it has to change."""
    if rule.plain_root:
        return fold_root(schema, rule.refused, room)
    if rule.typed_branches and speaks_of_unions(schema):
        return type_branches(schema)
    return schema


def speaks_of_unions(value: Json) -> bool:
    """Whether a union may stand anywhere in it: what is written is searched, for that takes least."""
    written = msgspec.json.encode(value)
    return b'"anyOf"' in written or b'"oneOf"' in written


def is_plain(schema: JsonObject, refused: tuple[str, ...]) -> bool:
    """Whether its root is that of one object, and no more."""
    if schema.get("type") != "object" or "anyOf" in schema or "oneOf" in schema or "allOf" in schema:
        return False
    return not refused or ("$ref" not in schema and not any(keyword in schema for keyword in refused))


def fold_root(schema: JsonObject, refused: tuple[str, ...], room: Room) -> JsonObject:
    """One plain object for what is a union at its root, or only points to an object."""
    if is_plain(schema, refused):
        return schema
    if not any(keyword in schema for keyword in UNIONS) and not (refused and "$ref" in schema):
        return {**{keyword: value for keyword, value in schema.items() if keyword not in refused}, "type": "object"}
    if refers(schema):
        schema = inline_references(schema, room)
    shape = _read_shape(schema) or _Shape({}, [], True)
    dropped = (*UNIONS, *refused, "properties", "required", "additionalProperties")
    out = {keyword: value for keyword, value in schema.items() if keyword not in dropped}
    out |= {"type": "object", "properties": shape.properties}
    if shape.required:
        out["required"] = shape.required
    if shape.rest is not True:
        out["additionalProperties"] = shape.rest
    if told := _tell_alternatives(schema, shape.required):
        described = schema.get("description")
        out["description"] = f"{described}\n{told}" if isinstance(described, str) and described else told
    return out


def _read_shape(schema: Json) -> _Shape | None:
    """What objects the schema accepts, or somewhat more; None for none at all."""
    if schema is False:
        return None
    if not isinstance(schema, dict):
        return _Shape({}, [], True)
    kinds = schema.get("type")
    if isinstance(kinds, str | list) and "object" not in ([kinds] if isinstance(kinds, str) else kinds):
        return None
    properties, required = schema.get("properties"), schema.get("required")
    rest = schema.get("additionalProperties", True)
    if "patternProperties" in schema or not isinstance(rest, bool | dict):
        rest = True
    shape: _Shape | None = _Shape(
        dict(properties) if isinstance(properties, dict) else {},
        [name for name in required if isinstance(name, str)] if isinstance(required, list) else [],
        rest,
    )
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list) and shape:
            branches = [found for branch in schema[keyword] if (found := _read_shape(branch))]
            shape = _both(shape, _any_of(branches)) if branches else None
    for part in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        found = _read_shape(part)
        shape = _both(shape, found) if shape and found else None
    return shape


def _any_of(shapes: list[_Shape]) -> _Shape:
    """What one of these may be. A property that some of them name is what those say: the others didn't mean it."""
    variants: dict[str, dict[bytes, Json]] = {}
    for shape in shapes:
        for name, schema in shape.properties.items():
            variants.setdefault(name, {}).setdefault(msgspec.json.encode(schema), schema)
    properties = {
        name: next(iter(found.values())) if len(found) == 1 else {"anyOf": [*found.values()]}
        for name, found in variants.items()
    }
    required = [name for name in shapes[0].required if all(name in shape.required for shape in shapes[1:])]
    rests = [shape.rest for shape in shapes if shape.rest is not False]
    rest = False if not rests else rests[0] if all(one == rests[0] for one in rests) else True
    partial = {name for name in properties if not all(name in shape.properties for shape in shapes)}
    return _Shape(properties, required, rest, frozenset(partial.union(*(shape.partial for shape in shapes))))


def _both(one: _Shape, other: _Shape) -> _Shape:
    """What is both. Of a property that one names in some branches alone, what the other says of it holds."""
    properties = dict(one.properties)
    for name, schema in other.properties.items():
        if name not in properties:
            properties[name] = schema
        elif name in one.partial and name in other.partial:
            properties[name] = {"anyOf": [properties[name], schema]}
        elif name in one.partial or name in other.partial:
            properties[name] = schema if name in one.partial else properties[name]
        else:
            properties[name] = _merge(properties[name], schema)
    required = [*one.required, *(name for name in other.required if name not in one.required)]
    rest = other.rest if one.rest is True or other.rest is False else one.rest
    named = {name for name in one.partial if name not in other.properties} | (one.partial & other.partial)
    named |= {name for name in other.partial if name not in one.properties}
    return _Shape(properties, required, rest, frozenset(named))


def _merge(one: Json, other: Json) -> Json:
    """A schema that accepts whatever both accept: their keywords together, unless these contradict each other."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return one if isinstance(one, dict) or one is False else other
    contested = (one.keys() & other.keys()) - _SAID
    if not _PAIRED.isdisjoint({*one, *other}) or any(one[keyword] != other[keyword] for keyword in contested):
        return other
    return {**one, **other}


def _tell_alternatives(schema: JsonObject, required: list[str]) -> str:
    """What a call has to hold besides what all have to, as words: the fold has made it optional."""
    for keyword in ("anyOf", "oneOf"):
        branches = schema.get(keyword)
        shapes = [_read_shape(branch) for branch in branches] if isinstance(branches, list) else []
        needed = [[name for name in shape.required if name not in required] for shape in shapes if shape]
        distinct = list(dict.fromkeys(" and ".join(names) for names in needed))
        told = f"Give {' or '.join(distinct)}."
        if len(distinct) > 1 and all(distinct) and len(told.encode()) <= MOST_ALTERNATIVES_BYTES:
            return told
    return ""


def type_branches(schema: JsonObject) -> JsonObject:
    """The schema with the type of each union in its branches: beside the union Moonshot refuses it."""
    typed: JsonObject = map_schemas(schema, _type_branches)
    return typed


def _type_branches(node: JsonObject) -> JsonObject:
    unions = [keyword for keyword in ("anyOf", "oneOf") if isinstance(node.get(keyword), list)]
    if not unions:
        return node
    kinds = node.get("type")
    if kinds is None:
        kinds = _tell_kind(node)
    node = {keyword: value for keyword, value in node.items() if keyword != "type"}
    for keyword in unions:
        node[keyword] = [_type_branch(branch, kinds) for branch in node[keyword]]
    return node


def _type_branch(branch: Json, kinds: Json) -> Json:
    if not isinstance(branch, dict) or any(keyword in branch for keyword in ("type", "$ref", *UNIONS)):
        return branch
    found = _tell_kind(branch) if kinds is None else kinds
    return branch if found is None else {"type": found, **branch}


def _tell_kind(schema: JsonObject) -> Json:
    """The type that a schema without one speaks of, or None."""
    values = schema["enum"] if isinstance(schema.get("enum"), list) else [schema["const"]] if "const" in schema else []
    kinds = list(dict.fromkeys(_KIND_OF_VALUE.get(type(value), "object") for value in values))
    if kinds and "object" not in kinds:
        return kinds[0] if len(kinds) == 1 else kinds
    found = [kind for kind, keywords in _KINDS if any(keyword in schema for keyword in keywords)]
    return found[0] if len(found) == 1 and not kinds else None


def rename_keys(schema: JsonObject, rule: NameRule, room: Room) -> tuple[JsonObject, SafeNames | None]:
    """The schema with properties called by the rule, and their names; the same schema and None where all are."""
    written = msgspec.json.encode(schema)
    if len(written) <= MOST_REMEMBERED_BYTES and _do_keys_fit(written, rule):
        return schema, None
    keys: list[str] = []
    _note_keys(schema, keys)
    if all(map(rule.fits, keys)):
        return schema, None
    names = SafeNames(keys, rule)
    renamed: JsonObject = map_schemas(inline_references(schema, room), lambda node: _rename_node(node, names))
    return renamed, names


@functools.lru_cache(maxsize=1024)
def _do_keys_fit(written: bytes, rule: NameRule) -> bool:
    """Whether all properties of this schema are called by the rule. An agent sends the same tools again and again."""
    keys: list[str] = []
    _note_keys(msgspec.json.decode(written), keys)
    return all(map(rule.fits, keys))


def _note_keys(value: Json, keys: list[str]) -> None:
    """The names of all properties in a schema; where a value looks like a schema, somewhat more."""
    for keyword, inner in value.items() if type(value) is dict else enumerate(value):
        if type(inner) is dict:
            if keyword == "properties":
                keys += inner
            _note_keys(inner, keys)
        elif type(inner) is list and inner and type(inner[0]) is not str:
            _note_keys(inner, keys)


def _rename_node(node: JsonObject, names: SafeNames) -> JsonObject:
    changed: JsonObject = {}
    for keyword in ("properties", "dependentSchemas", "dependentRequired"):
        if isinstance(node.get(keyword), dict):
            changed[keyword] = {names.write(key): value for key, value in node[keyword].items()}
    needed = changed.get("dependentRequired", {})
    for key, listed in needed.items():
        needed[key] = _rename_listed(listed, names)
    if "required" in node:
        changed["required"] = _rename_listed(node["required"], names)
    return {**node, **changed} if changed else node


def _rename_listed(listed: Json, names: SafeNames) -> Json:
    if not isinstance(listed, list):
        return listed
    return [names.write(name) if isinstance(name, str) else name for name in listed]


def map_keys(value: Json, change: Callable[[str], str]) -> Json:
    """A call's arguments with other keys."""
    if isinstance(value, dict):
        return {change(key): map_keys(one, change) for key, one in value.items()}
    return [map_keys(one, change) for one in value] if isinstance(value, list) else value


def restore_keys(text: str, originals: dict[str, str]) -> str:
    """A call's arguments, as JSON text, with the client's own keys; also of a text that was cut off."""
    try:
        arguments = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        keys = "|".join(re.escape(key) for key in sorted(originals, key=len, reverse=True))
        return re.sub(
            rf'"({keys})"(\s*:)', lambda found: msgspec.json.encode(originals[found[1]]).decode() + found[2], text
        )
    return msgspec.json.encode(map_keys(arguments, lambda key: originals.get(key, key))).decode()
