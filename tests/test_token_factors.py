"""Our token scales and bounds are held to what providers counted, where somebody has recordings; bounds in any case."""

from pathlib import Path
from typing import Any

import pytest

from scripts import token_factors
from scripts.recorded_chats import Exchange, list_exchanges
from scripts.token_factors import LEAST_COVERED_PERCENT, Count, covered_percent, read_bounds, read_counts
from tests.providers.recordings import FOLDER, OWN_FOLDER, list_own, needs_recordings


@pytest.fixture(scope="module")
def exchanges() -> list[Exchange]:
    return list(list_exchanges(Path(FOLDER)))


@needs_recordings
def test_the_scales_cover_95_of_100_recorded_prompts_and_answers(exchanges: list[Exchange]):
    found = read_counts(exchanges)
    assert {provider for provider, _, _ in found} == {"openai", "anthropic", "gemini", "deepseek", "moonshot"}
    covered = {key: covered_percent(counts) for key, counts in found.items()}
    assert {key: percent for key, percent in covered.items() if percent < LEAST_COVERED_PERCENT} == {}
    assert sum(map(len, found.values())) > 450


@needs_recordings
def test_the_scales_are_not_far_too_high_either(exchanges: list[Exchange]):
    """It is what a customer pays too much for an answer that came without counts."""
    for (provider, name, kind), counts in read_counts(exchanges).items():
        theirs, scaled = sum(count.theirs for count in counts), sum(count.scaled for count in counts)
        assert scaled <= 1.6 * theirs or len(counts) < 3, (provider, name, kind)


@needs_recordings
def test_no_recorded_prompt_is_above_the_bound_of_its_hold(exchanges: list[Exchange]):
    bounds = read_bounds(exchanges)
    assert len(bounds) > 250
    assert [bound for bound in bounds if bound.theirs > bound.most] == []


def test_no_prompt_of_our_own_is_above_the_bound_of_its_hold():
    bounds = read_bounds(list(list_exchanges(OWN_FOLDER)))
    assert len(bounds) > 80
    assert [bound for bound in bounds if bound.theirs > bound.most] == []


def test_every_answer_of_our_own_is_read_with_its_counts():
    others = ("responses", "embeddings", "embed", "completions")  # of which no conversation is read here
    chats = [each for each in list_own() if not each["api"].endswith(others)]
    answered = [each["id"] for each in chats if each["response"]["status"] == 200]
    assert sorted(each.name for each in list_exchanges(OWN_FOLDER)) == sorted(answered)


def exchange(**more: Any) -> Exchange:
    fields = {
        "name": "made",
        "provider": "openai",
        "model": "gpt-4o",
        "body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]},
        "said": ["Hello"],
        "prompt_tokens": 8,
        "completion_tokens": 2,
        "unsaid_tokens": 0,
    }
    return Exchange(**{**fields, **more})


@pytest.mark.parametrize(("more", "status"), [({}, 0), ({"completion_tokens": 9}, 1), ({"prompt_tokens": 900}, 1)])
def test_a_count_above_the_scale_or_the_bound_is_reported(monkeypatch, capsys, more: dict[str, Any], status: int):
    monkeypatch.setenv("RECORDINGS_DIR", "recordings")
    monkeypatch.setattr(token_factors, "list_exchanges", lambda _folder: [exchange(**more)])
    assert token_factors.main() == status
    assert ("above it: " in capsys.readouterr().out) == bool(status)


def test_what_is_not_text_is_left_out():
    media = exchange(apart="media", prompt_tokens=900)
    assert list(read_counts([media])) == [("openai", "o200k", "answer")]
    assert read_bounds([media]) == []
    assert read_counts([exchange(apart="provider's tools", unsaid_tokens=None)]) == {}


def test_coverage_is_rounded_down():
    counts = [Count("x", 1, 1, 2)] * 94 + [Count("x", 3, 1, 2)] * 5
    assert covered_percent(counts) == 94
