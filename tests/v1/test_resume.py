"""A stream that was asked for with `x-bridge-resume` is read on from any event, as long as it runs and ten minutes
more: every event once and in order, and paid once."""

import gevent
import openai
import pytest
import requests
from openai.types.chat import ChatCompletionChunk

from tests.doors import DOORS
from tests.gateway import Gateway
from tests.resumed import RESUME, Asked, ask, numbers_of, split_events
from tests.sdk import open_anthropic, open_sdk
from tests.served import HELLO, Served
from tests.upstream import PATIENCE_SECONDS, PAUSE, ScriptedUpstream, says, starts

WORDS = ("One", " two", " three")
at_each_door = pytest.mark.parametrize("door", DOORS)


@pytest.fixture
def served(gateway: Gateway, upstream: ScriptedUpstream, door: str) -> Served:
    return Served(gateway, upstream.base_url, door=door)


@pytest.fixture
def door() -> str:
    return "chat"


@at_each_door
def test_events_are_numbered_without_a_gap_and_can_be_read_again_from_each(
    served: Served, upstream: ScriptedUpstream, door: str
):
    upstream.plays(says(*WORDS))
    asked = ask(served)
    events = asked.read_rest()
    assert numbers_of(events) == list(range(1, len(events) + 1))
    assert len(events) > len(WORDS)
    for after in (0, 1, len(events) - 1, len(events), len(events) + 5):
        assert asked.read_on(after) == events[after:]
    told = served.told(b"".join(event + b"\n\n" for _, event in events))
    assert (told.text, told.end) == ("One two three", "done")
    assert asked.receipt()["outcome"] == "complete"
    assert len(upstream.requests) == 1


@at_each_door
def test_a_client_that_was_killed_goes_on_elsewhere_while_it_runs_and_pays_once(
    served: Served, upstream: ScriptedUpstream, door: str
):
    upstream.plays(starts(*WORDS, then=PAUSE))
    asked = ask(served)
    before = asked.read_until(b"two")
    asked.leave()
    readers = [gevent.spawn(asked.read_on, len(before)) for _ in range(4)]  # on both workers, as far as there are two
    first_again = asked.resume(0)
    pieces = first_again.iter_content(None)
    again = next(pieces)
    while b"three" not in again:  # it runs on without its client
        again += next(pieces)
    assert not upstream.requests[0].hung_up.is_set()
    upstream.resume()
    whole = split_events(again + b"".join(pieces))
    assert numbers_of(whole) == list(range(1, len(whole) + 1))
    assert whole[: len(before)] == before
    for reader in readers:
        assert reader.get(timeout=PATIENCE_SECONDS) == whole[len(before) :]
    told = served.told(b"".join(event + b"\n\n" for _, event in whole))
    assert (told.text, told.end) == ("One two three", "done")
    receipt = asked.receipt()
    assert (receipt["outcome"], receipt["tokens"]["completion"] > 0) == ("complete", True)
    [row] = served.gateway.make.list_usage(served.key.account_id)
    assert served.spent() == (row.charge_nanos, 0)
    assert len(upstream.requests) == 1


@at_each_door
def test_delete_ends_it_and_charges_what_was_delivered(served: Served, upstream: ScriptedUpstream, door: str):
    upstream.plays(starts(*WORDS, then="stall"))
    asked = ask(served)
    before = asked.read_until(b"three")
    reading = gevent.spawn(asked.read_on, 0)
    answer = asked.end()
    assert (answer.status_code, answer.json()["outcome"]) == (200, "client_gone"), answer.text
    assert upstream.requests[0].hung_up.wait(PATIENCE_SECONDS)
    events = asked.read_rest()
    assert events[: len(before)] == before
    assert b"was ended by DELETE" in events[-1][1]
    assert reading.get(timeout=PATIENCE_SECONDS) == events
    told = served.told(b"".join(event + b"\n\n" for _, event in events))
    assert told.end == "error"
    charged, held = served.spent()
    assert (charged > 0, held) == (True, 0)
    assert asked.end().json() == answer.json()


def test_without_the_header_no_event_has_a_number_and_nothing_can_be_read_on(
    served: Served, upstream: ScriptedUpstream
):
    upstream.plays(says(*WORDS))
    for headers in ({"x-bridge-resume": "0"}, {"x-bridge-resume": "false"}):
        asked = ask(served, headers)
        assert set(numbers_of(asked.read_rest())) == {0}
        answer = asked.resume(0)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        assert asked.end().status_code == 404


def test_the_answer_read_on_has_the_headers_of_the_first(served: Served, upstream: ScriptedUpstream):
    upstream.plays(says(*WORDS))
    asked = ask(served, max_tokens=10**6, unheard_of=1)
    asked.read_rest()
    answer = asked.resume(0)
    names = ("x-request-id", "content-type", "cache-control", "x-accel-buffering", "x-bridge-attempts")
    for name in (*names, "x-bridge-dropped", "x-bridge-clamped", "access-control-allow-origin"):
        assert answer.headers[name] == asked.answer.headers[name], name
    head = requests.head(f"{asked.url}/stream", headers=served.key.headers, timeout=60)
    assert (head.status_code, head.headers["x-request-id"], head.content) == (200, asked.request_id, b"")
    by_answer_id = f"{served.gateway.base_url}/requests/chatcmpl-{asked.request_id[4:]}/stream"
    assert requests.get(by_answer_id, headers=served.key.headers, timeout=60).content == answer.content


def test_an_event_source_that_comes_again_says_where_it_was(served: Served, upstream: ScriptedUpstream):
    upstream.plays(says(*WORDS))
    asked = ask(served)
    events = asked.read_rest()
    assert asked.read_on(**{"Last-Event-ID": "2"}) == events[2:]
    assert asked.read_on(3, **{"Last-Event-ID": "2"}) == events[3:]
    assert asked.read_on(**{"Last-Event-ID": ""}) == events


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_whose_stream_it_is_not_finds_none_and_bad_numbers_are_400(served: Served, upstream: ScriptedUpstream):
    upstream.plays(says(*WORDS))
    asked = ask(served)
    asked.read_rest()
    other = Asked(Served(served.gateway, upstream.base_url), asked.answer)
    for answer in (other.resume(0), other.end()):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    for bad in ("-1", "x", "1.5", "", "9999999999"):
        answer = requests.get(f"{asked.url}/stream?after={bad}", headers=served.key.headers, timeout=60)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after"), bad
    answer = asked.resume(**{"Last-Event-ID": "x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Last-Event-ID")
    answer = requests.get(f"{asked.url}/stream", headers={"Authorization": "Bearer sk-none"}, timeout=60)
    assert answer.status_code == 401
    answer = requests.post(f"{asked.url}/stream", headers=served.key.headers, timeout=60)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_what_is_no_stream_or_no_flag_is_400_and_costs_nothing(served: Served, upstream: ScriptedUpstream):
    for headers, more in (({}, {"stream": False}), ({"x-bridge-resume": "maybe"}, {}), ({"x-bridge-resume": ""}, {})):
        answer = ask(served, headers, **more).answer
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "x-bridge-resume")
    assert served.spent() == (0, 0)
    assert not upstream.requests


def test_a_request_that_failed_before_its_first_event_leaves_nothing_to_read_on(
    served: Served, upstream: ScriptedUpstream
):
    upstream.plays(lambda _: ["cut"])
    asked = ask(served)
    assert asked.answer.status_code == 503
    answer = asked.resume(0)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_under_an_idempotency_key_it_is_read_on_from_its_first_request(served: Served, upstream: ScriptedUpstream):
    upstream.plays(starts(*WORDS, then=PAUSE))
    key = {"Idempotency-Key": "resumable"}
    asked = ask(served, key)
    before = asked.read_until(b"two")
    asked.leave()
    assert ask(served, key).answer.status_code == 409
    upstream.resume()
    rest = asked.read_on(len(before))
    asked.receipt()
    again = ask(served, key)
    assert again.read_rest() == before + rest
    assert (again.answer.headers["idempotent-replayed"], again.request_id) == ("true", asked.request_id)
    plain = ask(served, {**key, "x-bridge-resume": "false"})
    assert [event for _, event in plain.read_rest()] == [event for _, event in before + rest]
    assert len(upstream.requests) == 1
    assert len(served.gateway.make.list_usage(served.key.account_id)) == 1


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_sdks_read_numbered_events_and_a_stream_that_is_read_on(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(says(*WORDS))
    served = Served(gateway, upstream.base_url)
    theirs, anthropics = open_sdk(gateway, served.key.secret), open_anthropic(gateway, served.key.secret)
    asked = {"model": served.model, "messages": HELLO}
    raw = theirs.chat.completions.with_raw_response.create(**asked, stream=True, extra_headers=RESUME)
    texts = [chunk.choices[0].delta.content or "" for chunk in raw.parse()]
    assert "".join(texts) == "One two three"
    rest = theirs.get(
        f"/requests/{raw.headers['x-request-id']}/stream?after=2",
        cast_to=ChatCompletionChunk,
        stream=True,
        stream_cls=openai.Stream[ChatCompletionChunk],
    )
    assert [chunk.choices[0].delta.content or "" for chunk in rest] == texts[2:]
    with anthropics.messages.stream(**asked, max_tokens=100, extra_headers=RESUME) as stream:
        assert "".join(stream.text_stream) == "One two three"
    with theirs.responses.stream(model=served.model, input="Hello!", extra_headers=RESUME) as response:
        assert response.get_final_response().output_text == "One two three"
