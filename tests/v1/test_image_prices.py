"""Pictures with a price each: held as the dearest that was asked for, and charged as what they were."""

import json
from typing import Any

import pytest
import requests

from bridge.catalogue.model_editing import check_rates, enter_price
from tests.factories import DOLLAR
from tests.gateway import Gateway
from tests.upstream import CUT, ScriptedUpstream, draws, pictures, whole
from tests.v1.test_images import Asking, error_of

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


class Piecewise(Asking):
    """A model whose pictures have a price each: ten cents, four of medium quality, one of low."""

    def __init__(self, gateway: Gateway, *upstreams: ScriptedUpstream, **limits: Any):
        super().__init__(gateway, *upstreams, **limits)
        pieces = {"picture": DOLLAR // 10, "picture_medium": DOLLAR // 25, "picture_low": DOLLAR // 100}
        with gateway.make.app.app_context():
            enter_price(self.model, [check_rates({"input": 0, "output": 0, **pieces})])
        gateway.make.wait_for_gateway()


@pytest.mark.parametrize(
    ("asked", "said", "held_cents", "paid_cents"),
    [
        ({}, "high", 10, 10),
        ({}, "low", 10, 1),
        ({"quality": "auto", "n": 3}, "medium", 30, 12),
        ({"quality": "low", "n": 2}, "high", 2, 2),  # what was asked for is what was held
        ({"quality": "medium"}, None, 4, 4),
        ({"quality": "hd"}, None, 10, 10),
        ({"n": 2}, None, 20, 20),
    ],
    ids=str,
)
def test_pictures_with_a_price_each_are_held_as_the_dearest_and_charged_as_what_they_were(
    gateway: Gateway,
    upstream: ScriptedUpstream,
    asked: dict[str, Any],
    said: str | None,
    held_cents: int,
    paid_cents: int,
):
    asking = Piecewise(gateway, upstream, balance_nanos=held_cents * DOLLAR // 100)
    play = pictures(usage=None)
    upstream.plays(lambda request: [whole_without_quality(play(request), said)])
    answer = asking.post(**asked)
    usage = asking.last()
    assert (usage.hold_nanos, usage.charge_nanos) == (held_cents * DOLLAR // 100, paid_cents * DOLLAR // 100)
    receipt = asking.receipt(answer.json()["id"])
    [line] = [line for line in receipt["price"]["lines"] if line["class"].startswith("image")]
    assert (line["count"], float(line["amount"]) * 100) == (asked.get("n", 1), pytest.approx(paid_cents))
    assert float(line["per_picture"]) * 100 * line["count"] == pytest.approx(paid_cents)
    assert gateway.make.check_ledger() == []
    if held_cents > paid_cents:
        assert error_of(asking.post(**asked))[:2] == (402, "insufficient_balance")


def whole_without_quality(steps: Any, said: str | None) -> bytes:
    """The answer with this quality, or with none."""
    [step] = steps
    body = json.loads(step.partition(b"\r\n\r\n")[2])
    del body["quality"]
    return whole(json.dumps({**body, **({"quality": said} if said else {})}).encode())


def test_a_price_for_each_picture_is_listed(gateway: Gateway):
    asking = Piecewise(gateway)
    url = f"{gateway.base_url}/models/{asking.model}"
    pricing = requests.get(url, headers=asking.key.headers, timeout=60).json()["pricing"]
    assert (pricing["image"], pricing["image_medium"], pricing["image_low"]) == ("0.1", "0.04", "0.01")


def test_a_stream_s_finished_picture_has_its_price_too(gateway: Gateway, upstream: ScriptedUpstream):
    asking = Piecewise(gateway, upstream)
    upstream.plays(draws(1, usage=None))
    asking.post(stream=True, partial_images=1)
    assert asking.last().charge_nanos == DOLLAR // 100  # its event says low
    upstream.plays(draws(1, then=CUT))
    asking.post(stream=True, partial_images=1)
    assert (asking.last().outcome, asking.last().charge_nanos) == ("cut", 0)
