"""The look holds together: every class that a template or the script uses is known to one of the stylesheets."""

import gzip
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
STYLESHEETS = ("static/bridge.css", "static/vendor/tabler/tabler.min.css")
CLASS = re.compile(r"-?[a-z_][a-z0-9_-]*", re.IGNORECASE)


def known_classes() -> set[str]:
    styles = "".join((ROOT / path).read_text() for path in STYLESHEETS)
    return set(re.findall(r"\.(-?[a-zA-Z_][\w-]*)", styles))


def used_classes(template: str) -> set[str]:
    """The names in class attributes. Of an expression in one, only whole strings count: a name that is put together
    ("st-" ~ kind) is checked by the tests of its page."""
    found: set[str] = set()
    for value in re.findall(r'\bclass="((?:\{\{.*?\}\}|\{%.*?%\}|[^"])*)"', template, re.DOTALL):
        literal = re.sub(r"[\w-]*\{\{.*?\}\}[\w-]*", " ", re.sub(r"\{%.*?%\}", " ", value), flags=re.DOTALL)
        found.update(word for word in literal.split() if CLASS.fullmatch(word))
    for value in re.findall(r'\b(?:\w*_)?class=["\']([a-z0-9 _-]+)["\']', template):
        found.update(value.split())
    return found


def test_every_class_is_styled():
    known = known_classes()
    templates = sorted((ROOT / "templates").rglob("*.html"))
    assert templates
    unknown = {
        f"{template.relative_to(ROOT)}: {name}"
        for template in templates
        for name in used_classes(template.read_text()) - known
    }
    assert not unknown


def test_a_class_that_nobody_styles_is_found():
    page = (
        '<p class="small{% if x %} slim{% endif %} no-such-class st-{{ kind }}">{{ field("a", class="ink3 nor-this") }}'
    )
    assert used_classes(page) - known_classes() == {"no-such-class", "nor-this"}


def test_every_text_of_static_is_compressed_as_it_stands():
    texts = [*(ROOT / "static").glob("*.css"), *(ROOT / "static").glob("*.js"), *(ROOT / "static").rglob("*.min.css")]
    assert len(texts) > 3
    old = [path.name for path in texts if gzip.decompress(Path(f"{path}.gz").read_bytes()) != path.read_bytes()]
    assert not old, "run `make compress`"
