"""Codex, as npm brings it and as its guide sets it up, does a task on a model of every provider."""

import re
from pathlib import Path

import pytest

from scripts.quick_starts import fetch
from tests.agents.books import check_books, check_paid_once
from tests.agents.broken_turns import check_it_asks_once_more, check_it_misses_no_end
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT, SIGNATURE, TURNS, Agentic
from tests.played import Caller, Providers
from tests.upstream import fails

pytestmark = pytest.mark.clients
DOCUMENTED, CODE_MODEL = "gpt-5.5", "gpt-5.6-sol"
# What a provider wants back of its thoughts, as it gave it.
THOUGHT_BACK = {"anthropic": SIGNATURE, "gemini": SIGNATURE}
WAITS_TO_BE_TOLD = "claude-sonnet-4-5"  # to think
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-5.5"),
    pytest.param("anthropic", "claude-sonnet-4-5", marks=pytest.mark.short),
    ("gemini", "gemini-2.5-pro"),
    ("deepseek", "deepseek-v4-flash"),
    ("moonshot", "kimi-k2.6"),
]
ASK = f"codex exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox '{PROMPT}'"


@pytest.fixture(scope="session")
def codex() -> Program:
    return install("codex")


def set_up(providers: Providers, key: str, folder: Path, model: str = DOCUMENTED, thinks: bool = False) -> Guide:
    """Write the guide's config.toml, with this model; one that thinks is told to."""
    guide = Guide(providers.gateway, "codex", key, **{DOCUMENTED: model})
    (folder / ".codex").mkdir(exist_ok=True)
    effort = 'model_reasoning_effort = "high"\n' if thinks else ""
    (folder / ".codex/config.toml").write_text(effort + guide["config.toml"])
    return guide


@pytest.fixture
def run(codex: Program, providers: Providers, caller: Caller, tmp_path: Path):
    """Do the task with the guide's settings."""

    def run(model: str, key: str = caller.key.secret, thinks: bool = False) -> Finished:
        guide = set_up(providers, key, tmp_path, model, thinks)
        return codex.run_script(f"{guide['Shell']}\n{ASK}", {}, tmp_path, providers.gateway)

    return run


@pytest.fixture
def do_task(run, providers: Providers, caller: Caller, tmp_path: Path):
    """Have it do the task on this model, and check that it is done, and every turn asked and paid for once."""

    def do_task(provider: str, model: str) -> Agentic:
        upstream = Agentic(provider)
        providers[provider].plays(upstream)
        done = run(model, thinks=model == WAITS_TO_BE_TOLD)
        assert done.status == 0, done
        assert (tmp_path / "notes.txt").read_text() == NOTES, done
        assert "first-42, second-53" in done.output, done
        assert [len(turn.results) for turn in upstream.turns] == list(range(TURNS))
        check_paid_once(caller, [*upstream.turns, *upstream.asides])
        return upstream

    return do_task


@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_it_does_its_task_and_every_turn_is_asked_and_paid_once(provider: str, model: str, do_task):
    _first, *later = do_task(provider, model).turns
    assert all(THOUGHT_BACK.get(provider, "") in turn.request.body.decode() for turn in later)


@pytest.mark.short
def test_of_a_model_that_it_knows_to_write_code_the_tool_is_custom_and_in_its_namespace(do_task):
    last = do_task("openai", CODE_MODEL).turns[-1].request.json
    assert "additional_tools" in [item["type"] for item in last["input"]]
    called = [item for item in last["input"] if item["type"] == "custom_tool_call"]
    assert [item["name"] for item in called] == ["exec"] * (TURNS - 1)
    thoughts = [item["encrypted_content"] for item in last["input"] if item["type"] == "reasoning"]
    assert thoughts == ["secret 0", "secret 1"]


def test_its_first_question_is_answered(codex: Program, providers: Providers, caller: Caller, tmp_path: Path):
    upstream = Agentic("openai")
    providers["openai"].plays(upstream)
    guide = set_up(providers, caller.key.secret, tmp_path)
    ask = f"git init -q; {guide['Shell']}\n{guide['First question']}"
    done = codex.run_script(ask, {}, tmp_path, providers.gateway)
    assert done.status == 0, done
    assert len(upstream.turns) == TURNS
    assert {receipt["model"]["asked"] for receipt in check_books(caller)} == {DOCUMENTED}


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-4o"), ("openai", DOCUMENTED), ("anthropic", "claude-sonnet-4-5")]
)
def test_a_turn_that_breaks_off_is_asked_once_more_and_paid_as_far_as_it_came(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    check_it_asks_once_more(run, model, providers, provider, caller, tmp_path)


def test_a_turn_whose_end_mark_is_missing_is_not_asked_again(run, providers: Providers, caller: Caller, tmp_path: Path):
    check_it_misses_no_end(run, "gpt-4o", providers, "openai", caller, tmp_path)


def test_without_balance_or_with_a_wrong_key_it_ends_and_says_why(run, providers: Providers):
    upstream = Agentic("openai")
    providers["openai"].plays(upstream)
    poor = providers.gateway.make.make_key(providers.gateway.make.make_account(0))
    unpaid, unknown = run("gpt-4o", key=poor.secret), run("gpt-4o", key="sk-wrong")
    assert unpaid.status != 0
    assert "Add credit" in unpaid.errors, unpaid
    assert unknown.status != 0
    assert "API key" in unknown.errors, unknown
    assert not upstream.turns


def test_a_conversation_that_is_too_long_is_called_that(run, providers: Providers, caller: Caller):
    said = "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens."
    providers["openai"].requests.clear()
    providers["openai"].plays(fails(400, said, code="context_length_exceeded"))
    done = run("gpt-4o")
    assert done.status != 0
    assert "ran out of room in the model's context window" in done.errors, done
    assert len(providers["openai"].requests) == 1
    assert {receipt["charge"] for receipt in check_books(caller)} == {"0"}


def test_it_knows_each_setting_of_its_guide(codex: Program, providers: Providers):
    page = fetch(f"{providers.gateway.site_url}/docs/codex").text
    named = set(re.findall(r"<dt><code>(\w+)</code>", page))
    assert {"model", "model_context_window"} <= named
    assert codex.knows("@openai/codex-linux-*/vendor/*/bin/codex", *named)
