"""The audit log of people: each sign-in, and each change of who may enter and how. Lines are kept for a year."""

import dataclasses
import datetime
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.tables import Act
from bridge.db import db, now_utc, transaction

KEPT = datetime.timedelta(days=365)
MAX_DETAIL_LENGTH = 600
MOST_LISTED = 50
PIECE = 500
WORDS = {
    "sign_up": "Account created",
    "sign_in": "Signed in",
    "sign_out": "Session ended",
    "sign_out_others": "Other sessions ended",
    "sign_out_all": "All sessions ended",
    "name": "Name changed",
    "billing": "Billing details changed",
    "email_asked": "Email change requested",
    "email_cancelled": "Email change cancelled",
    "email": "Email changed",
    "email_confirmed": "Email confirmed",  # by versions that let people in before that
    "password": "Password changed",
    "password_reset": "Password reset by email",
    "two_factor_on": "Two-factor sign-in turned on",
    "two_factor_off": "Two-factor sign-in turned off",
    "recovery_codes": "New recovery codes",
    "recovery_code": "Recovery code used",
    "passkey_added": "Passkey added",
    "passkey_removed": "Passkey removed",
    "connected": "Sign-in connected",
    "disconnected": "Sign-in disconnected",
    "operator_on": "Made an operator",
    "operator_off": "No longer an operator",
    "suspend": "Account suspended",
    "reactivate": "Account reactivated",
    "export": "Data exported",
    "deleted": "Account deleted",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a member by their address, and the network they come from; or "command"."""

    by: str
    network: str = ""


COMMAND = Actor("command")


def record_act(session: Session, account_id: int, what: str, actor: Actor, detail: str = "") -> None:
    """Add a line, one of WORDS, in the caller's transaction: it is there if and only if the change is."""
    assert what in WORDS, what
    session.add(
        Act(
            account_id=account_id,
            what=what,
            detail=detail[:MAX_DETAIL_LENGTH],
            made_by=actor.by,
            network=actor.network[:64],
            created_at=now_utc(),
        )
    )


def list_acts(account_id: int, *, before_id: int | None = None, limit: int = MOST_LISTED) -> list[Act]:
    """The account's lines, the newest first, from those older than `before_id`."""
    query = sa.select(Act).where(Act.account_id == account_id)
    if before_id is not None:
        query = query.where(Act.id < before_id)
    return list(db.session.scalars(query.order_by(Act.id.desc()).limit(limit)))


def list_all_acts(account_id: int) -> Iterator[Act]:
    """All of the account's lines, the newest first, read in pieces."""
    before_id = None
    while found := list_acts(account_id, before_id=before_id, limit=PIECE):
        db.session.commit()
        yield from found
        before_id = found[-1].id


def forget_old_acts() -> None:
    """Delete the lines that are older than a year."""
    with transaction() as session:
        old = sa.delete(Act).where(Act.created_at < now_utc() - KEPT)
        session.execute(old.execution_options(synchronize_session=False))
