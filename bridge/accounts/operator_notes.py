"""What operators note of a customer, for one another. No customer reads it, nor what deletes or exports an account's
data leaves it behind."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.tables import Account, AccountNote
from bridge.acts import COMMAND, Actor, record_act
from bridge.db import db, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import translate

MAX_LENGTH = 2000
SHOWN = 20
PLAIN = {"synchronize_session": False}


def add_note(account_id: int, text: str, actor: Actor = COMMAND) -> AccountNote:
    """Note something of an account. Raises NotFound, and InvalidRequest for an empty or too long text."""
    text = text.strip()
    if not 0 < len(text) <= MAX_LENGTH:
        raise InvalidRequest(
            translate("A note has some text, at most %(max_length)s characters.", max_length=MAX_LENGTH),
            param="note_text",
        )
    with transaction() as session:
        if session.scalar(sa.select(Account.id).where(Account.id == account_id)) is None:
            raise NotFound(translate("There is no such customer."))
        note = AccountNote(account_id=account_id, text=text, made_by=actor.by)
        session.add(note)
        record_act(session, account_id, "note_added", actor)
    return note


def delete_note(account_id: int, note_id: int, actor: Actor = COMMAND) -> None:
    """Delete one note of an account. Raises NotFound."""
    with transaction() as session:
        gone = sa.delete(AccountNote).where(AccountNote.id == note_id, AccountNote.account_id == account_id)
        if session.execute(gone.returning(AccountNote.id), execution_options=PLAIN).first() is None:
            raise NotFound(translate("There is no such note."))
        record_act(session, account_id, "note_deleted", actor)


def list_notes(account_id: int, limit: int = SHOWN) -> list[AccountNote]:
    """An account's notes, the newest first."""
    query = sa.select(AccountNote).where(AccountNote.account_id == account_id)
    return list(db.session.scalars(query.order_by(AccountNote.id.desc()).limit(limit)))


def forget_notes(session: Session, account_id: int) -> None:
    """Delete all notes of an account, in the caller's transaction."""
    session.execute(sa.delete(AccountNote).where(AccountNote.account_id == account_id), execution_options=PLAIN)
