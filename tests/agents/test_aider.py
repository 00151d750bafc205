"""aider, as pip brings it and as its guide sets it up, does a task on a model of every provider. It offers no tools: it
reads edits from the text, and gives back what the test of the user's printed."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bridge.inference.estimate import count_text
from tests.agents.books import check_books
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT
from tests.played import Caller, Providers
from tests.replay import CUTS, replies, stream_steps
from tests.replies import Reply, write_stream
from tests.upstream import CUT, Received, Step

pytestmark = pytest.mark.clients
DOCUMENTED = "claude-sonnet-5-5"
MODELS = [
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v4-flash"),
    ("moonshot", "kimi-k2.6"),
]
# The shell computes what is looked for, so that it is nowhere before the test has really run.
TEST = """#!/bin/bash
for line in first-$((40 + 2)) second-$((50 + 3)); do
  grep -qx $line notes.txt || { echo "$line is missing"; exit 1; }
done
"""
# What the file had before, and what it then has.
EDITS = {None: ("", "draft\n"), "first-42": ("draft\n", "first-42\n"), "second-53": ("first-42\n", NOTES)}


class Editing:
    """A provider's model that adds to the notes what the test has missed. It notes its answers, and those of them that
    name commits. `first`, if given, plays the first answer instead."""

    def __init__(self, provider: str, first: Callable[[bytes], bytes] | None = None):
        self.provider = provider
        self._first = first
        self.turns: list[Reply] = []
        self.asides: list[Reply] = []

    def __call__(self, request: Received) -> list[Step]:
        if b"Git commit messages" in request.body:
            self.asides.append(Reply("Add notes"))
            return replies(self.provider, self.asides[-1])(request)
        missed = re.findall(rb"(\S+) is missing", request.body.replace(rb"\n", b"\n"))
        before, after = EDITS[missed[-1].decode() if missed else None]
        text = f"notes.txt\n```\n<<<<<<< SEARCH\n{before}=======\n{after}>>>>>>> REPLACE\n```\n"
        self.turns.append(Reply(text, prompt_tokens=1000 * len(self.turns) + 1000, completion_tokens=300))
        if self._first and len(self.turns) == 1:
            return [*stream_steps(self._first(write_stream(self.provider, self.turns[0])), CUTS)[:-1], CUT]
        return replies(self.provider, self.turns[-1])(request)


@pytest.fixture(scope="session")
def aider() -> Program:
    return install("aider")


@pytest.fixture
def run(aider: Program, providers: Providers, caller: Caller, tmp_path: Path):
    """Do the task with the guide's settings, and check that it is done."""

    def run(upstream: Editing, model: str) -> Finished:
        providers[upstream.provider].plays(upstream)
        guide = Guide(providers.gateway, "aider", caller.key.secret, **{f"openai/{DOCUMENTED}": f"openai/{model}"})
        (tmp_path / ".aider.conf.yml").write_text(guide[".aider.conf.yml"])
        (tmp_path / "test.sh").write_text(TEST)
        ask = f"aider --yes-always --auto-test --test-cmd 'bash test.sh' --message '{PROMPT}'"
        done = aider.run_script(f"{guide['Shell']}\n{ask}", {}, tmp_path, providers.gateway)
        assert (done.status, (tmp_path / "notes.txt").read_text()) == (0, NOTES), done
        return done

    return run


def counts_paid(receipts: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    return sorted((receipt["tokens"]["prompt"], receipt["tokens"]["completion"]) for receipt in receipts)


def counts_said(replies: Sequence[Reply]) -> list[tuple[int, int]]:
    return sorted((reply.prompt_tokens, reply.completion_tokens) for reply in replies)


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_it_does_its_task_and_every_turn_is_asked_and_paid_once(provider: str, model: str, run, caller: Caller):
    upstream = Editing(provider)
    done = run(upstream, model)
    assert len(upstream.turns) == len(EDITS), done
    receipts = check_books(caller)
    assert {receipt["outcome"] for receipt in receipts} == {"complete"}
    assert counts_paid(receipts) == counts_said([*upstream.turns, *upstream.asides])


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", DOCUMENTED)])
def test_an_answer_that_breaks_off_is_asked_once_more_and_paid_as_far_as_it_came(
    provider: str, model: str, run, caller: Caller
):
    upstream = Editing(provider, first=lambda body: body[: len(body) // 2])
    done = run(upstream, model)
    assert "The provider broke off its answer" in " ".join(done.output.split()), done
    assert len(upstream.turns) == len(EDITS) + 1, done
    receipts = check_books(caller)
    [cut] = [receipt for receipt in receipts if receipt["outcome"] == "cut"]
    assert 0 < cut["tokens"]["completion"] < count_text(upstream.turns[0].text)
    complete = [receipt for receipt in receipts if receipt is not cut]
    assert {receipt["outcome"] for receipt in complete} == {"complete"}
    assert counts_paid(complete) == counts_said([*upstream.turns[1:], *upstream.asides])


def test_an_answer_whose_end_mark_is_missing_is_not_asked_again(run, caller: Caller):
    upstream = Editing("openai", first=lambda body: body.removesuffix(b"data: [DONE]\n\n"))
    done = run(upstream, "gpt-4o")
    assert len(upstream.turns) == len(EDITS), done
    receipts = check_books(caller)
    assert {receipt["outcome"] for receipt in receipts} == {"complete"}
    assert counts_paid(receipts) == counts_said([*upstream.turns, *upstream.asides])
