"""Counts are true and complete: class by class as the provider gave them, and none is changed silently."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.conversation.usage import Counts, Usage
from bridge.inference.counts import find_delivered, find_usage
from bridge.inference.estimate import count_answer, count_text
from bridge.ledger.margins import MarginFilter, sum_margins
from bridge.providers import PROVIDERS
from bridge.providers.token_scale import find_scale
from tests.chat_answers import chat_order
from tests.conversations import make_order
from tests.inference.test_meter import SHORT_NAME, ask, o200k
from tests.prices import make_version
from tests.replies import Reply, cut, write_stream
from tests.served import HELLO, Served
from tests.upstream import CUT, PAUSE, STREAM_HEAD, Scenario, chunk, completion, framed, whole

__all__ = ["o200k"]  # the fixture
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
BOTH_WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
WITH_USAGE = {"stream_options": {"include_usage": True}}
BLOATED = {
    "prompt_tokens": 1000,
    "completion_tokens": 2,
    "total_tokens": 1002,
    "prompt_tokens_details": {"cached_tokens": 900},
}


def says_with(usage: Any, *words: str) -> Scenario:
    """These words with these counts, whole or streamed."""

    def play(request: Any) -> list[Any]:
        if not request.streams:
            return [whole(completion("".join(words), usage))]
        frames = [chunk(delta={"role": "assistant", "content": ""})]
        frames += [chunk(delta={"content": word}) for word in words]
        frames += [chunk(finish_reason="stop"), chunk(choices=[], usage=usage)]
        return [STREAM_HEAD, *map(framed, frames), framed("[DONE]"), b"0\r\n\r\n"]

    return play


def usage_of(answer: Any, stream: bool) -> dict[str, Any]:
    """The usage that the client reads."""
    if not stream:
        return answer.json()["usage"]
    events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    return json.loads(events[-1])["usage"]


@ON_SQLITE
@BOTH_WAYS
@pytest.mark.parametrize(
    ("counts", "prompt", "output", "reasoning"),
    [
        ((10, 5, 100, 115), 10, 105, 100),
        ((10, 5, 185, 200), 10, 190, 185),
        ((10, 5, 3, 15), 10, 5, 3),
        ((10.0, 5.0, 0.0, None), 10, 5, 0),
        ((10, 0, 0, 30), 10, 20, 0),
    ],
    ids=str,
)
def test_reasoning_outside_the_completion_is_output_and_whole_floats_are_counts(
    gateway, upstream, stream, counts, prompt, output, reasoning
):
    served = Served(gateway, upstream.base_url)
    usage: dict[str, Any] = {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": counts[3]}
    usage["completion_tokens_details"] = {"reasoning_tokens": counts[2]}
    upstream.plays(says_with(usage, "Hello"))
    found = usage_of(served.post(stream, max_tokens=1000, **(WITH_USAGE if stream else {})), stream)
    assert (found["prompt_tokens"], found["completion_tokens"], found["total_tokens"]) == (
        prompt,
        output,
        prompt + output,
    )
    assert found["completion_tokens_details"]["reasoning_tokens"] == reasoning
    assert "provider_counts" not in found  # it said the same
    row = served.await_usage()
    assert (row.tokens_source, row.provider_counts) == ("provider", None)
    assert served.spent() == (prompt * 1000 + output * 2000, 0)


@BOTH_WAYS
def test_a_count_beyond_what_the_request_holds_is_clamped_in_its_proportions_and_everyone_is_told(
    gateway, upstream, stream
):
    served = Served(gateway)
    channel = gateway.make.make_channel(upstream.base_url, served.model)
    upstream.plays(says_with(BLOATED, "Hello", " there"))
    answer = served.post(stream, **(WITH_USAGE if stream else {}))
    found = usage_of(answer, stream)
    prompt, cached = found["prompt_tokens"], found["prompt_tokens_details"]["cached_tokens"]
    assert prompt < 300
    assert cached == -(-900 * prompt // 1000)  # neither all of it nor none
    said = {"prompt_tokens": 1000, "completion_tokens": 2, "cached_tokens": 900}
    assert found["provider_counts"] == said
    row = served.await_usage()
    assert (row.prompt_tokens, row.cached_tokens, row.uncharged_tokens) == (prompt, cached, 1000 - prompt)
    assert row.charge_nanos == prompt * 1000 + 2 * 2000  # this model's cached price is the input's
    assert row.uncharged_nanos == (1000 - prompt) * 1000
    assert row.cost_nanos == 1000 * 1000 + 2 * 2000  # the provider takes what it counted
    receipt = served.receipt(answer)
    assert receipt["tokens"]["prompt"] == prompt
    away = {"not_charged_tokens": 1000 - prompt, "not_charged": f"{(1000 - prompt) / 10**6:f}".rstrip("0")}
    assert receipt["provider_counts"] == said | away
    assert receipt["rule"]["name"] == "complete_clamped"
    line = gateway.await_line("request", row.request_id)
    assert (line["provider_counts"], line["gen_ai.usage.input_tokens"]) == (said, prompt)
    assert (line["uncharged_tokens"], line["uncharged_nanos"]) == (row.uncharged_tokens, row.uncharged_nanos)
    assert row.request_id in {one["request_id"] for one in gateway.log_lines("usage_clamped")}
    with gateway.make.app.app_context():
        margin = sum_margins(MarginFilter(channel_name=channel))[()]
    assert (margin.uncharged_tokens, margin.uncharged_nanos) == (row.uncharged_tokens, row.uncharged_nanos)
    assert margin.nanos == row.charge_nanos - row.cost_nanos
    assert gateway.make.check_ledger() == []


@ON_SQLITE
@BOTH_WAYS
def test_what_an_operator_says_that_an_upstream_adds_is_held_and_charged_as_counted(gateway, upstream, stream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says_with(BLOATED, "Hello", " there"))
    more = {"max_tokens": 10, **(WITH_USAGE if stream else {})}
    served.post(stream, **more).content  # noqa: B018 - read to its end
    before = served.await_usage()
    gateway.run_flask("model", "added", served.model, "1000").check_returncode()
    gateway.make.wait_for_gateway()
    found = usage_of(served.post(stream, **more), stream)
    assert (found["prompt_tokens"], found["prompt_tokens_details"]["cached_tokens"]) == (1000, 900)
    assert "provider_counts" not in found
    row = served.await_usage()
    assert (row.prompt_tokens, row.uncharged_tokens, row.provider_counts) == (1000, 0, None)
    assert row.hold_nanos == before.hold_nanos + 1000 * 1000


@ON_SQLITE
@BOTH_WAYS
@pytest.mark.parametrize(
    ("usage", "prompt", "output", "said"),
    [
        ({"prompt_tokens": 9}, 9, None, (9, None)),
        ({"prompt_tokens": 9, "completion_tokens": "two"}, 9, None, (9, None)),
        ({"completion_tokens": 2}, None, 2, (None, 2)),
        ({"prompt_tokens": -5, "completion_tokens": 2}, None, 2, (-5, 2)),
        ({"prompt_tokens": 2**31, "completion_tokens": 2}, None, 2, (2**31, 2)),
    ],
    ids=str,
)
def test_ours_fills_in_the_class_that_has_no_count_and_the_other_stands(
    gateway, upstream, stream, usage, prompt, output, said
):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says_with(usage, "Hello", " there"))
    answer = served.post(stream, **(WITH_USAGE if stream else {}))
    found = usage_of(answer, stream)
    assert found["prompt_tokens"] == prompt if prompt else 2 <= found["prompt_tokens"] < 100
    assert found["completion_tokens"] == output if output else 2 <= found["completion_tokens"] <= len("Hello there")
    assert found["provider_counts"] == {"prompt_tokens": said[0], "completion_tokens": said[1]}
    row = served.await_usage()
    assert (row.tokens_source, row.uncharged_nanos) == ("mixed", 0)
    assert served.receipt(answer)["rule"]["name"] == "complete_mixed"


# streams that end before they are whole

CLAUDE_COUNTS = {"input_tokens": 50, "cache_read_input_tokens": 9000, "cache_creation_input_tokens": 50}


def claude_event(kind: str, **fields: Any) -> bytes:
    data = f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


def claude_says(*words: str, then: Any) -> Scenario:
    counts = {**CLAUDE_COUNTS, "output_tokens": 1}
    steps = [STREAM_HEAD, claude_event("message_start", message={"usage": counts})]
    steps.append(claude_event("content_block_start", index=0, content_block={"type": "text", "text": ""}))
    for word in words:
        steps.append(claude_event("content_block_delta", index=0, delta={"type": "text_delta", "text": word}))
    end = [
        claude_event("content_block_stop", index=0),
        claude_event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": len(words)}),
        claude_event("message_stop"),
        b"0\r\n\r\n",
    ]
    return lambda _request: [*steps, *([then] if then else []), *(end if then in (None, PAUSE) else [])]


@ON_SQLITE
@pytest.mark.parametrize("how", ["cut", "left"])
def test_a_claude_stream_that_is_cut_or_left_pays_for_its_cached_prompt_as_cached(gateway, upstream, how):
    model = gateway.make.make_model(input_price=10**9, cached_price_nanos=10**8, output_price=2 * 10**9)
    gateway.make.make_channel(upstream.base_url.removesuffix("/v1"), provider="anthropic", models={model: "claude-x"})
    served = Served(gateway)
    served.model = model
    question = [{"role": "user", "content": "why " * 9000}]
    upstream.plays(claude_says("One", " two", " three", then=None))
    assert "three" in served.post(stream=True, messages=question).text
    stayed = served.await_usage()
    served.key = gateway.make.make_key()
    upstream.plays(claude_says("One", " two", " three", then=CUT if how == "cut" else PAUSE))
    answer = served.post(stream=True, messages=question)
    if how == "cut":
        assert "upstream_error" in answer.text
    else:
        for line in answer.iter_lines():
            if b"three" in line:
                break
        answer.close()
    row = served.await_usage()
    upstream.resume()
    assert (row.outcome, row.tokens_source) == ("cut" if how == "cut" else "client_gone", "mixed")
    assert (row.prompt_tokens, row.cached_tokens, row.cache_write_tokens) == (9100, 9000, 50)
    assert row.completion_tokens <= 3
    assert stayed.tokens_source == "provider"
    assert 0 < row.charge_nanos <= stayed.charge_nanos
    assert json.loads(row.provider_counts)["cached_tokens"] == 9000


PRICE = make_version(1, 10**9, 10**8, 125 * 10**7, 2 * 10**9, 2 * 10**9)
MODELS = {"openai": "gpt-5", "deepseek": "deepseek-chat", "anthropic": "claude-opus-5", "gemini": "gemini-3"}


def relay_of(text: str, provider: str) -> Any:
    """As much of a relay as the counts ask for."""
    request, bound = ask(text)
    relay: Any = SimpleNamespace(calls=1, request_id="req_0", route=SimpleNamespace(channel_name="one"))
    relay.offer = SimpleNamespace(measure=bound, model=SHORT_NAME, cap_tokens=4096)
    relay.most_output_tokens = lambda: 4096
    scale = find_scale(PROVIDERS[provider].token_scales, MODELS[provider])
    relay.count_delivered = lambda said, ended: count_answer(
        said, request, bound.prompt_bound_tokens, scale, ended=ended
    )
    return relay


def read_until(provider: str, stream: bytes, events: int | None) -> Any:
    """A reader that was fed so many events of a stream; None: all, and its end."""
    body = {"model": "x", "messages": HELLO, "stream": True}
    dialect = PROVIDERS[provider]
    outgoing = dialect.write_request(make_order(body, MODELS[provider], 4096))
    reader = dialect.open_reader(outgoing, chat_order("chatcmpl-1", "x", 1, True, 2**20))
    mark = b"\r\n\r\n" if provider == "gemini" else b"\n\n"
    for event in stream.split(mark)[:events]:
        reader.feed(event + mark)
    if events is None:
        reader.end()
    return reader


WORDS = st.lists(
    st.sampled_from(["Paris", " is", " 42", " naïve", "\n", " 東京", " the", "!"]), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(words=WORDS, data=st.data(), provider=st.sampled_from(sorted(MODELS)), running=st.booleans())
def test_leaving_never_costs_more_than_staying(words: list[str], data: st.DataObject, provider: str, running: bool):
    text = "".join(words)
    prompt = data.draw(st.integers(10, 400))
    told_early = provider in ("anthropic", "gemini") or running
    cached = data.draw(st.integers(0, prompt)) if told_early else 0  # otherwise nobody knows of it until the end
    pieces = cut(text)
    written = max(sum(map(count_text, pieces)), *(count_text("".join(pieces[:end])) for end in range(len(pieces) + 1)))
    reply = Reply(text=text, prompt_tokens=prompt, cached_tokens=cached, completion_tokens=max(written, len(pieces)))
    stream = write_stream(provider, reply)
    if running and provider in ("openai", "deepseek"):
        stream = count_on(stream, prompt, cached)
    relay = relay_of("why " * 100, provider)
    full = read_until(provider, stream, None)
    stayed, source = find_usage(relay, full.usage, full.text, True, full.uncounted)
    assert source == "provider"
    reader = read_until(provider, stream, data.draw(st.integers(0, stream.count(b"data: "))))
    if not reader.started or reader.finished:
        return
    left, _ = find_usage(relay, reader.usage, reader.text, False, reader.uncounted)
    if not told_early:  # the prompt by our count: its texts alone
        assert left.prompt_tokens <= max(prompt, count_text("why " * 100))
        left = Usage(min(left.prompt_tokens, prompt), left.completion_tokens)
    assert PRICE.charge(left) <= PRICE.charge(stayed)
    marked = find_delivered(relay, reader.usage, min(len(reader.text), left.completion_tokens))
    assert PRICE.charge(marked) <= PRICE.charge(stayed)


def count_on(stream: bytes, prompt: int, cached: int) -> bytes:
    """The same with OpenAI's counts so far in each chunk but the last: of the texts, in our own tokens."""
    said, events = "", []
    for event in stream.split(b"\n\n"):
        found = json.loads(event[6:]) if event.startswith(b"data: {") else None
        if found and found["choices"]:
            said += found["choices"][0]["delta"].get("content") or ""
            usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": count_text(said)}
            usage["prompt_tokens_details"] = {"cached_tokens": cached}
            event = b"data: " + json.dumps(found | {"usage": usage}).encode()
        events.append(event)
    return b"\n\n".join(events)


def test_what_came_after_a_running_count_is_added_to_it():
    relay = relay_of("Hi", "openai")
    found, source = find_usage(relay, Counts(3, 500, 0, 480), ["x"] * 30, False, [" one", " two"])
    assert (found, source) == (Usage(3, 500, 0, 480), "mixed")  # ours of all is less than it said so far
    found, _ = find_usage(relay, Counts(3, 1), ["One", " two", " three"], False, [" three"])
    assert found.completion_tokens == 2


def test_a_mark_charges_the_prompt_as_the_provider_said_it_and_nothing_for_one_that_can_be_none():
    relay = relay_of("why " * 9000, "anthropic")
    told = find_delivered(relay, Counts(9100, 1, 9000, cache_write_tokens=50), 3)
    assert told == Usage(9100, 3, 9000, cache_write_tokens=50)
    for said in (None, Counts(None, 5), Counts(-5, 5), Counts(2**31, 5, 9000)):
        assert find_delivered(relay, said, 3) == Usage(0, 3)


def test_our_own_count_of_a_class_is_within_the_cap_and_gives_nothing_away():
    relay = relay_of("Hi", "openai")
    relay.most_output_tokens = lambda: 5
    for ended in (True, False):
        found, source = find_usage(relay, Counts(3), ["One two three four five six seven"], ended)
        assert (found, source) == (Usage(3, 5), "mixed")
        assert found.altered is not None
        assert found.altered.counted == found


@ON_SQLITE
@BOTH_WAYS
def test_what_the_provider_counted_is_given_again_with_the_answer(gateway, upstream, stream):
    served = Served(gateway, upstream.base_url)
    upstream.plays(says_with(BLOATED, "Hello"))
    body = {"model": served.model, "messages": HELLO, "stream": stream, **(WITH_USAGE if stream else {})}
    headers = {**served.key.headers, "Idempotency-Key": "once"}
    url = f"{gateway.base_url}/chat/completions"
    first, again = (requests.post(url, json=body, headers=headers, timeout=60) for _ in range(2))
    assert again.headers["Idempotent-Replayed"] == "true"
    assert usage_of(first, stream) == usage_of(again, stream)
    assert usage_of(again, stream)["provider_counts"]["prompt_tokens"] == 1000
    assert len(gateway.make.list_usage(served.key.account_id)) == 1
