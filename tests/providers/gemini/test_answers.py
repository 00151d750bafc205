"""Gemini's answers, whole and streamed, and its errors."""

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from bridge.conversation.usage import Counts
from bridge.providers.base import AttemptFailed, Blame, Outgoing, failed_finish
from bridge.providers.gemini.answers import Reading
from bridge.providers.gemini.provider import Gemini
from tests.chat_answers import body_of, chat_order

OURS, PUBLIC = "chatcmpl-0123456789abcdef", "public-name"
COUNTS = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
CALL = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
SIGNED = {"functionCall": {"name": "weather", "args": {}, "id": "g1"}, "thoughtSignature": "sig"}


def sent(**reading: Any) -> Outgoing:
    return Outgoing("/", b"{}", reading=Reading(**reading))


def candidate(*parts: dict[str, Any], finish: Any = None, **more: Any) -> dict[str, Any]:
    found = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **more}
    return found if finish is None else {**found, "finishReason": finish}


def answer(*candidates: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"candidates": list(candidates), "usageMetadata": COUNTS, "modelVersion": "theirs", **more}


def read_whole(*candidates: dict[str, Any], outgoing: Outgoing | None = None, **more: Any) -> Any:
    data = json.dumps(answer(*candidates, **more)).encode()
    completion = Gemini().read_answer(data, outgoing or sent())
    ours = {"id": OURS, "object": "chat.completion", "created": 0, "model": PUBLIC}
    ChatCompletion.model_validate({**ours, **body_of(completion)}, strict=True)
    return completion


def read_stream(*chunks: dict[str, Any], outgoing: Outgoing | None = None, **order: Any) -> tuple[list[Any], Any]:
    data = b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)
    order = {"include_usage": False, **order}
    reader = Gemini().open_reader(outgoing or sent(), chat_order(OURS, PUBLIC, 0, max_event_bytes=10**6, **order))
    frames = (reader.feed(data) + reader.end()).split(b"\n\n")
    assert frames.pop() == b""
    found = [ChatCompletionChunk.model_validate(json.loads(frame[6:]), strict=True) for frame in frames]
    assert all(chunk.id == OURS and chunk.model == PUBLIC for chunk in found)
    return [chunk.choices[0] for chunk in found], reader


def text_of(choices: list[Any]) -> str:
    return "".join(choice.delta.content or "" for choice in choices)


def finishes(choices: list[Any]) -> list[str]:
    return [choice.finish_reason for choice in choices if choice.finish_reason]


def calls_of(choices: list[Any]) -> list[Any]:
    return [call for choice in choices for call in choice.delta.tool_calls or ()]


# whole answers


def test_texts_are_joined_and_thoughts_are_apart():
    found = read_whole(candidate({"text": "hm", "thought": True}, {"text": "a"}, {"text": "b"}, finish="STOP"))
    message = body_of(found)["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"], found.finish_reason) == ("ab", "hm", "stop")
    assert found.text == ["ab", "hm"]
    assert found.usage == Counts(10, 5)
    assert not found.kept


def test_a_call_is_kept_by_the_id_that_the_client_sees():
    found = read_whole(candidate(SIGNED, CALL, finish="STOP"))
    first, second = body_of(found)["choices"][0]["message"]["tool_calls"]
    assert first["id"] == "g1"
    assert first["extra_content"] == {"google": {"thought_signature": "sig"}}
    assert second["id"].startswith("call_")
    assert json.loads(second["function"]["arguments"]) == {"city": "Oslo"}
    assert "extra_content" not in second
    assert found.kept == {"g1": {"provider": "gemini", "signature": "sig", "id": "g1", "name": "weather"}}
    assert found.finish_reason == "tool_calls"
    assert body_of(found)["choices"][0]["message"]["content"] is None


def test_a_signature_without_an_id_is_kept_by_ours():
    found = read_whole(candidate({**CALL, "thoughtSignature": "sig"}, finish="STOP"))
    ours = body_of(found)["choices"][0]["message"]["tool_calls"][0]["id"]
    assert found.kept == {ours: {"provider": "gemini", "signature": "sig", "id": None, "name": "weather"}}


def test_only_the_first_call_where_the_client_wants_no_parallel_ones():
    found = read_whole(candidate(SIGNED, CALL, finish="STOP"), outgoing=sent(one_call=True))
    assert len(body_of(found)["choices"][0]["message"]["tool_calls"]) == 1
    assert list(found.kept) == ["g1"]
    choices, reader = read_stream(
        answer(candidate(SIGNED)), answer(candidate(CALL, finish="STOP")), outgoing=sent(one_call=True)
    )
    assert len(calls_of(choices)) == 1
    assert list(reader.kept) == ["g1"]


def test_the_legacy_dialect_gets_its_function_call():
    found = read_whole(candidate(SIGNED, finish="STOP"), outgoing=sent(legacy=True))
    assert body_of(found)["choices"][0]["message"]["function_call"] == {"name": "weather", "arguments": "{}"}
    assert found.finish_reason == "function_call"
    assert not found.kept
    choices, reader = read_stream(answer(candidate(SIGNED, finish="STOP")), outgoing=sent(legacy=True))
    assert choices[1].delta.function_call.name == "weather"
    assert finishes(choices) == ["function_call"]
    assert not reader.kept


@pytest.mark.parametrize("finish", ["UNEXPECTED_TOOL_CALL", 12])
def test_a_call_of_what_was_never_offered_is_not_forwarded(finish):
    offered = sent(offered=frozenset({"clock"}))
    for reason in (finish, "STOP"):
        with pytest.raises(AttemptFailed):
            read_whole(candidate(CALL, finish=reason), outgoing=offered)
        with pytest.raises(AttemptFailed):
            read_stream(answer(candidate(CALL, finish=reason)), outgoing=offered)
        with pytest.raises(AttemptFailed):  # in a stream the reason may come too late
            read_stream(answer(candidate(CALL)), answer(candidate(finish=reason)), outgoing=offered)
    # beside a text it is merely left out
    both = candidate({"text": "Hi"}, CALL, finish="STOP")
    assert body_of(read_whole(both, outgoing=offered))["choices"][0]["message"].get("tool_calls") is None
    choices, _ = read_stream(answer(both), outgoing=offered)
    assert (calls_of(choices), text_of(choices), finishes(choices)) == ([], "Hi", ["stop"])


FAILURES = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS")
FAILURES += ("OTHER", "IMAGE_OTHER", "MALFORMED_RESPONSE", "NEVER_HEARD_OF")


@pytest.mark.parametrize("finish", [*FAILURES, 5, 10, 12, 4711])
@pytest.mark.parametrize("parts", [[], [{"text": "Hi"}], [{"text": "hm", "thought": True}]])
def test_an_answer_that_ended_in_failure_is_none(finish, parts):
    with pytest.raises(AttemptFailed) as caught:
        read_whole(candidate(*parts, finish=finish))
    assert (caught.value.blame, caught.value.reason) == (Blame.UPSTREAM, f"the answer ended in failure: {finish}")
    reader = Gemini().open_reader(sent(), chat_order(OURS, PUBLIC, 0, False, 10**6))
    with pytest.raises(AttemptFailed) as caught:
        reader.feed(b"data: " + json.dumps(answer(candidate(*parts, finish=finish))).encode() + b"\n\n")
    assert reader.finish_reason is None
    assert all(part["text"].encode() in caught.value.frames for part in parts)


@pytest.mark.parametrize("word", ["at far.test: key=1", "x" * 50, "", "é"])
def test_only_a_plain_finish_word_is_repeated(word):
    failure = failed_finish(word)
    assert failure.reason == "the answer ended in failure: an unknown word"


PICTURE = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}


def test_pictures_are_passed_on_as_clients_know_them():
    wanted = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": index}
        for index in (0, 1)
    ]
    parts = [{"text": "Look:"}, PICTURE, {**PICTURE, "thought": True}, PICTURE]
    message = body_of(read_whole(candidate(*parts, finish="STOP")))["choices"][0]["message"]
    assert (message["images"], message["content"]) == (wanted, "Look:")
    choices, reader = read_stream(*(answer(candidate(part)) for part in parts), answer(candidate(finish="STOP")))
    assert [one for choice in choices for one in (choice.delta.model_extra or {}).get("images", ())] == wanted
    assert reader.started
    choices, reader = read_stream(answer(candidate(PICTURE)), answer(candidate(finish="STOP")))
    assert reader.started


def test_what_is_no_picture_is_none():
    sound = {"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}}
    assert "images" not in body_of(read_whole(candidate({"text": "a"}, sound, finish="STOP")))["choices"][0]["message"]


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("STOP", "stop"),
        (1, "stop"),
        ("MAX_TOKENS", "length"),
        (2, "length"),
        (3, "content_filter"),
        *((name, "content_filter") for name in ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")),
        *((name, "content_filter") for name in ("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR")),
        ("LANGUAGE", "content_filter"),
        ("NO_IMAGE", "stop"),
    ],
)
def test_finish_reasons(finish, expected):
    assert read_whole(candidate({"text": "a"}, finish=finish)).finish_reason == expected
    choices, reader = read_stream(answer(candidate({"text": "a"}, finish=finish)))
    assert finishes(choices) == [expected]
    assert reader.finish_reason == expected
    if expected != "stop":
        assert read_whole(candidate(CALL, finish=finish)).finish_reason == expected


@pytest.mark.parametrize("content", [{"content": {"role": "model"}}, {"content": {}}, {}, {"content": None}])
def test_an_answer_without_content_is_an_empty_one(content):
    found = read_whole({**content, "finishReason": "MAX_TOKENS"})
    assert body_of(found)["choices"][0]["message"]["content"] == ""
    assert found.finish_reason == "length"
    choices, reader = read_stream(answer({**content, "finishReason": "MAX_TOKENS"}))
    assert text_of(choices) == ""
    assert finishes(choices) == ["length"]
    assert not reader.started


@pytest.mark.parametrize("reason", ["SAFETY", "NEVER_HEARD_OF", 4])
def test_a_blocked_prompt_is_one_choice(reason):
    blocked = {"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 7}}
    for body in (blocked, {**blocked, "candidates": []}):
        found = Gemini().read_answer(json.dumps(body).encode(), sent())
        assert body_of(found)["choices"][0]["message"]["content"] == ""
        assert found.finish_reason == "content_filter"
        assert found.usage == Counts(7)
        choices, reader = read_stream(body)
        assert finishes(choices) == ["content_filter"]
        assert reader.usage == Counts(7)


def test_several_candidates_are_several_choices():
    found = read_whole(candidate({"text": "a"}, finish="STOP"), candidate({"text": "b"}, finish="MAX_TOKENS", index=1))
    assert [(one["index"], one["message"]["content"], one["finish_reason"]) for one in body_of(found)["choices"]] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]
    assert found.text == ["a", "b"]


def test_what_google_does_by_itself_is_ignored():
    parts = [
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}},
        {"toolCall": {"toolType": "GOOGLE_SEARCH"}},
        {"text": "", "thoughtSignature": "sig"},
        {"text": "one"},
    ]
    found = read_whole(candidate(*parts, finish="STOP", groundingMetadata={"groundingChunks": [3]}))
    assert body_of(found)["choices"][0]["message"] == {"role": "assistant", "content": "one", "refusal": None}
    choices, _ = read_stream(answer(candidate(*parts, finish="STOP")))
    assert text_of(choices) == "one"
    assert not calls_of(choices)


def test_logprobs_are_in_openais_shape():
    token = {"token": "Ö", "tokenId": 5, "logProbability": -0.5}
    result = {"chosenCandidates": [token], "topCandidates": [{"candidates": [token, {**token, "token": "o"}]}]}
    found = read_whole(candidate({"text": "Ö"}, finish="STOP", logprobsResult=result))
    expected = {"token": "Ö", "logprob": -0.5, "bytes": [195, 150]}
    other = {"token": "o", "logprob": -0.5, "bytes": [111]}
    assert body_of(found)["choices"][0]["logprobs"] == {
        "content": [{**expected, "top_logprobs": [expected, other]}],
        "refusal": None,
    }
    choices, _ = read_stream(answer(candidate({"text": "Ö"}, logprobsResult=result)))
    assert text_of(choices) == "Ö"
    assert [one.logprob for choice in choices if choice.logprobs for one in choice.logprobs.content] == [-0.5]
    assert body_of(read_whole(candidate({"text": "a"}, logprobsResult=[3])))["choices"][0]["logprobs"] is None


def test_json_that_was_asked_for_in_words_comes_without_its_fence():
    fenced = sent(fenced=True)
    found = read_whole(candidate({"text": '```json\n{"a":1}\n```'}, finish="STOP"), outgoing=fenced)
    assert body_of(found)["choices"][0]["message"]["content"] == '{"a":1}'
    pieces = [answer(candidate({"text": one})) for one in ("``", "`json\n", '{"a":', "1}\n``", "`")]
    choices, _ = read_stream(*pieces, answer(candidate(finish="STOP")), outgoing=fenced)
    assert text_of(choices) == '{"a":1}'
    choices, _ = read_stream(answer(candidate({"text": "``"})), answer(candidate(finish="STOP")), outgoing=fenced)
    assert text_of(choices) == "``"


# counts


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"promptTokenCount": 10, "candidatesTokenCount": 5}, Counts(10, 5)),
        (
            {"promptTokenCount": 10, "toolUsePromptTokenCount": 3, "candidatesTokenCount": 5, "thoughtsTokenCount": 7},
            Counts(13, 12, 0, 7),
        ),
        ({"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5}, Counts(10, 5, 4)),
        ({"promptTokenCount": 10, "thoughtsTokenCount": 7, "totalTokenCount": 17}, Counts(10, 7, 0, 7)),
        ({"promptTokenCount": 10, "totalTokenCount": 14}, Counts(10, 4)),
        ({"promptTokenCount": 0, "candidatesTokenCount": 0}, Counts(0, 0)),
        (
            {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 30,
                "candidatesTokenCount": 5,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 20},
                    {"modality": "AUDIO", "tokenCount": 60},
                    {"modality": "IMAGE", "tokenCount": 20},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
                "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}, {"modality": "TEXT"}],
            },
            Counts(100, 5, 30, 0, 0, 0, 30, 30, 4, 20),
        ),
        (
            {"promptTokenCount": 9, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 99}, {}]},
            Counts(9, audio_tokens=99),
        ),
        ({"trafficType": "ON_DEMAND"}, None),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 115}, Counts(10, 105)),
        ({"promptTokenCount": 10.0, "candidatesTokenCount": 5.0, "totalTokenCount": 15.0}, Counts(10, 5)),
        ({"promptTokenCount": 10, "candidatesTokenCount": 5.5}, Counts(10, odd=True)),
        ({"promptTokenCount": 10}, Counts(10)),  # nobody says that nothing was written
        ({"candidatesTokenCount": 5}, Counts(None, 5)),
        ({"candidatesTokenCount": 5, "totalTokenCount": 15}, Counts(10, 5)),
        ({"promptTokenCount": 10, "totalTokenCount": 2**60, "candidatesTokenCount": 5}, Counts(10, 5, odd=True)),
        ({"promptTokenCount": "ten"}, Counts(odd=True)),
        ({"promptTokenCount": 3, "candidatesTokenCount": 2**60}, Counts(3, odd=True)),
        ({"promptTokenCount": -3, "candidatesTokenCount": 2}, Counts(-3, 2)),
        ({"promptTokenCount": 3, "candidatesTokenCount": -2}, Counts(3, -2)),
        (
            {"promptTokenCount": 3, "candidatesTokenCount": 7, "thoughtsTokenCount": -5},
            Counts(3, -5, reasoning_tokens=-5),
        ),
        ([], Counts(odd=True)),
        (None, None),
    ],
)
def test_counts(counts, expected):
    assert read_whole(candidate({"text": "a"}, finish="STOP"), usageMetadata=counts).usage == expected
    assert read_stream(answer(candidate({"text": "a"}, finish="STOP"), usageMetadata=counts))[1].usage == expected


def test_a_streams_counts_grow_and_the_last_ones_win():
    early, late = {"promptTokenCount": 10, "totalTokenCount": 10}, {**COUNTS, "candidatesTokenCount": 6}
    pieces = [answer(candidate({"text": "a"}), usageMetadata=early), answer(candidate({"text": "b"}, finish="STOP"))]
    assert read_stream(*pieces)[1].usage == Counts(10, 5)
    _, reader = read_stream(*pieces, {"usageMetadata": late})
    assert reader.usage == Counts(10, 6)
    assert not bool(reader.uncounted)
    _, reader = read_stream(pieces[0], {"candidates": [candidate({"text": "b"})]})
    assert bool(reader.uncounted)
    assert reader.text == ["a", "b"]


# streams


def test_a_stream_is_its_texts_between_role_and_finish():
    pieces = [{"text": "Hel"}, {"text": "lo"}, {"text": "!"}]
    choices, reader = read_stream(
        *(answer(candidate(one)) for one in pieces[:2]), answer(candidate(pieces[2], finish="STOP"))
    )
    assert choices[0].delta.role == "assistant"
    assert text_of(choices) == "Hello!"
    assert finishes(choices) == ["stop"]
    assert choices[-1].finish_reason == "stop"
    assert reader.started
    assert not reader.finished


def test_thoughts_are_streamed_apart():
    choices, reader = read_stream(answer(candidate({"text": "hm", "thought": True}, {"text": "a"}, finish="STOP")))
    assert [choice.delta.model_extra.get("reasoning_content") for choice in choices] == [None, "hm", None, None]
    assert text_of(choices) == "a"
    assert reader.text == ["hm", "a"]


def test_calls_are_numbered_through_all_chunks_and_come_whole():
    choices, reader = read_stream(
        answer(candidate(SIGNED)), answer(candidate({"text": "x"}, CALL)), answer(candidate(CALL, finish="STOP"))
    )
    made = calls_of(choices)
    assert [call.index for call in made] == [0, 1, 2]
    assert len({call.id for call in made}) == 3
    assert [json.loads(call.function.arguments) for call in made] == [{}, {"city": "Oslo"}, {"city": "Oslo"}]
    assert made[0].model_extra["extra_content"] == {"google": {"thought_signature": "sig"}}
    assert reader.kept == {"g1": {"provider": "gemini", "signature": "sig", "id": "g1", "name": "weather"}}
    assert finishes(choices) == ["tool_calls"]


def test_a_stop_in_a_chunk_behind_the_call_is_still_a_tool_call():
    choices, _ = read_stream(answer(candidate(CALL)), answer(candidate({"text": ""}, finish="STOP")))
    assert finishes(choices) == ["tool_calls"]


def test_several_finish_reasons_are_one_and_what_comes_between_them_is_not_lost():
    choices, reader = read_stream(
        answer(candidate({"text": "a"}, finish="STOP")),
        answer(candidate({"text": "b"}, finish="STOP")),
        answer(candidate({"text": ""}, finish="STOP")),
    )
    assert finishes(choices) == ["stop"]
    assert text_of(choices) == "ab"
    assert reader.finish_reason == "stop"
    choices, reader = read_stream(
        answer(candidate({"text": "a"}, finish="STOP")), answer(candidate(CALL, finish="STOP"))
    )
    assert finishes(choices)[-1] == reader.finish_reason == "tool_calls"


def test_the_index_of_a_parallel_choice_is_in_each_chunk():
    choices, _ = read_stream(answer(candidate({"text": "a"}, finish="STOP")), index=2)
    assert {choice.index for choice in choices} == {2}


# faults


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html>",
        b'{"candidates":[]}',
        b'{"candidates":[3]}',
        b'{"candidates":[],"promptFeedback":{}}',
        b'{"candidates":[{"content":{"parts":[{"text":3}]}}]}',
        b'{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}',
        b'[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]',
        b'{"candidates":[{"content":{"parts":[{"text":"a"}]}}],"error":{"code":500}}',
    ],
)
def test_what_is_no_answer_is_the_upstreams_fault(data):
    with pytest.raises(AttemptFailed) as caught:
        Gemini().read_answer(data, sent())
    assert caught.value.blame is Blame.UPSTREAM


@pytest.mark.parametrize("wrap", ["{}", "[{}]"])
def test_an_error_in_mid_stream_keeps_what_came_before_it(wrap):
    error = '{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}'
    data = json.dumps(answer(candidate({"text": "a"}))) + "\n\ndata: " + wrap.replace("{}", error)
    reader = Gemini().open_reader(sent(), chat_order(OURS, PUBLIC, 0, False, 10**6))
    with pytest.raises(AttemptFailed) as caught:
        reader.feed(f"data: {data}\n\n".encode())
    assert caught.value.blame is Blame.UPSTREAM
    assert b'"content":"a"' in caught.value.frames
    assert "UNAVAILABLE" in caught.value.reason


def test_a_call_that_comes_after_a_stop_is_told_of_by_the_one_finish():
    choices, reader = read_stream(
        answer(candidate({"text": "Let me see."}, finish="STOP")), answer(candidate(SIGNED, finish="STOP"))
    )
    assert finishes(choices) == ["tool_calls"]
    assert reader.finish_reason == "tool_calls"


def test_until_the_body_has_ended_there_is_no_finish():
    reader = Gemini().open_reader(sent(), chat_order(OURS, PUBLIC, 0, False, 10**6))
    reader.feed(b"data: " + json.dumps(answer(candidate({"text": "Hi"}, finish="STOP"))).encode() + b"\n\n")
    assert reader.finish_reason is None
    assert b'"finish_reason":"stop"' in reader.end()
