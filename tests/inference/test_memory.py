"""What a request needed is gone with its answer, without waiting for the collector."""

import gc

import pytest

from bridge.inference.attempts import Attempt, Attempts
from bridge.inference.purchase import Purchase
from bridge.inference.stream import Stream
from bridge.inference.whole import WholeAnswer
from tests.upstream import says

KINDS = (Attempt, Attempts, Purchase, Stream, WholeAnswer)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nothing_of_a_request_waits_for_the_collector(client, make, upstream, stream):
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    gc.collect()
    others = {id(one) for one in gc.get_objects() if isinstance(one, KINDS)}  # left by whatever ran before
    gc.disable()
    try:
        upstream.plays(says("Hello"))
        answer = client.post("/v1/chat/completions", json=body, headers=key.headers)
        assert answer.data
        answer.close()
        del answer
        left = [one for one in gc.get_objects() if isinstance(one, KINDS) and id(one) not in others]
        assert not [type(one).__name__ for one in left]
    finally:
        gc.enable()
