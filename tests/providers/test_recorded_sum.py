"""Every exchange is held against our code by some test; a recorded one that isn't is named here with the reason."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from bridge.providers import PROVIDERS
from tests.providers import test_completions, test_embeddings, test_recordings
from tests.providers.anthropic import test_recordings as anthropic_recordings
from tests.providers.gemini import test_recordings as gemini_recordings
from tests.providers.recordings import list_exchanges, list_own, list_recorded, needs_recordings
from tests.providers.responses import test_recordings as responses_recordings
from tests.v1 import test_recorded_counts

# These were recorded for doors to come: the kin of the Responses API. What is an error is
# read as one already.
OTHER_ENDPOINTS = {
    "openai-responses-compact": "a shortened conversation of the Responses API is no chat",
    "openai-models": "a list of models is no chat",
    "deepseek-models": "a list of models is no chat",
    "anthropic-models": "a list of models is no chat",
    "gemini-models": "a list of models is no chat",
    "openai-moderations": "a moderation is no chat",
}
SUM = 557
APART = 12  # on the other endpoints, answered or not; what is an error of theirs is in test_recorded_errors.py


TESTED = [
    *test_recordings.EXCHANGES,
    *anthropic_recordings.EXCHANGES,
    *gemini_recordings.EXCHANGES,
    *list_exchanges("gemini", "gemini-openai-compat-chat"),
    *responses_recordings.EXCHANGES,
    *test_embeddings.EXCHANGES,
    *test_completions.EXCHANGES,
    *test_recorded_counts.EXCHANGES,
]


def keys(exchanges: Iterable[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(each["provider"], each["id"]) for each in exchanges}


def test_every_exchange_of_our_own_is_held_against_our_code():
    assert keys(list_own()) <= keys(TESTED)


def test_every_dialect_has_exchanges_of_our_own_also_where_there_are_no_recorded_ones():
    of_each = Counter(each["provider"] for each in list_own())
    assert of_each["openai"] >= 30
    assert of_each["anthropic"] >= 30
    assert of_each["gemini"] >= 30
    assert set(of_each) == PROVIDERS.keys() - {"sandbox"}


@needs_recordings
def test_every_recording_is_accounted_for():
    recorded = list_recorded()
    covered = keys(TESTED) & keys(recorded)
    apart = Counter(each["api"] for each in recorded if (each["provider"], each["id"]) not in covered)
    assert set(apart) == set(OTHER_ENDPOINTS)
    assert (len(covered), sum(apart.values())) == (SUM - APART, APART)
    assert len(recorded) == SUM
