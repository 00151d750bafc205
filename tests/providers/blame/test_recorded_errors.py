"""What each error means, our own or recorded: whom it speaks against, and what of it the client is told.

The client is never told anything of ours."""

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.providers import PROVIDERS
from bridge.providers.base import Blame
from tests.providers.recordings import list_own, list_recorded, needs_recordings


def read_meanings(name: str) -> dict[tuple[str, str], list[str]]:
    """What stands behind a provider and an id, line by line."""
    lines = [line.split(" | ", 5) for line in (Path(__file__).parent / name).read_text().splitlines()[1:]]
    return {(provider, exchange_id): meaning for provider, exchange_id, *meaning in lines}


OWN, RECORDED = read_meanings("own_errors.txt"), read_meanings("recorded_errors.txt")
MEANINGS = OWN | RECORDED
ERRORS = [each for each in (*list_own(), *list_recorded()) if each["response"]["status"] != 200]
# What may be somebody's in an error: addresses, keys, whatever is masked (but for the id of an answer, which the client
# itself sent), and the names of a project or a model there.
THEIRS = re.compile(
    r"https?://\S+|\b[\w-]+\.(?:com|ai|dev)\b|\bsk-[\w*-]*|\S*\*{3,}\S*|(?<!resp_)REDACTED|PROJECT|\breq_\w+|\buser_\w+|"
    r"\b(?:gpt|claude|gemini|deepseek)-[\w.-]*\d[\w.-]*",
    re.I,
)


def test_every_error_of_our_own_has_a_line():
    errors = [each for each in list_own() if each["response"]["status"] != 200]
    assert {(each["provider"], each["id"]) for each in errors} == set(OWN)


@needs_recordings
def test_every_recorded_error_has_a_line():
    assert {(each["provider"], each["id"]) for each in ERRORS} == set(MEANINGS)


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each["id"]) for each in ERRORS])
def test_a_recorded_error_means_what_its_line_says(exchange: dict[str, Any]):
    blame, param, code, message = MEANINGS[exchange["provider"], exchange["id"]]
    response = exchange["response"]
    status, data = response["status"], response["body_text"].encode()
    failure = PROVIDERS[exchange["provider"]].read_error(status, response["headers"], data)
    assert (failure.blame, failure.status) == (Blame(blame), status)
    assert (failure.param or "-", failure.code or "-", failure.message or "-") == (param, code, message)
    assert not THEIRS.search(failure.message + failure.reason)
    for part in THEIRS.findall(response["body_text"]):
        assert part not in failure.message + failure.reason


@pytest.mark.parametrize("exchange", [pytest.param(each, id=each["id"]) for each in ERRORS])
def test_cut_anywhere_it_still_has_a_meaning(exchange: dict[str, Any]):
    response = exchange["response"]
    data = response["body_text"].encode()
    for end in range(0, len(data), 17):
        failure = PROVIDERS[exchange["provider"]].read_error(response["status"], {}, data[:end])
        assert failure.status == response["status"]
