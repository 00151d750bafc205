"""The code of the docs page does what the page says, word for word: the quick start and every block for curl are run
against a gateway. CI runs all of the page, in Python and Node too, where each block takes seconds to import its SDK."""

from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.dashboard.snippets import EXAMPLES, LANGUAGES
from scripts.quick_starts import Block, Site, Wrong, is_free
from tests.gateway import Gateway

# Each section of the page that has code, with how many blocks of it in each language.
SECTIONS = {
    "quick-start": {"Python": 1, "Node": 1, "curl": 1},
    "streaming": {"Python": 1},
    "reasoning": {"Python": 1},
    "messages": {"Python": 4, "Node": 3, "curl": 3},
    "responses": {"Python": 4, "Node": 2, "curl": 2},
    "labels": {"Python": 2, "Node": 2, "curl": 2},
}
RUN_HERE = [("quick-start", "Python"), *((section, "curl") for section in SECTIONS if "curl" in SECTIONS[section])]
# the page and its answers are the same on both engines
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def site(gateway: Gateway) -> Site:
    """The gateway, for an account that pays for this test alone."""
    return Site(gateway.base_url, gateway.make.make_key().secret)


@ON_SQLITE
@pytest.mark.parametrize(("section", "language"), RUN_HERE)
def test_the_code_of_the_page_runs_as_it_is_shown_and_costs_what_it_should(
    site: Site, section: str, language: str, tmp_path: Path
):
    blocks = [block for block in site.read_blocks() if (block.section, block.language) == (section, language)]
    assert len(blocks) == SECTIONS[section][language]
    for block in blocks:
        output, paid = site.check(block, tmp_path)
        assert output
        assert (paid == 0) is is_free(block)


@ON_SQLITE
def test_every_block_of_the_page_is_known_and_every_example_is_shown(site: Site):
    found: dict[str, dict[str, int]] = {}
    blocks = site.read_blocks()
    for block in blocks:
        counts = found.setdefault(block.section, {})
        counts[block.language] = counts.get(block.language, 0) + 1
    assert found == SECTIONS
    suffixes = {suffix for _, _, suffix in LANGUAGES}
    assert {path.suffix for path in EXAMPLES.iterdir()} <= suffixes
    others = ("quick-start", "streaming", "reasoning")
    assert len([block for block in blocks if block.section not in others]) == len(list(EXAMPLES.iterdir()))


@ON_SQLITE
@pytest.mark.parametrize(
    ("section", "code"),
    [
        ("messages", 'echo \'{"id": "msg_1"}\''),
        ("messages", "echo 'event: message_start' # curl -N"),
        ("messages", "true"),
        ("messages", "exit 3"),
        ("quick-start", 'echo \'{"id": "x", "error": {"code": "invalid_api_key"}}\''),
    ],
)
def test_a_block_that_is_refused_cut_or_silent_is_found_out(site: Site, section: str, code: str, tmp_path: Path):
    with pytest.raises(Wrong):
        site.check(Block(section, "curl", code), tmp_path)


@ON_SQLITE
def test_a_block_that_asks_nobody_is_found_out(site: Site, tmp_path: Path):
    with pytest.raises(Wrong, match=r"cost \$0"):
        site.check(Block("messages", "Python", "print('Hello!')"), tmp_path)


def test_only_counting_is_free():
    assert is_free(Block("messages", "Node", "await client.messages.countTokens({})"))
    assert not is_free(Block("messages", "curl", "curl /v1/messages"))


MESSAGE = {"model": "gpt-4o", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}
RESPONSE = {"model": "gpt-4o", "input": "Hello!"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}


def show(path: str, block: dict[str, Any]) -> dict[str, Any]:
    """A body whose only turn is this block."""
    turn = {"role": "user", "content": [block]}
    return {"messages": [turn]} if path == "messages" else {"input": [turn]}


@ON_SQLITE
@pytest.mark.parametrize(
    ("path", "more"),
    [
        *(("messages", {"tools": [{"type": kind}]}) for kind in ("web_search_20250305", "code_execution_20250825")),
        *(("messages", {"tools": [{"type": kind}]}) for kind in ("web_fetch_20250910", "mcp_toolset", "bash_20250124")),
        ("messages", show("messages", {"type": "image", "source": {"type": "file", "file_id": "file_1"}})),
        ("messages", show("messages", {"type": "tool_result", "tool_use_id": "toolu_1"})),
        *(("messages", {field: "x"}) for field in ("container", "mcp_servers", "thread", "fallbacks")),
        *(("messages", {field: "fast"}) for field in ("service_tier", "speed", "inference_geo")),
        ("messages", {"max_tokens": None}),
        ("messages", {"metadata": {"user_id": "x" * 257}}),
        *(("responses", {field: "resp_1"}) for field in ("previous_response_id", "conversation", "prompt")),
        ("responses", {"background": True}),
        ("responses", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
        *(
            ("responses", {"tools": [{"type": kind}]})
            for kind in ("file_search", "computer", "code_interpreter", "mcp")
        ),
        ("responses", {"tool_choice": {"type": "web_search"}}),
        ("responses", {"input": [{"type": "file_search_call", "id": "fs_1"}]}),
        ("responses", show("responses", {"type": "input_file", "file_id": "file_1"})),
        ("responses", show("responses", {"type": "input_file", "file_url": "https://example.com/a.pdf"})),
        ("responses", show("responses", {"type": "input_image", "file_id": "file_1"})),
        *(("responses", {field: "x"}) for field in ("messages", "max_tokens", "response_format", "stop")),
        ("responses", {"input": [CALL]}),
        ("responses", {"safety_identifier": "x" * 257}),
    ],
)
def test_what_the_page_says_is_refused_is_refused_and_costs_nothing(site: Site, path: str, more: dict[str, Any]):
    body = {**(MESSAGE if path == "messages" else RESPONSE), **more}
    answer = requests.post(f"{site.base_url}/{path}", json=body, headers=site.headers, timeout=60)
    assert answer.status_code == 400, answer.text
    assert site.total_used() == 0


@ON_SQLITE
@pytest.mark.parametrize(
    ("path", "more", "named"),
    [
        ("messages", {"tools": [{"type": "tool_search_tool_regex_20251119", "name": "search"}]}, "tools.0"),
        ("messages", {"context_management": {"edits": []}}, "context_management"),
        ("responses", {"tools": [{"type": "web_search"}, {"type": "tool_search"}]}, "tools.web_search"),
        ("responses", {"truncation": "auto"}, "truncation"),
    ],
)
def test_what_the_page_says_is_left_out_is_named(site: Site, path: str, more: dict[str, Any], named: str):
    body = {**(MESSAGE if path == "messages" else RESPONSE), **more}
    answer = requests.post(f"{site.base_url}/{path}", json=body, headers=site.headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert named in answer.headers["x-bridge-dropped"]
