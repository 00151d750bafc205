"""Qwen Code, as npm brings it and as its guide sets it up, does a task on a model of every provider."""

from pathlib import Path

import pytest

from tests.agents.books import check_paid_once
from tests.agents.broken_turns import check_it_asks_once_more, check_it_misses_no_end
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT, TURNS, Agentic
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


@pytest.fixture(scope="session")
def qwen() -> Program:
    return install("qwen-code")


@pytest.fixture
def run(qwen: Program, providers: Providers, caller: Caller, tmp_path: Path):
    """Do the task with the guide's settings."""

    def run(model: str, key: str = caller.key.secret) -> Finished:
        guide = Guide(providers.gateway, "qwen-code", key, **{DOCUMENTED: model})
        (tmp_path / ".qwen").mkdir()
        (tmp_path / ".qwen/settings.json").write_text(guide["settings.json"])
        return qwen.run_script(f"{guide['Shell']}\nqwen --yolo -p '{PROMPT}'", {}, tmp_path, providers.gateway)

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
def test_a_turn_that_breaks_off_is_asked_once_more_and_paid_as_far_as_it_came(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    check_it_asks_once_more(run, model, providers, provider, caller, tmp_path)


def test_a_turn_whose_end_mark_is_missing_is_not_asked_again(run, providers: Providers, caller: Caller, tmp_path: Path):
    check_it_misses_no_end(run, "gpt-4o", providers, "openai", caller, tmp_path)
