"""The guides are those of the programs that tests run: their versions, their addresses, and how they are found."""

import re

import pytest

from bridge.dashboard.guides import GUIDES, Guide
from tests.agents.programs import NODE, PYTHON
from tests.dashboard.pages import make_pages
from tests.sdks.programs import FOLDER as SDKS

SITE = "https://gateway.example"
# By what people install each, and the file that pins it for tests. Those install some agents without the package by
# which people get them: it only picks one for their machine.
PACKAGES = {
    "claude-code": ("npm install -g @anthropic-ai/claude-code", NODE / "claude-code/package.json"),
    "codex": ("npm install -g @openai/codex", NODE / "codex/package.json"),
    "opencode": ("npm install -g opencode-ai", NODE / "opencode/package.json"),
    "cline": ("npm install -g cline", NODE / "cline/package.json"),
    "qwen-code": ("npm install -g @qwen-code/qwen-code", NODE / "qwen-code/package.json"),
    "aider": ("pip install aider-chat", PYTHON / "aider/requirements.in"),
    "continue": ("npm install -g @continuedev/cli", NODE / "continue/package.json"),
    "agents-sdk": ("pip install openai-agents", SDKS / "python/requirements.in"),
    "ai-sdk": ("npm install ai", SDKS / "node/package.json"),
    "langchain": ("pip install langchain-openai", SDKS / "python/requirements.in"),
    "llama-index": ("llama-index-core", SDKS / "apart/llama-index/requirements.in"),
    "litellm": ("pip install litellm", SDKS / "apart/litellm/requirements.in"),
}
UNTRIED = {"open-webui": "pip install open-webui", "cursor": "Override OpenAI Base URL"}  # one is large, one is closed
TRIED = [guide for guide in GUIDES if guide.slug not in UNTRIED]
PICKED = {"opencode-ai": "opencode-linux-x64-baseline", "cline": "@cline/cli-linux-x64"}


@pytest.fixture
def client(tmp_path):
    with make_pages(tmp_path, public_base_url=f"{SITE}/") as app:
        yield app.test_client()


def test_the_docs_lead_to_each_guide_and_each_guide_to_the_others(client):
    addresses = {f"/docs/{guide.slug}" for guide in GUIDES}
    for path in ("/docs", *addresses):
        assert addresses <= set(re.findall(r'href="(/docs/[^"]+)"', client.get(path).text)), path


def test_a_guide_that_there_is_not_is_a_404(client):
    assert client.get("/docs/nothing").status_code == 404


@pytest.mark.parametrize("slug", UNTRIED)
def test_a_guide_that_tests_dont_run_names_this_gateway(client, slug: str):
    page = client.get(f"/docs/{slug}").text
    assert f"{SITE}/v1" in page
    assert UNTRIED[slug] in page


@pytest.mark.parametrize("guide", TRIED, ids=lambda guide: guide.slug)
def test_a_guide_names_this_gateway_and_the_version_that_is_installed_for_tests(client, guide: Guide):
    page = client.get(f"/docs/{guide.slug}").text
    assert SITE in page
    command, pins = PACKAGES[guide.slug]
    assert command in page
    assert f"version {guide.version}" in page
    package = command.split()[-1]
    pin = (
        f'"{PICKED.get(package, package)}": "{guide.version}"'
        if pins.suffix == ".json"
        else f"{package}=={guide.version}"
    )
    assert pin in pins.read_text()
