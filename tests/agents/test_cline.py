"""Cline's CLI, as npm brings it and as its guide sets it up, does a task on a model of every provider."""

from pathlib import Path

import pytest

from tests.agents.books import check_only_the_delivered_part_is_paid_too, check_paid_once
from tests.agents.broken_turns import check_it_misses_no_end
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT, TURNS, Agentic, break_off
from tests.played import Caller, Providers

pytestmark = pytest.mark.clients
DOCUMENTED = "claude-sonnet-5-5"
MODELS = [
    ("openai", "gpt-4o"),
    ("anthropic", "claude-sonnet-4-5"),
    ("gemini", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v4-flash"),
    ("moonshot", "kimi-k2.6"),
]
ALONE = {"CLINE_SESSION_BACKEND_MODE": "local"}  # no daemon, which would outlive the test


@pytest.fixture(scope="session")
def cline() -> Program:
    return install("cline")


@pytest.fixture
def run(cline: Program, providers: Providers, caller: Caller, tmp_path: Path):
    """Do the task with the guide's settings."""

    def run(model: str, key: str = caller.key.secret) -> Finished:
        guide = Guide(providers.gateway, "cline", key, **{DOCUMENTED: model})
        return cline.run_script(f"set -e\n{guide['Shell']}\ncline '{PROMPT}'", ALONE, tmp_path, providers.gateway)

    return run


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_it_does_its_task_and_every_turn_is_asked_and_paid_once(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider)
    providers[provider].plays(upstream)
    done = run(model)
    assert done.status == 0, done
    assert (tmp_path / "notes.txt").read_text() == NOTES, done
    assert "first-42, second-53" in done.output, done
    assert [len(turn.results) for turn in upstream.turns] == list(range(TURNS)), done
    check_paid_once(caller, [*upstream.turns, *upstream.asides])


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", DOCUMENTED)])
def test_a_turn_that_breaks_off_is_not_asked_again_and_paid_as_far_as_it_came(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider, first=break_off)
    providers[provider].plays(upstream)
    done = run(model)
    assert done.status != 0, done
    assert "The provider broke off its answer" in done.errors, done
    assert not (tmp_path / "notes.txt").exists()
    assert len(upstream.turns) == 1, done
    check_only_the_delivered_part_is_paid_too(caller, [*upstream.turns, *upstream.asides], upstream.turns[0])


def test_a_turn_whose_end_mark_is_missing_is_not_asked_again(run, providers: Providers, caller: Caller, tmp_path: Path):
    check_it_misses_no_end(run, "gpt-4o", providers, "openai", caller, tmp_path)
