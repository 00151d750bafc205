"""Brings the texts of code and pages into the catalogues of bridge/translations and compiles these.

python -m scripts.translations                  what `make translations` does
python -m scripts.translations --missing [PATH…]  print what has no translation yet (of these files) as JSON
python -m scripts.translations --fill FILE…     take translations from JSON: {"English": "translated", …}; a plural
                                                has a list of its forms"""

import argparse
import datetime
import io
import json
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
TRANSLATIONS = ROOT / "bridge" / "translations"
SCRIPTS = sorted((ROOT / "static").glob("*.js"))
NO_DATE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)  # the same texts are the same file
# without the dates that Babel adds, which would differ each time
HEADER = """msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Plural-Forms: {}\\n"

"""
KEYWORDS = {
    **dict.fromkeys(("_", "gettext", "translate", "to_translate")),
    **dict.fromkeys(("ngettext", "translate_plural"), (1, 2)),
}


def extract(paths: tuple[Path, ...] = ()) -> Catalog:
    """Every text that is marked in code, templates and scripts, or only in these files."""
    with (TRANSLATIONS / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]
    catalog = Catalog(charset="utf-8")
    wanted = {str(path.resolve().relative_to(ROOT)) for path in paths}
    found = extract_from_dir(ROOT, methods, options, KEYWORDS, directory_filter=lambda name: Path(name).name != ".venv")
    for name, _line, message, _comments, _context in found:
        if not wanted or name in wanted:
            catalog.add(message)
    return catalog


def find_catalogues() -> list[Path]:
    """The .po of each language but English."""
    return sorted(TRANSLATIONS.glob("*/LC_MESSAGES/messages.po"))


def read(path: Path) -> Catalog:
    """A language's catalogue."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def update(path: Path, texts: Catalog, filled: dict[str, Any]) -> Catalog:
    """The catalogue with exactly these texts: new ones untranslated, unless `filled` has them."""
    old = read(path) if path.exists() else Catalog(locale=path.parts[-3])
    new = Catalog(locale=path.parts[-3], charset="utf-8", header_comment="", fuzzy=False)
    for message in sorted((one for one in texts if one.id), key=lambda one: str(one.id)):
        key = name(message)
        known = old.get(message.id)
        said = filled.get(key) or (known.string if known is not None else None)
        new.add(message.id, _as_string(message, said, new.num_plurals))
    return new


def _as_string(message: Message, said: Any, plurals: int) -> Any:
    if isinstance(message.id, tuple):
        forms = [said] if isinstance(said, str) else list(said) if isinstance(said, list | tuple) else []
        return tuple((*forms, *("",) * plurals)[:plurals])
    return said if isinstance(said, str) else ""


def name(message: Message) -> str:
    """The English text, of a plural its first form."""
    return message.id[0] if isinstance(message.id, tuple) else str(message.id)


def is_translated(message: Message) -> bool:
    """Whether each of its forms has a text."""
    forms = message.string if isinstance(message.string, tuple | list) else (message.string,)
    return all(forms)


def write(path: Path, catalog: Catalog) -> None:
    """Write the .po, and beside it what pages are served from: the .mo, and the JSON for scripts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    write_po(file, catalog, width=120, no_location=True, sort_output=True, omit_header=True)
    path.write_bytes(HEADER.format(catalog.plural_forms).encode() + file.getvalue())
    path.with_suffix(".mo").write_bytes(compiled(read(path)))
    path.with_name("scripts.json").write_text(for_scripts(read(path)))


def compiled(catalog: Catalog) -> bytes:
    """The catalogue as gettext reads it."""
    file = io.BytesIO()
    catalog.creation_date = catalog.revision_date = NO_DATE
    write_mo(file, catalog)
    return file.getvalue()


def for_scripts(catalog: Catalog) -> str:
    """The translations of each script's texts, as bridge/dashboard/script_texts.py reads them."""
    found = {}
    for path in SCRIPTS:
        texts = {str(message) for _, message, _, _ in extract_from_file("javascript", path, KEYWORDS)}
        messages = {text: catalog.get(text) for text in sorted(texts)}
        found[path.stem] = {text: one.string for text, one in messages.items() if one is not None and one.string}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Update and compile every catalogue, or print what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missing", nargs="*", type=Path, metavar="PATH")
    parser.add_argument("--fill", nargs="+", type=Path, default=[], metavar="FILE")
    chosen = parser.parse_args()
    filled: dict[str, Any] = {}
    for path in chosen.fill:
        filled |= json.loads(path.read_text())
    texts = extract(tuple(chosen.missing or ()))
    for path in find_catalogues():
        catalog = update(path, texts, filled)
        missing = [message for message in catalog if message.id and not is_translated(message)]
        if chosen.missing is not None:
            print(json.dumps(dict.fromkeys(map(name, missing), ""), indent=1, ensure_ascii=False))
            continue
        write(path, catalog)
        print(f"{path.parts[-3]}: {len(catalog)} texts, {len(missing)} without a translation")


if __name__ == "__main__":
    main()
