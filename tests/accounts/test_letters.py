"""A mail is written in the language of whoever gets it, not of whoever makes it go out."""

import datetime
from types import SimpleNamespace

import pytest
from flask import Flask

from bridge.accounts.letters import written_to
from bridge.dates import write_date
from bridge.languages import find_language, speaking


@pytest.mark.parametrize(("chosen", "spoken"), [("zh_Hans", "zh_Hans"), ("en", "en"), ("", "en"), ("xx", "en")])
def test_a_mail_speaks_its_recipients_language(chosen: str, spoken: str):
    with Flask("letters").app_context(), speaking("zh_Hans" if spoken == "en" else "en"):
        before = find_language()
        with written_to(SimpleNamespace(language=chosen)):
            assert find_language() == spoken
            day = write_date(datetime.date(2026, 11, 3))
        assert day == {"en": "3 Nov 2026", "zh_Hans": "2026年11月3日"}[spoken]
        assert find_language() == before


def test_a_mail_to_nobody_we_know_is_english():
    with Flask("letters").app_context(), written_to(None):
        assert find_language() == "en"
