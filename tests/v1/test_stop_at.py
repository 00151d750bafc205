"""`x-bridge-stop-at` ends an answer before it costs more: cleanly, charged exactly, beside every other limit."""

import json
import random
from typing import Any

import pytest
from flask import Flask

from tests.factories import Factories
from tests.upstream import (
    STREAM_HEAD,
    Received,
    ScriptedUpstream,
    Step,
    chunk,
    completion,
    fails,
    framed,
    says,
    whole,
)

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
DOLLAR = 1_000_000_000
HELLO = [{"role": "user", "content": "Tell me of the sea, at length."}]
PROMPT = 14  # tokens, as the upstream counts them
IN, OUT = 10_000, 20_000  # nano-dollars a token
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def writes_on(prompt_tokens: int = PROMPT, reasoning: int = 0) -> Any:
    """An upstream that keeps to its cap and would write on for ever; it says nothing of what it thinks."""

    def play(request: Received) -> list[Step]:
        body = request.json
        cap, choices = body.get("max_completion_tokens") or body["max_tokens"], body.get("n") or 1
        counts: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": cap * choices}
        counts["completion_tokens_details"] = {"reasoning_tokens": min(reasoning, cap)}
        said = " wave" * max(0, cap - reasoning)
        if not request.streams:
            answer = json.loads(completion(said, counts))
            one = {**answer["choices"][0], "finish_reason": "length"}
            answer["choices"] = [{**one, "index": index} for index in range(choices)]
            return [whole(json.dumps(answer).encode())]
        frames = []
        for index in range(choices):
            for piece in ({"delta": {"role": "assistant", "content": ""}}, {"delta": {"content": said}}):
                frames.append(chunk(choices=[{"index": index, "finish_reason": None, "logprobs": None, **piece}]))
            frames.append(chunk(choices=[{"index": index, "delta": {}, "logprobs": None, "finish_reason": "length"}]))
        return [STREAM_HEAD, *map(framed, (*frames, chunk(choices=[], usage=counts), "[DONE]")), b"0\r\n\r\n"]

    return play


class Served:
    def __init__(self, app: Flask, make: Factories, upstream: ScriptedUpstream):
        self.app, self.make, self.upstream = app, make, upstream
        self.key = make.make_key()
        self.model = self.make_model(1)
        upstream.plays(writes_on())

    def make_model(self, times: int, **fields: Any) -> str:
        """A model that is so many times as dear."""
        model = self.make.make_model(
            input_price=IN * times * 1_000_000, output_price=OUT * times * 1_000_000, max_output_tokens=4096, **fields
        )
        self.make.make_channel(self.upstream.base_url, model)
        return model

    def post(self, stop_at: str | None, path: str = "chat/completions", **more: Any) -> Any:
        headers = {**self.key.headers, **more.pop("headers", {})}
        if stop_at is not None:
            headers["x-bridge-stop-at"] = stop_at
        if more.get("stream"):
            more["stream_options"] = {"include_usage": True}
        body = {"model": self.model, "messages": HELLO, **more}
        answer = self.app.test_client().post(f"/v1/{path}", json=body, headers=headers)
        answer.get_data()
        answer.close()
        return answer

    def booked(self) -> Any:
        return self.make.list_usage(self.key.account_id)[-1]

    def receipt(self) -> dict[str, Any]:
        path = f"/v1/requests/{self.booked().request_id}"
        found: dict[str, Any] = self.app.test_client().get(path, headers=self.key.headers).json
        return found


@pytest.fixture
def served(app: Flask, make: Factories, upstream: ScriptedUpstream) -> Served:
    return Served(app, make, upstream)


@both
@pytest.mark.parametrize("cap", [{}, {"max_tokens": 4000}, {"max_completion_tokens": 3000}])
def test_an_answer_ends_with_length_before_it_costs_more_and_is_charged_exactly(
    served: Served, stream: bool, cap: dict[str, int]
):
    answer = served.post("0.01", stream=stream, **cap)
    assert answer.status_code == 200, answer.data
    booked = served.booked()
    assert (booked.outcome, booked.finish_reason, booked.stop_at_nanos) == ("complete", "length", 10_000_000)
    assert booked.charge_nanos == PROMPT * IN + booked.completion_tokens * OUT
    # no token more would fit, but for what our count of the prompt is above the upstream's
    assert 10_000_000 - 100 * IN - OUT < booked.charge_nanos <= 10_000_000
    assert booked.hold_nanos <= 10_000_000 + 2000 * IN
    assert booked.loss_nanos == booked.uncharged_nanos == 0
    assert (served.receipt()["stop_at"], served.receipt()["finish_reason"]) == ("0.01", "length")
    [clamped] = served.receipt()["clamped"]
    assert clamped == f"{next(iter(cap), 'max_tokens')}={booked.output_cap_tokens}"
    if stream:
        assert answer.data.endswith(b"data: [DONE]\n\n")
        assert b'"error"' not in answer.data


@both
def test_what_ends_by_itself_before_is_as_without(served: Served, stream: bool):
    served.upstream.plays(says("Hi", " there"))
    served.post("5", stream=stream, max_tokens=50)
    booked = served.booked()
    assert (booked.finish_reason, booked.output_cap_tokens, booked.adapted) == ("stop", 50, None)
    assert served.upstream.requests[-1].json["max_tokens"] == 50


@both
def test_all_choices_together_stop_there(served: Served, stream: bool):
    served.post("0.01", stream=stream, n=3)
    booked = served.booked()
    assert booked.completion_tokens == 3 * booked.output_cap_tokens
    assert 10_000_000 - 100 * IN - 3 * OUT < booked.charge_nanos <= 10_000_000


@both
def test_what_the_model_thinks_in_silence_counts_too(served: Served, stream: bool):
    served.upstream.plays(writes_on(reasoning=10_000))
    answer = served.post("0.01", stream=stream)
    booked = served.booked()
    assert b" wave" not in answer.data
    assert booked.reasoning_tokens == booked.completion_tokens > 300
    assert 9_000_000 < booked.charge_nanos <= 10_000_000


@both
def test_each_model_stops_at_its_own_price(served: Served, stream: bool):
    dearer = served.make_model(4)
    served.upstream.plays(fails(500), writes_on())
    answer = served.post("0.01", stream=stream, models=[dearer])
    assert answer.status_code == 200, answer.data
    booked = served.booked()
    assert booked.model_id == dearer
    assert 10_000_000 - 4 * (100 * IN + OUT) < booked.charge_nanos <= 10_000_000
    caps = [request.json["max_tokens"] for request in served.upstream.requests]
    assert caps[0] > 3 * caps[1]


@pytest.mark.parametrize("path", ["chat/completions", "quote"])
def test_a_prompt_that_leaves_nothing_is_refused_before_anybody_is_asked(served: Served, path: str):
    answer = served.post("0.0001", path)
    if path == "quote":
        assert answer.json["refusal"] == "max_cost_exceeded"
    else:
        assert (answer.status_code, answer.json["error"]["code"]) == (402, "max_cost_exceeded")
        assert answer.json["error"]["param"] == "x-bridge-stop-at"
        assert "shorter prompt" in answer.json["error"]["message"]
    assert served.upstream.requests == []
    assert served.make.find_money(served.key.account_id) == (10 * DOLLAR, 0)


def test_a_quote_says_the_cap_that_the_request_will_have(served: Served):
    quote = served.post("0.01", "quote").json
    served.post("0.01")
    assert quote["tokens"]["output_at_most"] == served.booked().output_cap_tokens
    assert quote["refusal"] is None


@both
def test_what_may_cost_too_much_passes_once_it_is_to_stop_before(served: Served, stream: bool):
    limit = {"x-bridge-max-cost": "0.02"}
    refused = served.post(None, stream=stream, headers=limit, max_tokens=4000)
    assert refused.json["error"]["code"] == "max_cost_exceeded"
    assert served.post("0.01", stream=stream, headers=limit, max_tokens=4000).status_code == 200
    assert served.booked().charge_nanos <= 10_000_000
    # the lower of both counts
    assert served.post("5", stream=stream, headers=limit).status_code == 200
    assert served.booked().charge_nanos <= 20_000_000


def test_strict_mode_does_not_refuse_what_the_header_itself_lowers(served: Served):
    strict = {"x-bridge-strict": "true"}
    assert served.post("0.01", headers=strict, max_tokens=4000).status_code == 200
    assert served.booked().finish_reason == "length"
    refused = served.post("0.01", headers=strict, max_tokens=4000, made_up=1)
    assert refused.json["error"]["param"] == "made_up"
    refused = served.post("0.01", headers=strict, max_tokens=5000)
    assert refused.json["error"]["param"] == "max_tokens"


@pytest.mark.parametrize("value", ["", "0", "-1", "ten", "0.0000000001", "1e-2", "0,01", "NaN"])
def test_a_wrong_value_is_400_and_names_the_header(served: Served, value: str):
    answer = served.post(value)
    assert (answer.status_code, answer.json["error"]["param"]) == (400, "x-bridge-stop-at")
    assert "0.05" in answer.json["error"]["message"]
    assert served.upstream.requests == []


@both
def test_a_replay_is_the_answer_that_was_paid_whatever_it_is_to_stop_at_now(served: Served, stream: bool):
    once = {"Idempotency-Key": f"stop-{random.randint(0, 10**12)}"}  # noqa: S311 - a name
    first = served.post("0.01", stream=stream, headers=once)
    again = served.post("0.005", stream=stream, headers=once)
    assert first.data == again.data
    assert len(served.upstream.requests) == len(served.make.list_usage(served.key.account_id)) == 1


def test_a_stream_whose_upstream_writes_on_ends_as_one_that_keeps_to_its_cap(served: Served):
    endless = framed(chunk(delta={"content": " wave"}))
    head = framed(chunk(delta={"role": "assistant", "content": ""}))
    served.upstream.plays(lambda _request: [STREAM_HEAD, head, *[endless] * 5000])
    answer = served.post("0.01", stream=True)
    booked = served.booked()
    assert (booked.outcome, booked.finish_reason) == ("complete", "length")
    assert booked.completion_tokens == booked.output_cap_tokens
    assert booked.charge_nanos <= 10_000_000
    assert answer.data.endswith(b"data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in answer.data.split(b"\n\n") if line.startswith(b"data: {")]
    ends = [choice["finish_reason"] for event in events for choice in event["choices"] if choice["finish_reason"]]
    assert ends == ["length"]
    assert events[-1]["usage"]["completion_tokens"] == booked.completion_tokens


def test_without_the_header_such_a_stream_breaks_off_as_ever(served: Served):
    endless = framed(chunk(delta={"content": " wave"}))
    head = framed(chunk(delta={"role": "assistant", "content": ""}))
    served.upstream.plays(lambda _request: [STREAM_HEAD, head, *[endless] * 5000])
    answer = served.post(None, stream=True, max_tokens=20)
    assert b"[DONE]" not in answer.data
    assert served.booked().outcome == "cut"
