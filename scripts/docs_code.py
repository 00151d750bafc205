"""The code that the docs show, read as a reader copies it: with base URL and key filled in, and nothing else
changed."""

import dataclasses
import html.parser
import re

LANGUAGES = ("Python", "Node", "curl")
NO_KEY = "YOUR_API_KEY"
_BASE_URL = re.compile(r'base_url="([^"]+)/v1"')
_PAGE = re.compile(r'href="(/docs/[a-z0-9-]+)"')


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code: the example that it belongs to and the section of the page that it is in, and its language."""

    section: str
    language: str
    code: str
    example: str = ""
    page: str = ""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.language} of {self.page}#{self.section}"

    def fill_in(self, shown_site: str, site: str, api_key: str) -> "Block":
        """The same for a site and a key."""
        return dataclasses.replace(self, code=self.code.replace(shown_site, site).replace(NO_KEY, api_key))


def list_pages(home: str) -> list[str]:
    """The paths of the other pages, in order, by the first one's list."""
    return list(dict.fromkeys(_PAGE.findall(home)))


def find_shown_site(home: str) -> str:
    """The address that the pages show for the site. Raises ValueError for a page that has none."""
    start = next((block for block in list_blocks(home) if block.language == "Python"), None)
    shown = _BASE_URL.search(start.code) if start else None
    if start is None or shown is None or NO_KEY not in start.code:
        raise ValueError("These docs have no quick start as we know it.")
    return shown[1]


def list_blocks(page: str, path: str = "") -> list[Block]:
    """Every labelled block of code on a page, as it stands there. In a guide the label is often a file's name."""
    return _Blocks(page, path).blocks


class _Blocks(html.parser.HTMLParser):
    def __init__(self, page: str, path: str):
        super().__init__()
        self.blocks: list[Block] = []
        self._path, self._section, self._example = path, "", ""
        self._language: str | None = None
        self._code: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self._section = found.get("id") or ""
        elif tag == "div" and found.get("class") == "code":
            self._example = ""
        elif tag == "input" and found.get("type") == "radio":
            self._example = found.get("name") or ""
        elif tag == "pre" and found.get("aria-label"):
            self._language, self._code = found["aria-label"], []

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre" and self._language is not None:
            code = "".join(self._code)
            self.blocks.append(Block(self._section, self._language, code, self._example, self._path))
            self._language = None

    def handle_data(self, data: str) -> None:
        if self._language is not None:
            self._code.append(data)
