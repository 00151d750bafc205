"""Gemini's own dialect: tools, the answer's format, numbers and thinking, by the model's generation."""

import json

import pytest

from bridge.providers.gemini.provider import Gemini
from tests.conversations import converse
from tests.providers.gemini_requests import MIDDLE, NEW, OLD, TOOL, WEATHER, config, refusal, sent, write

# tools


def test_all_functions_are_declared_in_one_entry_by_their_json_schema():
    bare = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}}
    out = sent(tools=[TOOL, bare])
    assert out["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "Tells it.", "parametersJsonSchema": WEATHER},
                {"name": "now"},
            ]
        }
    ]
    assert "toolConfig" not in out


def test_a_schema_is_an_objects_without_references_and_without_its_dialects_name():
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"at": {"$ref": "#/$defs/Place", "description": "where"}},
        "additionalProperties": False,
        "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
    out = sent(tools=[{"type": "function", "function": {"name": "go", "parameters": schema}}])
    assert out["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == {
        "type": "object",
        "properties": {
            "at": {"type": "object", "properties": {"city": {"type": "string"}}, "description": "where"},
        },
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
        *(
            (
                {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [{**TOOL, "type": "function"}]}},
                {"mode": theirs, "allowedFunctionNames": ["weather"]},
            )
            for mode, theirs in (("auto", "VALIDATED"), ("required", "ANY"))
        ),
    ],
)
def test_tool_choice_is_a_mode(choice, expected):
    assert sent(tools=[TOOL], tool_choice=choice)["toolConfig"] == {"functionCallingConfig": expected}


def test_a_choice_needs_tools():
    assert refusal(tool_choice="required").param == "tool_choice"
    assert "toolConfig" not in sent(tool_choice="none")


def test_legacy_functions_are_tools():
    out = write(functions=[TOOL["function"]], function_call={"name": "weather"})
    body = json.loads(out.body)
    assert body["tools"][0]["functionDeclarations"][0]["name"] == "weather"
    assert body["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["weather"]
    assert out.reading.legacy
    assert not out.dropped


def test_no_parallel_calls_is_the_readers_task():
    out = write(tools=[TOOL], parallel_tool_calls=False)
    assert out.reading.one_call
    assert not out.dropped
    assert not out.clamped


def test_custom_tools_and_web_search_are_refused():
    assert refusal(tools=[{"type": "custom", "custom": {"name": "x"}}]).code == "unsupported_parameter"
    assert refusal(web_search_options={}).code == "unsupported_parameter"


# the answer's format

FORMAT = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": WEATHER}}


def test_json_is_a_mime_type_and_its_schema_stays_what_it_is():
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    strict = {**WEATHER, "additionalProperties": False}
    found = config(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": strict}})
    assert found == {"responseMimeType": "application/json", "responseJsonSchema": strict}
    assert config(response_format={"type": "text"}) == {}


def test_json_beside_tools_is_asked_for_in_words_where_the_generation_refuses_it():
    out = write(response_format=FORMAT, tools=[TOOL])
    body = json.loads(out.body)
    assert "generationConfig" not in body
    assert '"city"' in body["systemInstruction"]["parts"][0]["text"]
    assert out.clamped == ("response_format=json_object",)
    assert out.reading.fenced
    newer = write(NEW, response_format=FORMAT, tools=[TOOL])
    assert json.loads(newer.body)["generationConfig"]["responseJsonSchema"] == WEATHER
    assert newer.clamped == ()


# numbers


def test_the_output_cap_always_goes_out_ours_first():
    assert config(max_tokens=7) == {"maxOutputTokens": 7}
    assert config(max_tokens=7, max_completion_tokens=9)["maxOutputTokens"] == 9
    assert config(max_tokens=7, cap=5)["maxOutputTokens"] == 5


def test_sampling_goes_out_by_googles_names_and_nothing_that_was_not_said():
    asked = {"temperature": 2, "top_p": 0.5, "top_k": 40, "seed": 7, "stop": "END"}
    assert config(**asked) == {"temperature": 2, "topP": 0.5, "topK": 40, "seed": 7, "stopSequences": ["END"]}
    assert "generationConfig" not in sent()


def test_more_than_five_stops_are_cut_and_named():
    out = write(stop=list("abcdef"))
    assert json.loads(out.body)["generationConfig"]["stopSequences"] == list("abcde")
    assert out.clamped == ("stop=5",)


def test_a_seed_beyond_32_bits_is_brought_within():
    out = write(seed=2**40 + 5)
    assert json.loads(out.body)["generationConfig"]["seed"] == 5
    assert out.clamped == ("seed=5",)


def test_penalties_and_logprobs_only_where_the_model_has_them():
    asked = {"presence_penalty": 1, "frequency_penalty": -1, "logprobs": True, "top_logprobs": 3}
    assert config(OLD, **asked) == {
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert write(MIDDLE, **asked).dropped == write(NEW, **asked).dropped == tuple(asked)
    assert "generationConfig" not in sent(MIDDLE, **asked)


def test_several_choices_in_one_call_only_of_whole_answers_of_older_models():
    assert config(n=3)["candidateCount"] == 3
    for model, body in ((NEW, {}), (MIDDLE, {"stream": True}), ("gemini-flash-latest", {})):
        assert Gemini().choices_per_call(converse({"n": 2, **body}), model) == 1
        assert "candidateCount" not in config(model, **body, n=2)
    assert Gemini().choices_per_call(converse({}), MIDDLE) == 8


def test_what_has_no_equal_is_dropped_and_named():
    asked = {"user": "u", "metadata": {"a": "b"}, "store": True, "prompt_cache_key": "k", "logit_bias": {"1": 1}}
    asked |= {"service_tier": "flex", "prediction": {}, "verbosity": "low", "modalities": ["text", "audio"]}
    asked |= {"unknown": 1, "top_k": "many"}
    out = write(**asked, stream_options={"include_usage": True}, cache_control={"type": "ephemeral"})
    assert set(out.dropped) == set(asked)
    assert set(json.loads(out.body)) == {"contents"}
    assert write(n=1, store=False, logit_bias={}, top_p=1, service_tier="auto").dropped == ()


# thinking


@pytest.mark.parametrize(
    ("model", "effort", "expected", "clamped"),
    [
        ("gemini-3.5-flash", "minimal", "minimal", ()),
        ("gemini-3.5-flash", "medium", "medium", ()),
        ("gemini-3.8-flash", "minimal", "low", ("reasoning_effort=low",)),
        ("gemini-flash-latest", "high", "high", ()),
        ("gemini-3-pro-preview", "medium", "high", ("reasoning_effort=high",)),
        ("gemini-3.1-pro-preview", "medium", "medium", ()),
        ("gemini-3.1-pro-preview", "xhigh", "high", ("reasoning_effort=high",)),
        ("gemini-3.1-pro-preview", "minimal", "low", ("reasoning_effort=low",)),
    ],
)
def test_effort_is_a_level_on_the_third_generation(model, effort, expected, clamped):
    out = write(model, reasoning_effort=effort)
    assert json.loads(out.body)["generationConfig"]["thinkingConfig"] == {
        "thinkingLevel": expected,
        "includeThoughts": True,
    }
    assert out.clamped == clamped


def test_thinking_that_cannot_be_turned_off_is_as_little_as_possible_and_named():
    for model, least in ((NEW, {"thinkingLevel": "minimal"}), ("gemini-3.1-pro-preview", {"thinkingLevel": "low"})):
        out = write(model, reasoning_effort="none")
        assert json.loads(out.body)["generationConfig"]["thinkingConfig"] == least
        assert out.clamped == (f"reasoning_effort={least['thinkingLevel']}",)
    out = write("gemini-2.5-pro", thinking={"type": "disabled"})
    assert json.loads(out.body)["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 128}
    assert out.clamped == ("thinking.budget_tokens=128",)


@pytest.mark.parametrize(
    ("model", "asked", "expected", "clamped"),
    [
        (MIDDLE, {"reasoning_effort": "none"}, {"thinkingBudget": 0}, ()),
        (MIDDLE, {"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}, ()),
        (MIDDLE, {"reasoning_effort": "low"}, 1024, ()),
        (MIDDLE, {"reasoning_effort": "medium"}, 8192, ()),
        (MIDDLE, {"reasoning_effort": "high"}, 24_576, ()),
        (MIDDLE, {"thinking": {"type": "enabled", "budget_tokens": 512}}, 512, ()),
        (
            MIDDLE,
            {"thinking": {"type": "enabled", "budget_tokens": 10**6}},
            24_576,
            ("thinking.budget_tokens=24576",),
        ),
        (
            "gemini-2.5-flash-lite",
            {"thinking": {"type": "enabled", "budget_tokens": 1}},
            512,
            ("thinking.budget_tokens=512",),
        ),
        (MIDDLE, {"thinking": {"type": "enabled"}}, {"includeThoughts": True}, ()),
        ("gemini-2.5-flash-lite", {"thinking": {"type": "adaptive"}}, -1, ()),
        (MIDDLE, {"reasoning_effort": "high", "max_tokens": 4096}, 3072, ("thinking.budget_tokens=3072",)),
        (MIDDLE, {"reasoning_effort": "high", "max_tokens": 1}, {"thinkingBudget": 0}, ("thinking.budget_tokens=0",)),
        (
            "gemini-2.5-flash-lite",
            {"reasoning_effort": "low", "max_tokens": 500},
            {"thinkingBudget": 0},
            ("thinking.budget_tokens=0",),
        ),
    ],
)
def test_effort_is_a_budget_below_the_cap_on_generation_2_5(model, asked, expected, clamped):
    out = write(model, **asked)
    if isinstance(expected, int):
        expected = {"includeThoughts": True, "thinkingBudget": expected}
    assert json.loads(out.body)["generationConfig"]["thinkingConfig"] == expected
    assert out.clamped == clamped


@pytest.mark.parametrize(
    ("budget", "level"),
    [(1024, "minimal"), (2047, "minimal"), (2048, "low"), (8191, "low"), (8192, "medium"), (24_575, "medium")]
    + [(24_576, "high"), (10**6, "high")],
)
def test_a_budget_is_a_level_on_the_third_generation(budget: int, level: str):
    out = write(NEW, thinking={"type": "enabled", "budget_tokens": budget})
    found = json.loads(out.body)["generationConfig"]["thinkingConfig"]
    assert found == {"thinkingLevel": level, "includeThoughts": True}
    assert out.clamped == (f"thinking={level}",)


@pytest.mark.parametrize("effort", ["high", "xhigh", "max"])
def test_the_highest_level_stands_for_all_efforts_beyond_it_and_is_named(effort: str):
    out = write(NEW, reasoning_effort=effort)
    assert json.loads(out.body)["generationConfig"]["thinkingConfig"]["thinkingLevel"] == "high"
    assert out.clamped == (() if effort == "high" else ("reasoning_effort=high",))


def test_models_that_do_not_think_are_not_told_to():
    for model in (OLD, "gemini-2.5-flash-preview-tts", "gemini-2.5-flash-image"):
        assert write(model, reasoning_effort="low").dropped == ("reasoning_effort",)
        assert write(model, thinking={"type": "enabled"}).dropped == ("thinking",)
        assert write(model, reasoning_effort="none").dropped == ()
        assert "generationConfig" not in sent(model, reasoning_effort="low")


def test_an_effort_that_does_not_exist_is_refused():
    assert refusal(reasoning_effort="odd").param == "reasoning_effort"
    assert refusal(OLD, thinking="yes").param == "thinking"
