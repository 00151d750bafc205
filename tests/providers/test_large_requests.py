"""Large and repetitive requests: they take as long as they are large, not as the square of it.

Without that most of the sizes below take from minutes to days: that these tests end at all is what they prove."""

from typing import Any

import msgspec
import pytest

from bridge.providers import PROVIDERS
from bridge.providers.anthropic.schema import fit_schema
from bridge.providers.base import AttemptFailed
from bridge.providers.openai.answer import read_body
from tests.conversations import make_order

NULL = {"type": "null"}
QUESTION = {"role": "user", "content": "What time is it?"}
MODELS = [
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-flash"),
    ("deepseek", "deepseek-v4-flash"),
    ("moonshot", "kimi-k2.5"),
]


def write(provider: str, model: str, body: dict[str, Any]) -> dict[str, Any]:
    outgoing = PROVIDERS[provider].write_request(make_order({"model": model, **body}, model, 100))
    written: dict[str, Any] = msgspec.json.decode(outgoing.body)
    return written


def link(definitions: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/d0"}},
        "required": ["a"],
        "$defs": definitions,
    }


def test_a_long_chain_of_definitions_is_followed_once():
    chain = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(50_000)}
    assert fit_schema(link({**chain, "d50000": {"type": "string"}})) is not None
    assert fit_schema(link({**chain, "d50000": {"$ref": "#/$defs/d7"}})) is None, "which would never end"


@pytest.mark.parametrize(
    ("definitions", "fits"),
    [
        ({"d0": {"$ref": "#/$defs/d0"}}, False),
        ({"d0": {"type": "string"}, "x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}, False),
        (
            {"d0": {"anyOf": [{"$ref": "#/$defs/x"}, {"$ref": "#/$defs/y"}]}, "x": {"$ref": "#/$defs/y"}, "y": NULL},
            True,
        ),
        ({"d0": {"anyOf": [{"$ref": "#/$defs/x"}, {"type": "null"}]}, "x": {"$ref": "#/$defs/d0"}}, False),
    ],
)
def test_only_what_leads_back_to_itself_is_no_schema_for_anthropic(definitions: dict[str, Any], fits: bool):
    assert (fit_schema(link(definitions)) is not None) is fits


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_as_many_tools_may_be_allowed_as_are_offered(provider: str, model: str):
    tools = [{"type": "function", "function": {"name": f"f{i}"}} for i in range(50_000)]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": tools[::-1]}}
    written = write(provider, model, {"messages": [QUESTION], "tools": tools, "tool_choice": choice})["tools"]
    assert len(written[0].get("functionDeclarations", written)) == 50_000


def test_a_call_with_ever_more_results_has_all_of_them():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    results = [{"role": "tool", "tool_call_id": "a", "content": f"{i}"} for i in range(150_000)]
    messages = [QUESTION, {"role": "assistant", "tool_calls": [call]}, *results]
    (block,) = write("anthropic", "claude-sonnet-4-5", {"messages": messages})["messages"][-1]["content"]
    assert [part["text"] for part in block["content"]] == [result["content"] for result in results]


@pytest.mark.parametrize(("provider", "model"), MODELS[:2])
@pytest.mark.parametrize("more", [";", ";a", ";a=1"])
def test_what_a_data_url_says_before_its_data_is_short(provider: str, model: str, more: str):
    url = "data:image/png" + more * (8_000_000 // len(more)) + ";base64,AAAA"
    part = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(AttemptFailed) as refused:
        write(provider, model, {"messages": [{"role": "user", "content": [part]}]})
    assert refused.value.code == "invalid_image"


def test_any_number_of_comments_may_come_before_an_answer():
    assert read_body(b" \r\n: keep-alive\n\n" * 500_000 + b' {"a": 1}\n') == {"a": 1}
    assert read_body(b"\n\n {}") == {}
    with pytest.raises(AttemptFailed):
        read_body(b": nothing else")


def test_a_result_again_and_again_is_no_new_call_each_time():
    call = {"id": "a", "type": "function", "function": {"name": "f" * 20_000, "arguments": "{}"}}
    results = [{"role": "tool", "tool_call_id": "a", "content": f"{i}"} for i in range(5000)]
    messages = [QUESTION, {"role": "assistant", "tool_calls": [call]}, *results]
    contents = write("gemini", "gemini-2.5-flash", {"messages": messages})["contents"]
    (part,) = contents[-1]["parts"]
    assert [one["result"] for one in part["functionResponse"]["response"]["results"]] == [f"{i}" for i in range(5000)]
    assert len(msgspec.json.encode(contents)) < 2 * len(msgspec.json.encode(messages))
    messages[2:] = [one for result in results for one in (result, QUESTION)]
    written = write("gemini", "gemini-2.5-flash", {"messages": messages})
    assert len(msgspec.json.encode(written)) < 8 * len(msgspec.json.encode(messages))
