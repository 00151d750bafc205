"""opencode, as npm brings it and as its guide sets it up, does a task by each of our APIs, on a model of every
provider."""

from pathlib import Path

import pytest

from tests.agents.books import check_books, check_only_the_delivered_part_is_paid_too, check_paid_once
from tests.agents.guide import Guide
from tests.agents.programs import Finished, Program, install
from tests.agents.task import NOTES, PROMPT, TURNS, Agentic, break_off
from tests.played import Caller, Providers

pytestmark = pytest.mark.clients
DOCUMENTED = "claude-sonnet-5-5"
CHAT, MESSAGES, RESPONSES = "opencode.json", "By Messages", "By Responses"
# Every API and every provider; an API's own dialect passes through, so most are of another one.
CASES = [
    (CHAT, "anthropic", "claude-sonnet-4-5"),
    (CHAT, "deepseek", "deepseek-v4-flash"),
    (MESSAGES, "openai", "gpt-4o"),
    (MESSAGES, "moonshot", "kimi-k2.6"),
    (RESPONSES, "gemini", "gemini-2.5-pro"),
    (RESPONSES, "openai", "gpt-5.6-sol"),
]


@pytest.fixture(scope="session")
def opencode() -> Program:
    return install("opencode")


@pytest.fixture
def run(opencode: Program, providers: Providers, caller: Caller, tmp_path: Path):
    """Do the task with the guide's settings for this API."""

    def run(api: str, model: str, key: str = caller.key.secret) -> Finished:
        models = {DOCUMENTED: model, f"bridge/{DOCUMENTED}": f"bridge/{model}"}
        guide = Guide(providers.gateway, "opencode", key, **models)
        (tmp_path / "opencode.json").write_text(guide[api])
        return opencode.run_script(f"{guide['Shell']}\nopencode run '{PROMPT}'", {}, tmp_path, providers.gateway)

    return run


@pytest.mark.parametrize(("api", "provider", "model"), CASES)
def test_it_does_its_task_and_every_turn_is_asked_and_paid_once(
    api: str, provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider)
    providers[provider].plays(upstream)
    done = run(api, model)
    assert done.status == 0, done
    assert (tmp_path / "notes.txt").read_text() == NOTES, done
    assert "first-42, second-53" in done.output, done
    assert [len(turn.results) for turn in upstream.turns] == list(range(TURNS)), done
    check_paid_once(caller, [*upstream.turns, *upstream.asides])


@pytest.mark.parametrize(
    ("api", "provider", "model"), [(CHAT, "anthropic", DOCUMENTED), (MESSAGES, "openai", "gpt-4o")]
)
def test_a_turn_that_breaks_off_is_not_asked_again_and_paid_as_far_as_it_came(
    api: str, provider: str, model: str, run, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = Agentic(provider, first=break_off)
    providers[provider].plays(upstream)
    done = run(api, model)
    assert done.status != 0, done
    assert not (tmp_path / "notes.txt").exists()
    assert "broke off" in done.errors, done
    assert [len(turn.results) for turn in upstream.turns] == [0], done
    outcomes = sorted(receipt["outcome"] for receipt in check_books(caller))
    assert outcomes == ["complete"] * len(upstream.asides) + ["cut"]


def test_by_responses_it_asks_such_a_turn_once_more(run, providers: Providers, caller: Caller, tmp_path: Path):
    upstream = Agentic("openai", first=break_off)
    providers["openai"].plays(upstream)
    done = run(RESPONSES, "gpt-4o")
    assert (done.status, (tmp_path / "notes.txt").read_text()) == (0, NOTES), done
    assert [len(turn.results) for turn in upstream.turns] == [0, *range(TURNS)], done
    check_only_the_delivered_part_is_paid_too(caller, [*upstream.turns, *upstream.asides], upstream.turns[0])
