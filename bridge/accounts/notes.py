"""Mails that tell a member of what concerns who may enter their account. Nobody can turn them off."""

import secrets

from flask import current_app
from sqlalchemy.orm import Session

from bridge.accounts.tables import Member
from bridge.acts import WORDS
from bridge.config import Settings
from bridge.db import now_utc
from bridge.mail.outbox import queue_mail

SUBJECTS = {"sign_in": "New sign-in to your AI Bridge account"}


def tell_member(session: Session, member: Member, what: str, detail: str = "") -> None:
    """Write the mail in the caller's transaction: it goes out if and only if the change is made."""
    settings: Settings = current_app.config["BRIDGE"]
    subject = SUBJECTS.get(what, f"{WORDS[what]} · AI Bridge")
    text = (
        f"{WORDS[what]} on {now_utc():%d %b %Y at %H:%M} UTC, as {member.email}.{' ' + detail if detail else ''}\n\n"
        "If it was you, there is nothing to do. If it wasn't, change your password and end all other sessions:\n"
        f"{settings.site_url}/dashboard/settings/security\n"
    )
    queue_mail(session, once=f"note:{secrets.token_hex(16)}", recipient=member.email, subject=subject, text=text)
