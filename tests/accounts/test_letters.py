"""A mail is written in the language of whoever gets it, not of whoever makes it go out."""

import gettext

import pytest
import sqlalchemy as sa
from flask import Flask

from bridge import languages
from bridge.accounts.password_reset import request_reset
from bridge.accounts.tables import Member
from bridge.db import transaction
from tests.dashboard.letters import answer_resets, read_mails
from tests.factories import Factories


class Marked(gettext.NullTranslations):
    """A catalogue that shows what was asked of it."""

    def gettext(self, message: str) -> str:
        return f"文: {message}"


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_job_writes_to_each_in_their_own_language(app: Flask, make: Factories, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(languages, "_load", lambda code: Marked() if code == "zh_Hans" else languages._PLAIN)
    found = {}
    for chosen in ("zh_Hans", "", "tlh"):  # Klingon is no longer offered
        account = make.make_account()
        with app.app_context():
            with transaction() as session:
                session.execute(sa.update(Member).where(Member.email == account.email).values(language=chosen))
            request_reset(account.email)
        found[chosen] = account.email
    assert answer_resets(app) == 3
    starts = {chosen: read_mails(app, email)[0].partition(" ")[0] for chosen, email in found.items()}
    assert starts == {"zh_Hans": "文:", "": "Reset", "tlh": "Reset"}
