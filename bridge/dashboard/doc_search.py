"""The search of the docs: an index of all sections in each language, made once, and the sections that fit a question
best."""

import dataclasses
import functools
import re
from collections.abc import Sequence

from markupsafe import Markup, escape

from bridge.dashboard.doc_markdown import write_markdown
from bridge.dashboard.doc_pages import PAGES, DocPage, list_headings, write_body
from bridge.dashboard.snippets import site_url
from bridge.languages import ENGLISH, LANGUAGES, find_language, speaking

MOST_RESULTS = 20
MOST_WORDS, MOST_CHARACTERS = 8, 100  # of a question
EXCERPT_CHARACTERS = 180
NEAR = 30  # characters within which an excerpt looks for a space to begin or end at; Chinese has few
IN_TITLE, IN_HEADING, IN_TEXT, FIRST = 8, 5, 1, 2  # what a word counts for; FIRST: more, where a title begins with it
LIST_OF_PAGES = "pages"  # a section that has every title in it
_CODE = re.compile(r"^\w+:\n\n```\w*\n(.*?)```$", re.MULTILINE | re.DOTALL)
_LINK, _MARKS = re.compile(r"\]\([^)]*\)"), re.compile(r"[`*\[]")
_LINES = re.compile(r"^(?:[-#]+ |\|---.*$)|\|", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Section:
    """What can be found: the address of a section, its titles, and its text without marks."""

    path: str
    page_title: str
    heading: str
    text: str


@dataclasses.dataclass(frozen=True)
class Found:
    """A result: titles and excerpt have the words marked."""

    path: str
    page_title: Markup
    heading: Markup
    excerpt: Markup


def read_words(question: str) -> list[str]:
    """The words of a question, in lower case."""
    return question.lower()[:MOST_CHARACTERS].split()[:MOST_WORDS]


def search(words: Sequence[str]) -> list[Found]:
    """The sections that have all of the words, those first that have them in their titles. If there is none in the
    reader's language, those that have them in English: "rate limit" is asked for in any."""
    index = load_index(find_language())
    places = _rank(index, words) or _rank(load_index(ENGLISH), words)
    return [_show(index[place], words) for place in places[:MOST_RESULTS]]


def load_index(language: str) -> Sequence[Section]:
    """The index for this site's address, the same sections in each language; its figures are those of this program and
    its settings."""
    return _build_index(site_url(), language)


@functools.lru_cache(maxsize=4 * len(LANGUAGES))
def _build_index(_site: str, language: str) -> Sequence[Section]:
    with speaking(language):
        return [section for page in PAGES for section in _read_sections(page)]


def _read_sections(page: DocPage) -> list[Section]:
    page, body = page.translated(), write_body(page)
    first, *rest = write_markdown(page.title, page.summary, body).split("\n## ")
    found = [Section(page.path, page.title, "", _plain(first.partition("\n")[2]))]
    for heading, text in zip(list_headings(body), rest, strict=True):
        if heading.id == LIST_OF_PAGES:
            continue
        found.append(Section(f"{page.path}#{heading.id}", page.title, heading.text, _plain(text.partition("\n")[2])))
    return found


def _plain(markdown: str) -> str:
    """Its words, those of code behind all others."""
    words = _LINES.sub(" ", _MARKS.sub("", _LINK.sub("", _CODE.sub("", markdown))))
    return " ".join([*words.split(), *"".join(_CODE.findall(markdown)).split()])


def _rank(index: Sequence[Section], words: Sequence[str]) -> list[int]:
    """The places in the index of what fits, the best first."""
    scores = [(-score, place) for place, section in enumerate(index) if (score := _score(section, words))]
    return [place for _, place in sorted(scores)]


def _score(section: Section, words: Sequence[str]) -> int:
    """0 where a word is missing."""
    total = 0
    for word in words:
        title, heading = section.page_title.lower(), section.heading.lower()
        text = section.text.lower().count(word)
        worth = IN_TITLE * (word in title) + IN_HEADING * (word in heading) + FIRST * title.startswith(word)
        if not worth and not text:
            return 0
        total += worth + IN_TEXT * min(text, 3)
    return total + IN_TITLE * (not section.heading and total > 0 and _is_title(section, words))


def _is_title(section: Section, words: Sequence[str]) -> bool:
    return all(word in section.page_title.lower() for word in words)


def _show(section: Section, words: Sequence[str]) -> Found:
    text = section.text
    places = [place for word in words if (place := text.lower().find(word)) >= 0]
    start = max(0, min(places, default=0) - EXCERPT_CHARACTERS // 3)
    start = _find_space(text, start) + 1 if start else 0
    end = start + EXCERPT_CHARACTERS
    cut = text[start : _find_space(text, end)] + " …" if end < len(text) else text[start:]
    shown = _mark(("… " if start else "") + cut, words)
    return Found(section.path, _mark(section.page_title, words), _mark(section.heading, words), shown)


def _find_space(text: str, place: int) -> int:
    """The last space before the place, or the place itself where there is none near."""
    found = text.rfind(" ", max(0, place - NEAR), place)
    return found if found >= 0 else place


def _mark(text: str, words: Sequence[str]) -> Markup:
    """The text with each of the words marked."""
    if not words:
        return escape(text)
    pieces = re.split("(" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + ")", text, flags=re.I)
    marked = (
        Markup("<mark>{}</mark>").format(piece) if place % 2 else escape(piece) for place, piece in enumerate(pieces)
    )
    return Markup("").join(marked)
