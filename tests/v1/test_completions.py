"""POST /v1/completions: what clients get, what is refused, and what is held and charged."""

from typing import Any

import gevent
import openai
import pytest
import requests

from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import PAUSE, STALL, ScriptedUpstream, says, starts

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Asking:
    """A model that goes on with texts, at a thousand nanos a token in and two thousand out, and a key."""

    def __init__(self, gateway: Gateway, upstream: ScriptedUpstream):
        self.gateway, self.upstream = gateway, upstream
        self.model = gateway.make.make_model(kinds=["completions"], max_output_tokens=100)
        gateway.make.make_channel(upstream.base_url, self.model, waits=False)
        self.key = gateway.make.make_key()

    @property
    def sdk(self) -> openai.OpenAI:
        return open_sdk(self.gateway, self.key.secret)

    def post(self, **body: Any) -> requests.Response:
        body = {"model": self.model, "prompt": "Once", **body}
        return requests.post(f"{self.gateway.base_url}/completions", json=body, headers=self.key.headers, timeout=60)

    def last(self) -> Any:
        return self.gateway.make.list_usage(self.key.account_id)[-1]


@pytest.fixture
def asking(gateway: Gateway, upstream: ScriptedUpstream) -> Asking:
    upstream.plays(says(" upon", " a", " time", prompt_tokens=1, completion_tokens=3))
    return Asking(gateway, upstream)


def error_of(answer: requests.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def test_the_sdk_reads_a_whole_completion_and_is_charged_what_was_counted(asking: Asking):
    answer = asking.sdk.completions.create(model=asking.model, prompt="Once", user="someone")
    assert (answer.object, answer.model, answer.choices[0].text) == ("text_completion", asking.model, " upon a time")
    assert (answer.choices[0].finish_reason, answer.choices[0].logprobs) == ("stop", None)
    usage = asking.last()
    assert (usage.endpoint, usage.state, usage.charge_nanos, usage.end_user) == (
        *("completions", "captured", 1_000 + 3 * 2_000),
        "someone",
    )
    url = f"{asking.gateway.base_url}/requests/{answer.id}"
    assert requests.get(url, headers=asking.key.headers, timeout=60).json()["id"] == usage.request_id
    sent = asking.upstream.requests[-1].json
    assert (sent["prompt"], sent["max_tokens"], sent["user"] != "someone") == ("Once", 16, True)


def test_the_sdk_reads_a_stream_with_counts_only_where_it_asked_for_them(asking: Asking):
    for options in ({}, {"stream_options": {"include_usage": True}}):
        chunks = list(asking.sdk.completions.create(model=asking.model, prompt="Once", stream=True, **options))
        choices = [choice for chunk in chunks for choice in chunk.choices]
        assert "".join(choice.text for choice in choices) == " upon a time"
        assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
        counted = [chunk.usage for chunk in chunks if chunk.usage]
        assert [usage.completion_tokens for usage in counted] == ([3] if options else [])
        assert asking.last().charge_nanos == 7_000


def test_the_hold_covers_all_that_is_written_the_best_or_not(asking: Asking):
    play = says("a", prompt_tokens=9, completion_tokens=30)
    asking.upstream.plays(lambda request: [PAUSE, *play(request)])
    call = gevent.spawn(asking.post, prompt=["Once", "Twice"], n=1, best_of=3, max_tokens=10)
    with gevent.Timeout(60):
        while not asking.upstream.requests:
            gevent.sleep(0.02)
    held = (4 + 5 + 2 * 8) * 1_000 + 2 * 3 * 10 * 2_000
    assert asking.gateway.make.find_money(asking.key.account_id) == (10 * DOLLAR, held)
    asking.upstream.resume()
    assert call.get().status_code == 200
    assert asking.last().charge_nanos == 9_000 + 30 * 2_000


def test_a_cap_above_the_model_s_is_brought_down_and_named(asking: Asking):
    answer = asking.post(max_tokens=5_000)
    assert answer.headers["x-bridge-clamped"] == "max_tokens=100"
    assert asking.upstream.requests[-1].json["max_tokens"] == 100


def test_tokens_go_out_as_they_came_and_count_as_they_are(asking: Asking):
    asking.upstream.plays(says("a", usage=False))
    asking.post(prompt=[5, 6, 7])
    assert asking.upstream.requests[-1].json["prompt"] == [5, 6, 7]
    assert (asking.last().prompt_tokens, asking.last().tokens_source) == (3, "estimate")


def test_a_stream_that_breaks_ends_with_an_error_and_costs_what_was_delivered(asking: Asking):
    asking.upstream.plays(starts("one", " two"))
    answer = asking.post(stream=True)
    assert '"error"' in answer.text
    assert "[DONE]" not in answer.text
    usage = asking.last()
    assert (usage.outcome, usage.completion_tokens) == ("cut", 2)


def test_a_stream_beyond_its_cap_is_cut_there(asking: Asking):
    words = [f" word{number}" for number in range(400)]
    asking.upstream.plays(starts(*words, then=STALL))
    answer = asking.post(stream=True, max_tokens=10)
    usage = asking.last()
    assert usage.completion_tokens <= 10
    assert answer.text.count("word") < 40


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"prompt": []}, "invalid_value", "prompt"),
        ({"prompt": 7}, "invalid_type", "prompt"),
        ({"prompt": ["a", 1]}, "invalid_type", "prompt"),
        ({"prompt": [[1], []]}, "invalid_value", "prompt[1]"),
        ({"prompt": [-1]}, "invalid_value", "prompt"),
        ({"max_tokens": -1}, "invalid_value", "max_tokens"),
        ({"n": 0}, "invalid_value", "n"),
        ({"n": 3, "best_of": 2}, "invalid_value", "best_of"),
        ({"best_of": 2, "stream": True}, "invalid_value", "best_of"),
        ({"echo": True, "stream": True}, "invalid_value", "echo"),
        ({"logprobs": 6}, "invalid_value", "logprobs"),
        ({"suffix": 1}, "invalid_type", "suffix"),
        ({"temperature": 3}, "invalid_value", "temperature"),
    ],
    ids=str,
)
def test_a_body_that_is_wrong_is_a_400_that_names_the_field(
    asking: Asking, body: dict[str, Any], code: str, param: str
):
    assert error_of(asking.post(**body)) == (400, code, param)
    assert asking.upstream.requests == []


def test_a_chat_model_is_a_404_that_names_its_endpoint_and_the_other_way_round(asking: Asking):
    chat = asking.gateway.make.make_model()
    answer = asking.post(model=chat)
    assert error_of(answer) == (404, "model_not_found", "model")
    assert "/v1/chat/completions" in answer.json()["error"]["message"]
    body = {"model": asking.model, "messages": [{"role": "user", "content": "Hello"}]}
    url = f"{asking.gateway.base_url}/chat/completions"
    answer = requests.post(url, json=body, headers=asking.key.headers, timeout=60)
    assert error_of(answer) == (404, "model_not_found", "model")
    assert "/v1/completions" in answer.json()["error"]["message"]


def test_the_sandbox_goes_on_with_every_prompt(gateway: Gateway):
    sdk = open_sdk(gateway, gateway.make.make_key().secret)
    answer = sdk.completions.create(model="deepseek-v4-flash", prompt=["a", "b"], n=2, max_tokens=50)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert "[sandbox]" in answer.choices[0].text
    chunks = list(sdk.completions.create(model="deepseek-v4-flash", prompt="a", max_tokens=50, stream=True))
    assert "[sandbox]" in "".join(choice.text for chunk in chunks for choice in chunk.choices)
