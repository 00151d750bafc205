"""Who an upstream's error speaks against, and that nothing of the operator's passes to a client."""

import datetime
import json
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.blame.errors import read_openai_error
from bridge.providers.blame.scrubbing import MAX_MESSAGE, scrub

NOON = datetime.datetime(2026, 3, 10, 12, tzinfo=datetime.UTC)


def fail(status: int, headers: dict[str, str] | None = None, **error: Any) -> AttemptFailed:
    return read_openai_error(status, headers or {}, json.dumps({"error": error}).encode())


@pytest.mark.parametrize(
    ("status", "error", "blame"),
    [
        (400, {"message": "Invalid 'messages': empty array."}, Blame.REQUEST),
        (413, {"message": "Too large"}, Blame.REQUEST),
        (422, {"message": "Unprocessable"}, Blame.REQUEST),
        (400, {"message": "Your credit balance is too low to access the API."}, Blame.CREDENTIAL),
        (400, {"message": "API key not valid. Please pass a valid API key."}, Blame.CREDENTIAL),
        (400, {"message": "x", "code": "billing_hard_limit_reached"}, Blame.CREDENTIAL),
        (400, {"message": "x", "code": "model_not_found"}, Blame.SETUP),
        (401, {}, Blame.CREDENTIAL),
        (401, {"type": "invalid_request_error", "code": "invalid_api_key"}, Blame.CREDENTIAL),
        (402, {"message": "Insufficient Balance"}, Blame.CREDENTIAL),
        (403, {}, Blame.CREDENTIAL),
        (404, {"code": "model_not_found"}, Blame.SETUP),
        (404, {}, Blame.SETUP),
        (405, {}, Blame.SETUP),
        (301, {}, Blame.SETUP),
        (307, {}, Blame.SETUP),
        (429, {"code": "rate_limit_exceeded"}, Blame.RATE),
        (429, {"code": "insufficient_quota"}, Blame.CREDENTIAL),
        (429, {"type": "insufficient_quota"}, Blame.CREDENTIAL),
        (429, {"type": "exceeded_current_quota_error"}, Blame.CREDENTIAL),
        (500, {}, Blame.UPSTREAM),
        (502, {}, Blame.UPSTREAM),
        (503, {"type": "server_error"}, Blame.UPSTREAM),
        (529, {"type": "overloaded_error"}, Blame.UPSTREAM),
        (408, {}, Blame.UPSTREAM),
        (200, {"message": "overloaded"}, Blame.UPSTREAM),
        (200, {"type": "invalid_request_error"}, Blame.UPSTREAM),
    ],
)
def test_who_is_blamed(status: int, error: dict[str, Any], blame: Blame):
    failure = fail(status, **error)
    assert (failure.blame, failure.status) == (blame, status)
    assert bool(failure.message) == (blame is Blame.REQUEST)  # what isn't the client's fault tells it nothing


WORDS = [
    "your credit balance is too low",
    "API key not valid",
    "Incorrect API key provided: sk-123456",
    "You exceeded your current quota",
    "your organization has been disabled",
    "insufficient_quota",
    "model_not_found",
]


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize(
    "frame",
    ["Invalid value: '{}'.", "'{}' is not one of ['system', 'user']", "unknown variant `{}`, expected `text`", '"{}"'],
)
def test_a_client_s_own_words_never_take_a_channel_out(words: str, frame: str):
    failure = fail(400, message=frame.format(words), type="invalid_request_error", param="messages[0].role")
    assert failure.blame is Blame.REQUEST


@given(st.text(max_size=40), st.sampled_from(WORDS), st.text(max_size=40))
def test_quoted_anywhere_but_at_the_very_start_they_are_the_client_s(before: str, words: str, after: str):
    assert fail(400, message=f"Invalid '{before}{words}{after}'").blame is Blame.REQUEST


SECRETS = [
    "sk-proj-abcDEF123456789",
    "sk-live_4242424242424242",
    "pk_test_51HxyzABC",
    "org-AbCdEf123456",
    "proj_AbCdEf123456",
    "acct_1032D82eZvKYlo2C",
    "AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "gsk_abcdef1234567890",
    "xai-abcdef1234567890",
    "hf_AbCdEfGhIjKlMnOp",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc",
    "0123456789abcdef0123456789abcdef",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "someone@example.com",
    "https://api.internal.example.com/v1/chat?key=1",
    "http://10.0.0.5:8080/v1",
    "postgres://user:pw@db/x",
    "10.20.30.40:8080",
    "upstream-7.internal:8000",
    "api.example.com",
    "sk-ab*********wxyz",
    "not-a-r****key",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "frame", ["{}", "Incorrect value: {}.", "see '{}' for more", "({})", "a {}\nb", "key={}", "`{}`,", '{{"x": "{}"}}']
)
def test_no_secret_passes(secret: str, frame: str):
    scrubbed = scrub(frame.format(secret))
    assert secret not in scrubbed
    assert not any(part in scrubbed for part in secret.replace("/", " ").replace("*", " ").split() if len(part) > 7)


@pytest.mark.parametrize("word", ["organization", "Organisation", "project", "account", "accounts"])
def test_what_is_said_of_our_account_there_is_cut_to_the_end_of_the_sentence(word: str):
    assert scrub(f"Limit reached for {word} ACME Holdings (tier 3) on requests. Lower max_tokens.") == (
        "Limit reached for …. Lower max_tokens."
    )


@pytest.mark.parametrize(
    "message",
    [
        "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "unknown variant `image_url`, expected `text` at line 1 column 216",
        "The model gpt-4o-2024-08-06 takes at most 16384 tokens; you asked for 99999.",
    ],
)
def test_what_helps_the_client_is_left(message: str):
    assert scrub(message) == message


@given(
    st.text()
    | st.lists(st.sampled_from(["@", ".", "a", "*", "-", "://", "0", " ", "account"]), max_size=900).map("".join)
)
def test_any_message_becomes_one_short_line(message: str):
    scrubbed = scrub(message[:2000])
    assert len(scrubbed) <= MAX_MESSAGE
    assert scrubbed == " ".join(scrubbed.split())


@pytest.mark.parametrize("scrap", ["@", "a@", "a.", "*", "a-", "a*", "1.", "a0", "a://", "- "])
def test_a_hostile_message_costs_no_time_to_speak_of(scrap: str):
    scrub((scrap * 2000)[:2000])  # an exponential or cubic pattern would not come back


def test_a_client_reads_the_provider_s_complaint_about_its_request():
    failure = fail(
        400, message="Invalid value for org-AbCdEf123456: too high.", param="temperature", code="invalid_value"
    )
    assert (failure.message, failure.param) == ("Invalid value for …: too high.", "temperature")
    assert failure.reason == "400 invalid_value"


def test_without_a_message_the_client_is_told_in_our_words():
    for data in (
        b"",
        b"<html>Bad request</html>",
        b"{}",
        b"[]",
        b'{"error":{}}',
        b'{"error":null}',
        b"\xff",
        b"[" * 10_000,
    ):
        assert read_openai_error(400, {}, data).message == "The provider refused this request as invalid."


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Too hot"}},
        [{"error": {"message": "Too hot"}}],
        {"error": "Too hot"},
        {"object": "error", "message": "Too hot", "type": "BadRequestError", "code": 400},
    ],
)
def test_every_envelope_is_opened(body: Any):
    assert read_openai_error(400, {}, json.dumps(body).encode()).message == "Too hot"


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x", "code": "context_length_exceeded"},
        {"message": "This model's maximum context length is 8192 tokens, however you requested 9000."},
        {"message": "prompt is too long: 210000 tokens > 200000 maximum"},
        {"message": "The input exceeds the available context size."},
    ],
)
def test_too_long_has_its_own_code(error: dict[str, Any]):
    assert fail(400, **error).code == "context_length_exceeded"


def test_other_codes_are_not_the_upstream_s_to_choose():
    assert fail(400, message="x", code="their_own_code").code is None


@pytest.mark.parametrize("param", [5, {"a": 1}, ["a"], "x" * 200, None])
def test_a_param_is_a_short_name_or_nothing(param: Any):
    assert fail(400, message="x", param=param).param is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("0.5", 0.5), ("0", 0), ("-3", 0), ("", None), ("soon", None), ("1e9999", float("inf"))]
    + [("Tue, 10 Mar 2026 12:01:30 GMT", 90), ("Tue, 10 Mar 2026 11:00:00 GMT", 0), ("Tue, 99 Mar", None)],
)
def test_retry_after_is_seconds_or_a_moment(header: str, seconds: float | None):
    with time_machine.travel(NOON, tick=False):
        assert fail(429, {"retry-after": header}).retry_after_seconds == seconds


@given(st.integers(200, 599), st.binary(max_size=60))
def test_any_answer_has_a_meaning(status: int, data: bytes):
    failure = read_openai_error(status, {}, data)
    assert len(failure.reason) <= MAX_MESSAGE


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)


@given(st.integers(200, 599), st.dictionaries(st.sampled_from(["message", "code", "type", "param"]), VALUES))
def test_any_error_has_a_meaning(status: int, error: dict[str, Any]):
    assert isinstance(fail(status, **error).blame, Blame)
