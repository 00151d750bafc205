"""Claude Code, as npm brings it and as its guide sets it up, does a task on a model of every provider."""

import re
from pathlib import Path

import pytest

from scripts.quick_starts import fetch
from tests.agents.books import check_books, check_only_the_delivered_part_is_paid_too, check_paid_once
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT, SIGNATURE, THOUGHT, TURNS, Agentic, break_off, leave_out_the_end
from tests.played import Caller, Providers
from tests.replies import Reply
from tests.upstream import fails

pytestmark = pytest.mark.clients
DOCUMENTED, SMALL = "claude-sonnet-4-5", "claude-haiku-4-5"
# What a provider wants back of its thoughts, as it gave it.
THOUGHT_BACK = {"anthropic": SIGNATURE, "gemini": SIGNATURE, "deepseek": THOUGHT, "moonshot": THOUGHT}
MODELS = [
    ("openai", "gpt-4o"),
    pytest.param("openai", "gpt-5.6-sol", marks=pytest.mark.short),
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
    """Do the task with the guide's settings."""

    def run(model: str, key: str = caller.key.secret) -> Finished:
        guide = Guide(providers.gateway, "claude-code", key, **{DOCUMENTED: model})
        return claude.run_script(f"{guide['Shell']}\n{ASK}", {}, tmp_path)

    return run


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
    assert all(THOUGHT_BACK.get(provider, "") in turn.request.body.decode() for turn in upstream.turns[1:])
    check_paid_once(caller, [*upstream.turns, *upstream.asides])


def test_its_settings_file_does_as_well(claude: Program, providers: Providers, caller: Caller, tmp_path: Path):
    providers["anthropic"].answers(Reply("The folder is empty."))
    guide = Guide(providers.gateway, "claude-code", caller.key.secret)
    home = tmp_path / ".claude"
    home.mkdir()
    (home / "settings.json").write_text(guide["settings.json"])
    done = claude.run_script(guide["First question"], {}, tmp_path)
    assert (done.status, done.output.strip()) == (0, "The folder is empty."), done
    assert {receipt["model"]["asked"] for receipt in check_books(caller)} <= {DOCUMENTED, SMALL}


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", DOCUMENTED)])
def test_a_call_that_breaks_off_is_not_run_and_its_turn_is_paid_as_far_as_it_came(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider, first=break_off)
    providers[provider].plays(upstream)
    done = run(model)
    assert done.status != 0
    assert "The provider broke off its answer" in done.output, done
    assert not (tmp_path / "notes.txt").exists()
    assert len(upstream.turns) == 1
    check_only_the_delivered_part_is_paid_too(caller, [*upstream.turns, *upstream.asides], upstream.turns[0])


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", DOCUMENTED)])
def test_a_turn_whose_end_mark_is_missing_is_not_asked_again(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider, first=leave_out_the_end)
    providers[provider].plays(upstream)
    done = run(model)
    assert (done.status, (tmp_path / "notes.txt").read_text()) == (0, NOTES), done
    assert [len(turn.results) for turn in upstream.turns] == list(range(TURNS))
    check_paid_once(caller, [*upstream.turns, *upstream.asides])


def test_without_balance_or_with_a_wrong_key_it_ends_and_says_why(run, providers: Providers):
    upstream = Agentic("openai")
    providers["openai"].plays(upstream)
    poor = providers.gateway.make.make_key(providers.gateway.make.make_account(0))
    unpaid, unknown = run("gpt-4o", key=poor.secret), run("gpt-4o", key="sk-wrong")
    assert unpaid.status != 0
    assert "Add credit" in unpaid.output, unpaid
    assert unknown.status != 0
    assert "API key" in unknown.output, unknown
    assert not upstream.turns


def test_a_conversation_that_is_too_long_is_called_that(run, providers: Providers, caller: Caller):
    said = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens."
    providers["openai"].plays(fails(400, said, code="context_length_exceeded"))
    done = run("gpt-4o")
    assert done.status != 0
    assert "too long" in done.output, done
    assert {receipt["charge"] for receipt in check_books(caller)} == {"0"}


def test_it_knows_each_variable_of_its_guide(claude: Program, providers: Providers):
    page = fetch(f"{providers.gateway.site_url}/docs/claude-code").text
    named = set(re.findall(r"\b(?:ANTHROPIC|CLAUDE_CODE)_[A-Z_]+\b", page))
    assert len(named) > 5
    assert claude.knows("@anthropic-ai/claude-code-linux-*/claude", *named)
