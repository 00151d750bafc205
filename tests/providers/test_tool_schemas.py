"""Schemas and names of tools by each provider's rule: what is written obeys it, accepts what was accepted before, and
comes back as the client knows it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.json_schema import Room
from bridge.providers.tool_names import (
    ANTHROPIC_KEYS,
    ANTHROPIC_NAMES,
    GEMINI_NAMES,
    MOONSHOT_NAMES,
    OPENAI_NAMES,
    NameRule,
    SafeNames,
)
from bridge.providers.tool_schemas import fold_root, map_keys, rename_keys, restore_keys, type_branches

RULES = [
    (ANTHROPIC_NAMES, r"[a-zA-Z0-9_-]{1,128}"),
    (ANTHROPIC_KEYS, r"[a-zA-Z0-9_.-]{1,64}"),
    (GEMINI_NAMES, r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}"),
    (OPENAI_NAMES, r"[a-zA-Z0-9_-]{1,64}"),
    (MOONSHOT_NAMES, r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}"),
]
PROPERTIES = ["a", "b", "c", "$x", "the key"]
UNIONS = ("anyOf", "oneOf", "allOf")
UNFIT = ["a.b", "a b", "a_b", "a_b_2", "1a", "_1a", "x" * 64, "x" * 65, "x" * 129, "", "ü", "-", "."]


# names


@given(st.lists(st.sampled_from(UNFIT) | st.text(max_size=5), max_size=10), st.sampled_from(RULES))
def test_names_obey_the_rule_stay_apart_and_come_back(originals: list[str], rule: tuple[NameRule, str]):
    names = SafeNames(originals, rule[0])
    written = {name: names.write(name) for name in originals}
    assert all(re.fullmatch(rule[1], safe) for safe in written.values())
    assert len({*written.values()}) == len(written)
    assert {names.originals.get(safe, safe): safe for safe in written.values()} == written
    assert all(safe == name for name, safe in written.items() if rule[0].fits(name))


def test_a_name_that_fits_and_was_not_foreseen_stays_unless_it_was_given_away():
    names = SafeNames(["a.b"], OPENAI_NAMES)
    assert (names.write("a.b"), names.write("c" * 64), names.write("a_b")) == ("a_b", "c" * 64, "a_b_2")


# unions at the root


def accepts(schema: Any, value: Any) -> bool:
    """A validator of the few keywords that are drawn here, after the specification."""
    if isinstance(schema, bool):
        return schema
    kinds = schema.get("type", [])
    kind = {dict: "object", str: "string", int: "integer"}[type(value)]
    if kinds and kind not in ([kinds] if isinstance(kinds, str) else kinds):
        return False
    if not all(accepts(part, value) for part in schema.get("allOf", [])):
        return False
    if "anyOf" in schema and not any(accepts(part, value) for part in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(accepts(part, value) for part in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        return False
    if not isinstance(value, dict):
        return True
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties", True)
    named = all(accepts(properties.get(key, rest), one) for key, one in value.items())
    return named and all(key in value for key in schema.get("required", []))


leaves = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"minLength": 2}, {"enum": ["x", 1]}, {}, True])
rests = st.sampled_from([{}, {}, {"additionalProperties": False}, {"additionalProperties": {"type": "string"}}])


def _object(properties: dict[str, Any], required: list[str], rest: dict[str, Any], kind: dict[str, Any]) -> Any:
    return {**kind, "properties": properties, **({"required": required} if required else {}), **rest}


objects = st.builds(
    _object,
    st.dictionaries(st.sampled_from(PROPERTIES), leaves, max_size=3),
    st.lists(st.sampled_from(PROPERTIES), max_size=2, unique=True),
    rests,
    st.sampled_from([{"type": "object"}, {}, {"type": ["object", "null"]}]),
)
branches = st.recursive(
    objects | st.sampled_from([{}, True]),
    lambda inner: st.builds(
        lambda base, keyword, found: {**base, keyword: found},
        objects,
        st.sampled_from(UNIONS),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=5,
)
roots = st.builds(
    lambda base, unions: {**base, **unions},
    objects | st.just({}),
    st.dictionaries(st.sampled_from(UNIONS), st.lists(branches, min_size=1, max_size=3), min_size=1, max_size=2),
)
values = st.dictionaries(st.sampled_from(PROPERTIES), st.sampled_from(["x", "", "long", 1, 7]), max_size=4)


def _branches_of(schema: Any) -> list[dict[str, Any]]:
    """The schema and all branches within it."""
    if not isinstance(schema, dict):
        return []
    inner = [one for keyword in UNIONS for branch in schema.get(keyword, ()) for one in _branches_of(branch)]
    return [schema, *inner]


def _means(schema: Any, value: dict[str, Any]) -> bool:
    """Whether each word is what all branches that name its key say of it: where only some name it, the others would
    take anything, which nobody means."""
    return all(
        accepts(part["properties"][key], one)
        for key, one in value.items()
        for part in _branches_of(schema)
        if key in part.get("properties", {})
    )


@given(roots, values)
def test_a_folded_schema_is_one_object_and_accepts_what_was_accepted(schema: dict[str, Any], value: dict[str, Any]):
    before = json.dumps(schema)
    folded = fold_root(schema, (), Room())
    assert json.dumps(schema) == before
    assert folded["type"] == "object"
    assert not {*UNIONS} & {*folded}
    if accepts(schema, value) and _means(schema, value):
        assert accepts(folded, value)


@given(st.lists(objects, min_size=1, max_size=4), st.sampled_from(["anyOf", "oneOf"]), st.data())
def test_what_one_branch_means_is_accepted_by_the_fold(found: list[dict[str, Any]], keyword: str, data: st.DataObject):
    folded = fold_root({"type": "object", keyword: found}, (), Room())
    branch = data.draw(st.sampled_from(found))
    words = st.sampled_from(["x", "long", 1])
    value = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(branch["properties"], words)))
    if accepts(branch, value):
        assert accepts(folded, value)


def test_what_branches_say_of_one_property_is_what_either_says():
    one = {"properties": {"kind": {"const": "text"}, "text": {"type": "string"}}, "required": ["kind", "text"]}
    two = {"properties": {"kind": {"const": "file"}, "path": {"type": "string"}}, "required": ["kind", "path"]}
    kind = {"type": "string", "description": "Of what kind."}
    schema = {"type": "object", "properties": {"kind": kind}, "oneOf": [one, two], "description": "Reads."}
    assert fold_root(schema, (), Room()) == {
        "type": "object",
        "description": "Reads.\nGive text or path.",
        "properties": {
            "kind": {**kind, "anyOf": [{"const": "text"}, {"const": "file"}]},
            "text": {"type": "string"},
            "path": {"type": "string"},
        },
        "required": ["kind"],
    }


def test_references_are_followed_into_the_branches():
    text = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}
    schema = {"anyOf": [{"$ref": "#/$defs/Text"}, {"$ref": "#/$defs/Page"}], "$defs": {"Text": text}}
    schema["$defs"]["Page"] = {**text, "properties": {"page": {"type": "integer"}}}  # type: ignore[index]
    folded = fold_root(schema, (), Room())
    assert folded["properties"] == {"text": {"type": "string"}, "page": {"type": "integer"}}
    assert folded["additionalProperties"] is False
    root = {"$ref": "#/$defs/Text", "$defs": {"Text": text}}  # which Claude takes, and OpenAI does not
    assert fold_root(root, (), Room()) == {**root, "type": "object"}
    assert fold_root(root, ("enum",), Room())["properties"] == {"text": {"type": "string"}}


@pytest.mark.parametrize(
    "schema",
    [{"anyOf": "x"}, {"anyOf": []}, {"allOf": [3]}, {"type": 3, "oneOf": [{}]}, {"anyOf": [{"properties": 3}]}]
    + [
        {"anyOf": [False]},
        {"required": "a", "anyOf": [{"required": {}}]},
        {"additionalProperties": 3, "oneOf": [True]},
    ],
)
def test_what_is_no_schema_is_an_object_all_the_same(schema: dict[str, Any]):
    folded = fold_root(schema, ("enum",), Room())
    assert folded["type"] == "object"
    assert not {*UNIONS} & {*folded}


def test_a_branch_that_is_no_object_s_says_nothing_about_calls():
    schema = {"anyOf": [{"properties": {"a": {}}, "required": ["a"]}, {"type": "null"}, False]}
    assert fold_root(schema, (), Room()) == {"type": "object", "properties": {"a": {}}, "required": ["a"]}


# types in the branches


@given(roots, values)
def test_types_within_the_branches_mean_what_they_meant_before_them(schema: dict[str, Any], value: dict[str, Any]):
    typed = type_branches(schema)
    for part in _branches_of(typed):
        for keyword in ("anyOf", "oneOf"):
            assert keyword not in part or "type" not in part
    if "oneOf" not in json.dumps(schema) and accepts(schema, value):
        assert accepts(typed, value)


def test_a_branch_without_a_type_gets_the_one_it_speaks_of():
    union = [
        {"properties": {}},
        {"enum": ["x", "y"]},
        {"enum": ["x", 1]},
        {"items": {}},
        {"minimum": 1},
        {"title": "T"},
    ]
    found = type_branches({"properties": {"a": {"anyOf": union}}})["properties"]["a"]["anyOf"]
    kinds = ["object", "string", ["string", "integer"], "array", "number", None]
    assert [branch.get("type") for branch in found] == kinds


# keys

keys = st.sampled_from(["a", "$top", "_top", "filter[id]", "filter_id_", "k" * 70, "ü"])
trees = st.recursive(
    st.just({"type": "string"}),
    lambda inner: (
        st.dictionaries(keys, inner, max_size=3).map(
            lambda found: {"type": "object", "properties": found, "required": [*found]}
        )
        | inner.map(lambda one: {"type": "array", "items": one})
        | inner.map(lambda one: {"anyOf": [one, {"type": "null"}]})
    ),
    max_leaves=6,
)


def fill(schema: dict[str, Any]) -> Any:
    """A value that the schema accepts, with all its keys."""
    if "anyOf" in schema:
        return fill(schema["anyOf"][0])
    if schema["type"] == "object":
        return {key: fill(one) for key, one in schema["properties"].items()}
    return [fill(schema["items"])] if schema["type"] == "array" else "$top"


def list_keys(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [key for one in schema for key in list_keys(one)]
    if not isinstance(schema, dict):
        return []
    return [*schema.get("properties", ()), *(key for one in schema.values() for key in list_keys(one))]


@given(trees)
def test_keys_obey_the_rule_and_come_back_whole_or_cut(schema: dict[str, Any]):
    before = json.dumps(schema)
    renamed, names = rename_keys(schema, ANTHROPIC_KEYS, Room())
    assert json.dumps(schema) == before
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key) for key in list_keys(renamed))
    arguments = fill(schema)
    if names is None:
        assert renamed is schema
        return
    written = map_keys(arguments, names.find)
    assert written == fill(renamed)
    text = json.dumps(written)
    assert json.loads(restore_keys(text, names.originals)) == arguments
    assert json.loads(restore_keys(text[:-1], names.originals) + text[-1]) == arguments or not isinstance(
        arguments, dict
    )
