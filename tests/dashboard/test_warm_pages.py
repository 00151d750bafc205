"""Who looks at a page first waits no longer than others: what takes long was done before the workers began."""

import jinja2
import pygments.lexer
import pytest
from flask import Flask

from bridge.dashboard import doc_search, warm_pages
from bridge.dashboard.doc_pages import PAGES
from bridge.languages import LANGUAGES

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_no_page_compiles_a_template_or_a_lexer_once_all_are(app: Flask, monkeypatch: pytest.MonkeyPatch):
    warm_pages(app)
    monkeypatch.setattr(jinja2.Environment, "compile", None)
    monkeypatch.setattr(jinja2.BaseLoader, "load", None)
    monkeypatch.setattr(pygments.lexer.RegexLexerMeta, "process_tokendef", None)
    docs = [page.path for page in PAGES]
    for path in ("/", "/sign-in", "/models", *docs, "/docs/search?q=key", "/llms.txt", "/nothing"):
        assert app.test_client().get(path).status_code in (200, 404)


def test_no_search_indexes_the_docs_whatever_its_language(app: Flask, monkeypatch: pytest.MonkeyPatch):
    doc_search._build_index.cache_clear()
    warm_pages(app)
    monkeypatch.setattr(doc_search, "write_body", None)
    for language in LANGUAGES:
        headers = {"Accept-Language": language.replace("_", "-")}
        assert app.test_client().get("/docs/search?q=max_tokens", headers=headers).status_code == 200
