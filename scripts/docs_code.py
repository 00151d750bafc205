"""The code that the docs page shows, read as a reader copies it: with base URL and key filled in, and nothing else
changed."""

import dataclasses
import html.parser
import re

LANGUAGES = ("Python", "Node", "curl")
NO_KEY = "YOUR_API_KEY"
_FINDS_CLIENT = re.compile(r"^(import|from) (openai|anthropic)\b", re.MULTILINE)
_BASE_URL = re.compile(r'base_url="([^"]+)/v1"')


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of code: the section of the page that it is in, and its language."""

    section: str
    language: str
    code: str

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return f"{self.language} of #{self.section}"


def read_blocks(page: str, base_url: str, api_key: str) -> list[Block]:
    """The page's code in one of LANGUAGES, in order, for this base URL and key. What has no client of its own goes on
    from the quick start. Raises ValueError for a page that has none."""
    blocks = [block for block in list_blocks(page) if block.language in LANGUAGES]
    start = next((block for block in blocks if block.language == "Python"), None)
    shown = _BASE_URL.search(start.code) if start else None
    if start is None or shown is None or NO_KEY not in start.code:
        raise ValueError("This docs page has no quick start as we know it.")
    found = []
    for block in blocks:
        code = block.code
        if block.language == "Python" and not _FINDS_CLIENT.search(code):
            code = f"{start.code}\n{code}"
        code = code.replace(shown[1], base_url.removesuffix("/v1")).replace(NO_KEY, api_key)
        found.append(dataclasses.replace(block, code=code))
    return found


def list_blocks(page: str) -> list[Block]:
    """Every labelled block of code on a page, as it stands there. In a guide the label is often a file's name."""
    return _Blocks(page).blocks


class _Blocks(html.parser.HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.blocks: list[Block] = []
        self._section = ""
        self._language: str | None = None
        self._code: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self._section = found.get("id") or ""
        elif tag == "pre" and found.get("aria-label"):
            self._language, self._code = found["aria-label"], []

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre" and self._language is not None:
            self.blocks.append(Block(self._section, self._language, "".join(self._code)))
            self._language = None

    def handle_data(self, data: str) -> None:
        if self._language is not None:
            self._code.append(data)
