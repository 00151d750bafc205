"""Claude Code, as npm brings it and as its guide sets it up, does a task on a model of every provider."""

import re
from pathlib import Path

import pytest

from scripts.quick_starts import fetch
from tests.agents.books import check_books, check_only_the_delivered_part_is_paid_too, check_paid_once
from tests.agents.broken_turns import check_it_misses_no_end
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import (
    COMMANDS,
    NOTES,
    PROMPT,
    SIGNATURE,
    THOUGHT,
    TURNS,
    Agentic,
    break_off,
    find_shell,
    read_turn,
)
from tests.played import Caller, Providers
from tests.replay import replies
from tests.replies import Call, Reply
from tests.upstream import Received, Step, fails

pytestmark = pytest.mark.clients
DOCUMENTED, SMALL = "claude-sonnet-5-5", "claude-haiku-4-5"
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
        return claude.run_script(f"{guide['Shell']}\n{ASK}", {}, tmp_path, providers.gateway)

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
    done = claude.run_script(guide["First question"], {}, tmp_path, providers.gateway)
    assert (done.status, done.output.strip()) == (0, "The folder is empty."), done
    assert {receipt["model"]["asked"] for receipt in check_books(caller)} <= {DOCUMENTED, SMALL}


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("gemini", "gemini-2.5-pro")])
def test_a_tool_that_it_keeps_back_is_there_for_the_model_once_it_has_searched_for_it(
    provider: str, model: str, run, providers: Providers
):
    search = Reply(calls=(Call("call_0", "ToolSearch", {"query": "select:NotebookEdit"}),))
    asked = []

    def play(request: Received) -> list[Step]:
        if find_shell(turn := read_turn(provider, request)):
            asked.append(turn)
        return replies(provider, Reply("Done.") if turn.results else search)(request)

    providers[provider].plays(play)
    done = run(model)
    assert (done.status, done.output.strip()) == (0, "Done."), done
    before, after = ({tool.name for tool in turn.tools} for turn in asked)
    assert (after - before, before - after) == ({"NotebookEdit"}, set())
    assert not [name for name in after if name.startswith("Deferred")]
    assert "Loaded the tool NotebookEdit" in asked[1].results[0]


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", DOCUMENTED)])
def test_a_call_that_breaks_off_is_not_run_and_its_turn_goes_on_where_it_stopped_and_is_paid_that_far(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider, first=break_off)
    providers[provider].plays(upstream)
    done = run(model)
    assert (done.status, (tmp_path / "notes.txt").read_text()) == (0, NOTES), done
    assert [len(turn.results) for turn in upstream.turns] == [0, *range(TURNS)], done
    before, after = (turn.request.json["messages"] for turn in upstream.turns[:2])
    said, told = after[len(before) :]
    assert (said["role"], told["role"]) == ("assistant", "user")
    assert "I use the shell." in str(said["content"])
    assert COMMANDS[0] not in str(said)
    assert "cut off mid-stream" in str(told)
    check_only_the_delivered_part_is_paid_too(caller, [*upstream.turns, *upstream.asides], upstream.turns[0])


def test_a_turn_that_breaks_off_each_time_ends_after_four_and_each_is_paid_as_far_as_it_came(
    run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic("openai", first=break_off, firsts=99)
    providers["openai"].plays(upstream)
    done = run("gpt-4o")
    assert done.status != 0
    assert "Server error mid-response" in done.output, done
    assert not (tmp_path / "notes.txt").exists()
    assert len(upstream.turns) == 4
    receipts = [receipt for receipt in check_books(caller) if receipt["outcome"] == "cut"]
    assert len(receipts) == 4
    assert all(0 < receipt["tokens"]["completion"] < 40 for receipt in receipts)


@pytest.mark.parametrize(("provider", "model"), [("openai", "gpt-4o"), ("anthropic", DOCUMENTED)])
def test_a_turn_whose_end_mark_is_missing_is_not_asked_again(
    provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    check_it_misses_no_end(run, model, providers, provider, caller, tmp_path)


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


def test_the_window_of_a_model_that_it_does_not_know_is_what_the_guide_has_it_be_told(
    claude: Program, providers: Providers, caller: Caller, tmp_path: Path
):
    providers["openai"].answers(Reply("The folder is empty."))
    guide = Guide(providers.gateway, "claude-code", caller.key.secret, **{DOCUMENTED: "gpt-4o"})
    asked = f"{guide['Shell']}\n{guide['First question']}"
    told = claude.run_script(asked, {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "128000"}, tmp_path, providers.gateway)
    untold = claude.run_script(asked, {}, tmp_path, providers.gateway)
    assert (told.status, untold.status) == (0, 0), told
    assert "assumes a context window" in untold.errors, untold
    assert "assumes a context window" not in told.errors, told


def test_it_knows_each_variable_of_its_guide(claude: Program, providers: Providers):
    page = fetch(f"{providers.gateway.site_url}/docs/claude-code").text
    named = set(re.findall(r"\b(?:ANTHROPIC|CLAUDE_CODE)_[A-Z_]+\b", page))
    assert len(named) > 5
    assert claude.knows("@anthropic-ai/claude-code-linux-*/claude", *named)
