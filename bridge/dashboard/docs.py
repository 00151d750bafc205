"""The docs: a page for each subject, in HTML and in Markdown, their search, and /llms.txt for machines."""

import re

from flask import Response, redirect, render_template, request
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from bridge.accounts.key_search import name_newest_key
from bridge.catalogue.listing import list_models
from bridge.dashboard.doc_markdown import write_markdown
from bridge.dashboard.doc_pages import (
    HOME,
    DocPage,
    find_neighbours,
    find_page,
    list_groups,
    list_headings,
    write_body,
)
from bridge.dashboard.doc_search import read_words, search
from bridge.dashboard.public import list_offered, public
from bridge.dashboard.scope import filter_keys
from bridge.dashboard.snippets import NO_KEY, base_url, site_url
from bridge.db import DEFAULT_GROUP
from bridge.extensions import anyone_may_enter
from bridge.languages import ENGLISH, speaking

MODELS_ON = "models"  # the page with the catalogue
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")  # for the place of a key in code, whatever the language


@public.get("/docs")
@anyone_may_enter
def show_docs() -> str:
    return _show(find_page(HOME))


@public.get("/docs/<slug>")
@anyone_may_enter
def show_doc(slug: str) -> str | BaseResponse:
    if slug.endswith(".md"):
        with speaking(ENGLISH):  # as /llms.txt, which leads here: programs read it
            page = find_page(slug.removesuffix(".md"))
            return _plain(write_markdown(page.title, page.summary, _write(page)), "text/markdown")
    if slug == HOME:
        return redirect("/docs", 301)
    return _show(find_page(slug))


@public.get("/docs/search")
@anyone_may_enter
def search_docs() -> str:
    """The sections that have all words of `q`."""
    asked = request.args.get("q", "").strip()
    words = read_words(asked)
    return render_template("public/docs_search.html", groups=list_groups(), asked=asked, found=search(words))


@public.get("/llms.txt")
@anyone_may_enter
def show_llms() -> Response:
    """All pages, for programs that read: https://llmstxt.org."""
    with speaking(ENGLISH):
        text = render_template("public/llms.txt", groups=list_groups(), site_url=site_url(), base_url=base_url())
    return _plain(text, "text/plain")


def _show(page: DocPage) -> str:
    key = name_newest_key(filter_keys()) if current_user.is_authenticated else None
    text = f"YOUR_KEY_{_UNFIT.sub('-', key[0]).strip('-')}" if key else NO_KEY
    body = _write(page, signed_in=current_user.is_authenticated, key_text=text)
    before, after = find_neighbours(page)
    return render_template(
        "public/doc.html",
        page=page,
        body=body,
        headings=list_headings(body),
        groups=list_groups(),
        before=before,
        after=after,
        key=key,
    )


def _write(page: DocPage, *, signed_in: bool = False, key_text: str = NO_KEY) -> str:
    models = list_offered(list_models(group=DEFAULT_GROUP)) if page.slug == MODELS_ON else ()
    return write_body(page, models=models, signed_in=signed_in, key_text=key_text)


def _plain(text: str, mimetype: str) -> Response:
    return Response(text, mimetype=mimetype)
