"""Choices by parallel calls: a provider with one choice a call serves `n` all the same, and every call is charged."""

import gevent
import pytest
import requests
from openai import OpenAI

from bridge.conversation.usage import Counts
from bridge.inference.choices import MAX_PARALLEL_CHOICES, ParallelAnswer, ParallelReader, call_all, sum_usages
from bridge.inference.intake import Intake
from bridge.providers.base import AttemptFailed, Blame
from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import ScriptedUpstream, fails, hangs_up, says, starts

HELLO = [{"role": "user", "content": "Hello!"}]
DOLLAR = 1_000_000_000


class Served:
    """A model behind DeepSeek's dialect, which knows no `n`."""

    def __init__(self, gateway: Gateway, *upstreams: str):
        self.gateway = gateway
        # ten dollars a million tokens: a token is worth 10,000 nanos
        self.model = gateway.make.make_model(input_price=10 * DOLLAR, output_price=10 * DOLLAR)
        for priority, base_url in enumerate(upstreams):
            gateway.make.make_channel(base_url, self.model, priority=priority, provider="deepseek")
        self.key = gateway.make.make_key()

    def client(self) -> OpenAI:
        return open_sdk(self.gateway, self.key.secret)

    def post(self, headers: dict[str, str] | None = None, **more) -> requests.Response:
        body, headers = {"model": self.model, "messages": HELLO, **more}, {**self.key.headers, **(headers or {})}
        return requests.post(f"{self.gateway.base_url}/chat/completions", json=body, headers=headers, timeout=60)

    def spent_tokens(self) -> float:
        balance, held = self.gateway.make.find_money(self.key.account_id)
        assert held == 0
        return (10 * DOLLAR - balance) / 10_000


def test_choices_of_a_provider_without_n_are_parallel_calls_summed_up(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("One"), says("Two", " words"), says("And", " three", " words"))
    answer = served.client().chat.completions.create(model=served.model, messages=HELLO, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert sorted(choice.message.content for choice in answer.choices) == ["And three words", "One", "Two words"]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (21, 6)
    assert served.spent_tokens() == 27
    assert len(upstream.requests) == 3
    assert all("n" not in request.json for request in upstream.requests)


def test_streamed_choices_have_each_their_role_their_end_and_one_usage(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says("One"), says("Two", " words"))
    stream = served.client().chat.completions.create(
        model=served.model, messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}
    )
    texts, ends, roles, usages = {}, {}, {}, []
    for chunk in stream:
        usages += [chunk.usage] if chunk.usage else []
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
            if choice.delta.role:
                roles[choice.index] = roles.get(choice.index, 0) + 1
            if choice.finish_reason:
                assert choice.index not in ends
                ends[choice.index] = choice.finish_reason
    assert sorted(texts.values()) == ["One", "Two words"]
    assert (ends, roles) == ({0: "stop", 1: "stop"}, {0: 1, 1: 1})
    assert [(usage.prompt_tokens, usage.completion_tokens) for usage in usages] == [(14, 3)]
    assert served.spent_tokens() == 17


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", [fails(500), hangs_up()], ids=["500", "hangs up"])
def test_one_call_that_fails_fails_the_attempt_and_the_next_channel_answers(gateway, upstream, fault, stream):
    other = ScriptedUpstream()
    served = Served(gateway, upstream.base_url, other.base_url)
    upstream.plays(says("Good"), fault)
    other.plays(says("Better"))
    try:
        answer = served.post(n=2, stream=stream)
        assert answer.status_code == 200
        assert answer.text.count("Better") == 2
        assert "Good" not in answer.text
        assert served.spent_tokens() == 16
    finally:
        other.close()


def test_a_choice_that_breaks_off_breaks_the_stream_and_what_was_said_is_charged(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(starts("Some", " words"))
    answer = served.post(n=2, stream=True, max_tokens=50)
    assert "upstream_error" in answer.text
    assert "[DONE]" not in answer.text
    assert 2 <= served.spent_tokens() < 200  # DeepSeek's template is 84 tokens a call, if it thinks


def test_the_hold_covers_the_prompt_of_every_call(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    long = [{"role": "user", "content": "a" * 20_000}]
    body, headers = {"messages": long, "max_tokens": 1}, {"x-bridge-max-cost": "0"}
    one, four = (served.post(**body, headers=headers, n=n) for n in (1, 4))
    assert one.status_code == four.status_code == 402
    need = [float(answer.json()["error"]["message"].split("$")[1].split(",")[0].split()[0]) for answer in (one, four)]
    assert need[0] >= 0.2
    assert need[1] == pytest.approx(4 * need[0], rel=0.05)


def test_more_choices_than_we_call_at_once_are_refused_and_free(gateway, upstream):
    served = Served(gateway, upstream.base_url)
    answer = served.post(n=MAX_PARALLEL_CHOICES + 1)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "n"
    assert served.spent_tokens() == 0
    assert not upstream.requests


def test_a_provider_that_knows_n_is_called_once(gateway, upstream):
    model = gateway.make.make_model()
    gateway.make.make_channel(upstream.base_url, model)
    key = gateway.make.make_key()
    upstream.plays(says("Hi"))
    body = {"model": model, "messages": HELLO, "n": 3}
    requests.post(f"{gateway.base_url}/chat/completions", json=body, headers=key.headers, timeout=60)
    assert [request.json["n"] for request in upstream.requests] == [3]


def test_the_first_failure_ends_the_other_calls():
    ended, discarded = [], []

    def call(place: int) -> int:
        if place == 1:
            raise AttemptFailed(Blame.UPSTREAM, "no")
        if place == 0:
            return place
        try:
            gevent.get_hub().wait(gevent.get_hub().loop.async_())  # for good
        finally:
            ended.append(place)
        return place

    with pytest.raises(AttemptFailed):
        call_all(3, call, discarded.append)
    assert (ended, discarded) == ([2], [0])


class Body:
    """An answer of which there is always more."""

    status = 200
    headers: dict[str, str] = {}

    def read_some(self, timeout_seconds: float) -> bytes:
        gevent.sleep(0)
        return b"more"

    def close(self) -> None:
        pass


class Mistaken:
    """A reader that has a mistake in it."""

    ended, finished, finish_reason = False, False, None

    def feed(self, data: bytes) -> bytes:
        raise KeyError(data)


def test_a_reader_s_own_mistake_is_a_failed_attempt_and_no_endless_silence():
    answer = ParallelAnswer([Body(), Body()])
    answer.read_by([Intake(Mistaken()), Intake(Mistaken())])
    with pytest.raises(AttemptFailed):
        answer.read_some(5)
    answer.close()


class Talker:
    """A reader whose every read is one piece of text."""

    ended, finished, finish_reason = False, False, None

    def __init__(self, word: str):
        self.word, self.text = word, list[str]()

    def feed(self, data: bytes) -> bytes:
        self.text.append(self.word)
        return data


def test_what_is_read_ahead_of_the_client_is_not_yet_said():
    answer, readers = ParallelAnswer([Body(), Body()]), [Talker("a"), Talker("b")]
    intakes = [Intake(reader) for reader in readers]
    reader = ParallelReader(intakes, answer.said)
    answer.read_by(intakes)
    for given in range(1, 6):
        assert answer.read_some(5) == b"more"
        assert (len(reader.text), len(list(reader.text)), len(reader.text[:3])) == (given, given, min(3, given))
    assert sum(len(talker.text) for talker in readers) > 5  # they have read on meanwhile
    assert sorted(reader.text) == list(reader.text)  # choice by choice, as they are counted
    answer.close()


def test_a_missing_count_is_missing_from_the_sum():
    assert sum_usages([Counts(1, 2, 1, 1, 1, 1), Counts(3, 4)]) == Counts(4, 6, 1, 1, 1, 1)
    assert sum_usages([Counts(1), Counts(1, 2)]) == Counts(2)
    assert sum_usages([None, None]) is None


def test_who_said_nothing_of_the_prompt_has_read_what_the_others_did():
    assert sum_usages([Counts(100, 2, 90, 1, audio_output_tokens=1), None]) == Counts(
        200, None, 180, 1, audio_output_tokens=1
    )
    assert sum_usages([Counts(None, 3, 0, 2), Counts(100, 2, 90, 1)]) == Counts(200, 5, 180, 3)
