"""The pages speak every language that they offer: nothing is missing, and a translation says what the English says."""

import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Message

from bridge.languages import ENGLISH, LANGUAGES
from scripts import translations
from tests import unmarked

CATALOGUES = translations.find_catalogues()
HOLE = re.compile(r"%\((\w+)\)[sd]|%%|<[^>]*>")


@pytest.fixture(scope="module")
def texts() -> Any:
    return translations.extract()


def forms(message: Message) -> list[str]:
    return list(message.string) if isinstance(message.string, tuple | list) else [str(message.string)]


def test_every_language_offered_has_its_catalogue():
    assert {ENGLISH, *(path.parts[-3] for path in CATALOGUES)} == set(LANGUAGES)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_no_text_lacks_a_translation_and_none_is_left_over(path: Path, texts: Any):
    catalog = translations.read(path)
    wanted = {message.id for message in texts if message.id}
    assert {message.id for message in catalog if message.id} == wanted, "make translations"
    missing = [message.id for message in catalog if message.id and not translations.is_translated(message)]
    assert not missing


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_a_translation_keeps_every_value_and_every_tag(path: Path):
    wrong = {}
    for message in translations.read(path):
        originals = message.id if isinstance(message.id, tuple) else (message.id,)
        wanted = {tuple(sorted(found[0] for found in HOLE.finditer(str(one)))) for one in originals}
        wrong |= {
            translations.name(message): text
            for text in forms(message)
            if message.id and tuple(sorted(found[0] for found in HOLE.finditer(text))) not in wanted
        }
    assert not wrong


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_pages_are_served_from_the_catalogue_as_it_is(path: Path):
    catalog = translations.read(path)
    assert path.with_suffix(".mo").read_bytes() == translations.compiled(catalog), "make translations"
    assert path.with_name("scripts.json").read_text() == translations.for_scripts(catalog), "make translations"


def test_every_text_of_the_pages_is_marked():
    found = [f"{file.relative_to(unmarked.ROOT)}:{line}: {text}" for file, line, text in unmarked.find(unmarked.PAGES)]
    assert not found
