"""Gemini's own dialect: where a request goes, and the conversation in it."""

import json
from typing import Any

import pytest

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.gemini.contents import NO_SIGNATURE, OPENING
from bridge.providers.gemini.provider import Gemini
from tests.providers.gemini_requests import (
    HI,
    MIDDLE,
    NEW,
    OLD,
    PNG,
    TOOL,
    call,
    calls,
    contents,
    refusal,
    result,
    said,
    sent,
    write,
)

# where it goes


def test_the_model_and_the_method_are_the_path_and_the_key_is_a_header():
    assert write().path == "/v1beta/models/gemini-2.5-flash:generateContent"
    assert write(stream=True).path == "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse"
    assert write("models/gemini-2.5-pro").path == "/v1beta/models/gemini-2.5-pro:generateContent"
    assert write("a b?c").path == "/v1beta/models/a%20b%3Fc:generateContent"
    assert Gemini().auth_headers("secret") == {"x-goog-api-key": "secret"}
    assert Gemini().auth_headers("") == {}


@pytest.mark.parametrize("model", ["", "models/", "a/b", "../gemini", "..", "models/../x"])
def test_a_model_id_that_leads_elsewhere_is_a_mistake_of_the_catalogue(model):
    with pytest.raises(AttemptFailed) as caught:
        write(model)
    assert caught.value.blame is Blame.SETUP


# the conversation


def test_system_messages_before_the_conversation_are_joined():
    out = sent(messages=[said("system", "A"), said("developer", [{"type": "text", "text": "B"}]), *HI])
    assert out["systemInstruction"] == {"parts": [{"text": "A\n\nB"}]}
    assert out["contents"] == [{"role": "user", "parts": [{"text": "Hi"}]}]


def test_later_system_messages_are_the_users_words_where_they_stand():
    found = contents(*HI, said("assistant", "Yes?"), said("system", "Be brief."), said("user", "Go on"))
    assert found[1:] == [
        {"role": "model", "parts": [{"text": "Yes?"}]},
        {"role": "user", "parts": [{"text": "<system-reminder>\nBe brief.\n</system-reminder>"}, {"text": "Go on"}]},
    ]


def test_a_later_system_message_follows_the_results_of_the_turn_it_is_in():
    found = contents(*HI, calls(call()), said("system", "Mode: plan."), result(), *HI)
    assert [turn["role"] for turn in found] == ["user", "model", "user", "user"]
    assert "functionResponse" in found[2]["parts"][0]
    assert found[3]["parts"][0] == {"text": "<system-reminder>\nMode: plan.\n</system-reminder>"}


def test_contents_are_never_empty_and_begin_with_the_user():
    alone = sent(messages=[said("system", "Write a haiku.")])
    assert alone["systemInstruction"]
    assert alone["contents"] == [{"role": "user", "parts": [{"text": OPENING}]}]
    assert [turn["role"] for turn in contents(said("assistant", "Hello"), *HI)] == ["user", "model", "user"]
    assert contents(said("user", "")) == [{"role": "user", "parts": [{"text": OPENING}]}]
    assert [turn["role"] for turn in contents(calls(call()), result())] == ["user", "model", "user"]


def test_neighbours_of_one_side_are_one_turn_and_empty_texts_are_left_out():
    found = contents(*HI, said("user", "there"), said("assistant", ""), said("user", ""), said("assistant", "Yes"))
    assert found == [
        {"role": "user", "parts": [{"text": "Hi"}, {"text": "there"}]},
        {"role": "model", "parts": [{"text": "Yes"}]},
    ]


def test_reasoning_given_back_is_left_out():
    found = contents(*HI, said("assistant", "Yes", reasoning_content="hm"))
    assert found[1]["parts"] == [{"text": "Yes"}]


# calls and results


def test_a_result_finds_its_name_by_the_calls_id():
    found = contents(*HI, calls(call()), result())
    assert found[1] == {
        "role": "model",
        "parts": [{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}],
    }
    assert found[2] == {
        "role": "user",
        "parts": [{"functionResponse": {"name": "weather", "response": {"result": "rain"}}}],
    }


def test_parallel_results_are_one_turn_in_the_order_of_the_calls_and_other_words_follow():
    made = calls(call("a", "one"), call("b", "two"))
    found = contents(*HI, made, said("system", "Note"), result("b", "B"), result("a", "A"), said("user", "And?"))
    answers = [part["functionResponse"] for part in found[2]["parts"]]
    assert [(one["name"], one["response"]["result"]) for one in answers] == [("one", "A"), ("two", "B")]
    note = "<system-reminder>\nNote\n</system-reminder>"
    assert found[3:] == [{"role": "user", "parts": [{"text": note}, {"text": "And?"}]}]


def test_a_call_without_a_result_gets_one_that_says_so():
    found = contents(*HI, calls(call("a", "one"), call("b", "two")), result("a"))
    assert [sorted(part["functionResponse"]["response"]) for part in found[2]["parts"]] == [["result"], ["error"]]


def test_calls_of_one_id_are_answered_in_their_order():
    found = contents(*HI, calls(call("a", "one"), call("a", "two")), result("a", "A"), result("a", "B"))
    answers = [part["functionResponse"] for part in found[2]["parts"]]
    assert [(one["name"], one["response"]["result"]) for one in answers] == [("one", "A"), ("two", "B")]


def test_a_result_whose_call_the_client_left_out_is_called_by_what_is_known():
    kept = {"call_1": {"provider": "gemini", "signature": "s", "id": "g1", "name": "weather"}}
    found = contents(*HI, result(), kept=kept)
    assert found[1]["parts"] == [{"functionCall": {"name": "weather", "args": {}, "id": "g1"}, "thoughtSignature": "s"}]
    assert found[2]["parts"][0]["functionResponse"] == {"name": "weather", "response": {"result": "rain"}, "id": "g1"}
    assert contents(*HI, result(name="clock"))[2]["parts"][0]["functionResponse"]["name"] == "clock"
    assert contents(*HI, result(), tools=[TOOL])[2]["parts"][0]["functionResponse"]["name"] == "weather"


def test_a_result_that_is_a_json_object_goes_as_it_is_and_other_json_as_text():
    for content, response in (
        ('{"degrees": 3}', {"degrees": 3}),
        ("[1]", {"result": "[1]"}),
        ('{"a":', {"result": '{"a":'}),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"result": "ab"}),
    ):
        found = contents(*HI, calls(call()), result(content=content))
        assert found[2]["parts"][0]["functionResponse"]["response"] == response


def test_a_picture_in_a_result_follows_behind_the_results():
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    found = contents(*HI, calls(call()), result(content=[{"type": "text", "text": "see"}, picture]))
    assert found[2]["parts"][0]["functionResponse"]["response"] == {"result": "see"}
    assert found[3] == {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": PNG}}]}


def test_arguments_that_a_limit_cut_are_no_arguments():
    found = contents(*HI, calls(call(arguments='{"city": "Os')), result())
    assert found[1]["parts"][0]["functionCall"]["args"] == {}


def test_the_legacy_dialects_call_and_result_are_the_same():
    made = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}
    found = contents(*HI, made, {"role": "function", "name": "weather", "content": "rain"})
    assert found[1]["parts"][0]["functionCall"] == {"name": "weather", "args": {}}
    assert found[2]["parts"][0]["functionResponse"] == {"name": "weather", "response": {"result": "rain"}}


# signatures


def test_a_signature_comes_from_the_client_or_from_what_was_kept():
    theirs = call(extra_content={"google": {"thought_signature": "theirs"}})
    kept = {"call_1": {"provider": "gemini", "signature": "kept", "id": "g1"}}
    first = contents(*HI, calls(theirs), result(), model=NEW, kept=kept)
    assert first[1]["parts"][0]["thoughtSignature"] == "theirs"
    second = contents(*HI, calls(call()), result(), model=NEW, kept=kept)
    assert second[1]["parts"][0]["thoughtSignature"] == "kept"
    assert second[1]["parts"][0]["functionCall"]["id"] == second[2]["parts"][0]["functionResponse"]["id"] == "g1"


def test_on_the_third_generation_a_missing_signature_is_stood_in_for_on_the_first_call_of_each_turn():
    conversation = [*HI, calls(call("a"), call("b")), result("a"), result("b"), calls(call("c")), result("c")]
    found = contents(*conversation, model=NEW)
    signatures = [part.get("thoughtSignature") for turn in found if turn["role"] == "model" for part in turn["parts"]]
    assert signatures == [NO_SIGNATURE, None, NO_SIGNATURE]
    assert "thoughtSignature" not in json.dumps(contents(*conversation, model=MIDDLE))


def test_what_another_provider_had_us_keep_is_not_sent():
    kept = {"call_1": {"provider": "anthropic", "signature": "other", "id": "toolu_1"}}
    found = json.dumps(contents(*HI, calls(call()), result(), kept=kept))
    assert "other" not in found
    assert "toolu_1" not in found


# pictures, sound, files


def part_of(part: dict[str, Any], model: str = MIDDLE) -> dict[str, Any]:
    return contents(said("user", [part]), model=model)[0]["parts"][0]


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def test_pictures_sound_and_documents_go_inline():
    assert part_of(image(f"data:image/jpg;base64,{PNG}")) == {"inlineData": {"mimeType": "image/png", "data": PNG}}
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}
    assert part_of(sound) == {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}}
    document = {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"}}
    assert part_of(document) == {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.com/a.PNG?x=1", "image/png"),
        ("http://example.com/a.webp", "image/webp"),
        ("https://example.com:8443/a?b=c/d.png#e", "image/jpeg"),
        ("https://example.com", "image/jpeg"),
        ("https://storage.googleapis.com/bucket/a.gif", "image/gif"),
    ],
)
def test_a_picture_by_address_is_fetched_by_google(url, kind):
    assert part_of(image(url)) == {"fileData": {"fileUri": url, "mimeType": kind}}


@pytest.mark.parametrize(
    "url",
    [
        "https://generativelanguage.googleapis.com/v1beta/files/abc",  # our key's own files
        "https://GENERATIVELANGUAGE.googleapis.com./v1beta/files/abc",
        "https://user@generativelanguage.googleapis.com:443/v1beta/files/abc",
        "https://www.youtube.com/watch?v=abc",  # a film, which no hold for a picture covers
        "https://youtu.be/abc",
        "https://generativelanguage.googleapis.com\\.example.com/v1beta/files/abc",
        "https://generativelanguage%2Egoogleapis.com/v1beta/files/abc",
        "https://[::1",
        "https://",
        "https://example.com/ü.png",
        "http://localhost/a.png",
        "http://169.254.169.254/latest/a.png",
        "http://[::1]/a.png",
        "http://0x7f000001/a.png",
        "https://db.internal/a.png",
    ],
)
def test_an_address_that_is_no_public_picture_is_refused(url):
    assert refusal(messages=[said("user", [image(url)])]).code == "invalid_image"


def test_an_older_model_wants_a_data_url():
    failure = refusal(OLD, messages=[said("user", [image("https://example.com/a.png")])])
    assert failure.code == "invalid_image"
    assert "data:image/png" in failure.message


@pytest.mark.parametrize(
    "part",
    [
        image("data:application/pdf;base64,AAAA"),
        image("data:;base64,AAAA"),
        {"type": "file", "file": {"file_data": "data:application/zip;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
    ],
)
def test_what_the_model_cannot_read_is_refused_never_dropped(part):
    assert refusal(messages=[said("user", [part])]).param.startswith("messages[0].content[0]")
