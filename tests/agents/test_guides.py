"""The guides are those of the programs that tests run: their versions, their addresses, and how they are found."""

import json
import re

import pytest

from bridge.dashboard.guides import GUIDES, Guide
from tests.agents.programs import NODE
from tests.dashboard.pages import make_pages

SITE = "https://gateway.example"
# Programs that tests install without the package by which people get them, which only picks one for their machine.
BROUGHT_BY = {"opencode-linux-x64-baseline": "opencode-ai", "@cline/cli-linux-x64": "cline"}


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


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.slug)
def test_a_guide_names_this_gateway_and_the_version_that_is_installed_for_tests(client, guide: Guide):
    page = client.get(f"/docs/{guide.slug}").text
    assert SITE in page
    pinned = json.loads((NODE / guide.slug / "package.json").read_text())["dependencies"]
    [(package, version)] = pinned.items()
    assert version == guide.version
    assert f"version {version}" in page
    assert f"npm install -g {BROUGHT_BY.get(package, package)}" in page
