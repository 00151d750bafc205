"""Anthropic's dialect: how much Claude thinks, and its thoughts in a loop of tool calls."""

import json
from typing import Any

import pytest

from bridge.providers.base import Outgoing
from tests.providers.anthropic_requests import (
    HAIKU_35,
    HI,
    OPUS_5,
    OPUS_46,
    OPUS_48,
    SONNET_37,
    SONNET_45,
    TOOL,
    call,
    calls,
    refusal,
    result,
    said,
    sent,
    text,
    write,
)

ADAPTIVE = {"type": "adaptive"}
SHOWN = {"type": "adaptive", "display": "summarized"}
CAP = 64_000


def enabled(budget: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": budget}


def effort(level: str) -> dict[str, Any]:
    return {"reasoning_effort": level}


@pytest.mark.parametrize(
    ("model", "body", "thinking", "level", "named"),
    [
        # with a budget
        (SONNET_37, effort("minimal"), enabled(1024), None, ()),
        (SONNET_45, effort("low"), enabled(2048), None, ()),
        (SONNET_45, effort("medium"), enabled(8192), None, ()),
        (SONNET_45, effort("high"), enabled(16_384), None, ()),
        (SONNET_45, effort("none"), None, None, ()),
        (SONNET_45, {"thinking": enabled(5000)}, enabled(5000), None, ()),
        (SONNET_45, {"thinking": enabled(100)}, enabled(1024), None, ("thinking.budget_tokens=1024",)),
        (SONNET_45, {"thinking": {"type": "adaptive"}}, enabled(8192), None, ()),
        (SONNET_45, {"thinking": {"type": "disabled"}}, None, None, ()),
        # adaptive
        (OPUS_46, effort("high"), ADAPTIVE, "high", ()),
        (OPUS_46, effort("xhigh"), ADAPTIVE, "high", ("reasoning_effort=high",)),
        (OPUS_46, {"thinking": enabled(5000)}, enabled(5000), None, ()),
        (OPUS_48, effort("xhigh"), SHOWN, "xhigh", ()),
        (OPUS_48, effort("minimal"), SHOWN, "low", ("reasoning_effort=low",)),
        (OPUS_48, effort("none"), None, None, ()),
        (OPUS_48, {"thinking": enabled(5000)}, ADAPTIVE, "medium", ("thinking=adaptive",)),
        (OPUS_48, {"thinking": {**ADAPTIVE, "display": "omitted"}}, {**ADAPTIVE, "display": "omitted"}, None, ()),
        (OPUS_48, {"thinking": ADAPTIVE, **effort("max")}, ADAPTIVE, "max", ()),
        # on by default
        (OPUS_5, {}, None, None, ()),
        (OPUS_5, effort("none"), {"type": "disabled"}, None, ()),
        (OPUS_5, {"thinking": {"type": "disabled"}}, {"type": "disabled"}, None, ()),
        ("claude-sonnet-5-5", effort("none"), {"type": "between_tools"}, None, ("reasoning_effort=between_tools",)),
        ("claude-fable-5", effort("none"), None, "low", ("reasoning_effort=low",)),
        ("claude-next", {"thinking": {"type": "disabled"}}, None, "low", ("thinking=adaptive",)),
    ],
)
def test_how_much_a_model_thinks(model: str, body: Any, thinking: Any, level: str | None, named: tuple[str, ...]):
    outgoing = write(model, max_tokens=CAP, **body)
    out = json.loads(outgoing.body)
    assert out.get("thinking") == thinking
    assert out.get("output_config", {}).get("effort") == level
    assert (outgoing.clamped, outgoing.dropped) == (named, ())
    assert out["max_tokens"] == CAP


def test_a_model_that_does_not_think_leaves_it_out_and_names_it():
    outgoing = write(HAIKU_35, reasoning_effort="low", thinking=enabled(2048))
    assert outgoing.dropped == ("reasoning_effort", "thinking")
    assert "thinking" not in json.loads(outgoing.body)
    assert write(HAIKU_35, reasoning_effort="none").dropped == ()


@pytest.mark.parametrize(
    ("cap", "body", "budget"),
    [
        (4096, {"thinking": enabled(5000)}, 4095),
        (1025, {"thinking": enabled(5000)}, 1024),
        (1025, effort("high"), 1024),
        (6000, effort("high"), 3000),
        (12_000, effort("high"), 7904),
    ],
)
def test_a_budget_is_fitted_below_the_cap_and_named(cap: int, body: dict[str, Any], budget: int):
    outgoing = write(SONNET_45, cap=cap, **body)
    out = json.loads(outgoing.body)
    assert (out["max_tokens"], out["thinking"]) == (cap, enabled(budget))
    assert outgoing.clamped == (f"thinking.budget_tokens={budget}",)


@pytest.mark.parametrize(
    ("body", "named"),
    [({"thinking": enabled(2048)}, "thinking=disabled"), (effort("low"), "reasoning_effort=none")],
)
def test_a_cap_without_room_to_think_turns_it_off(body: dict[str, Any], named: str):
    outgoing = write(SONNET_45, max_tokens=1024, **body)
    assert ("thinking" in json.loads(outgoing.body), outgoing.clamped) == (False, (named,))


@pytest.mark.parametrize(
    "body", [{"reasoning_effort": "odd"}, {"thinking": "yes"}, {"thinking": {"type": "enabled", "budget_tokens": "x"}}]
)
def test_values_that_mean_nothing_are_refused(body: dict[str, Any]):
    assert refusal(**body).param == next(iter(body))


# what goes with it


def test_a_tool_that_is_demanded_comes_before_thinking_with_a_budget():
    outgoing = write(SONNET_45, reasoning_effort="low", tools=[TOOL], tool_choice="required")
    out = json.loads(outgoing.body)
    assert ("thinking" in out, out["tool_choice"]) == (False, {"type": "any"})
    assert outgoing.clamped == ("reasoning_effort=none",)
    both = sent(OPUS_46, reasoning_effort="low", tools=[TOOL], tool_choice="required")
    assert (both["thinking"], both["tool_choice"]) == (ADAPTIVE, {"type": "any"})


def test_sampling_that_thinking_refuses_is_left_out_and_named():
    outgoing = write(SONNET_45, thinking=enabled(2048), temperature=0.5, top_k=5)
    assert not {"temperature", "top_k"} & {*json.loads(outgoing.body)}
    assert outgoing.dropped == ("temperature", "top_k")
    assert sent(SONNET_45, thinking=enabled(2048), temperature=1)["temperature"] == 1
    narrow = write(SONNET_45, thinking=enabled(2048), top_p=0.5)
    assert (json.loads(narrow.body)["top_p"], narrow.clamped) == (0.95, ("top_p=0.95",))


def test_an_answer_that_is_begun_is_gone_on_with_without_thinking():
    outgoing = write(SONNET_45, messages=[*HI, said("assistant", "{")], reasoning_effort="low")
    assert ("thinking" in json.loads(outgoing.body), outgoing.clamped) == (False, ("reasoning_effort=none",))


# thoughts in a loop of tool calls

THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "abc"}
LOW = {"reasoning_effort": "low", "max_tokens": 4096, "tools": [TOOL]}


def kept(model: str = "claude-sonnet-4-5", **more: Any) -> dict[str, Any]:
    return {"call_1": {"provider": "anthropic", "model": model, "blocks": [REDACTED, THOUGHT], **more}}


def loop(kept_then: dict[str, Any] | None = None, model: str = SONNET_45, **more: Any) -> tuple[Outgoing, list[Any]]:
    """What goes out for a call with its result, and the content of the model's turn in it."""
    messages = [*HI, calls(call(), content="Let me look.", **more), result()]
    outgoing = write(model, kept_then, messages=messages, **LOW)
    return outgoing, json.loads(outgoing.body)["messages"][1]["content"]


def test_the_clients_own_thoughts_come_first_in_their_turn():
    outgoing, content = loop(kept(), thinking_blocks=[THOUGHT, {"type": "thinking", "thinking": "unsigned"}, "x"])
    assert content[0] == THOUGHT
    assert [block["type"] for block in content] == ["thinking", "text", "tool_use"]
    assert "thinking" in json.loads(outgoing.body)
    assert outgoing.clamped == ()


def test_kept_thoughts_come_where_the_client_has_none():
    outgoing, content = loop(kept("claude-sonnet-4-5"), model="claude-sonnet-4-5-20250929", reasoning_content="Hm.")
    assert content[:2] == [REDACTED, THOUGHT]
    assert "thinking" in json.loads(outgoing.body)


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        {"call_2": kept()["call_1"]},
        kept("claude-opus-4-5"),
        kept(provider="gemini"),
        kept(blocks=[]),
        kept(blocks="x"),
        {"call_1": "x"},
    ],
)
def test_with_lost_thoughts_there_is_no_thinking_with_a_budget_and_that_is_named(found: Any):
    outgoing, content = loop(found)
    assert [block["type"] for block in content] == ["text", "tool_use"]
    assert "thinking" not in json.loads(outgoing.body)
    assert outgoing.clamped == ("reasoning_effort=none",)


def test_adaptive_thinking_needs_no_thoughts():
    outgoing, content = loop(None, OPUS_48)
    assert [block["type"] for block in content] == ["text", "tool_use"]
    assert (json.loads(outgoing.body)["thinking"], outgoing.clamped) == (SHOWN, ())
    assert loop(kept(OPUS_48), OPUS_48)[1][:2] == [REDACTED, THOUGHT]


def test_later_calls_of_a_turn_need_none_of_their_own():
    messages = [*HI, calls(call()), result(), calls(call("call_2")), result("call_2")]
    out = sent(SONNET_45, kept(), messages=messages, **LOW)
    assert "thinking" in out
    assert [turn["content"][0]["type"] for turn in out["messages"]] == ["text", "redacted_thinking", "tool_result"] + [
        "tool_use",
        "tool_result",
    ]


def test_turns_that_are_over_need_none():
    messages = [*HI, calls(call()), result(), said("assistant", "Rain."), said("user", "And now?")]
    assert "thinking" in sent(SONNET_45, messages=messages, **LOW)


@pytest.mark.parametrize(("model", "body"), [(HAIKU_35, {}), (SONNET_45, {}), (OPUS_48, {}), (OPUS_5, effort("none"))])
def test_a_model_that_does_not_think_gets_no_thoughts(model: str, body: dict[str, Any]):
    out = sent(model, messages=[*HI, said("assistant", "Yes", thinking_blocks=[THOUGHT]), *HI], **body)
    assert out["messages"][1]["content"] == text("Yes")


def test_a_model_that_thinks_by_default_gets_its_thoughts():
    out = sent(OPUS_5, messages=[*HI, said("assistant", "Yes", thinking_blocks=[THOUGHT]), *HI])
    assert out["messages"][1]["content"] == [THOUGHT, *text("Yes")]
