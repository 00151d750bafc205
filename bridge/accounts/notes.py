"""Mails that tell a member of what concerns who may enter their account. Nobody can turn them off."""

import secrets

from flask import current_app
from sqlalchemy.orm import Session

from bridge.accounts.letters import written_to
from bridge.accounts.tables import Member
from bridge.acts import WORDS
from bridge.config import Settings
from bridge.dates import write_date
from bridge.db import now_utc
from bridge.languages import to_translate, translate
from bridge.mail.outbox import queue_mail

SUBJECTS = {"sign_in": to_translate("New sign-in to your AI Bridge account")}


def tell_member(session: Session, member: Member, what: str, detail: str = "", **values: str) -> None:
    """Write the mail in the caller's transaction: it goes out if and only if the change is made. `detail` is a sentence
    more, whose %(name)s the `values` fill."""
    settings: Settings = current_app.config["BRIDGE"]
    now = now_utc()
    with written_to(member):
        word = translate(WORDS[what])
        subject = translate(SUBJECTS[what]) if what in SUBJECTS else f"{word} · AI Bridge"
        clock = f"{now:%H:%M}"
        said = translate(
            "%(what)s on %(day)s at %(time)s UTC, as %(email)s.",
            what=word,
            day=write_date(now),
            time=clock,
            email=member.email,
        )
        more = f" {translate(detail, **values)}" if detail else ""
        after = translate(
            "If it was you, there is nothing to do. If it wasn't, change your password and end all other sessions:"
        )
    text = f"{said}{more}\n\n{after}\n{settings.site_url}/dashboard/settings/security\n"
    queue_mail(session, once=f"note:{secrets.token_hex(16)}", recipient=member.email, subject=subject, text=text)
