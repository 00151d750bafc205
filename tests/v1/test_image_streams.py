"""Streams of pictures: unfinished ones as they come, the finished one once it is paid for, and every way they end."""

import json
from typing import Any

import gevent
import pytest
import requests

from tests.gateway import Gateway
from tests.sdk import open_sdk
from tests.upstream import CUT, PAUSE, PIXEL, ScriptedUpstream, draws, fails, pictures
from tests.v1.test_image_edits import PNG
from tests.v1.test_images import MOST, Asking, error_of

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def asking(gateway: Gateway, upstream: ScriptedUpstream) -> Asking:
    upstream.plays(draws(2))
    return Asking(gateway, upstream)


def events_of(answer: requests.Response) -> list[tuple[str, Any]]:
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"], parse_float=str)))
    return found


def test_the_sdk_sees_a_picture_become(asking: Asking, upstream: ScriptedUpstream):
    stream = asking.sdk.images.generate(
        model=asking.model, prompt="A harbour", stream=True, partial_images=2, quality="low"
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    first, _, last = events
    assert (first.partial_image_index, first.size, first.output_format) == (0, "1024x1024", "png")  # type: ignore[union-attr]
    assert last.b64_json == PIXEL
    assert last.type == "image_generation.completed"
    assert (last.usage.input_tokens, last.usage.output_tokens) == (10, 284)  # 84 of a plain one, and 100 of each before
    sent = upstream.requests[0].json
    assert (sent["stream"], sent["partial_images"]) == (True, 2)
    usage = asking.last()
    assert (usage.stream, usage.outcome, usage.tokens_source) == (True, "complete", "provider")


def test_the_sdk_sees_an_edit_become(asking: Asking, upstream: ScriptedUpstream):
    upstream.plays(draws(1, kind="image_edit"))
    stream = asking.sdk.images.edit(
        model=asking.model, image=("a.png", PNG), prompt="At night", stream=True, partial_images=1
    )
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]
    fields, files = upstream.requests[0].form
    assert (fields["stream"], fields["partial_images"], files) == ("true", "1", [("image", "image/png", PNG)])


def test_the_last_event_says_what_it_cost_and_leads_to_the_receipt(asking: Asking):
    answer = asking.post(stream=True, partial_images=2)
    name, last = events_of(answer)[-1]
    charge = 10 * 1_000 + 400 * 8_000
    assert (name, last["usage"]["cost"]) == ("image_generation.completed", "0.00321")
    assert asking.last().charge_nanos == charge
    assert asking.receipt(last["id"])["charge"] == "0.00321"
    assert asking.gateway.make.check_ledger() == []


def test_a_stream_draws_one_picture(asking: Asking, upstream: ScriptedUpstream):
    assert error_of(asking.post(stream=True, n=2)) == (400, "unsupported_parameter", "n")
    assert upstream.requests == []


def test_unfinished_pictures_are_held(gateway: Gateway, upstream: ScriptedUpstream):
    upstream.plays(draws(3))
    asking = Asking(gateway, upstream)
    asking.post(stream=True, partial_images=3)
    assert asking.last().hold_nanos == 73 * 2_000 + (MOST + 300) * 8_000


def test_json_in_the_place_of_a_stream_is_said_as_one_and_the_other_way_round(
    asking: Asking, upstream: ScriptedUpstream
):
    upstream.plays(pictures())
    [(name, event)] = events_of(asking.post(stream=True))
    assert (name, event["b64_json"], event["usage"]["output_tokens"]) == ("image_generation.completed", PIXEL, 200)
    upstream.plays(draws(1))
    body = asking.post().json()
    assert ([image["b64_json"] for image in body["data"]], body["size"]) == ([PIXEL], "1024x1024")


def test_a_stream_that_nobody_counts_is_charged_as_the_dearest_that_was_asked_for(
    asking: Asking, upstream: ScriptedUpstream
):
    upstream.plays(draws(0, usage=None))
    [(_, event)] = events_of(asking.post(stream=True, quality="medium"))
    assert (event["usage"]["output_tokens"], asking.last().tokens_source) == (334, "mixed")


def test_a_stream_that_breaks_before_a_picture_goes_to_the_next_channel(gateway: Gateway):
    bad, good = ScriptedUpstream(), ScriptedUpstream()
    bad.plays(draws(0, then=CUT))
    good.plays(draws(1))
    asking = Asking(gateway, bad, good)
    answer = asking.post(stream=True, partial_images=1)
    assert [name for name, _ in events_of(answer)] == ["image_generation.partial_image", "image_generation.completed"]
    assert asking.last().charge_nanos == 10 * 1_000 + 300 * 8_000
    bad.close()
    good.close()


def test_a_stream_that_breaks_after_one_ends_in_an_error_and_what_was_shown_is_paid(
    asking: Asking, upstream: ScriptedUpstream
):
    upstream.plays(draws(2, then=CUT))
    answer = asking.post(stream=True, partial_images=2)
    names = [name for name, _ in events_of(answer)]
    assert names == ["image_generation.partial_image", "image_generation.partial_image", "error"]
    assert events_of(answer)[-1][1]["error"]["code"] == "upstream_error"
    usage = asking.last()
    assert (usage.outcome, usage.completion_tokens) == ("cut", 200)
    assert usage.charge_nanos == usage.prompt_tokens * 1_000 + 200 * 8_000


def test_an_error_before_the_first_picture_has_its_own_status(asking: Asking, upstream: ScriptedUpstream):
    upstream.plays(fails(400, "Your request was rejected by the safety system.", code="moderation_blocked"))
    assert error_of(asking.post(stream=True))[:2] == (400, "content_policy_violation")


def test_whoever_leaves_after_an_unfinished_picture_pays_for_the_whole(asking: Asking, upstream: ScriptedUpstream):
    """It is drawn to its end, and the last unfinished one looks nearly like it."""
    upstream.plays(draws(2, then=PAUSE))
    with requests.post(
        f"{asking.gateway.base_url}/images/generations",
        json={"model": asking.model, "prompt": "A harbour", "stream": True, "partial_images": 2},
        headers=asking.key.headers,
        stream=True,
        timeout=60,
    ) as answer:
        next(answer.iter_lines())
    with gevent.Timeout(60):
        while not asking.gateway.make.list_usage(asking.key.account_id):
            gevent.sleep(0.02)
    upstream.resume()
    usage = asking.last()
    assert (usage.outcome, usage.completion_tokens) == ("client_gone", MOST + 200)
    assert usage.charge_nanos == usage.prompt_tokens * 1_000 + (MOST + 200) * 8_000
    assert asking.gateway.make.find_money(asking.key.account_id)[1] == 0


def test_a_stream_under_an_idempotency_key_is_given_again_as_it_was(asking: Asking, upstream: ScriptedUpstream):
    first, again = (asking.post(stream=True, partial_images=2, headers={"Idempotency-Key": "once"}) for _ in range(2))
    assert events_of(again) == events_of(first)
    assert (again.headers["Idempotent-Replayed"], len(upstream.requests)) == ("true", 1)


def test_the_sandbox_draws_before_your_eyes(gateway: Gateway):
    sdk = open_sdk(gateway, gateway.make.make_key().secret)
    stream = sdk.images.generate(model="gpt-image-1-mini", prompt="A cat", stream=True, partial_images=1)
    events = list(stream)
    assert [event.type for event in events] == ["image_generation.partial_image", "image_generation.completed"]
    whole = sdk.images.generate(model="gpt-image-1-mini", prompt="A cat")
    assert whole.data
    assert events[-1].b64_json == whole.data[0].b64_json


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "stream"])
def test_a_drill_s_faults_come_before_real_channels_here_too(
    gateway: Gateway, upstream: ScriptedUpstream, streams: bool
):
    from bridge.accounts.customers import start_drill
    from bridge.acts import COMMAND

    asking = Asking(gateway, upstream)
    upstream.plays(draws(1) if streams else pictures())
    for fault in ("500", "malformed", "cut", "error-in-200"):
        with gateway.make.app.app_context():
            start_drill(asking.key.account_id, fault, 5, COMMAND)
        gateway.make.wait_for_gateway()
        answer = asking.post(stream=streams)
        assert answer.status_code == 200, fault
        said = events_of(answer)[-1][1]["b64_json"] if streams else answer.json()["data"][0]["b64_json"]
        assert said == PIXEL, fault
        assert len(json.loads(asking.last().attempts)) == 2
