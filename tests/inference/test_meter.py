"""The worst case is never below what a provider counts."""

import dataclasses
import json
from typing import Any

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st

from bridge.catalogue.routing import Route, ServedModel
from bridge.conversation.prompt import read_prompt
from bridge.conversation.request import Conversation
from bridge.dialects.chat.request import ChatRequest
from bridge.errors import InvalidRequest
from bridge.inference.estimate import VOCABULARY, scale_prompt
from bridge.inference.meter import DEFAULT_RESERVED_TOKENS, Measure, measure
from bridge.providers import PROVIDERS
from bridge.providers.token_scale import TokenScale
from bridge.v1.body import convert, read_object
from tests.conversations import converse, make_order
from tests.prices import make_version

MODEL = ServedModel(
    id="gpt-4o",
    provider="openai",
    context_tokens=128_000,
    max_output_tokens=16_384,
    image_tokens=1_500,
    input_modalities=frozenset(["text", "image", "audio", "file"]),
    thinks=False,
    retired=False,
    first_content_timeout_seconds=None,
    price=make_version(1, 1, 1, 1, 1, 1),
    routes=(),
)
TEXT_ONLY = ServedModel(
    **{name: getattr(MODEL, name) for name in ServedModel.__slots__ if name != "input_modalities"},
    input_modalities=frozenset(["text"]),
)


SHORT_NAME = ServedModel(**{**{name: getattr(MODEL, name) for name in ServedModel.__slots__}, "id": "x"})
SCALES = sorted({scale for provider in PROVIDERS.values() for _, scale in provider.token_scales}, key=repr)
TOOL = {"type": "function", "function": {"name": "f"}}
SMALLEST: list[dict[str, Any]] = [
    {},
    {"tools": [TOOL]},
    {"functions": [{"name": "f"}]},
    {"tools": [TOOL] * 30},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    {"tools": [TOOL], "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
]


@pytest.fixture(scope="module", autouse=True)
def o200k() -> tiktoken.Encoding:
    """The vocabulary that ships with us: nothing is fetched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(VOCABULARY))
        return tiktoken.get_encoding("o200k_base")


def ask(
    messages: Any, model: ServedModel = MODEL, ascii_only: bool = False, **fields: Any
) -> tuple[Conversation, Measure]:
    """The request as it arrives over the wire, and its measure."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body = {"model": model.id, "messages": messages, **fields}
    data = json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode()
    body = read_object(data)[0]
    convert(body, ChatRequest)
    request = converse(body)
    return request, measure(request, model, len(data))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200) | st.sampled_from(
    [
        "",
        "\n" * 300,
        "\x00" * 50,
        "🏳️‍🌈" * 40,
        "ﷺ" * 60,
        "𓀀𓂀" * 60,
        "\u0301" * 100,
        "<|endoftext|>" * 20,
        "a\u200b" * 90,
        "½⅓" * 90,
    ]
)


@given(
    st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), TEXT), min_size=1, max_size=6), st.booleans()
)
def test_the_bound_is_never_below_the_count(
    o200k: tiktoken.Encoding, messages: list[tuple[str, str]], ascii_only: bool
):
    _, bound = ask([{"role": role, "content": text} for role, text in messages], ascii_only=ascii_only)
    # as OpenAI counts a conversation: three tokens a message and its role besides the text, three for the answer
    counted = 3 + sum(3 + 1 + len(o200k.encode_ordinary(text)) for _, text in messages)
    assert counted <= bound.prompt_bound_tokens


@given(TEXT.filter(bool), st.dictionaries(TEXT, TEXT, max_size=4))
def test_tools_and_their_calls_are_within_the_bound(o200k: tiktoken.Encoding, text: str, properties: dict[str, str]):
    function = {"name": "weather", "description": text, "parameters": {"type": "object", "properties": properties}}
    messages = [
        {"role": "user", "content": text},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": text}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": text},
    ]
    _, bound = ask(messages, tools=[{"type": "function", "function": function}])
    counted = 4 * len(o200k.encode_ordinary(text)) + len(
        o200k.encode_ordinary(json.dumps(properties, ensure_ascii=False))
    )
    assert counted + 830 <= bound.prompt_bound_tokens  # what the dearest provider adds for tools


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("more", SMALLEST)
def test_what_a_provider_adds_fits_beside_the_smallest_request(scale: TokenScale, more: dict[str, Any]):
    request, bound = ask("x", model=SHORT_NAME, **more)
    assert scale_prompt(read_prompt(request), 1, scale) <= bound.prompt_bound_tokens


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
def test_what_makes_a_model_answer_in_json_is_held_for_as_well(kind: str):
    """Claude's hidden instructions for a schema are 130 to 200 tokens; others are told in words of ours."""
    wanted = {"type": kind, **({"json_schema": {"name": "x"}} if kind == "json_schema" else {})}
    _, bound = ask("Hi", response_format=wanted)
    _, as_long = ask("Hi", response_formal=wanted)
    assert bound.prompt_bound_tokens >= as_long.prompt_bound_tokens + 250


def test_a_schema_is_held_for_twice_since_some_providers_are_told_it_in_words_too(o200k: tiktoken.Encoding):
    schema = {"type": "object", "properties": {character * 50: {"const": "𓀀" * 50} for character in "abc"}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    _, bound = ask("Hi", response_format=wanted)
    assert bound.prompt_bound_tokens >= 2 * len(o200k.encode_ordinary(json.dumps(schema, ensure_ascii=False))) + 300
    assert bound.prompt_bound_tokens >= 2 * len(json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "called",
    [
        {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"function_call": {"name": "f", "arguments": "{}"}},
    ],
)
def test_calls_in_the_conversation_bring_a_provider_s_instructions_without_any_tool(called: dict[str, Any]):
    """Anthropic insists on tools beside calls, so that some are made of their names: with its words about them."""
    question = {"role": "user", "content": "Hi"}
    _, bound = ask([question, {"role": "assistant", **called}])
    _, as_long = ask([question, {"role": "assistant", **{f"no_{name}": value for name, value in called.items()}}])
    assert bound.prompt_bound_tokens >= as_long.prompt_bound_tokens + 830


@pytest.mark.parametrize("place", ["tools", "functions", "response_format"])
def test_schemas_without_their_references_are_within_the_bound(place: str):
    """Gemini knows none: what each points to goes out in its place."""
    schema = {
        "type": "object",
        "properties": {f"p{i}": {"$ref": "#/$defs/A"} for i in range(50)},
        "$defs": {"A": {"type": "string", "description": "long " * 200}},
    }
    fields: dict[str, Any] = {
        "tools": {"tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]},
        "functions": {"functions": [{"name": "f", "parameters": schema}]},
        "response_format": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}},
    }[place]
    body = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "Hi"}], **fields}
    _, bound = ask("Hi", **fields)
    sent = PROVIDERS["gemini"].write_request(make_order(body, "gemini-2.5-flash", 100)).body
    assert 50_000 < len(sent) < bound.prompt_bound_tokens


def test_the_bound_never_passes_the_window():
    _, bound = ask("x" * 500_000)
    assert bound.prompt_bound_tokens == MODEL.context_tokens
    assert bound.reserved_tokens == MODEL.context_tokens + DEFAULT_RESERVED_TOKENS


@given(TEXT, st.integers(1, 16_384) | st.none(), st.integers(1, 8))
def test_the_reservation_counts_too_much_of_ordinary_text_and_the_client_s_cap(text: str, cap: int | None, n: int):
    _, bound = ask(text, n=n, **({"max_tokens": cap} if cap else {}))
    assert bound.cap_tokens == cap
    assert bound.reserved_tokens == bound.prompt_bound_tokens // 3 + (cap or DEFAULT_RESERVED_TOKENS) * n


def picture(url: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": url}}]}
    ]


def test_a_picture_costs_the_model_s_dearest_picture_not_its_bytes():
    _, small = ask(picture("data:image/png;base64," + "A" * 100))
    _, large = ask(picture("data:image/png;base64," + "A" * 200_000))
    assert small == large
    _, text = ask("Hi")
    assert text.prompt_bound_tokens + 1_500 <= small.prompt_bound_tokens < text.prompt_bound_tokens + 1_700


def test_a_picture_by_address_costs_as_much():
    _, bound = ask(picture("https://example.com/a.png"))
    assert bound.prompt_bound_tokens > 1_500


def test_every_picture_counts():
    parts = picture("data:image/png;base64,AAAA")[0]["content"]
    _, one = ask([{"role": "user", "content": parts}])
    _, three = ask([{"role": "user", "content": [*parts, parts[1], parts[1]]}])
    assert three.prompt_bound_tokens > one.prompt_bound_tokens + 3_000 - 1


def test_a_picture_for_a_model_without_a_figure_costs_the_window():
    model = ServedModel(**{**{name: getattr(MODEL, name) for name in ServedModel.__slots__}, "image_tokens": 0})
    _, bound = ask(picture("data:image/png;base64,AAAA"), model)
    assert bound.prompt_bound_tokens == model.context_tokens


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
    ],
)
def test_sound_and_files_are_bounded_by_the_window(part: dict[str, Any]):
    _, bound = ask([{"role": "user", "content": [part]}])
    assert bound.prompt_bound_tokens == MODEL.context_tokens


def test_nobody_names_a_file_that_the_operator_keeps_at_a_provider():
    with pytest.raises(InvalidRequest, match="as file_data") as refused:
        ask([{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1", "file_data": ""}}]}])
    assert refused.value.param == "messages[0].content[0].file.file_id"


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, "image"),
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "audio"),
        ({"type": "file", "file": {"file_id": "f"}}, "file"),
    ],
)
def test_content_that_the_model_can_t_take_is_refused_and_never_dropped(part: dict[str, Any], kind: str):
    messages = [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "Hi"}, part]}]
    with pytest.raises(InvalidRequest, match=f"takes no {kind} input") as refused:
        ask(messages, TEXT_ONLY)
    assert refused.value.param == "messages[1].content[1]"


@pytest.mark.parametrize(
    "caps",
    [
        {"max_tokens": 16_385},
        {"max_completion_tokens": 16_385},
        {"max_tokens": 16_385, "max_completion_tokens": 5},
        {"max_tokens": 5, "max_completion_tokens": 2**31},
    ],
)
def test_a_cap_beyond_the_model_s_is_brought_down_to_it(caps: dict[str, int]):
    assert ask("Hi", **caps)[1].cap_tokens == MODEL.max_output_tokens


@pytest.mark.parametrize(
    ("caps", "cap"),
    [
        ({}, None),
        ({"max_tokens": 16_384}, 16_384),
        ({"max_completion_tokens": 1}, 1),
        ({"max_tokens": 50, "max_completion_tokens": 40}, 50),
        ({"max_tokens": None}, None),
    ],
)
def test_the_client_s_cap_is_the_cap(caps: dict[str, Any], cap: int | None):
    assert ask("Hi", **caps)[1].cap_tokens == cap


def test_reasoning_that_we_send_back_is_held_for_as_well():
    bound = Measure(100, 50, None, most_prompt_tokens=1000)
    assert bound.with_more(40, context_tokens=1000).prompt_bound_tokens == 140
    assert bound.with_more(4000, context_tokens=1000).prompt_bound_tokens == 1000
    assert bound.with_more(4000, context_tokens=90).prompt_bound_tokens == 100


def test_a_picture_that_gemini_fetches_is_held_for_as_whatever_it_may_be():
    route = Route(1, "c", "gemini", None, None, 1, 1, "gemini-2.5-flash")
    fetching = dataclasses.replace(MODEL, routes=(route,))
    request = converse({"messages": picture("https://example.com/a.png")})
    assert measure(request, fetching, 100).prompt_bound_tokens == MODEL.context_tokens
    assert measure(request, MODEL, 100).prompt_bound_tokens < MODEL.context_tokens


def test_no_upstream_makes_a_short_prompt_long():
    _, bound = ask("Hi")
    assert bound.most_prompt_tokens == bound.prompt_bound_tokens < 500
    _, bound = ask("a" * 1_000_000)  # longer than the window that the catalogue believes in
    assert bound.prompt_bound_tokens == MODEL.context_tokens < bound.most_prompt_tokens
