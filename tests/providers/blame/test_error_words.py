"""The words of an error decide before its status, wherever they stand in its body, for every provider: refusals of the
request are the client's, whatever the status; the operator's affairs are nobody else's, whatever the status."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame
from bridge.providers.blame.complaints import explain_complaint
from bridge.providers.blame.error_bodies import Said, list_said, unwrap
from bridge.providers.blame.errors import LARGE, find_refusal, read_openai_error
from tests.providers.blame.test_complaints import COMPLAINTS
from tests.providers.error_bodies import PLACES, write_body

LINES = (Path(__file__).parent / "account_complaints.txt").read_text().splitlines()[1:]
ACCOUNT = [tuple(line.split(" | ", 2)) for line in LINES]
STATUSES = (200, 400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 424, 429, 451, 499, 500, 501, 502, 503, 504, 529)
SURE = [
    (param, code, words, message)
    for param, code, words, message in COMPLAINTS
    if (told := explain_complaint(Said("", "", message, None))) is not None and told.sure
]
DIALECTS = ("openai", "anthropic", "gemini", "deepseek", "moonshot")
# what the promises name: content, length, size, tools, pictures, and caps beyond what there is there
KINDS = {"context_length_exceeded", "content_policy_violation", "unsupported_parameter", "invalid_image"}
KINDS |= {"request_too_large", "invalid_value"}


def read(dialect: str, status: int, body: bytes) -> AttemptFailed:
    return PROVIDERS[dialect].read_error(status, {}, body)


def test_nearly_all_known_complaints_count_whatever_the_status():
    assert {code for _, code, _, _ in SURE} >= KINDS
    unsure = len(COMPLAINTS) - len(SURE)
    assert unsure < len(COMPLAINTS) / 10


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_refusal_is_found_wherever_it_stands(dialect: str, place: str):
    failure = read(dialect, 503, write_body(place, "Input is too long for requested model."))
    assert (failure.blame, failure.code) == (Blame.REQUEST, "context_length_exceeded")


@given(st.sampled_from(SURE), st.sampled_from(STATUSES), st.sampled_from(sorted(PLACES)), st.sampled_from(DIALECTS))
def test_a_refusal_of_the_request_is_the_client_s_whatever_the_status(line, status, place, dialect):
    _, code, words, message = line
    failure = read(dialect, status, write_body(place, message))
    assert (failure.blame, failure.code, failure.status) == (Blame.REQUEST, code, status)
    assert words in failure.message
    assert failure.message != message


@pytest.mark.parametrize(("blame", "status", "message"), ACCOUNT)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_is_said_of_the_operator_s_account_is_the_operator_s(dialect, blame, status, message):
    failure = read(dialect, int(status), json.dumps({"error": {"message": message, "code": None}}).encode())
    assert failure.blame.value == blame
    assert (failure.message, failure.param, failure.code) == ("", None, None)


@given(st.sampled_from(ACCOUNT), st.sampled_from(sorted(PLACES)), st.sampled_from(DIALECTS))
def test_wherever_it_stands(line, place, dialect):
    """Only a limit is told from a fault by the status where the words don't say it."""
    blame, status, message = line
    failure = read(dialect, int(status), write_body(place, message))
    assert failure.blame is not Blame.REQUEST
    if blame in ("credential", "setup"):
        assert failure.blame.value == blame
    assert failure.message == ""


@given(
    st.sampled_from([line for line in ACCOUNT if line[0] == "credential" and int(line[1]) not in (401, 402, 403)]),
    st.sampled_from([status for status in STATUSES if status != 200]),
    st.sampled_from(sorted(PLACES)),
)
def test_whatever_the_status(line, status, place):
    assert read("openai", status, write_body(place, line[2])).blame is Blame.CREDENTIAL


@given(
    st.sampled_from(ACCOUNT), st.sampled_from(["Invalid value: '{}'.", 'unknown variant "{}"', "No such role: `{}`"])
)
def test_quoted_by_a_400_it_is_the_client_s_own(line, frame):
    failure = read("openai", 400, write_body("error.message", frame.format(line[2])))
    assert failure.blame is Blame.REQUEST


@pytest.mark.parametrize("body", [b"", b"<html>prompt is too long</html>", b"prompt is too long", b"{", b"\xff"])
def test_what_an_edge_says_is_not_the_provider_s_word(body):
    assert read("openai", 503, body).blame is Blame.UPSTREAM
    assert read("openai", 403, body).blame is Blame.CREDENTIAL
    assert read("openai", 400, body).message == "The provider refused this request as invalid."
    large = read("openai", 413, body)
    assert (large.message, large.code) == (LARGE, "request_too_large")


@pytest.mark.parametrize(
    ("code", "ours"),
    [
        ("context_length_exceeded", "context_length_exceeded"),
        ("content_filter", "content_policy_violation"),
        ("DataInspectionFailed", "content_policy_violation"),
        ("ResponsibleAIPolicyViolation", "content_policy_violation"),
        ("image_parse_error", "invalid_image"),
        ("tokens_limit_reached", "context_length_exceeded"),
        ("exceed_context_size_error", "context_length_exceeded"),
        ("request_too_large", "request_too_large"),
    ],
)
@pytest.mark.parametrize("status", [400, 403, 413, 429, 500])
def test_a_code_says_it_too_wherever_it_stands(code: str, ours: str, status: int):
    for body in (
        {"error": {"message": "It failed.", "code": code}},
        {"error": {"message": "It failed.", "type": code}},
        {"error": {"message": "It failed.", "code": "400", "innererror": {"code": code, "detail": {}}}},
        {"code": code, "message": "It failed."},
    ):
        failure = read("openai", status, json.dumps(body).encode())
        assert (failure.blame, failure.code) == (Blame.REQUEST, ours)


@pytest.mark.parametrize(
    "message",
    [
        "403 Client Error: Forbidden for url: https://pictures.example/cat.png",
        "401 Client Error: Unauthorized for url: https://pictures.example/cat.png",
        "Forbidden: image url could not be fetched",
        "Permission denied while fetching the image",
        "Access denied while fetching https://pictures.example/cat.png",
        "403 Forbidden while downloading https://pictures.example/cat.png",
        "You must enable streaming for this model",
        "You must add a user message",
        "Model is not supported with reasoning_effort",
        "Operation not supported: logprobs",
        "Endpoint does not support logit_bias; logit_bias is not allowed",
        "Concurrent tool calls are not supported",
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_a_client_can_bring_about_takes_no_channel_out(dialect: str, message: str):
    """A picture whose host refuses to give it is no refusal of our key."""
    failure = read(dialect, 400, json.dumps({"error": {"message": message}}).encode())
    assert failure.blame is Blame.REQUEST


@pytest.mark.parametrize("code", ["tool_use_failed", "upstream_error", "internal_server_error"])
def test_a_fault_that_comes_as_a_refusal_is_the_provider_s(code: str):
    for body in (
        {"error": {"message": "It failed.", "code": code}},
        {"error": {"message": "It failed.", "type": code}},
    ):
        assert read("openai", 400, json.dumps(body).encode()).blame is Blame.UPSTREAM


# FastAPI's list


def placed(*complaints: tuple[list[Any], str, str]) -> AttemptFailed:
    detail = [{"loc": loc, "msg": message, "type": kind, "input": "secret"} for loc, message, kind in complaints]
    return read("openai", 422, json.dumps({"detail": detail}).encode())


PLACED = """
messages 0 content | Input should be a valid string | string_type | messages[0].content | invalid_type
messages 1 role | Field required | missing | messages[1].role | missing_required_parameter
messages 0 user name | Extra inputs are not permitted | extra_forbidden | messages[0].name | unsupported_parameter
messages 0 typed-dict id | Extra inputs are not permitted | extra_forbidden | messages[0].id | unsupported_parameter
messages 2 content list[union[A,B]] 0 text type | Input should be 'text' | literal_error | messages[2].content[0].type | invalid_value
temperature | Input should be less than or equal to 2 | less_than_equal | temperature | invalid_value
tools 3 function name | String should match pattern '^[a-z]+$' | string_pattern_mismatch | tools[3].function.name | invalid_value
max_tokens | value is not a valid integer | type_error.integer | max_tokens | invalid_type
tools | extra fields not permitted | value_error.extra | tools | unsupported_parameter
""".strip().splitlines()  # noqa: E501


@pytest.mark.parametrize("line", PLACED)
def test_fastapi_s_list_names_the_client_s_field_and_the_complaint(line: str):
    words, message, kind, param, code = line.split(" | ")
    loc = [int(word) if word.isdigit() else word for word in words.split()]
    for place in (["body", *loc], loc):
        failure = placed((place, message, kind))
        assert (failure.blame, failure.param, failure.code) == (Blame.REQUEST, param, code)
        assert failure.message.startswith(f"{param}: {message.split(' ^')[0][:15]}")


def test_python_s_way_of_writing_that_list_is_read_too():
    message = (
        "[{'type': 'extra_forbidden', 'loc': ('body', 'messages', 0, 'typed-dict', 'id'), 'msg': 'Extra inputs are "
    )
    message += "not permitted', 'input': 1947269257}]"
    failure = read("openai", 400, json.dumps({"object": "error", "message": message, "code": 400}).encode())
    assert (failure.param, failure.code) == ("messages[0].id", "unsupported_parameter")


def test_a_fault_in_what_the_client_did_not_send_is_ours():
    assert placed((["header", "authorization"], "Field required", "missing")).blame is Blame.SETUP
    assert placed((["query", "api-version"], "Field required", "missing")).blame is Blame.SETUP
    assert placed((["body", "model"], "Value error, no such model", "value_error")).blame is Blame.SETUP
    named = {"error": {"message": "It has no such name.", "param": "model", "code": None}}
    assert read("openai", 400, json.dumps(named).encode()).blame is Blame.SETUP


# what is no error at all


def test_a_model_s_own_words_are_no_error():
    said = "Prompt is too long. Your credit balance is too low."
    answer = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
    assert list_said(json.dumps(answer).encode()) == []
    assert find_refusal(json.dumps(answer).encode()) is None
    with_error = {**answer, "error": {"message": "It broke", "code": 500}}
    assert read("openai", 200, json.dumps(with_error).encode()).blame is Blame.UPSTREAM


def test_an_error_in_a_choice_is_read():
    answer = {"choices": [{"error": {"code": 400, "message": "prompt is too long"}, "message": {"content": ""}}]}
    failure = find_refusal(json.dumps(answer).encode())
    assert failure is not None
    assert failure.code == "context_length_exceeded"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["{", "[{'a': 1}]", "litellm.E: {}"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["error", "errors", "message", "detail", "loc", "msg", "code", "type", "param", "metadata", "raw"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from(STATUSES), st.sampled_from(DIALECTS))
def test_any_body_has_a_meaning(body, status, dialect):
    failure = read(dialect, status, json.dumps(body).encode())
    assert bool(failure.message) == (failure.blame is Blame.REQUEST)


def test_deep_and_hostile_bodies_cost_no_time_to_speak_of():
    deep = "x"
    for _ in range(40):
        deep = json.dumps({"error": {"message": deep}})[:60_000]
    for body in (deep, json.dumps([deep] * 50)[:60_000], '{"error":' * 5000, json.dumps({"error": "(" * 50_000})):
        assert read_openai_error(500, {}, body.encode()).blame is Blame.UPSTREAM
    for scrap in ("litellm.", "Error: ", "400 ", "{'", "A_", "model ", "your ", "you have reached ", "api key "):
        read_openai_error(400, {}, json.dumps({"error": {"message": (scrap * 2000)[:2000]}}).encode())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("litellm.BadRequestError: OpenAIException - Too hot", "Too hot"),
        ("litellm.ServiceUnavailableError: litellm.MidStreamFallbackError: OpenAIException - Too hot", "Too hot"),
        ("Error code: 400 - {'a': 1}", "{'a': 1}"),
        ("HTTP 404: INVALID_ARGUMENT: too hot", "too hot"),
        ("<400> InternalError.Algo.InvalidParameter: Range of it", "Range of it"),
        ("max_tokens: 300000 > 64000", "max_tokens: 300000 > 64000"),
        ("tools.0.custom.name: String should", "tools.0.custom.name: String should"),
        ("500 tokens are too many", "500 tokens are too many"),
    ],
)
def test_what_gateways_put_before_it_is_taken_off(text: str, words: str):
    assert unwrap(text) == words
