"""An upstream's counts are brought within bounds: what was read from a cache and what was written to one are different
parts of the prompt."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.providers.base import UNBELIEVABLE, Outgoing, Usage
from bridge.providers.openai import OpenAI, clamp_usage


@given(st.tuples(*[st.integers(-(2**70), 2**70)] * 6))
def test_parts_are_never_larger_than_their_whole(counts: tuple[int, ...]):
    usage = clamp_usage(*counts)
    if min(counts[:2]) < 0:  # the wholes
        assert usage == UNBELIEVABLE
        return
    assert min(dataclasses.astuple(usage)) >= 0
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens <= 2**31
    assert usage.cache_write_hour_tokens <= usage.cache_write_tokens
    assert usage.reasoning_tokens <= usage.completion_tokens <= 2**31


def test_counts_that_are_possible_stay_as_they_are():
    assert clamp_usage(10, 5, 3, 4, 7, 6) == Usage(10, 5, 3, 4, 7, 6)


RECORDINGS = os.environ.get("RECORDINGS_DIR", "")


@pytest.mark.skipif(not RECORDINGS, reason="RECORDINGS_DIR names no recordings")
def test_a_recorded_write_to_the_cache_is_counted():
    (path,) = Path(RECORDINGS).glob("openai/chat-completion-prompt-caching-5-6-cache-write-*.json")
    data = json.loads(path.read_text())["response"]["body_text"].encode()
    usage = OpenAI().read_answer(data, Outgoing("/chat/completions", b"{}")).usage
    assert usage == Usage(1220, 100, reasoning_tokens=100, cache_write_tokens=1217)
