"""Plain completions of OpenAI's dialect against exchanges, our own and recorded, and what is made of them."""

import json
from typing import Any

import msgspec
import pytest

from bridge.conversation.completion import CompletionRequest
from bridge.conversation.gathering import Gathered
from bridge.conversation.usage import Counts
from bridge.dialects.completions.request import CompletionsRequest, read_completions
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Order, StreamOrder
from tests.providers.recordings import list_exchanges

OPENAI, DEEPSEEK = (PROVIDERS[name].translators["completions"] for name in ("openai", "deepseek"))
EXCHANGES = list_exchanges("openai", "openai-completions")


def named(exchanges: Any) -> list[Any]:
    return [pytest.param(each, id=each["id"]) for each in exchanges]


def make_request(**body: Any) -> CompletionRequest:
    body = {"model": "m", "prompt": "Once", **body}
    return read_completions(body, msgspec.convert(body, CompletionsRequest))


def answered(stream: bool) -> list[Any]:
    fitting = (each for each in EXCHANGES if bool(each["request"]["json"].get("stream")) is stream)
    return named(each for each in fitting if each["response"]["status"] == 200)


@pytest.mark.parametrize("exchange", named(EXCHANGES))
def test_what_is_written_is_what_was_sent_with_a_cap(exchange: dict[str, Any]):
    sent = exchange["request"]["json"]
    outgoing = OPENAI.write_request(Order(make_request(**sent), sent["model"]))
    streamed = {"stream_options": {"include_usage": True}} if sent.get("stream") else {}
    given = {field: value for field, value in sent.items() if value is not None}
    assert json.loads(outgoing.body) == {"max_tokens": 16, **given, **streamed}
    assert (outgoing.dropped, outgoing.path) == ((), "/completions")


@pytest.mark.parametrize("exchange", answered(stream=False))
def test_a_whole_answer_says_what_was_recorded(exchange: dict[str, Any]):
    text, recorded = exchange["response"]["body_text"], json.loads(exchange["response"]["body_text"])
    request = make_request(**exchange["request"]["json"])
    answer = OPENAI.read_answer(text.encode(), OPENAI.write_request(Order(request, "m")))
    assert [(one.text, one.index, one.logprobs, one.finish_reason) for one in answer.choices] == [
        (one["text"], one["index"], one["logprobs"], one["finish_reason"]) for one in recorded["choices"]
    ]
    usage = recorded["usage"]
    assert answer.usage == Counts(usage["prompt_tokens"], usage["completion_tokens"])
    assert answer.mended == set()


@pytest.mark.parametrize("exchange", answered(stream=True))
@pytest.mark.parametrize("size", [1, 7, 1000, 10**6])
def test_a_stream_says_what_was_recorded_wherever_it_is_cut(exchange: dict[str, Any], size: int):
    text = exchange["response"]["body_text"]
    events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    said = "".join(choice["text"] for event in events for choice in event["choices"])
    gathered, data = Gathered(), text.encode()
    reader = OPENAI.open_reader(
        OPENAI.write_request(Order(make_request(**exchange["request"]["json"]), "m")), StreamOrder(gathered, 10**6)
    )
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    reader.end()
    [choice] = gathered.end()
    assert (choice.text, "".join(reader.text)) == (said, said)
    assert (reader.ended, reader.finished, reader.finish_reason) == (True, True, choice.finish_reason)
    usage = next(event["usage"] for event in events if event.get("usage"))
    assert reader.usage == Counts(usage["prompt_tokens"], usage["completion_tokens"])


@pytest.mark.parametrize("exchange", named(each for each in EXCHANGES if each["response"]["status"] != 200))
def test_an_error_body_is_never_an_answer(exchange: dict[str, Any]):
    body = exchange["response"]["body_text"].encode()
    with pytest.raises(AttemptFailed) as failed:
        OPENAI.read_answer(body, OPENAI.write_request(Order(make_request(), "m")))
    meaning = PROVIDERS["openai"].read_error(exchange["response"]["status"], {}, body)
    assert failed.value.blame in (meaning.blame, Blame.UPSTREAM, Blame.SETUP)


def test_unknown_fields_are_named_and_what_servers_share_goes_out():
    outgoing = OPENAI.write_request(Order(make_request(top_k=5, plan="x", stream_options={"include_usage": True}), "m"))
    assert (outgoing.dropped, json.loads(outgoing.body)["top_k"]) == (("plan",), 5)
    assert "stream_options" not in json.loads(outgoing.body)


def test_a_lower_cap_of_ours_replaces_the_client_s():
    assert json.loads(OPENAI.write_request(Order(make_request(max_tokens=99), "m", 7)).body)["max_tokens"] == 7


def test_deepseek_takes_one_text_and_gives_one_choice():
    outgoing = DEEPSEEK.write_request(Order(make_request(prompt=["Once"], suffix=" end", seed=3, n=1), "deepseek-chat"))
    assert (outgoing.path, outgoing.dropped) == ("/beta/completions", ("seed",))
    assert json.loads(outgoing.body) == {
        "model": "deepseek-chat",
        "prompt": "Once",
        "suffix": " end",
        "max_tokens": 16,
    }
    for more, param in (
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
    ):
        with pytest.raises(AttemptFailed) as failed:
            DEEPSEEK.write_request(Order(make_request(**more), "deepseek-chat"))
        assert (failed.value.blame, failed.value.param) == (Blame.REQUEST, param)


@pytest.mark.parametrize(
    "choices", [None, "none", [], [1], [{"index": 0}], [{"message": {"content": "a"}}], [{"text": 1}]], ids=str
)
def test_what_has_no_texts_is_the_upstream_s_failure(choices: Any):
    outgoing = OPENAI.write_request(Order(make_request(), "m"))
    with pytest.raises(AttemptFailed) as failed:
        OPENAI.read_answer(json.dumps({"choices": choices}).encode(), outgoing)
    assert failed.value.blame is Blame.UPSTREAM


def test_an_echo_is_no_output_of_ours_to_count():
    request = make_request(prompt=["Once", "Twice"], n=2, echo=True)
    texts = ["Once a", "Once b", "Twice c", "Twice d"]
    body = {"choices": [{"text": text, "index": place, "finish_reason": "stop"} for place, text in enumerate(texts)]}
    answer = OPENAI.read_answer(json.dumps(body).encode(), OPENAI.write_request(Order(request, "m")))
    assert [choice.text for choice in answer.choices] == texts
    assert answer.text == [" a", " b", " c", " d"]


def test_a_stream_of_several_choices_ends_when_all_have():
    reader = OPENAI.open_reader(
        OPENAI.write_request(Order(make_request(n=2, stream=True), "m")), StreamOrder(Gathered(), 10**6, choices=2)
    )

    def say(**choice: Any) -> None:
        reader.feed(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")

    say(index=1, text="b", finish_reason="length")
    assert (reader.ended, reader.finish_reason) == (False, None)
    say(index=0, text="a", finish_reason="stop")
    assert (reader.ended, reader.finish_reason, list(reader.text)) == (True, "stop", ["b", "a"])
