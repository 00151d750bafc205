"""Chat completion requests as any client may send them: whatever the checks of `ChatRequest` let through.

For the properties of the dialects that are not OpenAI's. Most conversations are orderly (results follow their calls),
some aren't; every field that has a meaning turns up."""

import base64
from typing import Any

import msgspec
from hypothesis import strategies as st

from bridge.dialects.chat.request import ChatRequest

PICTURES = (b"\x89PNG\r\n\x1a\n" + b"\0" * 16, b"\xff\xd8\xff\xe0" + b"\0" * 16, b"GIF89a" + b"\0" * 16, b"no picture")
TOOL_NAMES = ("get_weather", "add", "a.b", "lookup-it", "ünïcode", "x" * 128)
CALL_IDS = ("call_1", "call_2", "functions.get_weather:0", "functions_get_weather_0", "", "ü", "toolu_01")
SCHEMAS: tuple[dict[str, Any], ...] = (
    {},
    {"type": "object"},
    {"type": "object", "properties": {}},
    {"type": "object", "properties": {"a": {"type": ["string", "null"], "minLength": 1}}, "required": ["a"]},
    {"type": "object", "properties": {"a": True}, "additionalProperties": {"type": "string"}},
    {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}},
    {"type": "array", "items": {"anyOf": [{"const": 1}, {"enum": ["x", None]}]}},
    {"type": 3, "properties": [], "required": "a", "enum": {}, "anyOf": []},
)

texts = st.one_of(st.sampled_from(["", " ", "\n", "Hello", "Wörld 😀  ", "```json\n{}\n```"]), st.text(max_size=8))
caches = st.sampled_from([{}, {}, {"cache_control": {"type": "ephemeral"}}, {"cache_control": None}])


def _merge(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {key: value for part in found for key, value in part.items()})


def _mostly(common: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda drawn: rare if drawn == 9 else common)


def _data_url(data: bytes) -> str:
    return base64.b64encode(data).decode()


text_parts = _merge(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), caches)
picture_urls = st.one_of(
    st.builds(
        lambda kind, data: f"data:{kind};base64,{_data_url(data)}",
        st.sampled_from(["image/png", "image/jpg", "IMAGE/JPEG;charset=utf-8", "image/webp", "image/bmp", ""]),
        st.sampled_from(PICTURES),
    ),
    st.sampled_from(["https://example.com/a.png", "http://example.com/a", "data:,plain", "ftp://example.com/a"]),
)
pictures = st.builds(
    lambda url, detail: {"type": "image_url", "image_url": {"url": url, **detail}},
    picture_urls,
    st.sampled_from([{}, {"detail": "low"}]),
)
files = st.builds(
    lambda kind, name: {"type": "file", "file": {"file_data": f"data:{kind};base64,{_data_url(b'text')}", **name}},
    st.sampled_from(["application/pdf", "text/plain", "text/markdown", "application/zip", "image/png"]),
    st.sampled_from([{}, {"filename": "a.pdf"}]),
)
sounds = st.just({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})
stored = st.just({"type": "file", "file": {"file_id": "file-1"}})
user_parts = _mostly(st.one_of(text_parts, pictures, files), st.one_of(sounds, stored))
user_contents = st.one_of(texts, texts, st.lists(user_parts, min_size=1, max_size=3))
plain_contents = st.one_of(texts, st.lists(text_parts, max_size=3))

systems = st.fixed_dictionaries({"role": st.sampled_from(["system", "developer"]), "content": plain_contents})
users = st.fixed_dictionaries({"role": st.just("user"), "content": user_contents})
functions = st.fixed_dictionaries(
    {"role": st.just("function"), "name": st.sampled_from(TOOL_NAMES), "content": st.one_of(st.none(), texts)}
)
arguments = st.sampled_from(["{}", "", '{"city": "Oslo"}', '{"city": "Os', "[1]", "null", "{" * 200])
said_functions = st.fixed_dictionaries({"name": st.sampled_from(TOOL_NAMES), "arguments": arguments})
calls = st.fixed_dictionaries(
    {"id": st.sampled_from(CALL_IDS), "type": st.just("function"), "function": said_functions},
    optional={"extra_content": st.just({"google": {"thought_signature": "c2ln"}})},
)
thoughts = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": texts,
        "thinking_blocks": st.sampled_from(
            [
                [{"type": "thinking", "thinking": "hm", "signature": "sig"}],
                [{"type": "redacted_thinking", "data": "abc"}],
                [{"type": "thinking", "thinking": "unsigned"}, 3],
                "none",
            ]
        ),
    },
)
spoken = _merge(
    st.fixed_dictionaries({"role": st.just("assistant")}, optional={"content": st.one_of(st.none(), plain_contents)}),
    thoughts,
)
callers = _merge(spoken, st.fixed_dictionaries({"tool_calls": st.lists(calls, min_size=1, max_size=3)}))
legacy_callers = _merge(spoken, st.fixed_dictionaries({"function_call": said_functions}))
results = _merge(
    st.fixed_dictionaries(
        {"role": st.just("tool"), "tool_call_id": st.sampled_from(CALL_IDS), "content": user_contents}
    ),
    caches,
)


@st.composite
def _rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    """An assistant's calls, and the results that answer them: all of them, in any order, sometimes with more."""
    caller = draw(callers)
    answers = [
        {"role": "tool", "tool_call_id": call["id"], "content": draw(user_contents)} for call in caller["tool_calls"]
    ]
    return [caller, *draw(st.permutations(answers)), *draw(st.lists(st.one_of(users, systems), max_size=1))]


@st.composite
def _legacy_rounds(draw: st.DrawFn) -> list[dict[str, Any]]:
    caller = draw(legacy_callers)
    return [caller, {"role": "function", "name": caller["function_call"]["name"], "content": draw(texts)}]


_alone = st.one_of(systems, users, spoken, functions, results, callers, legacy_callers).map(lambda one: [one])
_orderly = st.one_of(systems.map(lambda one: [one]), users.map(lambda one: [one]), spoken.map(lambda one: [one]))
_pieces = _mostly(st.one_of(_orderly, _rounds(), _legacy_rounds()), _alone)
conversations = st.lists(_pieces, min_size=1, max_size=5).map(lambda pieces: [one for piece in pieces for one in piece])

definitions = st.fixed_dictionaries(
    {"name": st.sampled_from(TOOL_NAMES)},
    optional={
        "description": texts,
        "parameters": st.sampled_from(SCHEMAS),
        "strict": st.sampled_from([True, False, None]),
    },
)
_functions = _merge(st.fixed_dictionaries({"type": st.just("function"), "function": definitions}), caches)
tools = _mostly(_functions, st.just({"type": "custom", "custom": {"name": "grammar"}}))
choices = st.one_of(
    st.sampled_from(["auto", "none", "required", "odd"]),
    st.builds(lambda name: {"type": "function", "function": {"name": name}}, st.sampled_from(TOOL_NAMES)),
    st.builds(
        lambda mode, name: {
            "type": "allowed_tools",
            "allowed_tools": {"mode": mode, "tools": [{"type": "function", "function": {"name": name}}]},
        },
        st.sampled_from(["auto", "required"]),
        st.sampled_from(TOOL_NAMES),
    ),
    st.just({"type": "custom"}),
)
formats = st.one_of(
    st.just({"type": "text"}),
    st.just({"type": "json_object"}),
    st.builds(
        lambda schema: {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
        st.sampled_from(SCHEMAS),
    ),
    st.just({"type": "json_schema"}),
)
thinkings = st.sampled_from(
    [
        {"type": "enabled", "budget_tokens": 2048},
        {"type": "enabled", "budget_tokens": 1},
        {"type": "enabled"},
        {"type": "adaptive", "display": "omitted"},
        {"type": "disabled"},
        {"type": 3},
        "yes",
    ]
)
settings = st.fixed_dictionaries(
    {},
    optional={
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "max_tokens": st.integers(1, 5000),
        "max_completion_tokens": st.integers(1, 5000),
        "n": st.integers(1, 3),
        "temperature": st.sampled_from([0, 0.5, 1, 1.5, 2]),
        "top_p": st.sampled_from([0, 0.5, 1]),
        "presence_penalty": st.sampled_from([0, 1]),
        "logit_bias": st.just({"1": 1.0}),
        "logprobs": st.booleans(),
        "top_logprobs": st.integers(0, 3),
        "stop": st.one_of(st.none(), texts, st.lists(texts, max_size=6)),
        "seed": st.integers(0, 9),
        "user": st.sampled_from(["", "someone@example.com"]),
        "tools": st.lists(tools, max_size=3, unique_by=lambda tool: str(tool.get("function", {}).get("name"))),
        "tool_choice": choices,
        "parallel_tool_calls": st.booleans(),
        "response_format": formats,
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max", "odd", None]),
        "thinking": thinkings,
        "top_k": st.sampled_from([1, 40, "many", None]),
        "service_tier": st.sampled_from(["auto", "flex"]),
        "metadata": st.just({"a": "b"}),
        "prompt_cache_key": st.just("k"),
        "verbosity": st.sampled_from(["low", "medium"]),
        "functions": st.lists(definitions, min_size=1, max_size=2),
        "function_call": st.one_of(st.sampled_from(["auto", "none"]), st.just({"name": "add"})),
        "cache_control": st.just({"type": "ephemeral"}),
        "unknown_field": st.just({"x": 1}),
    },
)


def _is_valid(body: dict[str, Any]) -> bool:
    try:
        msgspec.convert(body, ChatRequest)
    except msgspec.ValidationError:
        return False
    return True


bodies: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda messages, fields: {"model": "m", "messages": messages, **fields}, conversations, settings
).filter(_is_valid)
