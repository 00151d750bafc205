"""What providers say against a request reaches the client in our words, with its own field's name and our code."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.base import Blame
from bridge.providers.blame.complaint import our_param
from bridge.providers.blame.complaints import KNOWN
from bridge.providers.blame.errors import REFUSED, explain_error
from bridge.providers.blame.scrubbing import MAX_MESSAGE

TOO_LONG, POLICY, IMAGE = "context_length_exceeded", "content_policy_violation", "invalid_image"
UNSUPPORTED = "unsupported_parameter"

LINES = (Path(__file__).parent / "complaints.txt").read_text().splitlines()[1:]
COMPLAINTS = [tuple(line.replace("¶", "\n").split(" | ", 3)) for line in LINES]


def explain(message: str, **more: Any) -> Any:
    return explain_error(400, {}, **{"code": "", "kind": "invalid_request_error", "message": message, **more})


@pytest.mark.parametrize(("param", "code", "words", "message"), COMPLAINTS)
def test_a_known_complaint_is_told_in_our_words(param: str, code: str, words: str, message: str):
    failure = explain(message)
    assert (failure.blame, failure.param or "-", failure.code) == (Blame.REQUEST, param, code)
    assert words in failure.message
    assert failure.message != message
    assert len(failure.message) <= MAX_MESSAGE
    assert "…." not in failure.message.replace("base64,…", "")  # no sentence of ours is scrubbed


def test_no_known_complaint_is_shadowed_by_another():
    found = [next(each for each in KNOWN if each.pattern.search(message)) for *_, message in COMPLAINTS]
    assert [each.pattern.pattern for each in KNOWN if each not in found] == []


@pytest.mark.parametrize(
    ("code", "expected", "param"),
    [
        ("content_filter", POLICY, "messages"),
        ("moderation_blocked", POLICY, "messages"),
        ("invalid_image_format", IMAGE, "messages"),
        ("context_length_exceeded", TOO_LONG, "messages"),
        ("unknown_parameter", UNSUPPORTED, "top_k"),
        ("their_own", None, "top_k"),
    ],
)
def test_a_known_code_tells_where_the_words_do_not(code: str, expected: str | None, param: str):
    failure = explain("Something about it.", code=code, param="top_k" if param == "top_k" else None)
    assert (failure.code, failure.param) == (expected, param)
    kind = explain("Something about it.", code="", kind=code)
    assert kind.code == expected


def test_the_provider_s_own_param_counts_where_it_is_the_more_exact():
    message = "Invalid schema for function 'f': In context=(), no."
    assert explain(message, param="tools[0].function.parameters").param == "tools[0].function.parameters"
    assert explain(message, param=None).param == "tools"
    assert explain("Error while downloading it.", param="messages[1].content[0]").param == "messages[1].content[0]"


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("messages[2].content", "messages[2].content"),
        ("messages.[2].role", "messages[2].role"),
        ("messages.2.content.0.text", "messages"),
        ("contents[0].parts[1]", "messages"),
        ("system", "messages"),
        ("system_instruction.parts", "messages"),
        ("tools[0].function.parameters", "tools[0].function.parameters"),
        ("tools.1.custom.input_schema.properties.a", "tools[1].function.parameters"),
        ("tools[0].function_declarations[3].name", "tools[3].function.name"),
        ("generation_config.response_schema", "response_format"),
        ("generationConfig.maxOutputTokens", "max_tokens"),
        ("generation_config.thinking_config.thinking_budget", "reasoning_effort"),
        ("output_config.effort", "response_format"),
        ("stop_sequences", "stop"),
        ("metadata.user_id", "user"),
        ("temperature", "temperature"),
        ("a field", None),
        ("<script>", None),
        ("", None),
        ("x" * 121, None),
    ],
)
def test_a_field_is_named_as_the_client_knows_it(theirs: str, ours: str | None):
    assert our_param(theirs) == ours


def test_an_edge_s_413_is_the_client_s_400():
    for data in ("", "<html><head><title>413 Request Entity Too Large</title></head></html>"):
        failure = explain_error(413, {}, code="", kind="", message=data)
        assert (failure.blame, failure.message) == (Blame.REQUEST, failure.message)
        assert failure.message.startswith("The request is too large for the provider.")


@pytest.mark.parametrize(
    ("status", "code", "kind", "message", "blame"),
    [
        (402, "invalid_request_error", "unknown_error", "Insufficient Balance", Blame.CREDENTIAL),
        (400, "invalid_request_error", "invalid_request_error", "Model Not Exist", Blame.SETUP),
        (
            400,
            "",
            "",
            "The supported API model names are deepseek-v4-pro or deepseek-v4-flash, but you passed x.",
            Blame.SETUP,
        ),
        (429, "", "exceeded_current_quota_error", "Your account is suspended, check your plan.", Blame.CREDENTIAL),
        (403, "", "permission_denied_error", "No permission.", Blame.CREDENTIAL),
        (401, "", "invalid_authentication_error", "Invalid Authentication", Blame.CREDENTIAL),
        (429, "", "rate_limit_reached_error", "Your request reached max organization RPM", Blame.RATE),
        (429, "", "engine_overloaded_error", "The engine is currently overloaded", Blame.UPSTREAM),
        (404, "", "resource_not_found_error", "Not found the model kimi-x or Permission denied", Blame.SETUP),
        (400, "", "invalid_request_error", "This organization has been disabled.", Blame.CREDENTIAL),
        (529, "", "overloaded_error", "Overloaded", Blame.UPSTREAM),
        (408, "", "", "Request Timeout", Blame.UPSTREAM),
        (504, "", "timeout_error", "", Blame.UPSTREAM),
        (400, "", "INVALID_ARGUMENT", "API key expired. Please renew the API key.", Blame.CREDENTIAL),
        (403, "", "", "Your chosen model requires moderation and your input was flagged for violence", Blame.REQUEST),
        (413, "rate_limit_exceeded", "tokens", "Request too large on tokens per minute (TPM)", Blame.RATE),
        (200, "429", "", "Rate limit exceeded", Blame.RATE),
        (200, "", "rate_limit_error", "", Blame.RATE),
        (200, "402", "", "", Blame.CREDENTIAL),
        (200, "400", "", "Bad", Blame.UPSTREAM),
    ],
)
def test_what_is_our_own_affair_never_reaches_the_client(status: int, code: str, kind: str, message: str, blame: Blame):
    failure = explain_error(status, {}, code=code, kind=kind, message=message)
    assert (failure.blame, bool(failure.message)) == (blame, blame is Blame.REQUEST)


def test_what_is_unknown_is_scrubbed_and_what_is_nothing_has_our_words():
    assert (
        explain("The flux is wrong at https://api.example.com/x for org-AbCdEf123456.").message
        == "The flux is wrong at … for …"
    )
    assert explain("").message == REFUSED


PIECES = st.sampled_from(
    [re.split(r"[\d']", message)[0] for *_, message in COMPLAINTS] + ["{", "}", "{0}", "'", "9" * 50]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join), st.none() | st.text(max_size=20))
def test_any_complaint_becomes_one_short_line(message: str, param: str | None):
    failure = explain(message[:2000], param=param)
    assert len(failure.message) <= MAX_MESSAGE
    assert failure.param is None or len(failure.param) <= 200


@pytest.mark.parametrize(
    "scrap",
    [
        "image ",
        "tools.1.custom.",
        "pdf",
        "reasoning_content",
        "tool_choice",
        "invalid '",
        "exceeds ",
        "tools[1].functiondeclarations[1]",
        "text content blocks",
    ],
)
def test_a_hostile_message_costs_no_time_to_speak_of(scrap: str):
    explain((scrap * 2000)[:2000])
