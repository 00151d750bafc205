"""Anthropic's dialect: tools, the choice among them, the answer's format, and schemas as its compiler takes them."""

import json
from typing import Any

import pytest

from bridge.providers.anthropic.schema import fit_schema
from bridge.providers.anthropic.tools import JSON_ONLY
from tests.providers.anthropic_requests import (
    CACHE,
    HAIKU_35,
    HI,
    OPUS_48,
    SONNET_45,
    TOOL,
    call,
    calls,
    refusal,
    result,
    said,
    sent,
    turns,
    write,
)

FABLE = "claude-fable-5-1"
OTHER = {"type": "function", "function": {"name": "add"}}


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


# tools


def test_a_tool_has_an_input_schema_of_type_object():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "$defs": {}}
    out = sent(tools=[tool(description="", parameters=schema), tool("g"), tool("h", parameters={"properties": {}})])
    assert out["tools"] == [
        {"name": "f", "description": "", "input_schema": schema},
        {"name": "g", "input_schema": {"type": "object", "properties": {}}},
        {"name": "h", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert "tool_choice" not in out


def test_a_tools_mark_for_the_cache_goes_out():
    assert sent(tools=[{**TOOL, **CACHE}])["tools"][0]["cache_control"] == CACHE["cache_control"]


def test_a_strict_tool_is_closed_and_strict():
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}
    (strict,) = sent(tools=[tool(strict=True, parameters=schema)])["tools"]
    assert strict["strict"] is True
    assert strict["input_schema"] == {
        "type": "object",
        "properties": {"a": {"type": "integer", "description": "minimum: 1"}},
        "additionalProperties": False,
        "required": ["a"],
    }


OPTIONAL_13 = {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(13)}}


@pytest.mark.parametrize(
    ("model", "tools", "lost"),
    [
        (HAIKU_35, [tool(strict=True)], [0]),
        (SONNET_45, [tool(strict=True, parameters={"type": "object", "additionalProperties": True})], [0]),
        (SONNET_45, [tool(f"f{i}", strict=True) for i in range(21)], [20]),
        (
            SONNET_45,
            [tool("f", strict=True, parameters=OPTIONAL_13), tool("g", strict=True, parameters=OPTIONAL_13)],
            [1],
        ),
    ],
)
def test_what_can_not_be_strict_is_an_ordinary_tool_and_named(model: str, tools: list[Any], lost: list[int]):
    outgoing = write(model, tools=tools)
    assert outgoing.dropped == tuple(f"tools[{i}].strict" for i in lost)
    written = json.loads(outgoing.body)["tools"]
    assert [i for i, each in enumerate(written) if "strict" not in each] == lost
    assert written[lost[0]]["input_schema"]["type"] == "object"


def test_two_tools_of_one_name_are_refused():
    assert refusal(tools=[TOOL, TOOL]).param == "tools[1]"


def test_custom_tools_are_refused():
    assert refusal(tools=[{"type": "custom", "custom": {"name": "x"}}]).param == "tools[0]"


def test_a_name_that_anthropic_refuses_is_written_in_its_letters():
    outgoing = write(tools=[tool("a.b"), tool("a_b")], tool_choice=named("a.b"))
    body = json.loads(outgoing.body)
    assert [each["name"] for each in body["tools"]] == ["a_b_2", "a_b"]
    assert body["tool_choice"]["name"] == "a_b_2"
    assert outgoing.reading.names == {"a_b_2": "a.b"}
    assert turns(*HI, calls(call(name="a.b")), result(), tools=[tool("a.b")])[1]["content"][0]["name"] == "a_b"


def test_calls_in_the_history_need_tools_to_be_there():
    out = sent(messages=[*HI, calls(call()), result()])
    assert out["tools"] == [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]
    assert out["tool_choice"] == {"type": "none"}


# the choice


@pytest.mark.parametrize(
    ("body", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": named("add")}, {"type": "tool", "name": "add"}),
        ({"tool_choice": allowed("required", "add")}, {"type": "tool", "name": "add"}),
        ({"tool_choice": allowed("required", "add", "weather")}, {"type": "any"}),
        ({"parallel_tool_calls": True}, None),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"tool_choice": "required", "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_tools(body: dict[str, Any], choice: Any):
    outgoing = write(tools=[TOOL, OTHER], **body)
    assert json.loads(outgoing.body).get("tool_choice") == choice
    assert (outgoing.dropped, outgoing.clamped) == ((), ())


def test_allowed_tools_are_the_only_ones_offered():
    out = sent(tools=[TOOL, OTHER], tool_choice=allowed("auto", "add"))
    assert ([each["name"] for each in out["tools"]], out["tool_choice"]) == (["add"], {"type": "auto"})
    assert refusal(tools=[TOOL], tool_choice=allowed("auto", "gone")).param == "tool_choice"
    assert refusal(tools=[TOOL], tool_choice=named("gone")).param == "tool_choice"


def test_a_choice_without_tools():
    assert "tool_choice" not in sent(tool_choice="auto")
    assert write(tool_choice="required").dropped == ("tool_choice",)


def test_a_model_that_nothing_can_be_forced_on_chooses_itself_and_that_is_named():
    outgoing = write(FABLE, tools=[TOOL], tool_choice="required")
    assert json.loads(outgoing.body)["tool_choice"] == {"type": "auto"}
    assert outgoing.clamped == ("tool_choice=auto",)


def test_the_old_functions_are_tools():
    outgoing = write(functions=[{"name": "add"}, {"name": "weather"}], function_call={"name": "add"})
    body = json.loads(outgoing.body)
    assert [each["name"] for each in body["tools"]] == ["add", "weather"]
    assert body["tool_choice"] == {"type": "tool", "name": "add"}
    assert outgoing.reading.legacy


# the answer's format

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
DICTIONARY = {"type": "object", "additionalProperties": {"type": "string"}}


def by(schema: Any, **more: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **more}}}


def test_a_schema_goes_out_as_it_is():
    outgoing = write(**by(SCHEMA))
    body = json.loads(outgoing.body)
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert (outgoing.clamped, outgoing.reading.answer_tool, outgoing.reading.fenced) == ((), "", False)
    assert {*body} == {"model", "max_tokens", "messages", "output_config"}


@pytest.mark.parametrize(("model", "schema"), [(HAIKU_35, SCHEMA), (SONNET_45, DICTIONARY)])
def test_without_it_one_forced_tool_stands_for_the_schema(model: str, schema: dict[str, Any]):
    outgoing = write(model, **by(schema, description="A thing."))
    body = json.loads(outgoing.body)
    assert body["tools"] == [{"name": "answer", "description": "A thing.", "input_schema": schema}]
    assert body["tool_choice"] == {"type": "tool", "name": "answer", "disable_parallel_tool_use": True}
    assert "output_config" not in body
    assert (outgoing.reading.answer_tool, outgoing.clamped) == ("answer", ())


def test_beside_other_tools_the_model_calls_one_of_them_or_answers():
    outgoing = write(HAIKU_35, tools=[tool("answer")], **by(SCHEMA))
    body = json.loads(outgoing.body)
    assert [each["name"] for each in body["tools"]] == ["answer", "answer_2"]
    assert body["tool_choice"] == {"type": "any"}
    assert outgoing.reading.answer_tool == "answer_2"
    forced = write(HAIKU_35, tools=[TOOL], tool_choice="required", **by(SCHEMA))
    assert (len(json.loads(forced.body)["tools"]), forced.reading.answer_tool) == (1, "")
    never = sent(HAIKU_35, tools=[TOOL], tool_choice="none", **by(SCHEMA))
    assert never["tool_choice"]["name"] == "answer"


@pytest.mark.parametrize(("model", "schema"), [(FABLE, DICTIONARY), (SONNET_45, {"type": "array"})])
def test_a_schema_that_neither_takes_is_told_in_words_and_named(model: str, schema: dict[str, Any]):
    outgoing = write(model, **by(schema))
    body = json.loads(outgoing.body)
    assert body["system"].startswith(JSON_ONLY)
    assert json.dumps(schema, separators=(",", ":")) in body["system"]
    assert (outgoing.clamped, outgoing.reading.fenced) == (("response_format=json_object",), True)


def test_any_json_is_asked_for_in_words_and_named():
    outgoing = write(messages=[said("system", "A"), *HI], response_format={"type": "json_object"})
    assert json.loads(outgoing.body)["system"] == f"A\n\n{JSON_ONLY}"
    assert (outgoing.clamped, outgoing.reading.fenced) == (("response_format=json_object",), True)
    cached = sent(messages=[said("system", "A", **CACHE), *HI], response_format={"type": "json_object"})
    assert cached["system"][1] == {"type": "text", "text": JSON_ONLY}


def test_a_format_of_text_is_none_and_one_without_a_schema_is_refused():
    assert write(OPUS_48, response_format={"type": "text"}).clamped == ()
    assert refusal(response_format={"type": "json_schema"}).param == "response_format.json_schema.schema"


# schemas


def closed(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    required = {"required": list(properties)} if properties else {}
    return {"type": "object", "properties": properties, "additionalProperties": False, **required, **more}


STRING = {"type": "string"}


@pytest.mark.parametrize(
    "schema",
    [
        closed({}),
        closed({"a": {"type": ["string", "null"], "enum": ["x", None]}, "b": {"const": 1}, "c": {"type": "boolean"}}),
        closed({"a": {"type": "array", "items": {"anyOf": [STRING, {"type": "null"}]}, "minItems": 1}}),
        closed({"a": {"$ref": "#/$defs/A"}}, **{"$defs": {"A": closed({"b": {"$ref": "#/$defs/B"}}), "B": STRING}}),
        closed({"a": {"type": "string", "format": "date", "title": "A", "description": "When"}}, title="T"),
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **closed({"a": STRING})},
    ],
)
def test_a_schema_that_the_compiler_takes_stays_as_it_is(schema: dict[str, Any]):
    fitted = fit_schema(schema)
    assert fitted is not None
    assert fitted.schema == schema
    assert fitted.optional == 0


@pytest.mark.parametrize(
    ("node", "fitted"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, {"type": "integer", "description": "minimum: 1; maximum: 9"}),
        (
            {"type": "string", "pattern": "^a", "format": "phone", "description": "D"},
            {"type": "string", "description": 'D\npattern: "^a"; format: "phone"'},
        ),
        (
            {"type": "array", "items": STRING, "minItems": 2},
            {"type": "array", "items": STRING, "description": "minItems: 2"},
        ),
        ({"oneOf": [STRING, {"type": "null"}]}, {"anyOf": [STRING, {"type": "null"}]}),
        ({"allOf": [STRING], "description": "D"}, {"type": "string", "description": "D"}),
        ({"properties": {}}, {"type": "object", "properties": {}, "additionalProperties": False}),
    ],
)
def test_a_bound_that_it_does_not_know_is_told_in_the_description(node: dict[str, Any], fitted: dict[str, Any]):
    found = fit_schema(closed({"a": node}))
    assert found is not None
    assert found.schema["properties"]["a"] == fitted


@pytest.mark.parametrize(
    "node",
    [
        True,
        {},
        {"type": "object"},
        {"type": "object", "properties": {"a": STRING}, "additionalProperties": True},
        DICTIONARY,
        {"type": "array"},
        {"type": "array", "prefixItems": [STRING], "items": STRING},
        {"enum": [{"a": 1}]},
        {"const": []},
        {"type": "color"},
        {"type": "object", "properties": {}, "required": ["b"], "additionalProperties": False},
        {"not": STRING, "type": "string"},
        {"type": "string", "anyOf": [STRING]},
        {"allOf": [STRING, STRING]},
        {"anyOf": []},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#"},
        {"type": [["string"]]},
    ],
)
def test_a_schema_without_an_equal_does_not_fit(node: Any):
    assert fit_schema(closed({"a": node})) is None


def test_a_schema_that_leads_back_to_itself_does_not_fit():
    definitions = {"A": {"$ref": "#/$defs/B"}, "B": closed({"a": {"$ref": "#/$defs/A"}})}
    assert fit_schema({"$ref": "#/$defs/A", "$defs": definitions}) is None


@pytest.mark.parametrize("kind", [STRING, {"type": ["string", "null"]}])
def test_a_schema_beyond_the_compilers_limits_does_not_fit(kind: dict[str, Any]):
    properties = {f"p{i}": kind for i in range(25)}
    schema = closed(properties) if kind != STRING else {**closed(properties), "required": []}
    assert fit_schema(schema) is None
    del properties["p0"]
    assert kind != STRING or fit_schema({**closed(properties), "required": []}) is not None
