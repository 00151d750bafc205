"""What was mailed: the texts of waiting mails, and the links in them."""

import re

import sqlalchemy as sa
from flask import Flask

from bridge import vault
from bridge.accounts.password_reset import write_reset_mails
from bridge.db import db
from bridge.mail.tables import Mail


def read_mails(app: Flask, recipient: str) -> list[str]:
    """Subject and text of each mail to this address, the newest first."""
    with app.app_context():
        rows = db.session.scalars(sa.select(Mail).where(Mail.recipient == recipient).order_by(Mail.id.desc()))
        return [f"{mail.subject}\n{vault.unseal(mail.sealed) if mail.sealed else mail.text}" for mail in rows]


def answer_resets(app: Flask) -> int:
    """Do what the background does about requests to reset a password."""
    with app.app_context():
        return write_reset_mails(app.config["BRIDGE"])


def find_link(app: Flask, recipient: str, path: str) -> str:
    """The path, with its query, of the newest mailed link to this page."""
    for text in read_mails(app, recipient):
        if found := re.search(rf"https?://[^/\s]+({path}\?\S+)", text):
            return found[1]
    raise AssertionError(f"no mail to {recipient} leads to {path}")
