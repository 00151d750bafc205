"""The code of the docs does what they say, word for word: every block of every page, in Python, Node and curl, is run
against a gateway, whose sandbox answers. The blocks are found on the pages, so that none can be forgotten."""

import os
from pathlib import Path
from typing import Any

import pytest
import requests

from bridge.dashboard.guides import GUIDES
from bridge.dashboard.snippets import EXAMPLES, LANGUAGES
from scripts.docs_code import Block, list_blocks, list_pages
from scripts.quick_starts import NODE_FOLDER, Site, Wrong, fetch, read_blocks, run_blocks
from tests.gateway import Gateway
from tests.installed import install_node

# What is shown and is no program. Any other label than that of a language would be a program that nothing runs.
SHOWN = {"Endpoint", "Endpoints", "Header", "Error response", "Whole answer", "Events"}
# the pages and their answers are the same on both engines
ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def site(gateway: Gateway) -> Site:
    """The gateway, for an account that pays for this test alone."""
    return Site(gateway.base_url, gateway.make.make_key().secret)


@ON_SQLITE
@pytest.mark.parametrize("language", [label for label, _, _ in LANGUAGES])
def test_every_block_of_the_docs_runs_as_it_is_shown_and_costs_what_it_should(
    gateway: Gateway, language: str, tmp_path: Path
):
    if language == "Node":
        os.symlink(install_node(NODE_FOLDER) / "node_modules", tmp_path / "node_modules")
    shown, blocks = read_blocks(gateway.base_url)
    blocks = [block for block in blocks if block.language == language]
    sites = [Site(gateway.base_url, gateway.make.make_key().secret) for _ in blocks]
    filled = [block.fill_in(shown, gateway.site_url, site.api_key) for block, site in zip(blocks, sites, strict=True)]
    assert len(filled) > 20
    for site, block, output in zip(sites, filled, run_blocks(filled, tmp_path), strict=True):
        site.check(block, output)


@ON_SQLITE
def test_every_example_is_shown_and_every_program_is_one_that_is_run(gateway: Gateway):
    _, blocks = read_blocks(gateway.base_url)
    shown = {(block.example.replace("-", "_"), block.language) for block in blocks}
    labels = {suffix: label for label, _, suffix in LANGUAGES}
    assert {(path.stem, labels[path.suffix]) for path in EXAMPLES.iterdir()} <= shown
    guides = {f"/docs/{guide.slug}" for guide in GUIDES}  # their programs are run by tests/agents and tests/sdks
    home = fetch(f"{gateway.site_url}/docs").text
    pages = [home, *(fetch(gateway.site_url + path).text for path in list_pages(home) if path not in guides)]
    found = {block.language for page in pages for block in list_blocks(page)}
    assert found - SHOWN == set(labels.values())


@ON_SQLITE
@pytest.mark.parametrize(
    ("example", "code"),
    [
        ("messages", 'echo \'{"id": "msg_1"}\''),
        ("messages", "echo 'event: message_start' # curl -N"),
        ("messages", "true"),
        ("messages", "exit 3"),
        ("quick", 'echo \'{"id": "x", "error": {"code": "invalid_api_key"}}\''),
        ("errors", 'echo \'{"error": {"code": "invalid_api_key"}}\''),
    ],
)
def test_a_block_that_is_refused_cut_or_silent_is_found_out(site: Site, example: str, code: str, tmp_path: Path):
    block = Block("", "curl", code, example)
    with pytest.raises(Wrong):
        site.check(block, *run_blocks([block], tmp_path))


@ON_SQLITE
def test_a_block_that_asks_nobody_or_fails_is_found_out(site: Site, tmp_path: Path):
    block = Block("", "Python", "print('Hello!')", "messages")
    with pytest.raises(Wrong, match=r"cost \$0"):
        site.check(block, *run_blocks([block], tmp_path))
    with pytest.raises(Wrong, match="NameError"):
        run_blocks([block, Block("", "Python", "print('Hello!')\nmissing", "messages")], tmp_path)


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
