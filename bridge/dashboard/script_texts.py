"""What the scripts of static/ say, for pages in other languages than English."""

import functools
import json

from markupsafe import Markup

from bridge.languages import ENGLISH, TRANSLATIONS, find_language

FILE = "scripts.json"  # beside the catalogue from which `make translations` writes it: {script: {English: translated}}


def bring_texts(*names: str) -> Markup:
    """A block of JSON with the texts of these scripts in the reader's language, which `translate` of bridge.js reads;
    nothing for English, which is in the scripts. It is data, so the policy of pages doesn't have to permit it."""
    language = find_language()
    return Markup() if language == ENGLISH else _write_block(language, names)


@functools.cache
def _write_block(language: str, names: tuple[str, ...]) -> Markup:
    found = json.loads((TRANSLATIONS / language / "LC_MESSAGES" / FILE).read_text())
    texts = {text: said for name in names for text, said in found.get(name, {}).items()}
    data = json.dumps(texts, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(f'<script type="application/json" data-texts>{data}</script>')  # noqa: S704 - no tag in it can end it
