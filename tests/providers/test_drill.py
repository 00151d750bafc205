"""The made-up faults read as an upstream's own: each speaks against whom a real one would."""

from typing import Any

import msgspec
import pytest

from bridge.providers.base import AttemptFailed, Outgoing
from bridge.providers.faults import FAULTS, PREFIX
from bridge.providers.sandbox import Sandbox
from bridge.providers.wire.http import Timeouts
from tests.chat_answers import chat_order

SOON = Timeouts(0.01, 0.01, 0.01)
BLAMES = {
    "429": "rate",
    "402": "credential",
    "500": "upstream",
    "503": "upstream",
    "stall": "upstream",
    "cut": "upstream",
    "malformed": "upstream",
    "error-in-200": "upstream",
}


def ask(fault: str, stream: bool) -> Any:
    """The answer as it is read, whole or to its end. Raises AttemptFailed."""
    provider, body = Sandbox(), {"model": f"{PREFIX}{fault}", "messages": [], "stream": stream}
    outgoing = Outgoing("/chat/completions", msgspec.json.encode(body))
    answer = provider.open_upstream().send(outgoing, timeouts=SOON)
    if answer.status != 200:
        raise provider.read_error(answer.status, answer.headers, answer.read_all(10_000, 1))
    if not stream:
        return provider.read_answer(answer.read_all(2000, 0.001), outgoing)
    reader = provider.open_reader(outgoing, chat_order("chatcmpl-1", "model", 1, False, 10_000))
    for _ in range(100):
        data = answer.read_some(0.001)
        if not data:
            reader.end()
            if not reader.finish_reason:
                raise AssertionError("it ended without an end")
        reader.feed(data or b"")
        if reader.finished:
            break
    return reader


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("fault", BLAMES)
def test_a_fault_speaks_against_whom_a_real_one_would(fault: str, stream: bool):
    with pytest.raises(AttemptFailed) as failure:
        ask(fault, stream)
    assert failure.value.blame.value == BLAMES[fault]
    assert failure.value.retry_after_seconds == (7 if fault == "429" else None)


def test_what_is_slow_is_good_and_has_counts():
    whole, stream = ask("slow", False), ask("slow", True)
    assert whole.usage == stream.usage
    assert "".join(stream.text) == "".join(whole.text)
    assert "[drill]" in "".join(whole.text)


def test_what_is_endless_has_no_end():
    assert not ask("endless", True).finished
    with pytest.raises(AttemptFailed, match="larger than"):
        ask("endless", False)


def test_each_fault_is_known():
    assert set(FAULTS) == {*BLAMES, "slow", "endless"}
