"""The docs: a page for each subject, found by its list, by search and by old addresses, and the same as Markdown."""

import gettext
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from bridge import errors, languages
from bridge.accounts.key_terms import KeyTerms
from bridge.accounts.keys import issue_key, revoke_key
from bridge.accounts.tables import Account
from bridge.dashboard import doc_search
from bridge.dashboard.doc_pages import MOVED, PAGES
from bridge.db import db
from tests.dashboard.pages import make_pages, sign_up

SITE = "https://gateway.example"
ANCHOR = re.compile(r'\bid="([^"]+)"')
LINK = re.compile(r'href="(/docs[^"?.]*)"')
# The sections of the one page that /docs was.
OLD = (
    *("quick-start", "agents", "authentication", "chat", "streaming", "reasoning", "messages", "responses"),
    *("embeddings", "completions", "images", "labels", "resume", "models", "errors", "limits", "headers", "money"),
    *("once", "account", "not-offered"),
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    with make_pages(tmp_path_factory.mktemp("docs"), public_base_url=f"{SITE}/") as app:
        yield app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def pages(app: Flask) -> dict[str, str]:
    """All of them, by path."""
    client = app.test_client()
    return {page.path: client.get(page.path).text for page in PAGES}


def test_each_page_leads_to_all_others_to_its_sections_and_to_its_neighbours(pages: dict[str, str]):
    paths = list(pages)
    for place, (path, page) in enumerate(pages.items()):
        assert set(paths) <= set(LINK.findall(page)), path
        on_this_page = page.partition('<nav class="toc"')[2]
        linked = re.findall(r'href="#([^"]+)"', on_this_page.partition("</nav>")[0])
        assert linked == re.findall(r'<section id="([^"]+)"', page), path
        assert linked, path
        previous, following = re.findall(r'rel="prev"', page), re.findall(r'rel="next"', page)
        assert (len(previous), len(following)) == (int(place > 0), int(place < len(paths) - 1))
        assert f"{SITE}/v1" in page


def test_every_link_within_the_docs_leads_to_a_section_that_is_there(pages: dict[str, str]):
    for path, page in pages.items():
        for link in set(LINK.findall(page)) | set(MOVED.values()):
            target, _, anchor = link.partition("#")
            assert target in pages, (path, link)
            assert not anchor or anchor in ANCHOR.findall(pages[target]), (path, link)


def test_every_address_of_the_one_page_of_old_is_still_there(pages: dict[str, str]):
    home = pages["/docs"]
    assert set(OLD) - {"quick-start"} <= set(ANCHOR.findall(home))
    assert set(MOVED) <= set(OLD)
    assert all(f'data-moved="{url}"' in home for url in MOVED.values())


def test_no_anchor_is_twice_on_a_page(pages: dict[str, str]):
    for path, page in pages.items():
        anchors = ANCHOR.findall(page)
        assert len(anchors) == len(set(anchors)), path


def test_the_page_of_errors_has_every_code_that_the_gateway_answers_with(pages: dict[str, str]):
    pages_alone = {"internal_error", "permission_denied", "role_refused", "view_only"}  # of pages, or of a bug
    codes = {error.code for error in list_errors(errors.BridgeError)} - pages_alone
    assert {code for code in codes if code not in pages["/docs/errors"]} == set()


def list_errors(base: type[errors.BridgeError]) -> set[type[errors.BridgeError]]:
    found = {each for each in base.__subclasses__() if each.__module__ == errors.__name__}
    return found.union(*(list_errors(each) for each in found))


def read_found(page: str) -> list[tuple[str, str]]:
    """The results: where each leads, and its titles."""
    results = page.partition('<ol class="found">')[2].partition("</ol>")[0]
    return re.findall(r'<a href="([^"]+)">(.*?)</a>', results, re.DOTALL)


def test_the_search_finds_what_is_in_titles_first_marks_it_and_leads_to_the_section(client: FlaskClient):
    page = client.get("/docs/search?q=Idempotency+KEY").text
    found = read_found(page)
    assert found[0] == ("/docs/idempotency#key", "<mark>Idempotency</mark> › Send a <mark>key</mark> of your own")
    assert "/docs/errors#codes" in dict(found)
    assert 'value="Idempotency KEY"' in page
    for asked, first in {"key": "/docs/keys", "stream": "/docs/streaming", "codes": "/docs/errors#codes"}.items():
        assert read_found(client.get(f"/docs/search?q={asked}").text)[0][0] == first


def test_the_search_finds_code_too_and_needs_every_word(client: FlaskClient):
    assert "/docs/streaming#call" in client.get("/docs/search?q=include_usage").text
    assert "No section has all of these words" in client.get("/docs/search?q=include_usage+harbour").text


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("", "What are you looking for?"),
        ("%20", "What are you looking for?"),
        ("zebra", "Nothing found"),
        ("%3Cscript%3E", "“&lt;script&gt;”"),
        ("%5B(" + 200 * "a", "Nothing found"),
        ("%00", "Nothing found"),
    ],
)
def test_a_search_without_a_result_says_so(client: FlaskClient, asked: str, said: str):
    answer = client.get(f"/docs/search?q={asked}")
    assert answer.status_code == 200
    assert said in answer.text


def test_each_page_is_there_as_markdown_and_llms_txt_lists_them_all(client: FlaskClient, pages: dict[str, str]):
    listed = client.get("/llms.txt")
    assert listed.mimetype == "text/plain"
    addresses = re.findall(rf"\]\({SITE}(/docs/[^)]+\.md)\)", listed.text)
    assert addresses == [f"/docs/{page.slug}.md" for page in PAGES]
    for page, address in zip(PAGES, addresses, strict=True):
        answer = client.get(address)
        assert answer.mimetype == "text/markdown"
        assert answer.text.startswith(f"# {page.title}\n\n{page.summary}\n\n")
        assert answer.text.count("\n## ") == pages[page.path].count('<section id="')
        assert answer.text.count("```") == 2 * pages[page.path].count("<pre")
        assert not re.search(r"</?(p|code|a|div|span|td)\b", re.sub(r"```.*?```", "", answer.text, flags=re.DOTALL))


def test_a_page_that_there_is_not_is_a_404(client: FlaskClient):
    for path in ("/docs/nothing", "/docs/nothing.md", "/docs/.md"):
        assert client.get(path).status_code == 404, path
    assert client.get("/docs/quick-start").location == "/docs"


def test_examples_name_the_key_of_whoever_is_signed_in_and_never_its_secret(tmp_path: Path):
    with make_pages(tmp_path) as app:
        client = app.test_client()
        assert "your key" in client.get("/docs").text
        sign_up(client)
        without = client.get("/docs/tools").text
        assert "Create a key" in without
        assert "YOUR_API_KEY" in without
        with app.app_context():
            account_id = db.session.query(Account.id).scalar()
            issued = issue_key(account_id, KeyTerms(name='worker "<prod>'))
            later = issue_key(account_id, KeyTerms(name="revoked"))
            revoke_key(account_id, later.key.id, wait=False)
        for path in ("/docs", "/docs/tools", "/docs/claude-code"):
            page = client.get(path).text
            assert "worker &#34;&lt;prod&gt;" in page
            assert f"sk-…{issued.secret[-4:]}" in page
            assert "YOUR_KEY_worker-prod" in page
            assert "YOUR_API_KEY" not in page
            assert issued.secret not in page


@pytest.fixture
def chinese(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The headers of a reader of Chinese, for whom two texts of the docs are translated."""
    said = {
        "Costs": "费用",
        "The answer can cost more than is available. Add credit, or lower max_tokens.": "余额不够" * 99
        + "充值后重试。",
    }
    catalogue = gettext.NullTranslations()
    monkeypatch.setattr(catalogue, "gettext", lambda text: said.get(text, text))
    loaded = languages._load
    monkeypatch.setattr(languages, "_load", lambda name: loaded(name) if name == languages.ENGLISH else catalogue)
    doc_search._build_index.cache_clear()
    yield {"Accept-Language": "zh-CN"}
    doc_search._build_index.cache_clear()


def test_the_search_is_in_the_readers_language_and_finds_a_word_within_a_sentence(
    client: FlaskClient, chinese: dict[str, str]
):
    page = client.get("/docs/search?q=充值", headers=chinese).text
    assert [path for path, _ in read_found(page)] == ["/docs#fail"]
    assert "余额不够<mark>充值</mark>后重试" in page
    assert "Nothing found" in client.get("/docs/search?q=充值").text
    in_english = client.get("/docs/search?q=add+credit,+or+lower", headers=chinese).text
    assert [path for path, _ in read_found(in_english)] == ["/docs#fail"]


def test_titles_are_in_the_readers_language_and_anchors_and_what_programs_read_in_english(
    client: FlaskClient, pages: dict[str, str], chinese: dict[str, str]
):
    page = client.get("/docs/costs", headers=chinese).text
    assert "<h1>费用</h1>" in page
    assert "费用" in client.get("/docs/keys", headers=chinese).text.partition('rel="next"')[2]
    assert ANCHOR.findall(page) == ANCHOR.findall(pages["/docs/costs"])
    for path in ("/docs/costs.md", "/llms.txt"):
        assert "Costs" in client.get(path, headers=chinese).text
