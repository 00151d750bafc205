"""What a request needed is gone with its answer, without waiting for the collector."""

import gc

import pytest

from bridge.inference.attempts import Attempt, Attempts
from bridge.inference.purchase import Purchase
from bridge.inference.stream import Stream
from bridge.inference.whole import WholeAnswer
from tests.failover import SLOW
from tests.fault_upstreams import FAULTS
from tests.upstream import fails, says, sends, starts

KINDS = (Attempt, Attempts, Purchase, Stream, WholeAnswer)
CAP = 20
PLAYS = {
    "good": says("Hello"),
    "500": fails(500),
    "beyond its cap": says(*["word "] * 1000),
    "cut after a word": starts("Hello"),
    "brackets": sends(b'{"choices":' + b"[" * 100_000),
    **{name: fault.plays for name, fault in FAULTS.items() if fault.plays is not None and name not in SLOW},
}
del PLAYS["an error that drips"]


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("play", PLAYS)
def test_nothing_of_a_request_waits_for_the_collector(client, make, upstream, play, stream):
    model, key = make.make_model(), make.make_key()
    make.make_channel(upstream.base_url, model)
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream, "max_tokens": CAP}
    gc.disable()
    gc.collect(0)  # what is made from here on is the youngest generation, and all of it
    try:
        upstream.plays(PLAYS[play])
        answer = client.post("/v1/chat/completions", json=body, headers=key.headers)
        assert answer.data
        answer.close()
        del answer
        left = [one for one in gc.get_objects(0) if isinstance(one, KINDS)]
        assert not [type(one).__name__ for one in left]
    finally:
        gc.enable()
