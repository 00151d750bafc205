"""Every recorded exchange is held against our code by some test, or is named here with the reason why not."""

from collections import Counter

from tests.providers import test_anthropic_recordings, test_gemini_recordings, test_recordings
from tests.providers.recordings import list_all, list_recordings, needs_recordings

pytestmark = needs_recordings
# 120 were recorded for doors to come: answers and errors of the Responses API and its kin, of text completions and
# of embeddings. What is an error is read as one already.
OTHER_ENDPOINTS = {
    "openai-responses": "the Responses API, which no provider of ours is asked by",
    "azure-openai-responses": "the Responses API, which no provider of ours is asked by",
    "openai-responses-compact": "a shortened conversation of the Responses API is no chat",
    "openai-responses-input-tokens": "a count of tokens is no chat",
    "openai-completions": "text completions are no chat",
    "deepseek-responses": "the Responses API, which no provider of ours is asked by",
    "openai-embeddings": "embeddings are no chat",
    "gemini-embed": "embeddings are no chat",
    "openai-models": "a list of models is no chat",
    "deepseek-models": "a list of models is no chat",
    "anthropic-models": "a list of models is no chat",
    "gemini-models": "a list of models is no chat",
    "openai-moderations": "a moderation is no chat",
    "anthropic-count-tokens": "a count of tokens is no chat",
    "gemini-count-tokens": "a count of tokens is no chat",
}
SUM = 557
APART = 175  # on the other endpoints, answered or not; what is an error of theirs is in test_recorded_errors.py


def test_every_recording_is_accounted_for():
    covered = {(each["provider"], each["id"]) for each in test_recordings.EXCHANGES}
    covered |= {("anthropic", each["id"]) for each in test_anthropic_recordings.EXCHANGES}
    covered |= {("gemini", each["id"]) for each in test_gemini_recordings.EXCHANGES}
    covered |= {("gemini", each["id"]) for each in list_recordings("gemini", "gemini-openai-compat-chat")}
    apart = Counter(each["api"] for each in list_all() if (each["provider"], each["id"]) not in covered)
    assert set(apart) == set(OTHER_ENDPOINTS)
    assert (len(covered), sum(apart.values())) == (SUM - APART, APART)
    assert len(list_all()) == SUM
