"""Counts of OpenAI's dialect, wherever its many servers put them and however they write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.conversation.usage import Counts
from bridge.providers.openai.usage import read_openai_usage

TOKENS = st.integers(0, 10**6)
BASE = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}


@given(TOKENS, TOKENS, st.integers(1, 10**6), st.booleans())
def test_what_the_total_has_more_than_its_parts_is_output(prompt: int, said: int, more: int, with_reasoning: bool):
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said + more}
    if with_reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": more}
    assert read_openai_usage(usage) == Counts(prompt, said + more, 0, more if with_reasoning else 0)


@given(TOKENS, TOKENS, st.integers(-(10**6), 0) | st.sampled_from([None, 0, 2**40, 10**30, "many", 1.5]))
def test_a_total_that_is_none_or_below_its_parts_changes_nothing(prompt: int, completion: int, total: Any):
    if isinstance(total, int) and -(10**6) <= total <= 0:
        total = prompt + completion + total
    found = read_openai_usage({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total})
    assert found is not None
    assert (found.prompt_tokens, found.completion_tokens) == (prompt, completion)


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": 10, "total_tokens": 15}, Counts(10, 5)),
        ({"completion_tokens": 5, "total_tokens": 15}, Counts(10, 5)),
        ({"prompt_tokens": 10, "total_tokens": 10}, Counts(10)),  # nobody says that nothing was written
        ({"total_tokens": 10}, None),
        ({"prompt_tokens": 10.0, "completion_tokens": 5.0}, Counts(10, 5)),
        ({"prompt_tokens": 10.0, "completion_tokens": 5.5}, Counts(10, odd=True)),
        ({"input_tokens": 10, "output_tokens": 5}, Counts(10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "input_tokens": 0, "output_tokens": 0}, Counts(10, 5)),
        ({"input_tokens": 10, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 3}},
         Counts(10, 5, 0, 3)),
        ({**BASE, "prompt_tokens_details": []}, Counts(100, 5)),
        ({**BASE, "prompt_tokens_details": "none"}, Counts(100, 5, odd=True)),
    ],
)  # fmt: skip
def test_what_is_said_of_a_class_is_read_and_nothing_else(usage: Any, counts: Counts | None):
    assert read_openai_usage(usage) == counts


@pytest.mark.parametrize(
    "cached",
    [
        {"prompt_tokens_details": {"cached_tokens": 90}},
        {"prompt_tokens_details": {"cached_tokens": 90.0}},
        {"input_tokens_details": {"cached_tokens": 90}},
        {"prompt_tokens_details": {"cached_tokens": 0}, "prompt_cache_hit_tokens": 90},
        {"prompt_cache_hit_tokens": 90, "prompt_cache_miss_tokens": 10},
        {"cached_tokens": 90},
        {"cache_read_input_tokens": 90},
        {"prompt_tokens_details": None, "cache_read_input_tokens": 90, "cached_tokens": None},
    ],
)
def test_what_came_from_a_cache_is_read_wherever_it_stands(cached: dict[str, Any]):
    assert read_openai_usage({**BASE, **cached}) == Counts(100, 5, 90)


def test_t33_a_cache_beside_the_prompt_is_a_part_of_it_where_the_total_or_all_names_say_so():
    apart = {"cache_read_input_tokens": 900, "cache_creation_input_tokens": 50}
    assert read_openai_usage({**BASE, **apart, "total_tokens": 1055}) == Counts(1050, 5, 900, 0, 50)
    assert read_openai_usage({"input_tokens": 100, "output_tokens": 5, **apart}) == Counts(1050, 5, 900, 0, 50)


def test_sound_and_pictures_are_read_and_cached_sound_once():
    of_prompt = {
        "cached_tokens": 40,
        "audio_tokens": 30,
        "image_tokens": 20,
        "cached_tokens_details": {"audio_tokens": 10},
    }
    usage = {**BASE, "prompt_tokens_details": of_prompt, "completion_tokens_details": {"audio_tokens": 2}}
    found = Counts(100, 5, 40, audio_tokens=20, cached_audio_tokens=10, audio_output_tokens=2, image_tokens=20)
    assert read_openai_usage(usage) == found
