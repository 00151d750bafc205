"""The pages of the docs: their order, and each page's text as HTML, for pages, search and Markdown alike.

One more is a line in PAGES and its template, `templates/public/docs/{slug}.html`: sections with an id and an `h2`."""

import dataclasses
import html
import itertools
import re
from collections.abc import Sequence
from typing import Any, Self

from flask import current_app
from markupsafe import Markup, escape

from bridge.catalogue.listing import ListedModel
from bridge.config import Settings
from bridge.conversation.labels import MAX_END_USER, MAX_TAG, MAX_TAGS
from bridge.dashboard.guides import GUIDES
from bridge.dashboard.snippets import NO_KEY, base_url, list_examples, quick_start, site_url
from bridge.errors import NotFound
from bridge.inference.choices import MAX_PARALLEL_CHOICES
from bridge.inference.failover import MAX_ATTEMPTS
from bridge.languages import to_translate, translate
from bridge.limits.abandoned_streams import FREE_A_MINUTE
from bridge.limits.token_counts import COUNTS_A_MINUTE

MEGABYTE = 2**20
START, GUIDE = to_translate("Get started"), to_translate("Guides")
CLIENT, REFERENCE = to_translate("Clients"), to_translate("Reference")
_HEADING = re.compile(r'<section id="([^"]+)">\s*<h2>(.*?)</h2>', re.DOTALL)
_TAG = re.compile(r"<[^>]+>")


@dataclasses.dataclass(frozen=True)
class DocPage:
    """A page at `path`. `summary` is a sentence or two below its title; `version` is the one of a client that was
    tried, "" for others. `group` stays English."""

    slug: str
    title: str
    summary: str
    group: str
    version: str = ""

    @property
    def path(self) -> str:
        return f"/docs/{self.slug}" if self.slug != HOME else "/docs"

    @property
    def template(self) -> str:
        return f"public/{'guides' if self.group == CLIENT else 'docs'}/{self.slug}.html"

    def translated(self) -> Self:
        """The same page, its title and summary in the reader's language."""
        return dataclasses.replace(self, title=translate(self.title), summary=translate(self.summary))


@dataclasses.dataclass(frozen=True)
class Heading:
    """A section of a page: the `id` of its anchor, and its title."""

    id: str
    text: str


HOME = "quick-start"
PAGES = (
    DocPage(
        HOME,
        to_translate("Quick start"),
        to_translate(
            "Keep the OpenAI or Anthropic SDK you have. Change the base URL, and the same code reaches every model."
        ),
        START,
    ),
    DocPage(
        "keys",
        to_translate("Keys and limits"),
        to_translate("A key says who is calling, what it may use and how much it may spend."),
        START,
    ),
    DocPage(
        "costs",
        to_translate("Costs"),
        to_translate("What a request costs, what it can cost at most, and where to read both."),
        START,
    ),
    DocPage("streaming", to_translate("Streaming"), to_translate("Read an answer while it is written."), GUIDE),
    DocPage("tools", to_translate("Tools"), to_translate("Let a model of any provider call your functions."), GUIDE),
    DocPage("vision", to_translate("Images and files"), to_translate("Show a model pictures, PDFs and sound."), GUIDE),
    DocPage(
        "schemas",
        to_translate("JSON that fits a schema"),
        to_translate("Get an answer that your program can parse."),
        GUIDE,
    ),
    DocPage(
        "reasoning",
        to_translate("Reasoning"),
        to_translate("Say how much a model is to think, and read what it thought."),
        GUIDE,
    ),
    DocPage(
        "idempotency", to_translate("Idempotency"), to_translate("Send a request twice and pay for it once."), GUIDE
    ),
    DocPage(
        "resume", to_translate("Resumable streams"), to_translate("Read a stream on after a lost connection."), GUIDE
    ),
    DocPage(
        "labels",
        to_translate("End users and tags"),
        to_translate("Say which of your customers a request is for, what it belongs to, and what its answer may cost."),
        GUIDE,
    ),
    DocPage(
        "teams",
        to_translate("Teams"),
        to_translate("Share one balance among several people, each with a role, keys and a budget."),
        GUIDE,
    ),
    DocPage(
        "models",
        to_translate("Models"),
        to_translate("Which models there are, and what happens when one can't be served."),
        GUIDE,
    ),
    *(DocPage(guide.slug, guide.title, guide.summary, CLIENT, guide.version) for guide in GUIDES),
    DocPage(
        "chat",
        to_translate("Chat completions"),
        to_translate("OpenAI's chat completions, for every model on the list."),
        REFERENCE,
    ),
    DocPage(
        "messages",
        to_translate("Messages"),
        to_translate("Anthropic's Messages API, for every model on the list."),
        REFERENCE,
    ),
    DocPage(
        "responses",
        to_translate("Responses"),
        to_translate("OpenAI's Responses API, for every model on the list."),
        REFERENCE,
    ),
    DocPage(
        "embeddings", to_translate("Embeddings"), to_translate("A vector for each text, in OpenAI's shape."), REFERENCE
    ),
    DocPage(
        "completions",
        to_translate("Completions"),
        to_translate("OpenAI's older API for a text that goes on."),
        REFERENCE,
    ),
    DocPage(
        "images",
        to_translate("Image generation"),
        to_translate("Pictures by a prompt or made of others, in OpenAI's shape."),
        REFERENCE,
    ),
    DocPage(
        "account",
        to_translate("Account and receipts"),
        to_translate("What your programs can ask about key, money and requests."),
        REFERENCE,
    ),
    DocPage(
        "errors",
        to_translate("Errors"),
        to_translate(
            "OpenAI's shape and types, so your SDK raises what it always did. A refused request costs nothing."
        ),
        REFERENCE,
    ),
    DocPage(
        "headers",
        to_translate("Headers"),
        to_translate("What you may send with a request, and what every answer tells you."),
        REFERENCE,
    ),
)
# Where the sections went of the one long page that /docs used to be, by their anchors there. `agents` is still on it.
MOVED = {
    "authentication": "/docs/keys#authentication",
    "chat": "/docs/chat",
    "streaming": "/docs/streaming",
    "reasoning": "/docs/reasoning",
    "messages": "/docs/messages",
    "responses": "/docs/responses",
    "embeddings": "/docs/embeddings",
    "completions": "/docs/completions",
    "images": "/docs/images",
    "labels": "/docs/labels",
    "resume": "/docs/resume",
    "models": "/docs/models",
    "errors": "/docs/errors",
    "limits": "/docs/keys#limits",
    "headers": "/docs/headers",
    "money": "/docs/costs#charge",
    "once": "/docs/idempotency",
    "account": "/docs/account",
    "not-offered": "/docs/chat#not-offered",
}


def find_page(slug: str) -> DocPage:
    """The page in the reader's language. Raises NotFound."""
    for page in PAGES:
        if page.slug == slug:
            return page.translated()
    raise NotFound(translate("There is no such page of the docs."))


def list_groups() -> list[tuple[str, list[DocPage]]]:
    """The pages by group, in the order in which they are read, all in the reader's language."""
    groups = itertools.groupby(PAGES, key=lambda page: page.group)
    return [(translate(group), [page.translated() for page in pages]) for group, pages in groups]


def find_neighbours(page: DocPage) -> tuple[DocPage | None, DocPage | None]:
    """The pages before and after this one, in the reader's language."""
    place = [each.slug for each in PAGES].index(page.slug)
    before, after = PAGES[max(0, place - 1) : place], PAGES[place + 1 : place + 2]
    return (before[0].translated() if before else None), (after[0].translated() if after else None)


def write_body(
    page: DocPage, *, models: Sequence[ListedModel] = (), signed_in: bool = False, key_text: str = NO_KEY
) -> Markup:
    """The sections of a page as HTML in the reader's language, with this site's address, and `key_text` wherever a key
    stands in code."""
    template = current_app.jinja_env.get_template(page.template)
    text = template.render(
        signed_in=signed_in,
        models=models,
        base_url=base_url(),
        site_url=site_url(),
        snippets=quick_start(),
        examples=list_examples(),
        groups=list_groups(),
        moved=MOVED,
        **_list_figures(),
    )
    return Markup(text.replace(NO_KEY, escape(key_text)))  # noqa: S704 - the template escapes what it fills in


def list_headings(body: str) -> list[Heading]:
    """The sections of a page, for "on this page"."""
    return [Heading(id, html.unescape(_TAG.sub("", text))) for id, text in _HEADING.findall(body)]


def _list_figures() -> dict[str, Any]:
    """What the pages say in figures, from where the code has them."""
    settings: Settings = current_app.config["BRIDGE"]
    return {
        "attempts": MAX_ATTEMPTS,
        "body_megabytes": settings.max_body_bytes // MEGABYTE,
        "counts_a_minute": COUNTS_A_MINUTE,
        "default_rpm": settings.default_rpm,
        "default_tpm": settings.default_tpm,
        "end_user_characters": MAX_END_USER,
        "free_streams": FREE_A_MINUTE,
        "keepalive_seconds": f"{settings.keepalive_seconds:g}",
        "most_choices": MAX_PARALLEL_CHOICES,
        "most_tags": MAX_TAGS,
        "resume_minutes": f"{settings.resume_seconds / 60:g}",
        "status_page": settings.status_page,
        "tag_characters": MAX_TAG,
        "total_seconds": f"{settings.total_timeout_seconds:g}",
    }
