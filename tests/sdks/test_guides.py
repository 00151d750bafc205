"""The code that the guides of SDKs show does what they say, word for word."""

from pathlib import Path

import pytest

from tests.agents.books import check_books
from tests.agents.guide import Guide
from tests.played import Caller, Providers
from tests.replay import replies
from tests.replies import Call, Reply
from tests.sdks.programs import run_program
from tests.upstream import Received, Step

pytestmark = pytest.mark.clients
CODE = [
    ("agents-sdk", "By Responses", ".py"),
    ("agents-sdk", "By chat completions", ".py"),
    ("agents-sdk", "Thinking", ".py"),
    ("ai-sdk", "By Responses", ".mjs"),
    ("ai-sdk", "By Messages", ".mjs"),
    ("ai-sdk", "Thinking", ".mjs"),
]
THOUGHT = "secret thought"


def forecast(request: Received) -> list[Step]:
    """Asks the tool for the weather, and says what it told."""
    if b"Sunny in Z" in request.body:
        return replies("anthropic", Reply("It is sunny."))(request)
    call = Call("toolu_01", "weather", {"city": "Zürich"})
    thinks = {"thought": THOUGHT, "signature": "c2lnbmVk"} if "thinking" in request.json else {}
    return replies("anthropic", Reply(calls=(call,), **thinks))(request)


@pytest.mark.parametrize(("slug", "label", "suffix"), CODE)
def test_the_code_of_a_guide_runs_as_it_is_shown(
    slug: str, label: str, suffix: str, providers: Providers, caller: Caller, tmp_path: Path
):
    upstream = providers["anthropic"]
    upstream.requests.clear()
    upstream.plays(forecast)
    file = tmp_path / f"guide{suffix}"
    file.write_text(Guide(providers.gateway, slug, caller.key.secret)[label])
    assert run_program(file).strip() == "It is sunny."
    assert (THOUGHT in upstream.requests[-1].body.decode()) == (label == "Thinking")
    assert [receipt["outcome"] for receipt in check_books(caller)] == ["complete", "complete"]
