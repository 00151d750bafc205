"""A page of the docs as Markdown: from its HTML, so that there is one text of each."""

import html.parser
import re

_ENDS = {"p", "li", "dd", "h2", "h3", "tr"}  # after which a line is written
_FENCES = {"Python": "python", "Node": "js", "curl": "bash"}
_MARKS = {"code": "`", "b": "**", "small": " "}
_SPACE = re.compile(r"\s+")


def write_markdown(title: str, summary: str, body: str) -> str:
    """The page with its title. Links lead where they do on the page."""
    return f"# {title}\n\n{summary}\n\n{_Writer(body).text}"


class _Writer(html.parser.HTMLParser):
    """Knows the few elements that pages of the docs are made of; what is there for a phone or for the mouse alone is
    left out."""

    def __init__(self, body: str):
        super().__init__()
        self._done: list[str] = []
        self._line: list[str] = []
        self._row: list[str] | None = None
        self._fence: list[str] | None = None
        self._label, self._hidden, self._link = "", "", ""
        self._columns = 0
        self.feed(body)
        self.text = re.sub(r"\n{3,}", "\n\n", "".join(self._done)).strip() + "\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if self._hidden:
            return
        if tag in ("button", "label") or "slim" in (found.get("class") or "") or found.get("class") == "code-h":
            self._hidden = tag
        elif tag == "pre":
            self._fence, self._label = [], found.get("aria-label") or ""
        elif tag == "a":
            self._link = found.get("href") or ""
            self._line.append("[")
        elif tag == "tr":
            self._row = []
        elif self._fence is None and tag in _MARKS:
            self._line.append(_MARKS[tag])

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden = "" if tag == self._hidden else self._hidden
        elif tag == "pre" and self._fence is not None:
            code, language = "".join(self._fence).rstrip(), _FENCES.get(self._label, "")
            self._done.append(f"{self._label}:\n\n```{language}\n{code}\n```\n\n")
            self._fence = None
        elif tag == "a":
            self._line.append(f"]({self._link})")
        elif tag in ("code", "b") and self._fence is None:
            self._line.append(_MARKS[tag])
        elif tag == "dt":
            self._line.append(":")
        elif tag in ("td", "th") and self._row is not None:
            self._row.append(self._take())
        elif tag == "thead":
            self._done.append(f"|{'---|' * self._columns}\n")
        elif tag in ("dl", "ul", "ol", "table"):
            self._done.append("\n")
        elif tag in _ENDS:
            self._end_line(tag)

    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._fence is not None:
            self._fence.append(data)
        else:
            self._line.append(data)

    def _end_line(self, tag: str) -> None:
        if tag == "tr" and self._row is not None:
            self._columns = len(self._row)
            self._done.append(f"| {' | '.join(self._row)} |\n")
            self._row = None
        elif self._row is None and (text := self._take()):
            before = {"h2": "## ", "h3": "### ", "li": "- ", "dd": "- "}.get(tag, "")
            self._done.append(f"{before}{text}\n" + ("" if tag in ("li", "dd") else "\n"))

    def _take(self) -> str:
        text = _SPACE.sub(" ", "".join(self._line)).strip()
        self._line = []
        return text
