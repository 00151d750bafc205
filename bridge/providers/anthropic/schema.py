"""Fits a JSON schema to Anthropic's compiler, for `output_config.format` and strict tools, without changing its
meaning.

The compiler closes every object and knows types, enums, anyOf, references without recursion and a few formats; anything
else is a 400. Bounds that it can't enforce are told to the model in the description, as Anthropic's own clients do."""

import json
from collections import Counter

from msgspec import Struct

from bridge.json_types import Json, JsonObject

MAX_OPTIONAL = 24  # parameters that may be left out, in all schemas of a request together
MAX_UNIONS = 16  # and those of more than one type
MAX_STRICT_TOOLS = 20
_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_KEPT = ("title", "type", "enum", "const")
# What can't be left to a description: without it the schema would let through something else altogether.
_STRUCTURAL = frozenset(
    {"patternProperties", "propertyNames", "dependentSchemas", "dependentRequired", "unevaluatedProperties", "not"}
    | {"if", "then", "else", "prefixItems", "contains", "unevaluatedItems", "$dynamicRef", "$recursiveRef", "$anchor"}
)
_DEFINITIONS = ("$defs", "definitions")
_HANDLED = frozenset(
    {*_KEPT, *_DEFINITIONS, "$schema", "$id", "$comment", "$ref", "description", "anyOf", "oneOf", "allOf"}
    | {"properties", "required", "additionalProperties", "items"}
)


class Fitted(Struct, frozen=True):
    """`optional` and `unions` count against what all schemas of a request may have."""

    schema: JsonObject
    optional: int
    unions: int


class _Unfit(Exception):
    """This schema has no equal."""


class _Fitting:
    def __init__(self) -> None:
        self.optional = 0
        self.unions = 0
        self.known: set[str] = set()
        self.references: dict[str, set[str]] = {}
        self._within = ""

    def fit_root(self, root: JsonObject) -> JsonObject:
        """The whole schema, its definitions included. Raises _Unfit."""
        definitions = {}
        for keyword in _DEFINITIONS:
            if keyword in root:
                definitions[keyword] = found = _as_dict(root[keyword])
                self.known |= {f"#/{keyword}/{name}" for name in found}
        fitted = self.fit(root)
        for keyword, found in definitions.items():
            written = fitted[keyword] = {}
            for name, inner in found.items():
                self._within = f"#/{keyword}/{name}"
                written[name] = self.fit(inner)
        if _has_cycle(self.references):
            raise _Unfit
        if isinstance(root.get("$schema"), str):
            fitted["$schema"] = root["$schema"]
        return fitted

    def fit(self, node: Json) -> JsonObject:
        """One schema, without its definitions."""
        node = _as_dict(node)
        if not _STRUCTURAL.isdisjoint(node):
            raise _Unfit
        if "$ref" in node:
            return self._fit_reference(node)
        out = {key: node[key] for key in _KEPT if key in node}
        kinds = self._read_kinds(node, out)
        if not kinds:
            self._fit_alternatives(node, out)
        if "object" in kinds:
            self._fit_object(node, out)
        if "array" in kinds:
            if not isinstance(node.get("items"), dict):
                raise _Unfit
            out["items"] = self.fit(node["items"])
        self._describe(node, out)
        return out

    def _fit_reference(self, node: JsonObject) -> JsonObject:
        target = node["$ref"]
        if not isinstance(target, str) or target not in self.known:
            raise _Unfit
        self.references.setdefault(self._within, set()).add(target)
        return {"$ref": target}

    def _read_kinds(self, node: JsonObject, out: JsonObject) -> list[str]:
        """The node's types; none for an enum or alternatives."""
        kinds = node.get("type")
        if kinds is None and "properties" in node:
            kinds = out["type"] = "object"
        listed = kinds if isinstance(kinds, list) else [kinds] if kinds is not None else []
        if not all(isinstance(kind, str) and kind in _TYPES for kind in listed):
            raise _Unfit
        self.unions += len(listed) > 1
        values = node["enum"] if "enum" in node else [node["const"]] if "const" in node else []
        if not isinstance(values, list) or any(isinstance(value, dict | list) for value in values):
            raise _Unfit
        if listed and any(key in node for key in ("anyOf", "oneOf", "allOf")):
            raise _Unfit
        return listed

    def _fit_alternatives(self, node: JsonObject, out: JsonObject) -> None:
        given = [key for key in ("anyOf", "oneOf", "allOf") if key in node]
        if "enum" in node or "const" in node:
            if given:
                raise _Unfit
            return
        found = node[given[0]] if len(given) == 1 else None
        if not isinstance(found, list) or not found:
            raise _Unfit
        if given[0] == "allOf":
            if len(found) > 1:
                raise _Unfit
            out.update(self.fit(found[0]))
            return
        self.unions += 1
        out["anyOf"] = [self.fit(each) for each in found]

    def _fit_object(self, node: JsonObject, out: JsonObject) -> None:
        if node.get("additionalProperties", False) is not False:
            raise _Unfit  # a dictionary: closed, it would always be empty
        if "properties" not in node and "additionalProperties" not in node:
            raise _Unfit  # any object
        properties, required = _as_dict(node.get("properties", {})), node.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) and name in properties for name in required):
            raise _Unfit
        self.optional += len(properties) - len(set(required))
        out["properties"] = {name: self.fit(inner) for name, inner in properties.items()}
        out["additionalProperties"] = False
        if "required" in node:
            out["required"] = required

    def _describe(self, node: JsonObject, out: JsonObject) -> None:
        """The description, and in it what the compiler doesn't know."""
        told = {}
        for key, value in node.items():
            if key in _HANDLED:
                continue
            if (key == "format" and value in _FORMATS) or (key == "minItems" and value in (0, 1)):
                out[key] = value
            else:
                told[key] = value
        described = node.get("description")
        lines = [described] if isinstance(described, str) else []
        if told:
            lines.append("; ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in told.items()))
        if lines:
            out["description"] = "\n".join(lines)


def fit_schema(schema: JsonObject) -> Fitted | None:
    """The schema with the same meaning as the compiler takes it; None for one that it can't take."""
    fitting = _Fitting()
    try:
        fitted = fitting.fit_root(schema)
    except (_Unfit, TypeError):  # TypeError: a keyword's value is no value for it
        return None
    if fitting.optional > MAX_OPTIONAL or fitting.unions > MAX_UNIONS:
        return None
    return Fitted(fitted, fitting.optional, fitting.unions)


def _as_dict(value: Json) -> JsonObject:
    if not isinstance(value, dict):
        raise _Unfit
    return value


def _has_cycle(references: dict[str, set[str]]) -> bool:
    """Whether a definition leads back to itself: those that no other one needs are taken away, which lets go of what
    they need. Each reference is looked at once: a client's schema may have many thousands, one behind the other."""
    needed = Counter(target for name, targets in references.items() if name for target in targets)
    free = [name for name in references if name and not needed[name]]
    while free:
        for target in references.get(free.pop(), ()):
            needed[target] -= 1
            if not needed[target]:
                free.append(target)
    return any(needed.values())
