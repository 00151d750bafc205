"""Anthropic's dialect: where a request goes, and the conversation in it."""

import base64
import json
from typing import Any

import pytest

from bridge.providers.anthropic.provider import Anthropic
from bridge.providers.anthropic.turns import OPENING
from tests.conversations import converse
from tests.providers.anthropic_requests import (
    CACHE,
    HAIKU_35,
    HI,
    OPUS_5,
    OPUS_48,
    PNG,
    SONNET_45,
    TOOL,
    call,
    calls,
    refusal,
    result,
    said,
    sent,
    text,
    turns,
    write,
)


def test_the_key_is_a_header_and_the_version_goes_with_it():
    outgoing = write(stream=True, stream_options={"include_usage": True})
    assert outgoing.path == "/v1/messages"
    assert outgoing.headers == (("anthropic-version", "2023-06-01"),)
    assert json.loads(outgoing.body) == {
        "model": SONNET_45,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": text("Hi")}],
        "stream": True,
    }
    assert Anthropic().auth_headers("secret") == {"x-api-key": "secret"}
    assert Anthropic().auth_headers("") == {}
    assert Anthropic().choices_per_call(converse({"n": 3}), SONNET_45) == 1


def test_the_cap_is_the_gateways_else_the_clients():
    assert sent(cap=300, max_tokens=500)["max_tokens"] == 300
    assert sent(max_tokens=500)["max_tokens"] == 500
    assert sent(max_tokens=500, max_completion_tokens=400)["max_tokens"] == 400


# system messages


def test_system_messages_before_the_conversation_are_one_text():
    first = [said("system", "A"), said("developer", text("B", " ")), said("system", "")]
    out = sent(messages=[*first, *HI])
    assert out["system"] == "A\n\nB"
    assert out["messages"] == [{"role": "user", "content": text("Hi")}]


def test_system_messages_with_a_mark_for_the_cache_stay_blocks():
    marked = {"type": "text", "text": "B", **CACHE}
    out = sent(messages=[said("system", "A"), said("system", [marked]), said("system", "C", **CACHE), *HI])
    assert out["system"] == [*text("A"), marked, {"type": "text", "text": "C", **CACHE}]


def test_a_later_system_message_stands_where_the_model_takes_it():
    messages = [*HI, said("system", "Be brief."), said("developer", "Be kind."), said("assistant", "Ok"), *HI]
    kept = turns(*messages, model=OPUS_48)
    assert [turn["role"] for turn in kept] == ["user", "system", "assistant", "user"]
    assert kept[1]["content"] == text("Be brief.", "Be kind.")
    folded = turns(*messages)
    assert [turn["role"] for turn in folded] == ["user", "assistant", "user"]
    assert folded[0]["content"][1:] == text(
        *(f"<system-reminder>\nBe {how}.\n</system-reminder>" for how in ("brief", "kind"))
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [([said("assistant", "Yes?")], HI), ([said("assistant", "Yes?")], []), ([], HI)],
)
def test_a_later_system_message_elsewhere_is_a_part_of_the_users_turn(before: list[Any], after: list[Any]):
    written = turns(*HI, *before, said("system", "Note"), *after, model=OPUS_48)
    assert "<system-reminder>\nNote\n</system-reminder>" in [block["text"] for block in written[-1]["content"]]
    assert [turn["role"] for turn in written] == ["user", "assistant", "user"][: len(written)]


# the order of turns


def test_neighbours_of_one_side_are_one_turn():
    written = turns(*HI, said("user", "there"), said("assistant", "A"), said("assistant", text("B")), *HI)
    assert [turn["role"] for turn in written] == ["user", "assistant", "user"]
    assert written[0]["content"] == text("Hi", "there")
    assert written[1]["content"] == text("A", "B")


def test_blank_texts_are_left_out():
    written = turns(said("user", text("Hi", "", " \n")), said("assistant", ""), said("user", "there"))
    assert written == [{"role": "user", "content": text("Hi", "there")}]


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        ([said("system", "Write a haiku.")], ["user"]),
        ([said("user", " ")], ["user"]),
        ([said("assistant", "Hello"), *HI], ["user", "assistant", "user"]),
        ([said("assistant", "")], ["user"]),
        ([calls(call()), result()], ["user", "assistant", "user"]),
    ],
)
def test_a_conversation_begins_with_the_user(messages: list[Any], roles: list[str]):
    written = turns(*messages)
    assert [turn["role"] for turn in written] == roles
    assert written[0]["content"] == text(OPENING)


def test_an_answer_that_is_begun_ends_without_a_blank():
    assert turns(*HI, said("assistant", text("A ", "{ \n")))[-1]["content"] == text("A ", "{")


def test_a_refusal_is_something_said():
    written = turns(*HI, said("assistant", [{"type": "refusal", "refusal": "No."}]), *HI)
    assert written[1]["content"] == text("No.")


# calls and results


def test_a_call_is_a_block_and_its_result_the_next_turns_first():
    written = turns(*HI, calls(call(), content="Let me look. "), result(), said("user", "And?"), tools=[TOOL])
    used = {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}}
    assert written[1]["content"] == [*text("Let me look. "), used]
    answered = {"type": "tool_result", "tool_use_id": "call_1", "content": text("rain")}
    assert written[2] == {"role": "user", "content": [answered, *text("And?")]}


def test_all_results_of_a_turn_are_in_the_one_after_it_before_all_else():
    made = calls(call("a"), call("b"))
    written = turns(*HI, made, said("user", "Hurry"), result("b"), said("system", "Note"), result("a"), model=OPUS_48)
    assert len(written) == 3
    kinds = [(block["type"], block.get("tool_use_id")) for block in written[2]["content"]]
    assert kinds == [("tool_result", "b"), ("tool_result", "a"), ("text", None), ("text", None)]


@pytest.mark.parametrize("arguments", ["", "{}", '{"city": "Os', "[1]", "null"])
def test_arguments_that_are_no_object_read_as_none(arguments: str):
    written = turns(*HI, calls(call(arguments=arguments)), result())
    assert written[1]["content"][0]["input"] == {}


def test_ids_are_written_in_anthropics_letters_at_both_ends_and_differ():
    made = calls(call("functions.weather:0"), call("functions_weather_0"), call("ü"), call(""))
    results = [result("functions_weather_0"), result("functions.weather:0"), result(""), result("ü")]
    written = turns(*HI, made, *results)
    ids = [block["id"] for block in written[1]["content"]]
    assert ids == ["functions_weather_0_2", "functions_weather_0", "_", "call"]
    assert [block["tool_use_id"] for block in written[2]["content"]] == [ids[1], ids[0], ids[3], ids[2]]


def test_an_id_that_is_used_again_in_a_later_turn_is_made_another():
    written = turns(*HI, calls(call("a")), result("a", "1"), calls(call("a")), result("a", "2"))
    first, second = written[1]["content"][0]["id"], written[3]["content"][0]["id"]
    assert (first, second) == ("a", "a_2")
    assert written[2]["content"][0]["tool_use_id"] == first
    assert written[4]["content"][0]["tool_use_id"] == second


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([*HI, calls(call())], "messages[1].tool_calls[0]"),
        ([*HI, calls(call("a"), call("b")), result("a"), *HI], "messages[1].tool_calls[1]"),
        ([*HI, calls(call("a"), call("a")), result("a")], "messages[1].tool_calls[1]"),
        ([*HI, result()], "messages[1].tool_call_id"),
        ([*HI, calls(call()), result(), said("assistant", "Ok"), result()], "messages[4].tool_call_id"),
        ([*HI, {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom"}]}], "messages[1].tool_calls[0]"),
    ],
)
def test_a_call_or_result_without_the_other_is_refused(messages: list[Any], param: str):
    assert refusal(messages=messages).param == param


def test_two_results_for_one_call_are_one():
    written = turns(*HI, calls(call()), result(content="a"), result(content="b"))
    assert written[2]["content"] == [{"type": "tool_result", "tool_use_id": "call_1", "content": text("a", "b")}]


def test_an_empty_result_has_no_content():
    assert turns(*HI, calls(call()), result(content=""))[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "call_1"}
    ]


def test_results_may_hold_pictures_and_marks_for_the_cache():
    picture = {"type": "image_url", "image_url": {"url": PNG}}
    (block,) = turns(*HI, calls(call()), result(content=[picture], **CACHE))[2]["content"]
    assert block["content"][0]["type"] == "image"
    assert block["cache_control"] == CACHE["cache_control"]


def test_the_old_function_messages_are_calls_and_results():
    spoken = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "A"}'}}
    written = turns(*HI, spoken, {"role": "function", "name": "weather", "content": "rain"}, functions=[{"name": "f"}])
    (used,) = written[1]["content"]
    assert (used["type"], used["input"]) == ("tool_use", {"city": "A"})
    assert written[2]["content"] == [{"type": "tool_result", "tool_use_id": used["id"], "content": text("rain")}]


def test_old_function_messages_without_each_other_are_words():
    spoken = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": '{"city": "A"}'}}
    assert turns(*HI, spoken, *HI)[1]["content"] == text('weather({"city":"A"})')
    assert turns(*HI, {"role": "function", "name": "weather", "content": "rain"})[0]["content"] == text(
        "Hi", "weather: rain"
    )


# pictures and files


def picture(url: str, **more: Any) -> Any:
    return turns(said("user", [{"type": "image_url", "image_url": {"url": url, "detail": "low"}, **more}]))[0][
        "content"
    ][0]


def test_a_picture_goes_out_under_its_true_type():
    jpeg = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(12)).decode()
    block = picture(f"data:IMAGE/PNG;charset=utf-8;base64,{jpeg}", **CACHE)
    assert block == {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/jpeg", "data": jpeg},
        **CACHE,
    }
    assert picture("data:image/jpg;base64,AAAA")["source"]["media_type"] == "image/jpeg"


def test_a_pictures_address_is_left_to_anthropic():
    assert picture("https://example.com/a.png") == {
        "type": "image",
        "source": {"type": "url", "url": "https://example.com/a.png"},
    }


@pytest.mark.parametrize("url", ["data:image/bmp;base64,AAAA", "data:image/png;base64,", "data:,x", "ftp://a/b", "x"])
def test_a_picture_that_it_does_not_take_is_refused_with_its_place(url: str):
    failure = refusal(messages=[said("user", [{"type": "image_url", "image_url": {"url": url}}])])
    assert failure.code == "invalid_image"
    assert failure.param.startswith("messages[0].content[0]")


def a_file(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    file = {"file_data": f"data:{media_type};base64,{base64.b64encode(data).decode()}", **more}
    return said("user", [{"type": "file", "file": file}])


def test_files_are_documents():
    (pdf,) = turns(a_file("application/pdf", b"%PDF", filename="a.pdf"))[0]["content"]
    assert pdf["title"] == "a.pdf"
    assert pdf["source"] == {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}
    (plain,) = turns(a_file("text/markdown", "Grüße".encode()))[0]["content"]
    assert plain == {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"}}
    assert turns(a_file("image/png", b"\x89PNG\r\n\x1a\n"))[0]["content"][0]["type"] == "image"


@pytest.mark.parametrize(
    "content",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        a_file("application/zip", b"PK")["content"][0],
        a_file("text/plain", b"\xff\xfe")["content"][0],
        a_file("text/plain", b"  ")["content"][0],
    ],
)
def test_what_it_can_not_read_is_refused_with_its_place(content: dict[str, Any]):
    failure = refusal(messages=[said("user", [{"type": "text", "text": "What is this?"}, content])])
    assert failure.param.startswith("messages[0].content[1]")


# fields without an equal


def test_what_has_no_equal_is_left_out_and_named():
    extra = {
        "seed": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "presence_penalty": 1,
        "frequency_penalty": 0.5,
        "logit_bias": {"1": 1},
        "prediction": {"type": "content"},
        "verbosity": "low",
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "unknown": 1,
    }
    outgoing = write(**extra, n=2)
    assert outgoing.dropped == tuple(extra)
    assert {*json.loads(outgoing.body)} == {"model", "max_tokens", "messages"}
    neutral = {"seed": None, "logprobs": False, "presence_penalty": 0, "store": False, "n": 1, "service_tier": "auto"}
    assert write(**neutral).dropped == ()


def test_names_of_the_clients_own_making_fit_into_a_header():
    odd = {"a\nb: c": 1, "ü" * 100: 1, **{f"x{i}": 1 for i in range(100)}}
    dropped = write(**odd).dropped
    assert dropped[:2] == ("a?b??c", "?" * 64)
    assert len(dropped) == 64


def test_the_end_user_goes_where_anthropic_looks_for_it_by_the_name_that_the_door_gave_it():
    name = "9f86d081884c7d659a2feaa0"  # a hash of ours: tests/v1/test_labels.py
    assert sent(user=name)["metadata"] == {"user_id": name}
    assert sent(safety_identifier=name, user="x")["metadata"] == {"user_id": name}
    assert "metadata" not in sent(user="")


def test_a_mark_for_the_cache_of_the_whole_prompt_goes_out():
    assert sent(**CACHE)["cache_control"] == CACHE["cache_control"]
    assert sent(messages=[said("user", [{"type": "text", "text": "Hi", **CACHE}])])["messages"][0]["content"] == [
        {"type": "text", "text": "Hi", **CACHE}
    ]


def test_web_search_is_refused():
    assert refusal(web_search_options={}).code == "unsupported_parameter"


def test_blank_stop_sequences_are_left_out_and_named():
    assert sent(stop="END")["stop_sequences"] == ["END"]
    mixed = write(stop=["END", "\n", ""])
    assert (json.loads(mixed.body)["stop_sequences"], mixed.clamped) == (["END"], ("stop=1 of 2",))
    blank = write(stop=[" ", "\n"])
    assert ("stop_sequences" in json.loads(blank.body), blank.dropped) == (False, ("stop",))


SAMPLING = ("temperature", "top_p", "top_k")


@pytest.mark.parametrize(
    ("model", "given", "out", "dropped", "clamped"),
    [
        (HAIKU_35, {"temperature": 1.5, "top_p": 0.5, "top_k": 7}, {"temperature": 1, "top_p": 0.5, "top_k": 7}, (), 1),
        (SONNET_45, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}, ("top_p",), 0),
        (SONNET_45, {"temperature": 0.5, "top_p": 1}, {"temperature": 0.5}, (), 0),
        (SONNET_45, {"top_p": 0.5}, {"top_p": 0.5}, (), 0),
        (OPUS_5, {"temperature": 0.5, "top_p": 0.5, "top_k": 7}, {}, SAMPLING, 0),
        (OPUS_48, {"temperature": 1, "top_p": 1}, {}, (), 0),
    ],
)
def test_sampling_follows_the_generation(model: str, given: Any, out: Any, dropped: tuple[str, ...], clamped: int):
    outgoing = write(model, **given)
    body = json.loads(outgoing.body)
    assert {name: body[name] for name in SAMPLING if name in body} == out
    assert outgoing.dropped == dropped
    assert outgoing.clamped == ("temperature=1",) * clamped


def test_a_top_k_that_is_none_is_refused():
    assert refusal(top_k="many").param == "top_k"
