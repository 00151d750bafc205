"""OpenAI's dialect against exchanges, our own and recorded: what we write was sent, and what we read was said."""

import json
import random
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.conversation.usage import Counts
from bridge.dialects.chat.request import ChatRequest
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Outgoing
from tests.chat_answers import body_of, chat_order
from tests.conversations import make_order
from tests.providers.recordings import list_exchanges

CHATS = ("openai-chat", "azure-openai-chat", "deepseek-chat", "kimi-via-host")
EXCHANGES = [each for name in ("openai", "deepseek", "moonshot") for each in list_exchanges(name, *CHATS)]
SENT = Outgoing("/", b"{}")
ORDER = chat_order("chatcmpl-ours", "public", 1_750_000_000, True, 2**20)
OURS = {"id": "chatcmpl-ours", "object": "chat.completion", "created": 1_750_000_000, "model": "public"}
CHUNK = {"id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint", "obfuscation"}

# What is written otherwise than recorded: the fields (None: left out), and what is named. Here for all of a kind:
Changes = tuple[dict[str, Any], tuple[str, ...]]
BY_MODEL: dict[str, Changes] = {
    "deepseek-chat": ({"thinking": {"type": "disabled"}}, ()),  # the names say it, and are of one model
    "deepseek-reasoner": (
        {"thinking": {"type": "enabled"}, "reasoning_effort": "high"},  # as it takes medium
        ("reasoning_effort=high",),
    ),
    "o1-mini": ({"messages.0.role": "user"}, ()),  # which refused the message (400)
}
OTHERWISE: dict[str, Changes] = {
    # not heeded while it thinks, and nothing said that it isn't to
    "chat-completions-keeps-documents-after-system-before-history-4afec820": ({"temperature": None}, ("temperature",)),
    # refused (400)
    "forced-tool-choice-under-thinking-is-rejected-upstream-0d8994aa": (
        {"thinking": {"type": "disabled"}},
        ("thinking=disabled",),
    ),
    # what it would do anyway
    "parallel-tool-calls-single-turn-nonstreaming-a1b77fd9": ({"parallel_tool_calls": None}, ()),
    "parallel-tool-calls-single-turn-streaming-52327ecd": ({"parallel_tool_calls": None}, ()),
    # the newest models choose how they sample
    "basic-b6761a25": ({"temperature": None}, ("temperature",)),
    # two caps were refused (400)
    "object-streaming-5e81c8b4": ({"max_tokens": None, "max_completion_tokens": 4096}, ()),
}
REFUSED = {  # by the provider (400), as by us
    "blocking-audio-part-reaches-the-wire-d6d097e2": ("messages[0].content[1]", "invalid_value"),
    "blocking-image-only-message-reaches-the-wire-69414b58": ("messages[0].content[0]", "invalid_image"),
    "blocking-image-url-part-reaches-the-wire-e5fbd8de": ("messages[0].content[1]", "invalid_image"),
    "blocking-pdf-document-part-reaches-the-wire-0f9cc4e2": ("messages[0].content[1]", "invalid_value"),
}


def expected_request(exchange: dict[str, Any]) -> Changes:
    """What has to go out for the recorded request, and what is named."""
    sent = json.loads(json.dumps(exchange["request"]["json"]))
    named: tuple[str, ...] = ()
    if sent.get("stream"):
        sent["stream_options"] = {**(sent.get("stream_options") or {}), "include_usage": True}
    changes = [BY_MODEL.get(sent["model"], ({}, ())), OTHERWISE.get(exchange["id"], ({}, ()))]
    if exchange["provider"] == "moonshot":  # the hosts have the older name, and seeds
        sent["max_completion_tokens"] = sent.pop("max_tokens")
        changes.insert(0, ({"seed": None}, ("seed",)) if "seed" in sent else ({}, ()))
        for message in sent["messages"]:
            give_back(message, sent["model"])
    elif exchange["id"] not in OTHERWISE and "max_completion_tokens" in sent and sent["model"].startswith("gpt-4"):
        sent["max_tokens"] = sent.pop("max_completion_tokens")  # the same to these, and known to every server
    for fields, names in changes:
        named += names
        for path, value in fields.items():
            put(sent, path, value)
    return by_allow_list(sent, named)


def by_allow_list(sent: dict[str, Any], named: tuple[str, ...]) -> Changes:
    """Without nulls, and what isn't OpenAI's: `usage` asks a host for its own, and is named."""
    if sent.pop("usage", None):
        named = ("usage", *named)
    for message in sent["messages"]:
        message.pop("reasoning", None)
        message.pop("reasoning_details", None)
        for call in message.get("tool_calls") or ():
            call.pop("index", None)
    return {field: value for field, value in sent.items() if value is not None}, named


def give_back(message: dict[str, Any], model: str) -> None:
    """A host took the reasoning in its own field; Moonshot wants it in that of its own."""
    details = message.get("reasoning_details")
    if message.get("tool_calls"):
        message.setdefault("content", "")
        if details:
            message["reasoning_content"] = "".join(detail["text"] for detail in details)


def put(value: Any, path: str, new: Any) -> None:
    *way, last = path.split(".")
    for step in way:
        value = value[int(step)] if isinstance(value, list) else value[step]
    if new is None:
        del value[last]
    else:
        value[last] = new


def named(exchanges: Any) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in exchanges]


def answered(stream: bool) -> list[Any]:
    return named(
        each
        for each in EXCHANGES
        if each["response"]["status"] == 200 and bool(each["request"]["json"].get("stream")) is stream
    )


# what goes out


@pytest.mark.parametrize("exchange", named(EXCHANGES))
def test_what_is_written_is_what_was_sent(exchange: dict[str, Any]):
    sent = exchange["request"]["json"]
    if exchange["id"] != "chat-no-messages-ca0fed2e":  # which none of our clients can send
        msgspec.convert(sent, ChatRequest)
    encoded = msgspec.Raw(msgspec.json.encode(sent["messages"]))
    order = make_order(sent, sent["model"], None, encoded)
    if exchange["id"] in REFUSED:
        with pytest.raises(AttemptFailed) as failed:
            PROVIDERS[exchange["provider"]].write_request(order)
        assert (failed.value.param, failed.value.code) == REFUSED[exchange["id"]]
        return
    outgoing = PROVIDERS[exchange["provider"]].write_request(order)
    expected, names = expected_request(exchange)
    assert json.loads(outgoing.body) == expected
    assert (*outgoing.dropped, *outgoing.clamped) == names


# what is read


def said_by(choices: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What choices say, whole or in pieces, by index: texts, calls by their place, and the first end of each."""
    found: dict[int, dict[str, Any]] = {}
    for choice in choices:
        said = found.setdefault(
            choice.get("index", 0),
            {"content": "", "refusal": "", "reasoning": "", "calls": {}, "function": "", "end": None},
        )
        message = choice.get("message") or choice.get("delta") or {}
        said["content"] += message.get("content") or ""
        said["refusal"] += message.get("refusal") or ""
        said["reasoning"] += message.get("reasoning_content") or message.get("reasoning") or ""
        function = message.get("function_call") or {}
        said["function"] += (function.get("name") or "") + (function.get("arguments") or "")
        for place, call in enumerate(message.get("tool_calls") or ()):
            piece = call["function"]
            known = said["calls"].setdefault(call.get("index", place) if "delta" in choice else place, ["", "", ""])
            known[0] = known[0] or call.get("id") or ""
            known[1] += piece.get("name") or ""
            known[2] += piece.get("arguments") or ""
        said["end"] = said["end"] or choice.get("finish_reason")
    return found


def counts_of(parts: list[dict[str, Any]]) -> Counts | None:
    usage = next((part["usage"] for part in reversed(parts) if part.get("usage")), None)
    if usage is None:
        return None
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Counts(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        prompt.get("cached_tokens") or 0,  # one host says more than all
        completion.get("reasoning_tokens") or 0,
        prompt.get("cache_write_tokens") or 0,
        audio_tokens=prompt.get("audio_tokens") or 0,
        audio_output_tokens=completion.get("audio_tokens") or 0,
    )


@pytest.mark.parametrize("exchange", answered(stream=False))
def test_a_whole_answer_says_what_was_recorded(exchange: dict[str, Any]):
    text = exchange["response"]["body_text"]
    recorded = json.loads(text)
    for before in ("", "\n  \n", ": keep-alive\n\n"):
        completion = PROVIDERS[exchange["provider"]].read_answer((before + text).encode(), SENT)
        assert set(body_of(completion)) <= CHUNK
        choices = body_of(completion)["choices"]
        ChatCompletion.model_validate({**OURS, **body_of(completion)}, strict=True)
        assert said_by(choices) == said_by(recorded["choices"])
        assert completion.usage == counts_of([recorded])
        assert completion.finish_reason == recorded["choices"][0]["finish_reason"]
        for ours, theirs in zip(choices, recorded["choices"], strict=True):
            assert ours["logprobs"] == theirs.get("logprobs")
            assert ours["message"].get("audio") == theirs.get("message", {}).get("audio")
            if ours["message"].get("tool_calls"):
                assert ours["message"]["content"] != ""
        written = "".join(completion.text)
        assert written == "".join(each for said in said_by(choices).values() for each in in_order(said))
        check_kept(exchange, said_by(choices), completion.kept)


def in_order(said: dict[str, Any]) -> list[str]:
    calls = [text for call in said["calls"].values() for text in call[1:]]
    return [said["content"], said["refusal"], said["reasoning"], *calls, said["function"]]


def check_kept(exchange: dict[str, Any], said: dict[int, dict[str, Any]], kept: Any) -> None:
    """What was thought before a call is kept where its provider wants it back, under the first call's id."""
    expected = {
        one["calls"][min(one["calls"])][0]: {"provider": exchange["provider"], "reasoning": one["reasoning"]}
        for one in said.values()
        if one["calls"] and one["reasoning"] and exchange["provider"] != "openai"
    }
    assert kept == expected


def events_of(text: str) -> list[dict[str, Any]]:
    lines = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def cut(data: bytes, how: str) -> list[bytes]:
    if how == "whole":
        return [data]
    if how == "byte by byte":
        return [data[place : place + 1] for place in range(len(data))]
    draw = random.Random(how)
    places = [0, *sorted(draw.randrange(len(data)) for _ in range(60)), len(data)]
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize("exchange", answered(stream=True))
@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("how", ["whole", "byte by byte", "anywhere", "anywhere else"])
def test_a_stream_says_what_was_recorded_wherever_it_is_cut(exchange: dict[str, Any], line_end: str, how: str):
    text = exchange["response"]["body_text"].replace("\r\n", "\n")
    recorded = events_of(text)
    reader = PROVIDERS[exchange["provider"]].open_reader(SENT, ORDER)
    frames = b"".join(reader.feed(piece) for piece in cut(text.replace("\n", line_end).encode(), how))
    chunks = [json.loads(frame[6:]) for frame in frames.split(b"\n\n")[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
        assert set(chunk) <= CHUNK
        assert (chunk["id"], chunk["model"], chunk["usage"]) == ("chatcmpl-ours", "public", None)
        assert all(set(choice) <= {"index", "delta", "logprobs", "finish_reason"} for choice in chunk["choices"])
    theirs = [choice for event in recorded for choice in event["choices"]]
    said = said_by(choices)
    assert said == said_by(theirs)
    assert [choice["logprobs"] for choice in choices if choice.get("logprobs")] == [
        choice["logprobs"] for choice in theirs if choice.get("logprobs")
    ]
    assert sum(choice["finish_reason"] is not None for choice in choices) == len(said)
    assert choices[0]["delta"]["role"] == "assistant"
    assert (reader.finished, reader.finish_reason) == (True, said[0]["end"])
    assert reader.usage == counts_of(recorded)
    assert not reader.uncounted
    assert sorted("".join(reader.text)) == sorted("".join(each for one in said.values() for each in in_order(one)))
    check_kept(exchange, said, reader.kept)


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["response"]["status"] != 200))
def test_an_error_body_is_never_an_answer(exchange: dict[str, Any]):
    """Within a 200 it still is what it says, where its words are known; otherwise it is the upstream's failure."""
    provider, body = PROVIDERS[exchange["provider"]], exchange["response"]["body_text"].encode()
    with pytest.raises(AttemptFailed) as failed:
        provider.read_answer(body, SENT)
    meaning = provider.read_error(exchange["response"]["status"], {}, body)
    assert failed.value.blame in (meaning.blame, Blame.UPSTREAM, Blame.SETUP)
