"""Schemas without references: the same meaning, in bounds."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.json_schema import MAX_ADDED_BYTES, MAX_NODES, Room, inline_references

CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def test_a_schema_without_references_stays_what_it_is():
    schema = {"type": "object", "properties": {"$ref": {"type": "string"}, "definitions": {"const": 1}}, "$defs": {}}
    assert inline_references({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}) == schema


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("#/$defs/City", {"$defs": {"City": CITY}}),
        ("#/definitions/City", {"definitions": {"City": CITY}}),
        ("#/$defs/a~1b~0c", {"$defs": {"a/b~c": CITY}}),
        ("#/$defs/a%20b", {"$defs": {"a b": CITY}}),
        ("#/anyOf/0", {"anyOf": [CITY]}),
        ("#/$defs/Other", {"$defs": {"Other": {"$ref": "#/$defs/City"}, "City": CITY}}),
    ],
)
def test_a_reference_is_replaced_by_what_it_points_to(pointer: str, place: dict[str, Any]):
    schema = {"type": "object", "properties": {"at": {"$ref": pointer}}, **place}
    found = inline_references(schema)
    assert found["properties"]["at"] == CITY
    assert not {"$defs", "definitions"} & found.keys()
    assert "$ref" in json.dumps(schema), "the given one is nobody's to change"


def test_a_root_that_refers_is_what_it_refers_to():
    assert inline_references({"$ref": "#/$defs/City", "title": "T", "$defs": {"City": CITY}}) == {**CITY, "title": "T"}


def test_what_stands_beside_a_reference_goes_before_what_it_points_to():
    schema = {"properties": {"at": {"$ref": "#/$defs/A", "description": "here"}}, "$defs": {"A": {"description": "a"}}}
    assert inline_references(schema)["properties"]["at"] == {"description": "here"}


def test_values_that_look_like_references_are_none():
    value = {"$ref": "#/$defs/City"}
    schema = {"properties": {"a": {"const": value, "enum": [value], "default": value, "examples": [value]}}}
    found = inline_references({**schema, "items": value, "$defs": {"City": CITY}})
    assert found == {**schema, "items": CITY}


@pytest.mark.parametrize(
    "pointer", ["https://example.com/schema", "#/nowhere", "#/$defs/0", "City", "#/$defs/City/type"]
)
def test_what_is_elsewhere_or_nowhere_is_left_out(pointer: str):
    schema = {"properties": {"at": {"$ref": pointer, "description": "d"}}, "$defs": {"City": CITY}}
    assert inline_references(schema)["properties"]["at"] == {"description": "d"}


def test_what_refers_to_itself_ends_in_its_type():
    node = {"type": "object", "title": "Node", "properties": {"next": {"$ref": "#/$defs/Node"}}}
    found = inline_references({"$ref": "#/$defs/Node", "$defs": {"Node": node}})
    assert found["properties"]["next"] == {"type": "object", "title": "Node"}
    assert inline_references({"$ref": "#"}) == {}
    assert inline_references({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}) == {}


def test_nested_references_that_stand_for_millions_of_schemas_are_bounded():
    levels = {
        f"L{i}": {"type": "object", "properties": {name: {"$ref": f"#/$defs/L{i + 1}"} for name in "abcdefgh"}}
        for i in range(20)
    }
    found = inline_references({"$ref": "#/$defs/L0", "$defs": {**levels, "L20": {"type": "string"}}})
    assert len(json.dumps(found)) < MAX_NODES * 500
    assert "$ref" not in json.dumps(found)


keywords = ["$ref", "$defs", "definitions", "properties", "items", "anyOf", "not", "type", "A", "const"]
schemas = st.recursive(
    st.one_of(st.sampled_from(["#", "#/$defs/A", "#/properties/A", "#/items", "#/anyOf/0"]), st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(keywords), inner, max_size=4)),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(keywords), schemas, max_size=5))
def test_any_object_becomes_one_that_can_be_written(schema: dict[str, Any]):
    found = inline_references(schema)
    assert len(json.dumps(found)) < 10**6


@pytest.mark.parametrize("step", ["9" * 5000, "٣" * 5000, "1", "01"])
def test_a_place_that_no_list_has_is_nowhere(step: str):
    schema = {"anyOf": [CITY], "items": {"$ref": f"#/anyOf/{step}"}}
    assert inline_references(schema)["items"] == {}


LONG = {"type": "string", "title": "t" * 100, "description": "d" * 1000, "enum": ["e" * 1000]}


@pytest.mark.parametrize("name", ["A", "Self"])
def test_one_long_text_is_not_written_for_each_of_many_references(name: str):
    own = {**LONG, "properties": {f"p{i}": {"$ref": "#/$defs/Self"} for i in range(1000)}}
    definitions = {"A": LONG, "Self": own}
    schema = {"properties": {f"p{i}": {"$ref": f"#/$defs/{name}"} for i in range(2000)}, "$defs": definitions}
    found = inline_references(schema)
    assert len(json.dumps(found)) < len(json.dumps(schema)) + MAX_ADDED_BYTES + 3000 * 40
    assert found["properties"]["p0"].keys() == schema["$defs"][name].keys()
    assert found["properties"]["p1999"] == {"type": "string"}, "there was no more room"


def test_the_schemas_of_a_request_share_the_room():
    schema = {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": LONG}}
    room = Room(3000)
    found = [inline_references(schema, room)["properties"]["a"] for _ in range(2)]
    assert found == [LONG, {"type": "string"}]
