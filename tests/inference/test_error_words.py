"""An upstream's words before its status, by the door: what refuses the request is the client's 400 and touches no
channel, what is the operator's affair is the next channel's turn and nobody's text. Whole and streamed."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.gateway import Gateway
from tests.providers.anthropic_requests import START, event
from tests.served import DOLLAR, HELLO
from tests.upstream import STREAM_HEAD, Received, Scenario, ScriptedUpstream, Step, fails, says, sends

ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
IN_BOTH_MODES = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
DIALECTS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3.5-flash"}
TOO_LONG, POLICY = "context_length_exceeded", "content_policy_violation"


def of_openai(words: str) -> dict[str, Any]:
    return {"error": {"message": words, "type": "invalid_request_error", "param": None, "code": None}}


# How each dialect says that it refuses, besides.
BODIES = {
    "openai": of_openai,
    "anthropic": lambda words: {"type": "error", "error": {"type": "invalid_request_error", "message": words}},
    "gemini": lambda words: [{"error": {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}}],
}
# The cases of the wire: status, body, and what the client is told.
CASES: dict[str, tuple[int, Any, str | None, str | None]] = {
    "110: no endpoints that support tool use": (
        404,
        {"error": {"message": 'No endpoints found that support tool use. Try disabling "get_weather".', "code": 404}},
        "unsupported_parameter",
        "tools",
    ),
    "111: content violates usage guidelines": (
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Team: t-1, API key ID: k-1, Model: m, Failed check: BIO",
        },
        POLICY,
        "messages",
    ),
    "90b: ds4": (
        400,
        of_openai("Prompt has 256468 tokens, but the configured context size is 256000 tokens"),
        TOO_LONG,
        "messages",
    ),
    "90f: SGLang": (
        400,
        of_openai("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
        TOO_LONG,
        "messages",
    ),
    "90j: Qwen": (400, of_openai("Range of input length should be [1, 30720]"), TOO_LONG, "messages"),
    "90k: MiniMax": (400, of_openai("invalid params, context window exceeds limit (2013)"), TOO_LONG, "messages"),
    "90o: Bedrock": (400, of_openai("Input is too long for requested model."), TOO_LONG, "messages"),
    "28b: FastAPI": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "messages", 0, "content"],
                    "msg": "Input should be a valid string",
                    "type": "string_type",
                }
            ]
        },
        "invalid_type",
        "messages[0].content",
    ),
    "too large a cap for the credit there": (
        402,
        of_openai(
            "This request requires more credits, or fewer max_tokens. You requested up to 16384 tokens, but can only "
            "afford 3919. To increase, visit https://openrouter.ai/settings/credits"
        ),
        "invalid_value",
        "max_tokens",
    ),
    "too long, as a 500": (500, of_openai("Context size has been exceeded."), TOO_LONG, "messages"),
    "too long, as a 429": (429, of_openai("prompt is too long: 9 tokens > 8 maximum"), TOO_LONG, "messages"),
    "a body that is too large": (413, {}, "request_too_large", None),
}


@dataclasses.dataclass
class Place:
    """A model of one dialect with two channels, of which only the first is asked as long as it is well."""

    gateway: Gateway
    model: str
    channel: str
    bad: ScriptedUpstream
    good: ScriptedUpstream

    def __post_init__(self) -> None:
        self.key = self.gateway.make.make_key()

    def post(self, stream: bool) -> requests.Response:
        body = {"model": self.model, "messages": HELLO, "stream": stream}
        url = f"{self.gateway.base_url}/chat/completions"
        return requests.post(url, json=body, headers=self.key.headers, timeout=60)

    def spent(self) -> tuple[int, int]:
        balance, held = self.gateway.make.find_money(self.key.account_id)
        return 10 * DOLLAR - balance, held

    def complaints_of_channel(self) -> list[dict[str, Any]]:
        """What the log says against the first channel."""
        lines = [line for line in self.gateway.log_lines() if line.get("channel") == self.channel]
        return [line for line in lines if line["event"] != "request"]

    def close(self) -> None:
        self.bad.close()
        self.good.close()


def open_place(gateway: Gateway, dialect: str) -> Place:
    bad, good, model = ScriptedUpstream(), ScriptedUpstream(), gateway.make.make_model()
    root = bad.base_url if dialect == "openai" else bad.base_url.removesuffix("/v1")
    channel = gateway.make.make_channel(root, provider=dialect, models={model: DIALECTS[dialect]}, priority=0)
    gateway.make.make_channel(good.base_url, model, priority=1)
    return Place(gateway, model, channel, bad, good)


@pytest.fixture(scope="module")
def places() -> Iterator[dict[tuple[str, str], Place]]:
    """Opened once for each engine and dialect: no refusal harms them, so all tests share them."""
    found: dict[tuple[str, str], Place] = {}
    yield found
    for place in found.values():
        place.close()


@pytest.fixture
def find_place(engine: str, gateway: Gateway, places: dict[tuple[str, str], Place]) -> Any:
    def find(dialect: str) -> Place:
        if (engine, dialect) not in places:
            places[engine, dialect] = open_place(gateway, dialect)
        return places[engine, dialect]

    return find


def check_refused(place: Place, stream: bool, code: str | None, param: str | None) -> dict[str, Any]:
    """One request is a 400 that is free, after one call to one channel, and nothing is held against that."""
    asked, spent = len(place.bad.requests), place.spent()
    answer = place.post(stream)
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-should-retry"] == "false"
    error: dict[str, Any] = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert place.spent() == spent == (0, 0)
    usage = place.gateway.make.list_usage(place.key.account_id)[-1]
    assert (usage.state, usage.charge_nanos, usage.status, usage.error_code) == ("released", 0, 400, code)
    assert len(place.bad.requests) == asked + 1
    assert place.good.requests == []
    assert place.complaints_of_channel() == []
    return error


def plays_stream(*events: bytes) -> Scenario:
    """A stream of these events for whoever asks for one; for others, nothing that is an answer."""
    steps: list[Step] = [STREAM_HEAD, *(b"%x\r\n%b\r\n" % (len(each), each) for each in events), b"0\r\n\r\n"]
    return lambda _request: steps


@ON_SQLITE
@IN_BOTH_MODES
@pytest.mark.parametrize("case", CASES)
def test_what_refuses_this_request_is_a_400_with_its_code_and_touches_no_channel(find_place, case: str, stream: bool):
    status, body, code, param = CASES[case]
    place = find_place("openai")
    place.bad.plays(sends(json.dumps(body).encode(), status))
    error = check_refused(place, stream, code, param)
    assert not [
        word for word in ("t-1", "k-1", "3919", "openrouter", "get_weather", "5000 t") if word in error["message"]
    ] or ("90f" in case)


@IN_BOTH_MODES
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [400, 403, 404, 429, 503])
def test_so_it_is_in_every_dialect_at_any_status(find_place, dialect: str, status: int, stream: bool):
    place = find_place(dialect)
    for words, code in (("Input is too long for requested model.", TOO_LONG), ("Content Exists Risk", POLICY)):
        place.bad.plays(sends(json.dumps(BODIES[dialect](words)).encode(), status))
        check_refused(place, stream, code, "messages")


@ON_SQLITE
@IN_BOTH_MODES
@pytest.mark.parametrize("dialect", DIALECTS)
def test_so_it_is_inside_a_200(find_place, dialect: str, stream: bool):
    place = find_place(dialect)
    for body in (
        BODIES[dialect]("prompt is too long"),
        {"detail": "prompt is too long"},
        {"message": "prompt is too long"},
    ):
        data = json.dumps(body).encode()

        def play(request: Received, data: bytes = data) -> list[Step]:
            if stream:
                return plays_stream(b"data: " + data + b"\n\n", b"data: [DONE]\n\n")(request)
            return sends(data)(request)

        place.bad.plays(play)
        check_refused(place, stream, TOO_LONG, "messages")


@ON_SQLITE
def test_so_it_is_in_an_error_event_after_a_stream_has_begun_and_before_its_content(find_place):
    error = event(
        "error", error={"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}
    )
    begun = {
        "openai": [b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n']
        + [b'data: {"error":{"message":"prompt is too long","code":400}}\n\n'],
        "anthropic": [START, error],
        "gemini": [b'data: {"usageMetadata":{"promptTokenCount":9}}\r\n\r\n']
        + [b'data: {"error":{"code":400,"message":"prompt is too long","status":"INVALID_ARGUMENT"}}\r\n\r\n'],
    }
    for dialect, events in begun.items():
        place = find_place(dialect)
        place.bad.plays(plays_stream(*events))
        check_refused(place, True, TOO_LONG, "messages")


@ON_SQLITE
@IN_BOTH_MODES
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("status", "words", "left"),
    [
        (
            400,
            "Your organization must be verified to stream this model. Please go to: https://far.test/org-operator",
            "out",
        ),
        (400, "Billing is not active for org-operator", "out"),
        (400, "Your credit balance is too low to access the API.", "out"),
        (400, "You exceeded your current quota, please check your plan and billing details.", "out"),
        (400, "API key expired. Please renew sk-operator", "out"),
        (422, "Your account acct_operator is overdue", "out"),
        (500, "Insufficient credits. This account never purchased credits", "out"),
        (400, "The model `operator-1` does not exist or you do not have access to it.", "misconfigured"),
        (400, "The model `operator-1` has been decommissioned and is no longer supported.", "misconfigured"),
        (404, "No endpoints found matching your data policy. Configure: https://far.test/settings", "misconfigured"),
    ],
)
def test_what_is_the_operator_s_affair_is_the_next_channel_s_turn(gateway, dialect, status, words, left, stream):
    place = open_place(gateway, dialect)
    try:
        place.bad.plays(sends(json.dumps(BODIES[dialect](words)).encode(), status))
        place.good.plays(says("Hello", " there", prompt_tokens=10, completion_tokens=5))
        answer = place.post(stream)
        assert answer.status_code == 200
        assert "Hello" in answer.text
        assert not [word for word in ("operator", "far.test", words) if word in answer.text]
        assert (len(place.bad.requests), len(place.good.requests)) == (1, 1)
        assert [line["channel"] for line in gateway.log_lines(f"channel_{left}")].count(place.channel) == 1
        assert "operator" not in json.dumps(place.complaints_of_channel())
        assert place.post(stream).status_code == 200  # and the channel isn't asked again
        assert (len(place.bad.requests), len(place.good.requests)) == (1, 2)
    finally:
        place.close()


@ON_SQLITE
@IN_BOTH_MODES
def test_with_no_other_channel_it_is_a_503_without_a_word_of_it(gateway, upstream, stream):
    place = open_place(gateway, "openai")
    place.good.close()
    try:
        place.bad.plays(fails(400, "Your organization must be verified to stream this model. Ask operator@far.test"))
        answer = place.post(stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "upstream_error")
        assert not [word for word in ("operator", "verified", "organization") if word in answer.text]
        assert place.spent() == (0, 0)
    finally:
        place.close()


@ON_SQLITE
@IN_BOTH_MODES
def test_of_an_unknown_complaint_only_plain_words_reach_the_client(find_place, stream):
    place = find_place("openai")
    secrets = (
        "contoso-prod-7",
        "gpu7.internal:8000",
        "10.0.0.7",
        "arn:aws:x",
        "tier=gold",
        "sk-operator-1234",
        "/data/llama",
    )
    place.bad.plays(fails(400, f"The frobnication of {', '.join(secrets)} is too wild for this model"))
    error = check_refused(place, stream, "invalid_request_error", None)
    assert error["message"] == "The frobnication of … is too wild for this model"
    place.bad.plays(fails(400, " ".join(secrets)))
    error = check_refused(place, stream, "invalid_request_error", None)
    assert error["message"] == "The provider refused this request as invalid."
