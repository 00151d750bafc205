"""Gemini's errors, and that nothing else is raised whatever comes or goes."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.base import AttemptFailed, Blame, Outgoing
from bridge.providers.gemini.answers import GeminiReader, Reading
from bridge.providers.gemini.provider import Gemini
from tests.chat_answers import chat_order
from tests.conversations import make_order
from tests.providers.requests_strategy import bodies

SENT = Outgoing("/", b"{}", reading=Reading())


def error(code: int, status: str, message: str = "No.", details: Any = None) -> AttemptFailed:
    found = {"code": code, "message": message, "status": status, "details": details or []}
    plain = Gemini().read_error(code, {}, json.dumps({"error": found}).encode())
    listed = Gemini().read_error(code, {}, json.dumps([{"error": found}]).encode())
    assert (plain.blame, plain.code, plain.message) == (listed.blame, listed.code, listed.message)
    return plain


def test_whom_an_error_speaks_against():
    key = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    assert error(400, "INVALID_ARGUMENT", "API key not valid.", key).blame is Blame.CREDENTIAL
    assert error(400, "INVALID_ARGUMENT", "API key expired.", key).blame is Blame.CREDENTIAL
    assert error(400, "FAILED_PRECONDITION", "User location is not supported.").blame is Blame.CREDENTIAL
    assert error(400, "FAILED_PRECONDITION", "Please enable billing on your project.").blame is Blame.CREDENTIAL
    assert error(400, "FAILED_PRECONDITION", "Precondition check failed.").blame is Blame.REQUEST
    assert error(403, "PERMISSION_DENIED").blame is Blame.CREDENTIAL
    assert error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.").blame is Blame.CREDENTIAL
    assert error(404, "NOT_FOUND", "models/x is not found").blame is Blame.SETUP
    assert error(400, "INVALID_ARGUMENT", "The response modalities (TEXT) no.").blame is Blame.SETUP
    for code, status in ((500, "INTERNAL"), (503, "UNAVAILABLE"), (504, "DEADLINE_EXCEEDED")):
        assert error(code, status).blame is Blame.UPSTREAM
    wrong = error(400, "INVALID_ARGUMENT", "Invalid value at 'contents'")
    assert wrong.blame is Blame.REQUEST
    assert wrong.message == "Invalid value at 'contents'"
    assert wrong.code is None


def test_a_limit_says_in_its_details_when_to_come_back():
    details = ["odd", {"retryDelay": 3}, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "48.5s"}]
    failure = error(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", details)
    assert failure.blame is Blame.RATE
    assert failure.retry_after_seconds == 48.5


def test_a_prompt_that_is_too_long_has_its_code():
    message = "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576)."
    failure = error(400, "INVALID_ARGUMENT", message)
    assert failure.blame is Blame.REQUEST
    assert failure.code == "context_length_exceeded"


def test_a_file_that_the_client_named_is_no_fault_of_our_key():
    failure = error(403, "PERMISSION_DENIED", "You do not have permission to access the File abc or it may not exist.")
    assert failure.blame is Blame.REQUEST
    assert failure.code == "invalid_image"
    assert "abc" not in failure.message


# whatever comes

pieces_of_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["candidates", "content", "parts", "text", "thought", "functionCall", "name", "args", "id", "error"]
                + ["finishReason", "usageMetadata", "promptTokenCount", "promptFeedback", "blockReason", "details"]
                + ["logprobsResult", "chosenCandidates", "topCandidates", "token", "status", "message", "retryDelay"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
).map(lambda value: json.dumps(value).encode())
anything = st.one_of(st.binary(max_size=60), pieces_of_json, st.just(b"[" * 5000), st.just(b'{"error":' * 2000))


@given(st.lists(anything, max_size=4), st.integers(100, 599))
def test_no_bytes_raise_anything_but_a_failed_attempt(pieces, status):
    provider = Gemini()
    for piece in pieces:
        with contextlib.suppress(AttemptFailed):
            provider.read_answer(piece, SENT)
        assert isinstance(provider.read_error(status, {}, piece), AttemptFailed)
    reader: GeminiReader = provider.open_reader(SENT, chat_order("id", "name", 0, True, 10**5))
    for piece in pieces:
        try:
            reader.feed(piece + b"\n\n")
            reader.feed(b"data: " + piece + b"\r\n\r\n")
        except AttemptFailed:
            break
    assert reader.usage is None or reader.usage.prompt_tokens is None or isinstance(reader.usage.prompt_tokens, int)


@given(bodies, st.sampled_from(["gemini-2.0-flash", "gemini-2.5-pro", "gemini-2.5-flash-lite", "gemini-3.5-flash"]))
def test_every_request_is_written_by_geminis_rules_or_refused(body, model):
    failure: AttemptFailed | None = None
    try:
        outgoing = Gemini().write_request(make_order(body, model))
    except AttemptFailed as raised:
        failure = raised
    if failure is not None:
        assert failure.blame is Blame.REQUEST
        assert failure.message
        assert failure.param
        return
    contents = json.loads(outgoing.body)["contents"]
    assert contents[0]["role"] == "user"
    assert all(turn["parts"] for turn in contents)
    for turn, following in zip(contents, [*contents[1:], {"role": "", "parts": []}], strict=True):
        made = [part["functionCall"]["name"] for part in turn["parts"] if "functionCall" in part]
        answered = [part["functionResponse"]["name"] for part in following["parts"] if "functionResponse" in part]
        assert made == answered
        assert not (answered and len(answered) != len(following["parts"]))
        assert turn["role"] in ("user", "model")
        assert all(part.get("text", "x") for part in turn["parts"])
        results = any("functionResponse" in part for part in turn["parts"])
        assert turn["role"] != following["role"] or results
