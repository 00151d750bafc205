"""OpenAI's dialect under any request and any answer: rules that hold whatever a client or an upstream sends."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.dialects.chat.request import ChatRequest
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.openai.choice import Reading
from tests.chat_answers import body_of, chat_order
from tests.conversations import make_order
from tests.providers.openai_streams import HEAD
from tests.providers.requests_strategy import CALL_IDS, bodies

OPENAIS = ["gpt-4o", "o1-mini", "o4-mini", "gpt-5", "gpt-5.6-sol", "their-model"]
DEEPSEEKS = ["deepseek-v4-flash", "deepseek-chat", "deepseek-reasoner"]
MOONSHOTS = [
    "moonshot-v1-8k",
    "kimi-k2-thinking",
    "kimi-k2.5",
    "kimi-k2.7-code",
    "kimi-k3",
    "moonshot-v1-8k-vision-preview",
]
MODELS = [("openai", name) for name in OPENAIS] + [("deepseek", name) for name in DEEPSEEKS]
MODELS += [("moonshot", name) for name in MOONSHOTS]
KEPT_VALUES = ["x", None, 5, {"provider": "deepseek"}, {"reasoning": 1}, {"provider": "deepseek", "reasoning": "Hm."}]
KEPT = st.dictionaries(st.sampled_from(CALL_IDS), st.sampled_from(KEPT_VALUES), max_size=3)


@settings(max_examples=100, deadline=None)
@given(bodies, st.sampled_from(MODELS), KEPT, st.none() | st.integers(1, 9999))
def test_any_request_is_written_or_refused_by_its_field(
    body: dict[str, Any], served: tuple[str, str], kept: dict[str, Any], cap: int | None
):
    provider, upstream_id = served
    before = json.dumps(body)
    order = make_order(body, upstream_id, cap, msgspec.Raw(msgspec.json.encode(body["messages"])), kept)
    try:
        outgoing = PROVIDERS[provider].write_request(order)
    except AttemptFailed as failed:
        assert provider != "openai"  # noqa: PT017
        assert failed.blame is Blame.REQUEST  # noqa: PT017
        assert failed.param  # noqa: PT017
        return
    finally:
        assert json.dumps(body) == before
    out = json.loads(outgoing.body)
    msgspec.convert(out, ChatRequest)  # it is a request of the dialect
    assert out["model"] == upstream_id
    caps = [out.get(name) for name in ("max_tokens", "max_completion_tokens") if name in out]
    asked = cap or body.get("max_completion_tokens") or body.get("max_tokens")
    assert caps == ([asked] if asked else [])
    assert bool(out.get("stream")) == bool(body.get("stream"))
    assert all(re.split(r"[.\[]", name)[0] in body for name in outgoing.dropped)
    assert all(name not in out or name in ("stop", "tool_choice") for name in outgoing.dropped)
    assert all("=" in item and "\n" not in item for item in outgoing.clamped)
    if provider != "openai":
        check_sibling(out, body, provider, upstream_id)


def check_sibling(out: dict[str, Any], body: dict[str, Any], provider: str, upstream_id: str) -> None:
    assert not {"functions", "function_call", "seed", "logit_bias", "service_tier", "metadata", "verbosity"} & set(out)
    assert {message["role"] for message in out["messages"]} <= {"system", "user", "assistant", "tool"}
    thinking, choice = out.get("thinking", {}).get("type"), out.get("tool_choice")
    forced = choice == "required" or isinstance(choice, dict)
    thinks = thinking != "disabled" and not upstream_id.startswith("moonshot-v1") and upstream_id != "deepseek-chat"
    if out.get("tools") and thinks:
        assert not forced
    if provider == "moonshot":
        assert not ("thinking" in out and "reasoning_effort" in out)
        assert "user" not in out
    if thinking == "enabled" or (thinks and provider == "deepseek"):
        assert "temperature" not in out
    for message in out["messages"]:
        assert not {"function_call", "thinking_blocks", "cache_control"} & set(message)
        calls = message.get("tool_calls")
        if calls:
            assert isinstance(message["content"], str | list)
            assert all("extra_content" not in call for call in calls)
        if calls and (thinking == "enabled" or (thinks and thinking is None)):
            assert message["reasoning_content"]
    if provider == "deepseek" or upstream_id in ("moonshot-v1-8k", "kimi-k2-thinking"):
        assert "image_url" not in [part["type"] for part in parts_of(out)]
    if out.get("response_format", {}).get("type") == "json_object" and provider == "deepseek":
        assert "json" in json.dumps(out["messages"]).lower()


def parts_of(out: dict[str, Any]) -> list[dict[str, Any]]:
    contents = [message.get("content") for message in out["messages"]]
    return [part for content in contents if isinstance(content, list) for part in content]


TEXT = st.sampled_from([None, "", "x", " \n", 'é"\\', 5, ["x"], {"a": 1}])
CALLS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.sampled_from([0, 1, None, "0", -1]),
            "id": TEXT,
            "type": st.sampled_from(["function", "custom", None]),
            "function": st.none() | st.fixed_dictionaries({}, optional={"name": TEXT, "arguments": TEXT}),
            "extra_content": st.just({"google": {}}),
        },
    )
    | st.sampled_from([None, 5, {}]),
    max_size=3,
)
SAID = st.fixed_dictionaries(
    {},
    optional={
        "role": TEXT,
        "content": TEXT | st.just([{"type": "text", "text": "x"}, 5, {"text": 7}]),
        "refusal": TEXT,
        "reasoning": TEXT,
        "reasoning_content": TEXT,
        "reasoning_details": TEXT,
        "tool_calls": TEXT | CALLS,
        "function_call": TEXT | st.fixed_dictionaries({}, optional={"name": TEXT, "arguments": TEXT}),
        "annotations": st.sampled_from([[], None]),
        "thinking": TEXT,
    },
)
COUNTS = st.sampled_from([None, "many", [], {}, {"prompt_tokens": 3, "completion_tokens": 2}, {"prompt_tokens": 1.5}])
CHOICES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "index": st.sampled_from([0, 1, None, "0", [], 10**30]),
            "message": SAID | TEXT,
            "delta": SAID | TEXT,
            "finish_reason": TEXT | st.sampled_from(["stop", "tool_calls", "eos", "INSUFFICIENT_SYSTEM_RESOURCE"]),
            "logprobs": st.none() | st.just({"content": None}),
            "usage": COUNTS,
            "native_finish_reason": TEXT,
        },
    )
    | st.sampled_from([None, 5, []]),
    max_size=3,
)
BODIES = st.fixed_dictionaries(
    {"choices": CHOICES},
    optional={
        **{name: st.just(value) for name, value in HEAD.items()},
        "usage": COUNTS,
        "service_tier": TEXT,
        "system_fingerprint": TEXT,
        "provider": TEXT,
        "error": st.sampled_from([None, "", {}, {"code": 429}, "no"]),
    },
)
NAMES = st.sampled_from(["openai", "deepseek", "moonshot"])
OURS = {"id": "ours", "object": "chat.completion", "created": 0, "model": "public"}


@settings(max_examples=100, deadline=None)
@given(BODIES, NAMES, st.booleans())
def test_any_answer_is_one_of_openai_s_or_a_failed_attempt(body: dict[str, Any], name: str, legacy: bool):
    outgoing = Outgoing("/", b"{}", reading=Reading(legacy=legacy))
    try:
        completion = PROVIDERS[name].read_answer(json.dumps(body).encode(), outgoing)
    except AttemptFailed as failed:
        assert failed.blame is not Blame.REQUEST  # noqa: PT017
        return
    assert completion.finish_reason
    assert set(body_of(completion)) <= {"choices", "created", "service_tier", "system_fingerprint"}
    assert not (legacy and any("tool_calls" in choice["message"] for choice in body_of(completion)["choices"]))
    assert all(isinstance(text, str) for text in completion.text)
    assert all(isinstance(call_id, str) and value["provider"] == name for call_id, value in completion.kept.items())
    for choice in body_of(completion)["choices"]:
        choice["message"].pop("function_call", None)  # of which each server's half is passed on
        choice["message"].pop("annotations", None)
        for call in choice["message"].get("tool_calls", ()):
            call.setdefault("function", {"name": "", "arguments": ""})
            call["type"] = "function"
        choice["index"] = 0
    ChatCompletion.model_validate({**OURS, **body_of(completion)})


@settings(max_examples=100, deadline=None)
@given(st.lists(BODIES, max_size=5), NAMES, st.booleans(), st.integers(0, 2))
@example(
    [{"choices": [{"index": 10**30, "message": {}, "finish_reason": 5}, {"index": 0, "message": {}}]}],
    "openai",
    False,
    0,
)
def test_any_stream_is_one_of_openai_s_or_a_failed_attempt(events: list[Any], name: str, legacy: bool, index: int):
    order = chat_order("ours", "public", 0, False, 2**20, index)
    reader = PROVIDERS[name].open_reader(Outgoing("/", b"{}", reading=Reading(legacy=legacy)), order)
    data = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    try:
        frames = reader.feed(data + b"data: [DONE]\n\n")
    except AttemptFailed as failed:
        assert failed.blame is not Blame.REQUEST  # noqa: PT017
        frames = failed.frames
    assert all(value["provider"] == name for value in reader.kept.values())
    ended = set()
    for frame in frames.split(b"\n\n")[:-1]:
        chunk = json.loads(frame[6:])
        assert (chunk["id"], chunk["model"], "usage" in chunk, "provider" in chunk) == ("ours", "public", False, False)
        for choice in chunk["choices"]:
            assert set(choice) <= {"index", "delta", "logprobs", "finish_reason"}
            assert not (legacy and choice["delta"].get("tool_calls"))
            if choice["finish_reason"]:
                assert choice["index"] not in ended
                ended.add(choice["index"])


SCRAPS = [
    json.dumps({**HEAD, "choices": [{"index": 0, "delta": {"reasoning_content": "x"}}]}).encode(),
    b"data: ",
    b"\n\n",
]
SCRAPS += [
    b"{",
    b"}",
    b"null",
    b"[DONE]",
    b"\xff",
    b'"choices":',
    b": x\n",
    b'{"error":{"code":401}}',
    b"1e999",
    b"\r\n",
]


@given(st.lists(st.sampled_from(SCRAPS) | st.binary(max_size=6), max_size=12).map(b"".join), NAMES, st.booleans())
def test_any_bytes_are_frames_or_a_failed_attempt(data: bytes, name: str, legacy: bool):
    outgoing = Outgoing("/", b"{}", reading=Reading(legacy=legacy))
    for take in (
        lambda: PROVIDERS[name].open_reader(outgoing, chat_order("x", "m", 0, True, 500)).feed(data),
        lambda: PROVIDERS[name].read_answer(data, outgoing),
    ):
        try:
            take()
        except AttemptFailed as failed:
            assert failed.blame is not Blame.REQUEST  # noqa: PT017
    for status in (200, 400, 413, 429, 500):
        assert isinstance(PROVIDERS[name].read_error(status, {}, data), AttemptFailed)


@pytest.mark.parametrize("name", ["openai", "deepseek", "moonshot"])
@given(st.lists(st.text(), max_size=8), st.sampled_from(["content", "reasoning_content", "reasoning"]), st.booleans())
def test_the_short_way_says_the_same_for_hosts_of_any_make(name: str, texts: list[str], field: str, spaced: bool):
    separators = (", ", ": ") if spaced else (",", ":")
    said = ["first", *texts]
    host = {"provider": "Chutes"}
    events = [
        {**HEAD, **host, "choices": [{"index": 0, "delta": {field: text}, "finish_reason": None}]} for text in said
    ]
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    events.append({**HEAD, "choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]})
    data = b"".join(b"data: " + json.dumps(event, separators=separators).encode() + b"\n\n" for event in events)
    reader = PROVIDERS[name].open_reader(Outgoing("/", b"{}"), chat_order("ours", "public", 0, False, 2**20))
    frames = reader.feed(data).split(b"\n\n")[:-1]
    deltas = [ChatCompletionChunk.model_validate_json(frame[6:]).choices[0].delta for frame in frames]
    ours = "content" if field == "content" else "reasoning_content"
    assert [getattr(delta, ours) for delta in deltas[:-1]] == said
    assert "".join(reader.text) == "".join(said) + "f{}"
    thought = "".join(said) if field != "content" and name != "openai" else ""
    assert reader.kept == ({"c": {"provider": name, "reasoning": thought}} if thought else {})
