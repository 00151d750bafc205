"""Anthropic's rules hold for whatever a client sends, and nothing that an upstream sends breaks us."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.tool_names import ANTHROPIC_IDS, ANTHROPIC_NAMES, SafeNames
from tests.chat_answers import chat_order
from tests.conversations import make_order
from tests.providers.anthropic_requests import (
    HAIKU_35,
    OPUS_5,
    OPUS_46,
    OPUS_48,
    SONNET_37,
    SONNET_45,
    START,
    block,
    delta,
    ending,
    event,
    join,
    read,
    text_block,
    write,
)
from tests.providers.requests_strategy import CALL_IDS, bodies

MODELS = (HAIKU_35, SONNET_37, SONNET_45, OPUS_46, OPUS_48, OPUS_5, "claude-sonnet-5-5", "claude-fable-5-1", "next")
NEVER, BUDGETED, CHOSEN = ("disabled",), ("enabled", "disabled"), ("adaptive", "disabled")
KINDS_OF_THINKING = {
    HAIKU_35: NEVER,
    SONNET_37: BUDGETED,
    SONNET_45: BUDGETED,
    OPUS_46: ("adaptive", *BUDGETED),
    OPUS_48: CHOSEN,
    OPUS_5: CHOSEN,
    "claude-sonnet-5-5": ("between_tools", *CHOSEN),
    "claude-fable-5-1": CHOSEN,
    "next": CHOSEN,
}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
kept = st.dictionaries(
    st.sampled_from(CALL_IDS),
    st.one_of(
        st.sampled_from(["x", {}, {"provider": "gemini", "signature": "s"}]),
        st.builds(
            lambda model: {"provider": "anthropic", "model": model, "blocks": [THOUGHT]}, st.sampled_from(MODELS)
        ),
    ),
    max_size=2,
)


@settings(max_examples=100, deadline=None)
@given(bodies, st.sampled_from(MODELS), kept, st.one_of(st.none(), st.integers(1, 3000)))
def test_whatever_is_valid_is_refused_by_name_or_written_by_the_rules(body: Any, model: str, found: Any, cap: Any):
    before = msgspec.json.encode(body)
    try:
        outgoing = Anthropic().write_request(make_order(body, model, cap, kept=found))
    except AttemptFailed as failure:
        # the client's own mistake, told with the field's name
        assert (failure.blame, bool(failure.message), bool(failure.param)) == (Blame.REQUEST, True, True)  # noqa: PT017
        return
    finally:
        assert msgspec.json.encode(body) == before
    written = json.loads(outgoing.body)
    check_turns(written["messages"])
    check_fields(written, model)
    given_cap = cap or body.get("max_completion_tokens") or body.get("max_tokens") or 4096
    assert written["max_tokens"] == given_cap
    assert set(outgoing.dropped) <= {
        *body,
        *re.findall(r"(?:tools|functions)\[\d+\]\.strict", " ".join(outgoing.dropped)),
    }
    assert all(item.isascii() and "\n" not in item for item in (*outgoing.dropped, *outgoing.clamped))


def check_turns(messages: list[dict[str, Any]]) -> None:
    """The two sides in turn (system messages between a user's and the model's), results right after their calls."""
    spoken = [message for message in messages if message["role"] != "system"]
    assert [message["role"] for message in spoken] == (["user", "assistant"] * len(spoken))[: len(spoken)]
    open_calls: list[str] = []
    used: set[str] = set()
    for i, message in enumerate(messages):
        content = message["content"]
        assert content
        kinds = [each["type"] for each in content]
        results = [each["tool_use_id"] for each in content if each["type"] == "tool_result"]
        assert kinds[: len(results)] == ["tool_result"] * len(results)
        assert sorted(results) == sorted(open_calls)
        open_calls = [each["id"] for each in content if each["type"] == "tool_use"]
        if message["role"] == "system":
            assert messages[i - 1]["role"] == "user"
        if message["role"] != "assistant":
            assert not open_calls
        thoughts = sum(kind in ("thinking", "redacted_thinking") for kind in kinds)
        assert all(kind in ("thinking", "redacted_thinking") for kind in kinds[:thoughts])
        for each in content:
            check_block(each)
        assert not used & {*open_calls}
        used |= {*open_calls}
    assert not open_calls
    last = messages[-1]["content"][-1]
    if messages[-1]["role"] == "assistant" and last["type"] == "text":
        assert last["text"] == last["text"].rstrip()


def check_block(each: dict[str, Any]) -> None:
    if each["type"] == "text":
        assert each["text"].strip()
    elif each["type"] == "tool_use":
        assert re.fullmatch("[a-zA-Z0-9_-]+", each["id"])
        assert re.fullmatch("[a-zA-Z0-9_-]{1,128}", each["name"])
        assert isinstance(each["input"], dict)
    elif each["type"] == "tool_result":
        for part in each.get("content", ()):
            check_block(part)
    elif each["type"] == "image" and each["source"]["type"] == "base64":
        assert each["source"]["media_type"] in ("image/jpeg", "image/png", "image/gif", "image/webp")
    assert isinstance(each.get("cache_control", {}), dict)


def check_fields(written: dict[str, Any], model: str) -> None:
    tools = written.get("tools", [])
    names = [tool["name"] for tool in tools]
    assert len({*names}) == len(names)
    for tool in tools:
        assert re.fullmatch("[a-zA-Z0-9_-]{1,128}", tool["name"])
        assert tool["input_schema"]["type"] == "object"
    choice = written.get("tool_choice", {"type": "auto"})
    assert tools or "tool_choice" not in written
    assert choice.get("name") in (None, *names)
    forced = () if model in ("claude-fable-5-1", "next") else ("any", "tool")
    assert choice["type"] in ("auto", "none", *forced)
    thinking = written.get("thinking", {"type": "disabled"})
    if thinking["type"] == "enabled":
        assert 1024 <= thinking["budget_tokens"] < written["max_tokens"]
        assert choice["type"] in ("auto", "none")
        assert written.get("temperature", 1) == 1
        assert "top_k" not in written
    assert thinking["type"] in KINDS_OF_THINKING[model]
    assert 0 <= written.get("temperature", 0) <= 1
    assert all(stop.strip() for stop in written.get("stop_sequences", ()))
    if model in (OPUS_48, OPUS_5, "claude-sonnet-5-5", "claude-fable-5-1", "next"):
        assert not {"temperature", "top_p", "top_k"} & {*written}
    elif model != HAIKU_35 and model != SONNET_37:
        assert not {"temperature", "top_p"} <= {*written}


@given(st.lists(st.text(max_size=6), max_size=8, unique=True))
def test_no_two_names_become_one(originals: list[str]):
    names = SafeNames(originals, ANTHROPIC_NAMES)
    written = [names.write(name) for name in originals]
    assert len({*written}) == len(written)
    assert [names.write(name) for name in originals] == written
    back = names.originals
    assert [back.get(safe, safe) for safe in written] == originals


def test_an_id_used_again_and_again_takes_no_time():
    names = SafeNames(["a"], ANTHROPIC_IDS)
    drawn = {names.draw("a") for _ in range(50_000)}
    assert len(drawn) == 50_000


# whatever an upstream sends

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
    + ["message_stop", "ping", "error", "new"]
)
BLOCK_FIELDS = ("type", "text", "id", "name", "input", "thinking", "signature", "data", "citations")
BLOCK_TYPES = ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "new")
DELTA_TYPES = ("text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta", "new")
odd_blocks = st.dictionaries(st.sampled_from(BLOCK_FIELDS), st.one_of(JSON, st.sampled_from(BLOCK_TYPES)), max_size=5)
odd_deltas = st.dictionaries(
    st.sampled_from(["type", "text", "partial_json", "thinking", "signature", "stop_reason", "citation"]),
    st.one_of(JSON, st.sampled_from(DELTA_TYPES)),
    max_size=4,
)
odd_events = st.builds(
    lambda kind, fields: event(kind, **fields),
    KINDS,
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.one_of(st.integers(0, 2), JSON),
            "delta": st.one_of(odd_deltas, JSON),
            "content_block": st.one_of(odd_blocks, JSON),
            "message": JSON,
            "usage": JSON,
            "error": JSON,
        },
    ),
)
likely_events = st.one_of(
    st.builds(
        lambda i, kind: event("content_block_start", index=i, content_block={"type": kind, "name": "f"}),
        st.integers(0, 2),
        st.sampled_from(BLOCK_TYPES),
    ),
    st.builds(
        lambda i, kind, said: delta(i, kind, **{kind.removesuffix("_delta"): said, "partial_json": said}),
        st.integers(0, 2),
        st.sampled_from(DELTA_TYPES),
        st.text(max_size=4),
    ),
    st.builds(lambda i: event("content_block_stop", index=i), st.integers(0, 2)),
    odd_events,
)
OUTGOING = st.sampled_from(
    [
        Outgoing("/v1/messages", b""),
        write(response_format={"type": "json_object"}),
        write(HAIKU_35, response_format={"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}),
        write(functions=[{"name": "f"}]),
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(likely_events, max_size=8).map(b"".join)), OUTGOING)
def test_no_bytes_raise_anything_but_a_failed_attempt(data: bytes, outgoing: Outgoing):
    provider = Anthropic()
    for way in (
        lambda: provider.open_reader(outgoing, chat_order("x", "m", 0, True, 2**20)).feed(START + data),
        lambda: provider.read_answer(data, outgoing),
        lambda: provider.read_answer(json.dumps({"content": [{"text": data.decode("latin-1")}]}).encode(), outgoing),
    ):
        try:
            way()
        except AttemptFailed as failure:
            assert failure.reason  # noqa: PT017
    for status in (200, 400, 413, 429, 503):
        assert isinstance(provider.read_error(status, {"retry-after": "x"}, data), AttemptFailed)


@settings(deadline=None)
@given(
    st.one_of(
        st.builds(lambda content, usage: {"content": content, "usage": usage}, st.lists(odd_blocks, max_size=3), JSON),
        JSON,
    ),
    OUTGOING,
)
def test_no_answer_raises_anything_but_a_failed_attempt(answer: Any, outgoing: Outgoing):
    try:
        completion = Anthropic().read_answer(json.dumps(answer).encode(), outgoing)
    except AttemptFailed as failure:
        assert failure.blame is not Blame.REQUEST  # noqa: PT017
    else:
        assert completion.finish_reason


# the short way of pieces that differ in their text alone


@given(st.lists(st.text(), max_size=8), st.sampled_from(["", " ", "   "]), st.booleans())
def test_every_piece_arrives_as_it_was_sent(pieces: list[str], padding: str, raw: bool):
    said = ["first", *pieces]
    for kind, field, begins in (
        ("text_delta", "text", {"type": "text", "text": ""}),
        ("thinking_delta", "thinking", {"type": "thinking", "thinking": "", "signature": "s"}),
        ("input_json_delta", "partial_json", {"type": "tool_use", "id": "t", "name": "f", "input": {}}),
    ):
        deltas = []
        for piece in said:
            value = json.dumps(piece, ensure_ascii=not raw)
            line = f'{{"type":"content_block_delta","index":0,"delta":{{"type":"{kind}","{field}":{value}}}{padding}}}'
            deltas.append(f"event: content_block_delta\ndata: {line}{padding}\n\n".encode())
        found, reader = read(START, block(0, begins, *deltas), ending())
        if field == "partial_json":
            arguments = [call["function"]["arguments"] for each in found for call in each.get("tool_calls", ())]
            assert "".join(arguments) == "".join(said)
        else:
            assert join(found, "content" if field == "text" else "reasoning_content") == "".join(said)
        assert "".join(reader.text) == ("f" if field == "partial_json" else "") + "".join(said)
        assert (reader.started, reader.finished) == (True, True)


PLAIN = '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"first"}}'
BEGUN = event("content_block_start", index=0, content_block={"type": "text", "text": ""})


@pytest.mark.parametrize(
    "inside",
    ['x","text":"y', 'x"},"index":1,"delta":{"text":"y', "x\\", "x\ny", 'x"', "\x00", '","text":"', "x}}", '\\"}}'],
)
def test_what_only_looks_like_a_piece_is_read_in_full_or_refused(inside: str):
    odd = PLAIN.replace("first", inside)
    lines = [f"data: {PLAIN}\n\n".encode(), f"data: {odd}\n\n".encode()]
    try:
        expected = json.loads(odd)
    except ValueError:
        with pytest.raises(AttemptFailed):
            read(START, BEGUN, *lines)
        return
    deltas, _ = read(START, BEGUN, *lines)
    said = expected["delta"]["text"] if expected["index"] == 0 and "type" in expected["delta"] else ""
    assert join(deltas) == "first" + said


@pytest.mark.parametrize("tail", ["}", "}}}", "}} {", "]]", ""])
def test_what_ends_otherwise_than_a_piece_is_refused(tail: str):
    odd = PLAIN.removesuffix("}}") + tail
    with pytest.raises(AttemptFailed):
        read(START, BEGUN, f"data: {PLAIN}\n\ndata: {odd}\n\n".encode())


def test_a_piece_after_its_blocks_end_is_none():
    late = delta(0, "text_delta", text="late")
    assert join(read(START, text_block(0, "a", "b"), late, ending())[0]) == "ab"
