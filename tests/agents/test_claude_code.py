"""Claude Code, as npm brings it and as its guide sets it up, does a task on a model of every provider."""

import json
from pathlib import Path

import pytest

from tests.agents.books import check_books, check_paid_once
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT, SIGNATURE, TURNS, Agentic
from tests.factories import MadeKey
from tests.played import Caller, Providers
from tests.upstream import CUT, Step, fails

pytestmark = pytest.mark.agents
DOCUMENTED = "claude-sonnet-4-5"
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.6-sol"),
    ("anthropic", "claude-sonnet-4-5"),
    ("anthropic", "claude-sonnet-5"),
    ("gemini", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v4-flash"),
    ("moonshot", "kimi-k2.6"),
]
ASK = f"claude -p '{PROMPT}' --allowedTools Bash"


@pytest.fixture(scope="session")
def claude() -> Program:
    return install("claude-code")


@pytest.fixture
def run(claude: Program, providers: Providers, caller: Caller, tmp_path: Path):
    """Run lines in a shell that has the guide's settings."""

    def run(model: str, ask: str = ASK, key: str = caller.key.secret) -> Finished:
        guide = Guide(providers.gateway, "claude-code", key, **{DOCUMENTED: model})
        return claude.run_script(f"{guide['Shell']}\n{ask}", {}, tmp_path)

    return run


class CutOnce(Agentic):
    """Its first turn breaks off in the middle."""

    def play(self, turn) -> list[Step]:
        steps = super().play(turn)
        return [*steps[: len(steps) // 2], CUT] if len(self.turns) == 1 else steps


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_it_does_its_task_and_every_turn_is_asked_and_paid_once(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider)
    providers[provider].plays(upstream)
    done = run(model)
    assert done.status == 0, done
    assert (tmp_path / "notes.txt").read_text() == NOTES
    assert "first-42, second-53" in done.output, done
    assert [len(turn.results) for turn in upstream.turns] == list(range(TURNS))
    check_paid_once(caller, [*upstream.turns, *upstream.asides])
