"""Gemini's dialect against exchanges, our own and recorded: what we write was sent, and what we read was said."""

import json
import random
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.dialects.chat.request import ChatRequest
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.gemini.provider import Gemini
from bridge.providers.openai.provider import OpenAI
from tests.chat_answers import body_of, chat_order
from tests.conversations import make_order
from tests.providers.inverse_gemini import NoEqual, invert, normalise
from tests.providers.recordings import list_exchanges, list_recorded, needs_recordings

EXCHANGES = list_exchanges("gemini", "gemini-generate", "gemini-stream")
SENT = Outgoing("/", b"{}")
ORDER = chat_order("chatcmpl-ours", "public", 1_750_000_000, True, 2**20)
FINISH = {"MAX_TOKENS": "length", "SAFETY": "content_filter", "MODEL_ARMOR": "content_filter"}
# What is written otherwise than recorded: the reason, the fields, and what is named. A field of None is left out.
Changes = dict[str, Any]
BUDGET, INCLUDE = "generationConfig.thinkingConfig.thinkingBudget", "generationConfig.thinkingConfig.includeThoughts"
LEVEL, SCHEMA = "generationConfig.thinkingConfig.thinkingLevel", "generationConfig.responseJsonSchema.$schema"
FITTED = "a budget is fitted below the output cap"
UNANSWERED = "a call needs a result right behind it"
NO_RESULT = {"name": "add", "response": {"error": "There is no result of this call."}}


def unanswered(call_id: str, **more: Any) -> tuple[str, Changes, tuple[str, ...]]:
    result = {"role": "user", "parts": [{"functionResponse": {**NO_RESULT, "id": call_id}}]}
    last = {"role": "user", "parts": [{"text": "5"}]}
    return UNANSWERED, {"contents.2": result, "contents.3": last, **more}, ()


OTHERWISE: dict[str, tuple[str, Changes, tuple[str, ...]]] = {
    "basic-62cadfdf": (FITTED, {BUDGET: 150}, ("thinking.budget_tokens=150",)),
    "streaming-2e94b819": (FITTED, {BUDGET: 0, INCLUDE: None}, ("thinking.budget_tokens=0",)),
    "streaming-911b5d1e": (FITTED, {BUDGET: 150}, ("thinking.budget_tokens=150",)),
    "text-response-across-two-candidates-758a669b": (FITTED, {BUDGET: 300}, ("thinking.budget_tokens=300",)),
    "text-response-is-none-when-the-turn-is-all-thought-bdda1870": (
        FITTED,
        {BUDGET: 48},
        ("thinking.budget_tokens=48",),
    ),
    "token-limit-28c93fad": (FITTED, {BUDGET: 0, INCLUDE: None}, ("thinking.budget_tokens=0",)),
    "test-streaming-reasoning-ac9e564f": (
        "the third generation has levels",
        {BUDGET: None, LEVEL: "low"},
        ("thinking=low",),
    ),
    "text-response-on-gemini-3-1-flash-lite-07baa662": (
        "who asks for reasoning is shown it",
        {INCLUDE: True},
        (),
    ),
    "token-limit-a1c4c413": (
        "a model that doesn't think is not told to",
        {"generationConfig.thinkingConfig": None},
        (),
    ),
    "streaming-structured-output-without-max-tokens-b803f403": ("`$schema` means nothing", {SCHEMA: None}, ()),
    "test-google-instructions-only-with-tool-calls-0b084395": (
        "an empty text is not taken everywhere",
        {"contents.0.parts.0.text": "Begin."},
        (),
    ),
    "tool-round-trip-2-26a2f5a2": unanswered("tool_call_133"),
    "tool-round-trip-2-bd84f95a": unanswered("tool_call_35"),
    "tool-round-trip-2-f71974ac": unanswered(
        "tool_call_98", **{"contents.1.parts.0.thoughtSignature": "skip_thought_signature_validator"}
    ),
}
OWN_TOOL, OWN_FIELD = "runs at Google", "is Google's own"
OWN_FILE, OWN_MODE = "a file by its address", "calls alone are checked"
NO_EQUAL = {
    "blocking-raw-completion-keeps-native-code-parts-e8aebec1": OWN_TOOL,
    "edge-cached-code-execution-937996ce": OWN_FIELD,
    "google-upload-28244087": OWN_FILE,
    "google-upload-af7fe7f6": OWN_FILE,
    "google-web-search-5633a9bd": OWN_TOOL,
    "i-gemini-2-5-flash-can-handle-array-of-mixed-files-with-auto-detection-ec46feb8": OWN_FILE,
    "ini-gemini-3-5-flash-grounds-the-answer-and-exposes-the-queries-it-ran-e353ebc0": OWN_TOOL,
    "ith-gemini-gemini-3-5-flash-runs-code-server-side-and-replays-the-turn-8e484c7c": OWN_TOOL,
    "streaming-code-execution-capped-by-max-tokens-e8c15227": OWN_TOOL,
    "streaming-code-execution-large-stdout-50e13f7c": OWN_TOOL,
    "test-code-execution-stream-7e0fe497": OWN_TOOL,
    "test-google-model-armor-prompt-template-text-gets-blocked-29e8fe2c": OWN_FIELD,
    "test-google-model-armor-response-template-real-block-4ca92e6e": OWN_FIELD,
    "test-google-model-web-fetch-tool-159e0413": OWN_TOOL,
    "test-google-model-web-fetch-tool-stream-69264a01": OWN_TOOL,
    "test-google-text-output-function-935bb2c8": OWN_MODE,
    "test-google-text-output-function-b2c350c6": OWN_MODE,
    "test-native-output-with-builtin-tools-stream-82f21da4": OWN_TOOL,
    "test-native-output-with-function-and-builtin-tools-efcaf0ff": OWN_TOOL,
    "use-streaming-394d88cb": OWN_FIELD,
}


def named(exchanges: Any) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in exchanges]


def answered(*, streamed: bool) -> list[Any]:
    """Recorded answers with status 200, as parameters of a test."""
    return named(
        each for each in EXCHANGES if each["response"]["status"] == 200 and (each["api"] == "gemini-stream") is streamed
    )


def put(value: Any, path: str, new: Any) -> None:
    """Set a field, add to a list, or take it out."""
    *way, last = path.split(".") if "$" not in path else [*path.rpartition(".")[0].split("."), path.rpartition(".")[2]]
    for step in way:
        value = value[int(step)] if isinstance(value, list) else value[step]
    if isinstance(value, list):
        value[int(last) : int(last) + 1] = [new]
    elif new is None:
        del value[last]
    else:
        value[last] = new


def model_of(exchange: dict[str, Any]) -> str:
    found: str = exchange["request"]["url_path"].partition("/models/")[2].partition(":")[0]
    return found


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["id"] in NO_EQUAL))
def test_only_what_openai_has_no_words_for_is_left_out_of_the_comparison(exchange: dict[str, Any]):
    with pytest.raises(NoEqual, match=NO_EQUAL[exchange["id"]]):
        invert(normalise(exchange["request"]["json"]), stream=False)


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["id"] not in NO_EQUAL))
def test_what_is_written_is_what_was_sent(exchange: dict[str, Any]):
    expected, path = normalise(exchange["request"]["json"]), exchange["request"]["url_path"]
    body, kept = invert(expected, stream=exchange["api"] == "gemini-stream")
    msgspec.convert(body, ChatRequest)
    model = model_of(exchange)
    outgoing = Gemini().write_request(make_order(body, model, kept=kept))
    _, changes, clamped = OTHERWISE.get(exchange["id"], ("", {}, ()))
    for field, new in changes.items():
        put(expected, field, new)
    assert normalise(json.loads(outgoing.body)) == expected
    assert (outgoing.dropped, outgoing.clamped) == ((), clamped)
    method = path.rpartition(":")[2].partition("?")[0]
    query = "?alt=sse" if exchange["api"] == "gemini-stream" else ""
    assert outgoing.path == f"/v1beta/models/{model}:{method}{query}"


@needs_recordings
def test_most_of_the_recorded_requests_have_an_equal():
    recorded = [each for each in EXCHANGES if each in list_recorded()]
    assert len(recorded) - len(NO_EQUAL) >= 75
    assert {*NO_EQUAL, *OTHERWISE} <= {each["id"] for each in EXCHANGES}


class Said:
    """What a recorded answer says, read without the provider's code: of the candidate with this index."""

    def __init__(self, answers: list[dict[str, Any]], index: int = 0):
        parts, reasons = [], []
        for one in answers:
            for candidate in one.get("candidates", []):
                if candidate.get("index", 0) == index:
                    parts += candidate.get("content", {}).get("parts", [])
                    reasons += [candidate["finishReason"]] if "finishReason" in candidate else []
        self.reason = reasons[-1] if reasons else ""
        calls = [part for part in parts if "functionCall" in part]
        self.text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
        self.thought = "".join(part["text"] for part in parts if "text" in part and part.get("thought"))
        self.calls = [(part["functionCall"]["name"], part["functionCall"]["args"]) for part in calls]
        self.ids = [part["functionCall"].get("id") for part in calls]
        self.signatures = [part.get("thoughtSignature") for part in calls]
        self.finish_reason = FINISH.get(self.reason, "tool_calls" if calls else "stop")
        if any("blockReason" in one.get("promptFeedback", {}) for one in answers):
            self.finish_reason = "content_filter"
        usage = [one["usageMetadata"] for one in answers if "usageMetadata" in one][-1]
        thoughts, prompt = usage.get("thoughtsTokenCount", 0), None
        said = usage.get("candidatesTokenCount", 0) + thoughts
        if "promptTokenCount" in usage:
            prompt = usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
            assert prompt + said == usage["totalTokenCount"]
        told = prompt is not None or "candidatesTokenCount" in usage or thoughts
        self.counts = (prompt, said, usage.get("cachedContentTokenCount", 0), thoughts) if told else None


def counts_of(usage: Any) -> Any:
    if usage is None:
        return None
    return usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens


def check_calls(calls: list[tuple[str, str, str, Any]], said: Said, kept: Any) -> None:
    """Names, arguments, ids where Google gave one, and what is kept and shown of signatures."""
    assert [(name, json.loads(arguments)) for _, name, arguments, _ in calls] == said.calls
    for (call_id, _, _, extra), theirs, signature in zip(calls, said.ids, said.signatures, strict=True):
        assert call_id == theirs or (theirs is None and call_id.startswith("call_"))
        assert extra == ({"google": {"thought_signature": signature}} if signature else None)
        if theirs or signature:
            assert (kept[call_id]["signature"], kept[call_id]["id"]) == (signature, theirs)
        else:
            assert call_id not in kept


@pytest.mark.parametrize("exchange", answered(streamed=False))
def test_a_whole_answer_says_what_was_recorded(exchange: dict[str, Any]):
    text = exchange["response"]["body_text"]
    if "UNEXPECTED_TOOL_CALL" in text:  # of a tool that nobody offered
        with pytest.raises(AttemptFailed):
            Gemini().read_answer(text.encode(), SENT)
        return
    completion = Gemini().read_answer(text.encode(), SENT)
    ours = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    ChatCompletion.model_validate({**ours, **body_of(completion)}, strict=True)
    answer = json.loads(text)
    assert len(body_of(completion)["choices"]) == max(1, len(answer.get("candidates", [])))
    for index, choice in enumerate(body_of(completion)["choices"]):
        said, message = Said([answer], index), choice["message"]
        assert (message["content"] or "") == said.text
        assert message.get("reasoning_content", "") == said.thought
        calls = message.get("tool_calls", [])
        functions = [
            (call["id"], call["function"]["name"], call["function"]["arguments"], call.get("extra_content"))
            for call in calls
        ]
        check_calls(functions, said, completion.kept)
        assert choice["finish_reason"] == said.finish_reason
    assert counts_of(completion.usage) == Said([answer]).counts


def answers_of(text: str) -> list[dict[str, Any]]:
    """The pieces of a stream, recorded as events or as one array."""
    if text.lstrip().startswith("["):
        found: list[dict[str, Any]] = json.loads(text)
        return found
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def stream_of(text: str, ends: str) -> bytes:
    """The stream as events, whose lines end as told."""
    if text.lstrip().startswith("["):
        text = "".join(f"data: {json.dumps(one)}\n\n" for one in json.loads(text))
    return text.replace("\r\n", "\n").replace("\n", ends).encode()


def cut(data: bytes, how: str) -> list[bytes]:
    if how == "whole":
        return [data]
    if how == "bytes":
        return [data[place : place + 1] for place in range(len(data))]
    draw = random.Random(len(data))
    places = [0, *sorted(draw.randrange(len(data)) for _ in range(40)), len(data)]
    return [data[i:j] for i, j in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize("how", ["whole", "bytes", "random"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("exchange", answered(streamed=True))
def test_a_stream_says_what_was_recorded_wherever_it_is_cut(exchange: dict[str, Any], ends: str, how: str):
    text = exchange["response"]["body_text"]
    reader = Gemini().open_reader(SENT, ORDER)
    fed = b"".join(reader.feed(piece) for piece in cut(stream_of(text, ends), how))
    frames = (fed + reader.end()).split(b"\n\n")
    assert frames.pop() == b""
    chunks = [ChatCompletionChunk.model_validate(json.loads(frame[6:]), strict=True) for frame in frames]
    assert {(chunk.id, chunk.model, chunk.usage) for chunk in chunks} == {("chatcmpl-ours", "public", None)}
    said, choices = Said(answers_of(text)), [chunk.choices[0] for chunk in chunks]
    assert choices[0].delta.role == "assistant"
    assert "".join(choice.delta.content or "" for choice in choices) == said.text
    thought = [(choice.delta.model_extra or {}).get("reasoning_content") or "" for choice in choices]
    assert "".join(thought) == said.thought
    calls = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert [call.index for call in calls] == list(range(len(calls)))
    functions = [
        (call.id, call.function.name, call.function.arguments, (call.model_extra or {}).get("extra_content"))
        for call in calls
    ]
    check_calls(functions, said, reader.kept)
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == [said.finish_reason]
    assert choices[-1].finish_reason == reader.finish_reason == said.finish_reason
    assert counts_of(reader.usage) == said.counts
    assert not reader.uncounted


FAULTS: dict[str, tuple[Blame, str | None]] = {
    "arios-vertexai-gemini-2-5-flash-handles-context-length-exceeded-errors-5977fc43": (
        Blame.REQUEST,
        "context_length_exceeded",
    ),
    "or-handling-with-gemini-gemini-2-5-flash-raises-appropriate-auth-error-1b25d2ad": (Blame.CREDENTIAL, None),
    "streaming-7c505efd": (Blame.CREDENTIAL, None),
    "enarios-gemini-gemini-2-5-flash-handles-context-length-exceeded-errors-f7a610e2": (Blame.RATE, None),
    "basic-b04faeab": (Blame.SETUP, None),  # a model that only speaks, which is our catalogue's mistake
    "token-limit-d13b6949": (Blame.SETUP, None),
    "error-rate": (Blame.RATE, None),
    "error-too-long": (Blame.REQUEST, "context_length_exceeded"),
    "error-wrong-key": (Blame.CREDENTIAL, None),
}


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["response"]["status"] != 200))
def test_whom_a_recorded_error_speaks_against(exchange: dict[str, Any]):
    status, text = exchange["response"]["status"], exchange["response"]["body_text"]
    blame, code = FAULTS.get(exchange["id"], (Blame.SETUP, None))
    assert (exchange["id"] in FAULTS) is (status != 404)
    for body in (text, f"[{text}]"):
        failure = Gemini().read_error(status, {}, body.encode())
        assert (failure.blame, failure.code, failure.status) == (blame, code, status)
        assert "generativelanguage" not in failure.message + failure.reason
        assert failure.retry_after_seconds == (48.0 if blame is Blame.RATE else None)


@pytest.mark.parametrize("exchange", named(list_exchanges("gemini", "gemini-openai-compat-chat")))
def test_the_openai_layer_is_read_as_openais(exchange: dict[str, Any]):
    completion = OpenAI().read_answer(exchange["response"]["body_text"].encode(), Outgoing("/", b"{}"))
    (choice,), recorded = body_of(completion)["choices"], json.loads(exchange["response"]["body_text"])
    assert choice["finish_reason"] == recorded["choices"][0]["finish_reason"]
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == recorded["usage"]["prompt_tokens"]


def test_a_body_that_ends_within_an_event_has_said_no_end():
    text = next(each for each in EXCHANGES if each["api"] == "gemini-stream" and each["response"]["status"] == 200)
    reader = Gemini().open_reader(SENT, ORDER)
    reader.feed(stream_of(text["response"]["body_text"], "\n")[:-10])
    assert reader.finish_reason is None


def test_an_error_body_is_never_an_answer():
    for each in EXCHANGES:
        if each["response"]["status"] != 200:
            with pytest.raises(AttemptFailed):
                Gemini().read_answer(each["response"]["body_text"].encode(), SENT)
