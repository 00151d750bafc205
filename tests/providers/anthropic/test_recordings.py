"""Anthropic's dialect against exchanges, our own and recorded: what we write was sent, and what we read was said."""

import json
import random
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.conversation.answer import Completion
from bridge.dialects.chat.request import ChatRequest
from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from tests.chat_answers import body_of, chat_order
from tests.conversations import make_order
from tests.providers.inverse_anthropic import NoEqual, invert, normalise
from tests.providers.recordings import list_exchanges, list_recorded, needs_recordings

EXCHANGES = list_exchanges("anthropic", "anthropic-messages")
SENT = Outgoing("/v1/messages", b"{}")
ORDER = chat_order("chatcmpl-ours", "public", 1_750_000_000, True, 2**20)
FINISH = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls", "max_tokens": "length"}
# What is written otherwise than recorded, field by field. A field of None is left out.
STRICTNESS = "the compiler refused it (400), so it goes out without being strict, and that is named"
OTHERWISE: dict[str, tuple[str, dict[str, Any]]] = {
    "boolean-true-subschema-is-rejected-by-strict-compiler-324763c4": (STRICTNESS, {"tools.0.strict": None}),
    "cyclic-root-ref-aliases-are-rejected-7216f548": (
        f"{STRICTNESS}; a schema needs a type at its root",
        {"tools.0.strict": None, "tools.0.input_schema.type": "object"},
    ),
    "twenty-five-optional-parameters-are-rejected-a439691c": (STRICTNESS, {"tools.0.strict": None}),
    "twenty-one-strict-tools-are-rejected-bcb8e630": (STRICTNESS, {"tools.20.strict": None}),
    "test-anthropic-instrumentation-image-input-messages-with-stream-dfd7b9ec": (
        "the picture is a JPEG, whatever it was said to be; today's API insists on the truth",
        {"messages.0.content.1.source.media_type": "image/jpeg"},
    ),
    "test-sonnet-46-effort-without-thinking-fc8da53c": (
        "OpenAI's effort is one of thinking",
        {"thinking": {"type": "adaptive"}},
    ),
}
OWN_TOOL = "a tool that runs at Anthropic"
OWN_DOCUMENT = "documents by address or stored id, and citations of them, are Anthropic's own"
OWN_FIELD = "is Anthropic's own"
TOOL_FAILED = "OpenAI's tool messages don't say whether the tool failed"
NO_EQUAL = {
    "anthropic-web-search-3fa0cc56": OWN_TOOL,
    "anthropic-web-search-c9b6c416": OWN_TOOL,
    "chat-citations-with-anthropic-claude-haiku-4-5-streams-citations-24022720": OWN_DOCUMENT,
    "computer-use-831b7787": OWN_TOOL,
    "computer-use-streaming-90768037": OWN_TOOL,
    "computer-use-streaming-b9780201": OWN_TOOL,
    "hat-with-params-anthropic-claude-haiku-4-5-supports-service-tier-param-d3f8d83d": OWN_FIELD,
    "messages-preserve-system-role-after-server-tool-result-5373df68": OWN_TOOL,
    "pdf-document-citations-decode-as-page-locations-645a7aa6": OWN_DOCUMENT,
    "streaming-document-file-id-roundtrip-live-7156bf4e": OWN_DOCUMENT,
    "test-anthropic-advisor-tool-stream-254a5810": OWN_TOOL,
    "test-anthropic-fable-5-lazy-advertisement-live-250a835f": OWN_TOOL,
    "test-anthropic-structured-outputs-legacy-40740677": OWN_FIELD,
    "test-anthropic-web-fetch-tool-stream-0692cd63": OWN_TOOL,
    "test-pause-turn-web-search-streaming-vcr-c68cb4da": OWN_TOOL,
    "test-pause-turn-web-search-vcr-80f51626": OWN_TOOL,
    "test-tool-search-eval-anthropic-5429cd12": TOOL_FAILED,
    "test-tool-search-eval-anthropic-b6bbe6fd": TOOL_FAILED,
}


def named(exchanges: Any) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in exchanges]


def those(stream: bool, status: int = 200) -> list[Any]:
    """Recorded answers, as parameters of a test."""
    return named(
        each
        for each in EXCHANGES
        if each["response"]["status"] == status and bool(each["request"]["json"].get("stream")) is stream
    )


def put(value: Any, path: str, new: Any) -> None:
    """Set a field, or take it out."""
    *way, last = path.split(".")
    for step in way:
        value = value[int(step)] if isinstance(value, list) else value[step]
    if new is None:
        del value[last]
    else:
        value[last] = new


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["id"] in NO_EQUAL))
def test_only_what_openai_has_no_words_for_is_left_out_of_the_comparison(exchange: dict[str, Any]):
    with pytest.raises(NoEqual, match=NO_EQUAL[exchange["id"]]):
        invert(exchange["request"]["json"])


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["id"] not in NO_EQUAL))
def test_what_is_written_is_what_was_sent(exchange: dict[str, Any]):
    sent = exchange["request"]["json"]
    body = invert(sent)
    msgspec.convert(body, ChatRequest)
    outgoing = Anthropic().write_request(make_order(body, sent["model"]))
    expected = normalise(json.loads(json.dumps(sent)))
    reason, changes = OTHERWISE.get(exchange["id"], ("", {}))
    for path, new in changes.items():
        put(expected, path, new)
    assert normalise(json.loads(outgoing.body)) == expected
    assert bool(outgoing.dropped) is reason.startswith(STRICTNESS)
    assert outgoing.clamped == ()
    assert outgoing.path == "/v1/messages"


@needs_recordings
def test_most_of_the_recorded_requests_have_an_equal():
    recorded = [each for each in EXCHANGES if each in list_recorded()]
    assert len(recorded) - len(NO_EQUAL) >= 75
    assert {*NO_EQUAL, *OTHERWISE} <= {each["id"] for each in EXCHANGES}


class Said:
    """What a recorded answer says, read without the provider's code: from its content and counts."""

    def __init__(self, content: list[dict[str, Any]], stop_reason: str, usage: dict[str, Any]):
        self.text = "".join(block["text"] for block in content if block["type"] == "text")
        self.thought = "".join(block["thinking"] for block in content if block["type"] == "thinking")
        self.thoughts = [block for block in content if block["type"] in ("thinking", "redacted_thinking")]
        self.calls = [(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
        self.finish_reason = FINISH.get(stop_reason, "stop")
        cached, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
        hour = (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
        thought = (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0
        prompt = usage["input_tokens"] + cached + written
        self.counts = (prompt, usage["output_tokens"], cached, thought, written, hour)


def whole_said(text: str) -> Said:
    answer = json.loads(text)
    return Said(answer["content"], answer["stop_reason"], answer["usage"])


def streamed_said(text: str) -> Said:
    blocks: dict[int, dict[str, Any]] = {}
    pieces: dict[int, str] = {}
    usage: dict[str, Any] = {}
    stop_reason = ""
    for line in text.splitlines():
        event = json.loads(line[5:]) if line.startswith("data:") else {"type": ""}
        if event["type"] == "message_start":
            usage |= event["message"]["usage"]
        elif event["type"] == "content_block_start":
            blocks[event["index"]] = event["content_block"]
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            if delta["type"] == "input_json_delta":
                pieces[event["index"]] = pieces.get(event["index"], "") + delta["partial_json"]
            elif delta["type"] in ("text_delta", "thinking_delta", "signature_delta"):
                name = delta["type"].removesuffix("_delta")
                block[name] = block[name] + delta[name]
        elif event["type"] == "message_delta":
            usage |= event["usage"]
            stop_reason = event["delta"]["stop_reason"]
    for index, written in pieces.items():
        blocks[index]["input"] = json.loads(written or "{}")
    return Said(list(blocks.values()), stop_reason, usage)


def check_counts(usage: Any, said: Said) -> None:
    assert said.counts == (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
        usage.cache_write_tokens,
        usage.cache_write_hour_tokens,
    )


@pytest.mark.parametrize("exchange", those(stream=False))
def test_a_whole_answer_says_what_was_recorded(exchange: dict[str, Any]):
    text = exchange["response"]["body_text"]
    said, completion = whole_said(text), Anthropic().read_answer(text.encode(), SENT)
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "usage": usage, **body_of(completion)}
    ChatCompletion.model_validate(body, strict=True)
    (choice,) = body_of(completion)["choices"]
    message = choice["message"]
    assert (message["content"] or "") == said.text
    assert message.get("reasoning_content", "") == said.thought
    calls = message.get("tool_calls", [])
    assert [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in calls] == said.calls
    assert choice["finish_reason"] == completion.finish_reason == said.finish_reason
    check_counts(completion.usage, said)
    check_kept(completion, said, message.get("thinking_blocks"))


def check_kept(answer: Completion | Any, said: Said, given: Any) -> None:
    """Thoughts of an answer with calls are kept, and given to the client, as they were."""
    if not said.calls or not said.thoughts:
        assert (given, dict(answer.kept)) == (None, {})
        return
    assert given == said.thoughts
    ((call_id, kept),) = answer.kept.items()
    assert (call_id, kept["provider"], kept["blocks"]) == (said.calls[0][0], "anthropic", said.thoughts)


def read(data: bytes, cuts: list[int]) -> tuple[list[dict[str, Any]], Any]:
    reader = Anthropic().open_reader(SENT, ORDER)
    places = [0, *cuts, len(data)]
    out = b"".join(reader.feed(data[i:j]) for i, j in zip(places, places[1:], strict=False))
    frames = out.split(b"\n\n")
    assert frames.pop() == b""
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames], reader


def ways_to_cut(data: bytes) -> list[list[int]]:
    dice = random.Random(len(data))
    return [[], list(range(1, len(data))), *(sorted(dice.choices(range(len(data)), k=9)) for _ in range(4))]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("exchange", those(stream=True))
def test_a_stream_says_what_was_recorded_wherever_the_reads_fall(exchange: dict[str, Any], line_end: str):
    text = exchange["response"]["body_text"].replace("\r\n", "\n")
    data = text.rstrip("\n").replace("\n", line_end).encode() + 2 * line_end.encode()
    said = streamed_said(text)
    whole, _ = read(data, [])
    for chunk in whole:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert (chunk["id"], chunk["model"], chunk["usage"]) == ("chatcmpl-ours", "public", None)
    for cuts in ways_to_cut(data):
        chunks, reader = read(data, cuts)
        assert chunks == whole
        assert (reader.finished, reader.finish_reason) == (True, said.finish_reason)
        check_counts(reader.usage, said)
        assert not reader.uncounted
    check_chunks(whole, said)
    given = [chunk["choices"][0]["delta"].get("thinking_blocks") for chunk in whole]
    check_kept(reader, said, next((blocks for blocks in given if blocks), None))


def check_chunks(chunks: list[dict[str, Any]], said: Said) -> None:
    """Role first, reason last and once, and between them all that was said."""
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert (reasons[-1], set(reasons[:-1]), deltas[-1]) == (said.finish_reason, {None}, {})
    assert "".join(delta.get("content", "") for delta in deltas) == said.text
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == said.thought
    calls: list[dict[str, Any]] = []
    for delta in deltas:
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                assert (call["index"], call["type"]) == (len(calls), "function")
                calls.append({**call["function"], "id": call["id"]})
            else:
                calls[call["index"]]["arguments"] += call["function"]["arguments"]
    assert [(call["id"], call["name"], json.loads(call["arguments"])) for call in calls] == said.calls


@pytest.mark.parametrize("exchange", those(stream=True))
def test_a_stream_without_its_last_event_is_not_finished(exchange: dict[str, Any]):
    data = exchange["response"]["body_text"].encode()
    cut = data.index(b"event: message_stop")
    _, reader = read(data[:cut], [])
    assert (reader.finished, reader.finish_reason) == (False, None)


FAILURES = {400: Blame.REQUEST, 401: Blame.CREDENTIAL, 404: Blame.SETUP}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", FAILURES)
def test_a_recorded_error_speaks_against_whom_it_is_about(status: int, stream: bool):
    found = those(stream, status)
    for parameter in found:
        response = parameter.values[0]["response"]
        failure = Anthropic().read_error(status, response["headers"], response["body_text"].encode())
        assert isinstance(failure, AttemptFailed)
        assert (failure.blame, failure.status) == (FAILURES[status], status)
        assert "req_" not in failure.message
        assert "x-api-key" not in failure.message
        if status == 400:
            assert failure.message
            assert failure.param is None or failure.param.startswith("tools")
    assert found or (status, stream) == (400, True)
