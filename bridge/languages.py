"""The languages of the pages: which one a reader gets, and every text in it.

Texts are written in English where they are used, and are looked up by that text in `translations/` (gettext). What
programs read, such as the answers of /v1, stays English."""

import gettext
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from flask import Flask, current_app, g, has_app_context, has_request_context, request
from flask_babel import Babel
from flask_login import current_user

from bridge.cookies import cookie_name

ENGLISH = "en"
LANGUAGES = {ENGLISH: "English", "zh_Hans": "简体中文"}  # each by its own name, as its readers look for it
ASKED_FOR = {"zh": "zh_Hans", "zh-cn": "zh_Hans", "zh-sg": "zh_Hans", "zh-hans": "zh_Hans", "zh-hans-cn": "zh_Hans"}
TRANSLATIONS = Path(__file__).parent / "translations"
COOKIE = "language"
_PLAIN = gettext.NullTranslations()


def register(app: Flask) -> None:
    """Let the templates of this app speak: `_`, `ngettext` and `{% trans %}`."""
    Babel(app, default_translation_directories=str(TRANSLATIONS), locale_selector=find_language)
    app.jinja_env.policies["ext.i18n.trimmed"] = True
    # Flask-Babel's own look for the locale at each text, which took ten times as long
    app.jinja_env.install_gettext_callables(_get, _get_plural, newstyle=True)  # type: ignore[attr-defined]
    app.context_processor(lambda: {"language": find_language(), "languages": LANGUAGES})


def find_language() -> str:
    """The reader's language: the one that they chose in their settings or by the link on public pages, otherwise the
    browser's, if we have it. English where nobody reads a page: in commands, jobs and /v1."""
    found: str | None = g.get("language") if has_app_context() else ENGLISH
    if found is None:
        found = g.language = _choose() if has_request_context() else ENGLISH
    return found


def speak(language: str) -> None:
    """Speak this language for the rest of the request: it was chosen just now, or a program reads the answer."""
    g.language, g.texts = language, _load(language)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak this language in between, whoever reads the page that is asked for."""
    before = g.get("language"), g.get("texts")
    g.language, g.texts = language, _load(language)
    try:
        yield
    finally:
        g.language, g.texts = before


def translate(text: str, /, **values: object) -> str:
    """The text in the reader's language. `values` fill its `%(name)s`; without them a `%` stands for itself."""
    said = _texts().gettext(text)
    return said % values if values else said


def translate_plural(one: str, many: str, num: int, /, **values: object) -> str:
    """The form of the text that fits the number, in the reader's language; `%(num)s` is the number."""
    return _texts().ngettext(one, many, num) % {"num": num, **values}


def join_names(names: Sequence[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return translate("%(names)s and %(last)s", names=", ".join(names[:-1]), last=names[-1])


def to_translate(text: str) -> str:
    """The text as it is. It marks what is translated later, where it is shown: `_(ROLES[role])`."""
    return text


def _choose() -> str:
    if "babel" not in current_app.extensions:
        return ENGLISH
    settings = current_app.config["BRIDGE"]
    chosen = "" if g.get("plain") else getattr(current_user, "language", "")
    chosen = chosen or request.cookies.get(cookie_name(settings, COOKIE), "")
    return chosen if chosen in LANGUAGES else choose_by_browser()


def choose_by_browser() -> str:
    """The first language of ours that the browser asks for; English if it asks for none."""
    for tag, _ in request.accept_languages:
        if (low := tag.lower()) in ASKED_FOR:
            return ASKED_FOR[low]
        if low.partition("-")[0] == ENGLISH:
            return ENGLISH
    return ENGLISH


def _texts() -> gettext.NullTranslations:
    """The texts of the language that is spoken, looked for once a request."""
    if not has_app_context():
        return _PLAIN
    found: gettext.NullTranslations | None = g.get("texts")
    if found is None:
        found = g.texts = _load(find_language())
    return found


def _load(language: str) -> gettext.NullTranslations:
    """A language's catalogue, which gettext reads once for all."""
    return _PLAIN if language == ENGLISH else gettext.translation("messages", TRANSLATIONS, [language])


def _get(text: str) -> str:
    return _texts().gettext(text)


def _get_plural(one: str, many: str, number: int) -> str:
    return _texts().ngettext(one, many, number)
