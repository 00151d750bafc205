"""An upstream's counts are brought within bounds: what was read from a cache and what was written to one are different
parts of the prompt."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bridge.conversation.usage import PARTS, Counts, Usage
from bridge.providers.base import Outgoing
from bridge.providers.openai.provider import OpenAI
from bridge.providers.tally import fit_parts, usage_of
from tests.providers.recordings import FOLDER, list_exchanges, needs_recordings


@given(st.tuples(*[st.integers(-(2**53), 2**53)] * 10))
def test_parts_are_never_larger_than_their_whole(counts: tuple[int, ...]):
    usage = usage_of(Counts(*counts))
    if min(counts[:2]) < 0:  # the wholes
        assert usage is None
        return
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == counts[:2]
    assert min(getattr(usage, name) for name in PARTS) >= 0
    fresh = usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens
    assert usage.audio_tokens + usage.image_tokens <= fresh
    assert usage.cached_audio_tokens <= usage.cached_tokens
    assert usage.cache_write_hour_tokens <= usage.cache_write_tokens
    assert usage.reasoning_tokens + usage.audio_output_tokens <= usage.completion_tokens


def test_counts_that_are_possible_stay_as_they_are():
    assert usage_of(Counts(10, 5, 3, 4, 7, 6)) == Usage(10, 5, 3, 4, 7, 6)


@given(st.integers(1, 10**6), st.data())
def test_parts_of_a_smaller_whole_keep_their_share(prompt: int, data: st.DataObject):
    cached = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - cached))
    smaller = data.draw(st.integers(0, prompt))
    fitted = fit_parts(Usage(prompt, 0, cached, 0, written), smaller, 0)
    assert fitted.prompt_tokens == smaller
    assert 0 <= fitted.cached_tokens - cached * smaller / prompt < 1 + 1e-6
    assert 0 <= written * smaller / prompt - fitted.cache_write_tokens < 1 + 1e-6


def test_a_write_to_the_cache_is_counted():
    (exchange,) = [each for each in list_exchanges("openai", "openai-chat") if each["id"] == "cache-write"]
    data = exchange["response"]["body_text"].encode()
    usage = OpenAI().read_answer(data, Outgoing("/chat/completions", b"{}")).usage
    assert usage == Counts(440, 38, reasoning_tokens=32, cache_write_tokens=437)


@needs_recordings
def test_a_recorded_write_to_the_cache_is_counted():
    (path,) = Path(FOLDER).glob("openai/chat-completion-prompt-caching-5-6-cache-write-*.json")
    data = json.loads(path.read_text())["response"]["body_text"].encode()
    usage = OpenAI().read_answer(data, Outgoing("/chat/completions", b"{}")).usage
    assert usage == Counts(1220, 100, reasoning_tokens=100, cache_write_tokens=1217)
