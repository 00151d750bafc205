"""The code that the guides of SDKs show does what they say, word for word."""

from pathlib import Path

import pytest

from tests.agents.books import check_books
from tests.agents.guide import Guide
from tests.played import Caller, Providers
from tests.replay import replies
from tests.replies import Call, Reply
from tests.sdks.programs import APART, PYTHON, run_program
from tests.upstream import Received, Step, vectors

pytestmark = pytest.mark.clients
CODE = [
    ("agents-sdk", "By Responses", ".py"),
    ("agents-sdk", "By chat completions", ".py"),
    ("agents-sdk", "Thinking", ".py"),
    ("ai-sdk", "By Responses", ".mjs"),
    ("ai-sdk", "By Messages", ".mjs"),
    ("ai-sdk", "Thinking", ".mjs"),
    ("langchain", "By chat completions", ".py"),
    ("langchain", "By Messages", ".py"),
    ("langchain", "Thinking", ".py"),
    ("llama-index", "Agent", ".py"),
    ("litellm", "Chat", ".py"),
]
THOUGHT = "secret thought"


def forecast(request: Received) -> list[Step]:
    """Asks the tool for the weather, and says what it told."""
    if b"Sunny in Z" in request.body:
        return replies("anthropic", Reply("It is sunny."))(request)
    call = Call("toolu_01", "weather", {"city": "Zürich"})
    thinks = {"thought": THOUGHT, "signature": "c2lnbmVk"} if "thinking" in request.json else {}
    return replies("anthropic", Reply(calls=(call,), **thinks))(request)


def reads_the_documents(request: Received) -> list[Step]:
    """Says what is in the text that was found."""
    found = b"The ferry leaves at nine." in request.body
    return replies("anthropic", Reply("At nine." if found else "I don't know."))(request)


def run(providers: Providers, caller: Caller, slug: str, label: str, file: Path) -> str:
    """What a guide's code prints. LiteLLM would look for its price list on the internet, several times."""
    file.write_text(Guide(providers.gateway, slug, caller.key.secret)[label])
    pins = APART / slug if (APART / slug).exists() else PYTHON
    return run_program(file, pins=pins, LITELLM_LOCAL_MODEL_COST_MAP="True").strip()


@pytest.mark.parametrize(("slug", "label", "suffix"), CODE)
def test_the_code_of_a_guide_runs_as_it_is_shown(
    slug: str, label: str, suffix: str, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = providers["anthropic"]
    upstream.requests.clear()
    upstream.plays(forecast)
    assert run(providers, caller, slug, label, tmp_path / f"guide{suffix}") == "It is sunny."
    assert (THOUGHT in upstream.requests[-1].body.decode()) == (label == "Thinking")
    assert [receipt["outcome"] for receipt in check_books(caller)] == ["complete", "complete"]


@pytest.mark.parametrize("slug", ["langchain", "litellm"])
def test_the_embeddings_of_a_guide_are_made_as_it_is_shown(
    slug: str, providers: Providers, caller: Caller, tmp_path: Path
):
    providers["openai"].requests.clear()
    providers["openai"].plays(vectors())
    assert run(providers, caller, slug, "Embeddings", tmp_path / "guide.py") == "2"
    [sent] = providers["openai"].sent
    assert sent["input"] == ["A harbour at night", "A quiet street"]
    assert [receipt["endpoint"] for receipt in check_books(caller)] == ["embeddings"]


def test_an_index_of_documents_is_made_and_asked_as_its_guide_shows(
    providers: Providers, caller: Caller, tmp_path: Path
):
    providers["openai"].plays(vectors())
    providers["anthropic"].plays(reads_the_documents)
    assert run(providers, caller, "llama-index", "Documents", tmp_path / "guide.py") == "At nine."
    assert [receipt["endpoint"] for receipt in check_books(caller)] == ["embeddings", "embeddings", "chat"]
