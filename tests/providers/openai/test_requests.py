"""OpenAI's dialect, what goes out: the client's body, fitted to the model where it would be refused."""

import json
from typing import Any

import msgspec
import pytest

from bridge.providers.base import Outgoing
from bridge.providers.openai.provider import OpenAI
from bridge.providers.openai.request_fields import NEVER
from tests.conversations import make_order


def write(body: dict[str, Any], upstream_id: str = "theirs", cap: int | None = None) -> tuple[dict[str, Any], tuple]:
    outgoing = write_out(body, upstream_id, cap)
    return json.loads(outgoing.body), outgoing.dropped


def write_out(body: dict[str, Any], upstream_id: str, cap: int | None = None) -> Outgoing:
    encoded = msgspec.Raw(msgspec.json.encode(body["messages"]))
    outgoing = OpenAI().write_request(make_order(body, upstream_id, cap, encoded))
    assert outgoing.path == "/chat/completions"
    return outgoing


BODY: dict[str, Any] = {"model": "public", "messages": [{"role": "user", "content": "Hi", "name": "Ada"}], "top_k": 4}


def test_a_request_passes_untouched_but_for_the_model_name():
    out, dropped = write(BODY)
    assert (out, dropped) == ({**BODY, "model": "theirs"}, ())
    assert BODY["model"] == "public"


@pytest.mark.parametrize("field", NEVER)
def test_what_would_choose_a_model_a_host_or_a_price_is_dropped_and_named(field: str):
    out, dropped = write({**BODY, field: ["x"]})
    assert (field in out, dropped) == (False, (field,))


def test_stored_state_is_dropped_with_the_metadata_that_needs_it():
    out, dropped = write({**BODY, "store": True, "metadata": {"a": "b"}})
    assert (out, dropped) == ({**BODY, "model": "theirs"}, ("store", "metadata"))
    out, dropped = write({**BODY, "store": False, "metadata": {"a": "b"}})
    assert (out["store"], out["metadata"], dropped) == (False, {"a": "b"}, ())


@pytest.mark.parametrize(
    ("upstream_id", "field"),
    [("gpt-4o", "max_tokens"), ("o3-mini", "max_completion_tokens"), ("gpt-5", "max_completion_tokens")],
)
def test_a_cap_is_always_sent_in_the_name_that_the_model_knows(upstream_id: str, field: str):
    out, _ = write(BODY, upstream_id, 700)
    assert {name: value for name, value in out.items() if "tokens" in name} == {field: 700}


@pytest.mark.parametrize("own", [{"max_tokens": 5}, {"max_tokens": 6, "max_completion_tokens": 5}])
@pytest.mark.parametrize(
    ("upstream_id", "field"), [("theirs", "max_tokens"), ("gpt-4o", "max_tokens"), ("gpt-5", "max_completion_tokens")]
)
def test_a_client_s_own_cap_is_sent_once(own: dict[str, int], upstream_id: str, field: str):
    assert write({**BODY, **own}, upstream_id)[0] == {**BODY, "model": upstream_id, field: 5}


@pytest.mark.parametrize(
    ("upstream_id", "field"),
    [("theirs", "max_tokens"), ("o4-mini", "max_completion_tokens"), ("ft:o4-mini:us", "max_completion_tokens")],
)
@pytest.mark.parametrize("other", [{}, {"max_tokens": None}])
def test_a_server_that_knows_only_the_older_name_of_the_cap_is_told_it(
    upstream_id: str, field: str, other: dict[str, None]
):
    out, dropped = write({**BODY, "max_completion_tokens": 5, **other}, upstream_id)
    assert ({name: value for name, value in out.items() if "tokens" in name and value}, dropped) == ({field: 5}, ())


@pytest.mark.parametrize("field", ["n_predict", "num_predict", "max_output_tokens", "best_of"])
def test_nothing_beside_the_cap_raises_what_an_upstream_writes(field: str):
    out, dropped = write({**BODY, "max_tokens": 5, field: 100_000})
    assert (out, dropped) == ({**BODY, "max_tokens": 5, "model": "theirs"}, (field,))


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
def test_a_stream_is_always_asked_for_its_usage(options: dict[str, Any] | None):
    out, _ = write({**BODY, "stream": True, "stream_options": options})
    assert out["stream_options"] == {**(options or {}), "include_usage": True}
    assert "stream_options" not in write(BODY)[0]


THINKERS = ["o3", "o4-mini", "ft:o4-mini:us", "gpt-5", "gpt-5.1", "gpt-5.6-sol", "gpt-7"]
OTHERS = [
    "gpt-4o",
    "gpt-4.1-mini",
    "gpt-35-turbo",
    "chatgpt-4o-latest",
    "gpt-5-chat-latest",
    "openai/gpt-5",
    "gpt-oss-20b",
]
SAMPLING = {"temperature": 0.2, "top_p": 0.5, "presence_penalty": 1, "logprobs": True, "stop": ["x"]}


@pytest.mark.parametrize("upstream_id", THINKERS)
def test_what_a_thinking_model_refuses_is_dropped_and_named(upstream_id: str):
    out, dropped = write({**BODY, **SAMPLING}, upstream_id)
    assert (out, set(dropped)) == ({**BODY, "model": upstream_id}, set(SAMPLING))


@pytest.mark.parametrize("upstream_id", THINKERS)
def test_what_says_nothing_is_not_named(upstream_id: str):
    out, dropped = write({**BODY, "temperature": 1, "top_p": 1, "presence_penalty": 0.0}, upstream_id)
    assert (out.get("temperature"), dropped) == (1, ())


@pytest.mark.parametrize("upstream_id", OTHERS)
def test_other_models_take_it(upstream_id: str):
    assert write({**BODY, **SAMPLING}, upstream_id) == ({**BODY, **SAMPLING, "model": upstream_id}, ())


def test_a_thinking_model_that_does_not_think_takes_it():
    asked = {**BODY, **SAMPLING, "reasoning_effort": "none"}
    assert write(asked, "gpt-5.2") == ({**asked, "model": "gpt-5.2"}, ())
    assert set(write(asked, "gpt-5.6-luna")[1]) == set(SAMPLING)


@pytest.mark.parametrize(
    ("upstream_id", "asked", "sent"),
    [
        ("o3", "minimal", "low"),
        ("o3", "max", "high"),
        ("gpt-5", "none", "minimal"),
        ("gpt-5", "xhigh", "high"),
        ("gpt-5.1", "minimal", "low"),
        ("gpt-5.2", "max", "xhigh"),
        ("gpt-5.6-sol", "max", "max"),
        ("gpt-6-sol", "none", "none"),
        ("gpt-6-astra", "none", "low"),
        ("gpt-6.1-sol", "minimal", "low"),
        ("gpt-6.1-terra", "none", "none"),
        ("gpt-6.2-sol", "none", "low"),
        ("gpt-5", "high", "high"),
        ("gpt-5", "their-own", "their-own"),
        ("their-model", "max", "max"),
    ],
)
def test_an_effort_is_brought_to_one_that_the_model_knows(upstream_id: str, asked: str, sent: str):
    outgoing = write_out({**BODY, "reasoning_effort": asked}, upstream_id)
    assert json.loads(outgoing.body)["reasoning_effort"] == sent
    assert outgoing.clamped == (() if sent == asked else (f"reasoning_effort={sent}",))


@pytest.mark.parametrize(("effort", "named"), [("high", ("reasoning_effort",)), ("none", ())])
def test_a_model_that_never_thinks_is_not_told_how_hard(effort: str, named: tuple[str, ...]):
    assert write({**BODY, "reasoning_effort": effort}, "gpt-4o") == ({**BODY, "model": "gpt-4o"}, named)


TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("upstream_id", "asked", "sent"),
    [
        ("gpt-5.6-luna", {}, "none"),
        ("gpt-5.6-luna", {"reasoning_effort": "high"}, "none"),
        ("gpt-5.4", {"reasoning_effort": "high"}, "none"),
        ("gpt-5.4", {}, None),
        ("gpt-5", {"reasoning_effort": "high"}, "high"),
    ],
)
def test_where_functions_and_thinking_exclude_each_other_functions_win(
    upstream_id: str, asked: dict[str, str], sent: str | None
):
    outgoing = write_out({**BODY, **asked, "tools": [TOOL]}, upstream_id)
    assert json.loads(outgoing.body).get("reasoning_effort") == sent
    assert outgoing.clamped == (("reasoning_effort=none",) if sent == "none" else ())


FOREIGN = [
    {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]},
    {
        "role": "assistant",
        "content": None,
        "reasoning_content": "Hm",
        "thinking_blocks": [{}],
        "tool_calls": [{"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1", "cache_control": {"type": "ephemeral"}},
]
OWN = [
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "1"},
]


def test_what_other_dialects_clients_carry_along_stays_away_from_openai_alone():
    body = {
        "model": "m",
        "messages": FOREIGN,
        "tools": [{**TOOL, "cache_control": {}}],
        "thinking": {"type": "enabled"},
    }
    out, dropped = write(body, "gpt-4o")
    assert (out["messages"], out["tools"], dropped) == (OWN, [TOOL], ("thinking",))
    out, dropped = write(body, "their-model")
    assert (out["messages"], out["tools"], dropped) == ([FOREIGN[0], OWN[1], FOREIGN[2]], body["tools"], ())
    assert write({**body, "messages": OWN}, "gpt-4o")[0]["messages"] == OWN


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_what_only_looks_like_calls_is_dropped_and_named(role: str):
    odd = [{"role": role, "content": "Hi", "tool_calls": 5}, {"role": role, "content": "Hi", "tool_calls": [5]}]
    out, dropped = write({"model": "m", "messages": odd}, "gpt-4o")
    assert out["messages"] == [{"role": role, "content": "Hi"}] * 2
    assert dropped == ("messages[0].tool_calls", "messages[1].tool_calls")


@pytest.mark.parametrize(
    ("upstream_id", "role", "sent"),
    [
        ("gpt-4o", "developer", "developer"),
        ("o3", "system", "system"),
        ("o1-mini", "system", "user"),
        ("o1-preview-2024-09-12", "developer", "user"),
        ("llama3.2:1b", "developer", "system"),
        ("llama3.2:1b", "system", "system"),
    ],
)
def test_instructions_are_given_in_a_role_that_the_model_knows(upstream_id: str, role: str, sent: str):
    messages = [{"role": role, "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    out, dropped = write({"model": "m", "messages": messages}, upstream_id)
    assert ([message["role"] for message in out["messages"]], dropped) == ([sent, "user"], ())
