"""The audit log: each sign-in, each change of who may enter and how, and all that operators change, by page or command.
Lines are kept for a year, and the database lets nobody change them."""

import contextvars
import dataclasses
import datetime
from collections.abc import Collection, Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from bridge.db import BigId, Table, UtcDateTime, db, now_utc, transaction

KEPT = datetime.timedelta(days=365)
MAX_DETAIL_LENGTH = 600
MOST_LISTED = 50
PIECE = 500
WORDS = {
    "sign_up": "Account created",
    "sign_in": "Signed in",
    "sign_in_failed": "Failed to sign in",
    "sign_out": "Session ended",
    "sign_out_others": "Other sessions ended",
    "sign_out_all": "All sessions ended",
    "name": "Name changed",
    "billing": "Billing details changed",
    "invited": "Invitation sent",
    "invitation_cancelled": "Invitation cancelled",
    "joined": "Joined the team",
    "left": "Left the team",
    "member_removed": "Member removed",
    "member_role": "Member's role changed",
    "member_budget": "Member's budget changed",
    "transferred": "Account transferred",
    "account_name": "Account renamed",
    "switched": "Switched to this account",
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
    "operator_role": "Operator's role changed",
    "reset_sent": "Link for a new password sent",
    "suspend": "Account suspended",
    "merged": "Merged with another account",
    "reactivate": "Account reactivated",
    "viewed": "Pages viewed by an operator",
    "export": "Data exported",
    "deleted": "Account deleted",
    "referred": "Joined by a referral",
    "referral": "Referral credited",
    "referral_back": "Referral credit taken back",
    "plan_started": "Plan started",
    "plan_chosen": "Another plan chosen",
    "plan_switched": "Plan changed",
    "plan_ending": "Plan set to end",
    "plan_kept": "Plan kept",
    "plan_ended": "Plan ended",
    "balance": "Balance changed",
    "refund": "Request refunded",
    "limits": "Account limits changed",
    "key_created": "Key created",
    "key_changed": "Key changed",
    "key_disabled": "Key disabled",
    "key_enabled": "Key enabled",
    "key_rotated": "Key rotated",
    "key_old_ended": "Old secret of a key ended",
    "key_given": "Owner of a key changed",
    "key_revoked": "Key revoked",
}
# what customers are not shown: how the operator runs the gateway
OPERATORS_WORDS = {
    "account_markup": "Account's own markup changed",
    "account_group": "Account's group changed",
    "own_price": "Own price of a model changed",
    "note_added": "Note added",
    "note_deleted": "Note deleted",
    "drill_sent": "Fault drill sent",
    "drill_started": "Fault drill started",
    "drill_ended": "Fault drill ended",
    "payment": "Payment decided",
    "plan_added": "Plan added",
    "plan_changed": "Sale of a plan changed",
    "codes_created": "Codes created",
    "codes_voided": "Codes voided",
    "channel_added": "Channel added",
    "channel_changed": "Channel changed",
    "channel_enabled": "Channel enabled",
    "channel_disabled": "Channel disabled",
    "channel_removed": "Channel removed",
    "channel_key_added": "Key added to a channel",
    "channel_key_replaced": "Key of a channel replaced",
    "channel_key_removed": "Key taken out of a channel",
    "model_added": "Model added",
    "model_changed": "Model changed",
    "model_retired": "Model retired",
    "model_restored": "Model restored",
    "price": "Price changed",
    "alias_added": "Alias added",
    "alias_removed": "Alias removed",
    "catalogue": "Catalogue brought up to date",
    "vault": "Secrets sealed under the newest key",
    "approval_asked": "Approval asked for",
    "approval_given": "Approved",
    "approval_refused": "Approval refused",
    "approval_expired": "Approval expired",
    "incident_opened": "Incident opened",
    "incident_updated": "Incident updated",
    "incident_corrected": "Incident corrected",
    "incident_closed": "Incident resolved",
}

# what operators decided of an account: it stays when the account is deleted, for it says nothing of its people
DECISIONS = frozenset(
    (
        *("balance", "refund", "limits", "suspend", "reactivate", "account_markup", "account_group", "payment"),
        *("drill_sent", "drill_started", "drill_ended", "approval_asked", "approval_given", "approval_refused"),
    )
)


class Act(Table):
    """A line of the audit log. It outlives its member. Without an account it concerns the gateway itself: a channel, a
    model, a price."""

    __tablename__ = "acts"
    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int | None] = mapped_column(sa.ForeignKey("accounts.id"), index=True)
    what: Mapped[str] = mapped_column(sa.String(32))
    detail: Mapped[str] = mapped_column(sa.String(600), default="")  # before and after, where there is such
    made_by: Mapped[str] = mapped_column(sa.String(254))  # the member's address, or "command"
    network: Mapped[str] = mapped_column(sa.String(64), default="")  # customers read it; empty of what operators did
    is_operators: Mapped[bool] = mapped_column(default=False, server_default=sa.false())  # an operator did it
    operators_network: Mapped[str] = mapped_column(sa.String(64), default="", server_default="")
    created_at: Mapped[datetime.datetime] = mapped_column(UtcDateTime, default=now_utc, index=True)

    @property
    def made_by_whom(self) -> str:
        """As the account's members read it: what comes from no network is the operator's, whoever that was."""
        return self.made_by if self.network else "the operator"


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: a member by their address, and the network they come from; or "command"."""

    by: str
    network: str = ""
    is_operator: bool = False


COMMAND = Actor("command")
# From where the operator acts whose page is running; None elsewhere. The operators' door sets it, so that no room has
# to hand it on, and no line can be without it.
operators_network: contextvars.ContextVar[str | None] = contextvars.ContextVar("operators_network", default=None)


def record_act(session: Session, account_id: int | None, what: str, actor: Actor, detail: str = "") -> None:
    """Add a line, one of WORDS or OPERATORS_WORDS, in the caller's transaction: it is there if and only if the change
    is. Without an account it concerns the gateway itself. `detail` never has a secret."""
    assert what in WORDS or what in OPERATORS_WORDS, what
    from_where = operators_network.get()
    session.add(
        Act(
            account_id=account_id,
            what=what,
            detail=detail[:MAX_DETAIL_LENGTH],
            made_by=actor.by,
            network=actor.network[:64],
            is_operators=actor.is_operator or from_where is not None,
            operators_network=(from_where or "")[:64],
            created_at=now_utc(),
        )
    )


def write_change(name: str, before: object, after: object) -> str:
    """`priority 1 → 2`, for a line's detail."""
    return f"{name} {'none' if before is None else before} → {'none' if after is None else after}"


def list_acts(
    account_id: int, *, by: str | None = None, before_id: int | None = None, limit: int = MOST_LISTED
) -> list[Act]:
    """The account's lines that its members may see, or those of what one of them (`by`) did, the newest first, from
    those older than `before_id`."""
    query = sa.select(Act).where(Act.account_id == account_id, Act.what.not_in(OPERATORS_WORDS))
    if by is not None:
        query = query.where(Act.made_by == by)
    if before_id is not None:
        query = query.where(Act.id < before_id)
    return list(db.session.scalars(query.order_by(Act.id.desc()).limit(limit)))


def list_all_acts(account_id: int) -> Iterator[Act]:
    """All of the account's lines that its members may see, the newest first, read in pieces."""
    before_id = None
    while found := list_acts(account_id, before_id=before_id, limit=PIECE):
        db.session.commit()
        yield from found
        before_id = found[-1].id


def list_acts_about(name: str, what: Collection[str], limit: int = MOST_LISTED) -> list[Act]:
    """The lines of these kinds about one thing of the gateway, such as a channel, the newest first: those whose detail
    is its name, or begins with it."""
    about = [Act.detail == name, *(Act.detail.startswith(f"{name}{sign}", autoescape=True) for sign in (": ", ", "))]
    query = sa.select(Act).where(Act.account_id.is_(None), Act.what.in_(what), sa.or_(*about))
    return list(db.session.scalars(query.order_by(Act.id.desc()).limit(limit)))


def find_last_acts(what: str, details: Collection[str]) -> dict[str, Act]:
    """The newest line of this kind for each of these details, as far as there is one."""
    query = sa.select(Act).where(Act.account_id.is_(None), Act.what == what, Act.detail.in_(details))
    return {act.detail: act for act in db.session.scalars(query.order_by(Act.id))}


def forget_old_acts() -> None:
    """Delete the lines that are older than a year."""
    with transaction() as session:
        old = sa.delete(Act).where(Act.created_at < now_utc() - KEPT)
        session.execute(old.execution_options(synchronize_session=False))
