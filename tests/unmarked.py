"""Finds texts that a reader sees and no catalogue can translate:  python -m tests.unmarked [PATH…]

In templates: words between tags, in attributes that are read, and in strings that are printed or passed to a macro. In
code: what is flashed, and what a refused form says."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

import jinja2
from jinja2 import nodes

ROOT = Path(__file__).parents[1]
# where the texts of pages are
PAGES = [ROOT / "templates", *(ROOT / "bridge" / room for room in ("dashboard", "admin", "accounts", "payments"))]
WORD = re.compile(r"[A-Za-z]{2,}")
# names and what is written, not said
NAMES = (
    *("AI Bridge", "OpenAI", "Anthropic", "Google", "Gemini", "DeepSeek", "Moonshot", "GitHub", "Stripe", "Python"),
    *("Node", "curl", "USD", "CSV", "JSON", "HTTP", "HTTPS", "URL", "API", "UTC", "TOTP", "SDK", "IP", "CIDR", "TLS"),
    *("SOCKS", "PEM", "RPM", "TPM", "ID", "OK", "SQLite", "PostgreSQL", "Redis", "Linux", "macOS", "Windows", "ms"),
    *("MB", "KB", "GB", "MiB", "KiB", "GiB", "p50", "p95", "p99", "sk", "req", "v1", "XXXXX", "LiteLLM", "OIDC"),
    *("openapi.json", "llms.txt", "xxxx-xxxx-xxxx-xxxx"),
    "flask",
    *("Ctrl", "Enter", "Esc"),
)
WRITTEN = (
    r"https?://\S+",
    r"(GET|POST|DELETE) /[^\s\"]*",
    r"^[a-z0-9_…-]+(, [a-z0-9_…-]+)+( …)?$",  # names of fields
    r"/[\w/{}<>.-]+",
    r"[\w.-]+@[\w.-]+",
    r"[\w-]+\.(com|org|net|example)\b",
    r"--[\w-]+",
    r"\breq_\S+",
    r"[A-Z]+_[A-Z_]+",
    r"pi_…",
)
ATTRIBUTES = re.compile(r"([a-z-]+=\"[^\"]*\"\s*)+")  # what a macro prints into a tag
SAME_EVERYWHERE = re.compile("|".join((*(rf"\b{re.escape(name)}\b" for name in NAMES), *WRITTEN)))
COMPLETES = re.compile(r"(billing|shipping|current|new|one-time)[ -][\w-]+")  # values of autocomplete
DRAWN = re.compile(r"\s*(M\d|aria-)")  # an icon's path, or an attribute
CLASSES = re.compile(r"(^| )(btn|st|d|ink|note|num|col|g|m|p|wide|roomy|mono|badge)[- ]")
READ = ("aria-label", "title", "placeholder", "alt")
CODE = ("code", "pre", "script", "style", "svg", "kbd", "samp")
MARKED = ("_", "gettext", "ngettext")
# calls whose strings are addresses, names and forms of data
SILENT = (
    "url_for",
    "asset",
    "icon",
    "brand",
    "range",
    "dict",
    "namespace",
    "select_autoescape",
    "super",
    "caller",
    "may",
)
# calls whose rows begin with what another program shows or calls so
NAME_FIRST = ("problems", "terms")
SAID = ("flash",)
REFUSED = ("InvalidRequest", "ValidationError", "RoleRefused")


def find_in_template(path: Path, environment: jinja2.Environment) -> Iterator[tuple[int, str]]:
    """Line and text of what is not marked in a template."""
    source = path.read_text()
    yield from _find_in_markup(source)
    tree = environment.parse(source)
    for name in tree.find_all(nodes.Name):
        if name.name == "_" and name.ctx != "load":
            yield name.lineno, "a variable called _ hides the function"
    for node in tree.iter_child_nodes():
        yield from _find_in_node(node)


class _Reader(HTMLParser):
    """Gathers what is read of a page whose Jinja was blanked."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[int, str]] = []
        self._code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in CODE:
            self._code += 1
        for name, value in attrs:
            if name in READ and value:
                self._note(value)

    def handle_endtag(self, tag: str) -> None:
        if tag in CODE and self._code:
            self._code -= 1

    def handle_data(self, data: str) -> None:
        if not self._code:
            self._note(data)

    def _note(self, text: str) -> None:
        text = " ".join(text.split())
        if WORD.search(SAME_EVERYWHERE.sub(" ", text)) and not ATTRIBUTES.fullmatch(text):
            self.found.append((self.getpos()[0], text))


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def _find_in_markup(source: str) -> Iterator[tuple[int, str]]:
    source = re.sub(r"(</?)\{\{[^}]*\}\}", r"\1x", source)  # the name of a tag
    for pattern in (
        r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}",
        r"\{# djangofmt:ignore #\}\s*\{%-?\s*macro.*?\{%-?\s*endmacro\s*-?%\}",  # laid out by hand: code
        r"\{# djangofmt:ignore #\}\s*\{%-?\s*set.*?\{%-?\s*endset\s*-?%\}",
        r"\{#.*?#\}",
        r"\{%-?\s*call sample\(.*?\{%-?\s*endcall\s*-?%\}",
        r"\{%-?\s*trans\b.*?\{%-?\s*endtrans\s*-?%\}",
        r"\{%.*?%\}",
        r"\{\{.*?\}\}",
    ):
        source = re.sub(pattern, _blank, source, flags=re.DOTALL)
    reader = _Reader()
    reader.feed(source)
    reader.close()
    yield from reader.found


def _find_in_node(node: nodes.Node) -> Iterator[tuple[int, str]]:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        if _is_said(node.value):
            yield node.lineno, node.value
        return
    if isinstance(node, nodes.Call):
        name = node.node.name if isinstance(node.node, nodes.Name) else getattr(node.node, "attr", "")
        if name in (*MARKED, *SILENT):
            return
        if name in NAME_FIRST:
            for row in node.find_all(nodes.Tuple):
                for cell in row.items[1:]:
                    yield from _find_in_node(cell)
            return
    if isinstance(node, nodes.CallBlock) and getattr(node.call.node, "name", "") == "sample":
        yield from _find_in_node(node.call)
        return
    if isinstance(node, nodes.Compare | nodes.Test | nodes.Import | nodes.FromImport | nodes.Include | nodes.Extends):
        return
    if isinstance(node, nodes.TemplateData):
        return
    for child in node.iter_child_nodes():
        yield from _find_in_node(child)


def _is_said(text: str) -> bool:
    """Whether a string of an expression is a text: it begins a sentence, or has several words."""
    text = SAME_EVERYWHERE.sub(" ", re.sub(r"<[^>]*>", " ", text)).strip()
    if not WORD.search(text) or DRAWN.match(text) or re.fullmatch(r"[\w./:#?=&%-]*", text) and not text[:1].isupper():
        return False
    is_class = re.fullmatch(r"[a-z0-9 :_-]+", text) and CLASSES.search(f"{text} ")
    return not is_class and not COMPLETES.fullmatch(text)


def find_in_code(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what is flashed, or said by a refused form, and isn't marked."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and node.args:
            if ast.unparse(node.func).rpartition(".")[2] in (*SAID, *REFUSED):
                yield from _find_bare(node.args[0])
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).partition("[")[0].endswith(".errors"):
            yield from _find_bare(node.value)


def _find_bare(node: ast.expr) -> Iterator[tuple[int, str]]:
    """The strings that an expression may come to, as they are."""
    if isinstance(node, ast.IfExp):
        yield from _find_bare(node.body)
        yield from _find_bare(node.orelse)
    elif (
        isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value or isinstance(node, ast.JoinedStr)
    ):
        yield node.lineno, ast.unparse(node)


def find(paths: Sequence[Path]) -> Iterator[tuple[Path, int, str]]:
    """File, line and text of what is not marked in these files and folders."""
    environment = jinja2.Environment(extensions=["jinja2.ext.i18n"])  # noqa: S701 - it only parses
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix == ".html":
                found = sorted(set(find_in_template(file, environment)))
            elif file.suffix == ".py":
                found = sorted(set(find_in_code(file)))
            else:
                continue
            yield from ((file, line, text) for line, text in found)


def main() -> None:
    """Print what is found in these files and folders, or everywhere that texts of pages are."""
    for file, line, text in find([Path(name) for name in sys.argv[1:]] or PAGES):
        print(f"{file}:{line}: {text[:110]}")


if __name__ == "__main__":
    main()
