"""aider, as pip brings it and as its guide sets it up, does a task on a model of every provider. It offers no tools: it
reads edits from the text, and gives back what the test of the user's printed."""

import re
from pathlib import Path

import pytest

from tests.agents.books import check_books
from tests.agents.guide import Guide
from tests.agents.programs import Program, install
from tests.agents.task import NOTES, PROMPT
from tests.played import Caller, Providers
from tests.replay import replies
from tests.replies import Reply
from tests.upstream import Received, Step

pytestmark = pytest.mark.clients
DOCUMENTED = "claude-sonnet-4-5"
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
    name commits."""

    def __init__(self, provider: str):
        self.provider = provider
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
        return replies(self.provider, self.turns[-1])(request)


@pytest.fixture(scope="session")
def aider() -> Program:
    return install("aider")


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_it_does_its_task_and_every_turn_is_asked_and_paid_once(
    provider: str, model: str, aider: Program, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Editing(provider)
    providers[provider].plays(upstream)
    guide = Guide(providers.gateway, "aider", caller.key.secret, **{f"openai/{DOCUMENTED}": f"openai/{model}"})
    (tmp_path / ".aider.conf.yml").write_text(guide[".aider.conf.yml"])
    (tmp_path / "test.sh").write_text(TEST)
    ask = f"aider --yes-always --auto-test --test-cmd 'bash test.sh' --message '{PROMPT}'"
    done = aider.run_script(f"{guide['Shell']}\n{ask}", {}, tmp_path)
    assert done.status == 0, done
    assert (tmp_path / "notes.txt").read_text() == NOTES, done
    assert len(upstream.turns) == len(EDITS), done
    receipts = check_books(caller)
    assert {receipt["outcome"] for receipt in receipts} == {"complete"}
    paid = sorted((receipt["tokens"]["prompt"], receipt["tokens"]["completion"]) for receipt in receipts)
    said = [*upstream.turns, *upstream.asides]
    assert paid == sorted((reply.prompt_tokens, reply.completion_tokens) for reply in said)
