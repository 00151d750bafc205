"""The audit log: each sign-in, each change of who may enter and how, and all that operators change, by page or command.
Lines are kept for a year, and the database lets nobody change them."""

import contextvars
import dataclasses
import datetime
from collections.abc import Collection, Iterator

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from bridge.db import BigId, Table, UtcDateTime, db, now_utc, transaction
from bridge.languages import to_translate

KEPT = datetime.timedelta(days=365)
MAX_DETAIL_LENGTH = 600
MOST_LISTED = 50
PIECE = 500
WORDS = {
    "sign_up": to_translate("Account created"),
    "sign_in": to_translate("Signed in"),
    "sign_in_failed": to_translate("Failed to sign in"),
    "sign_out": to_translate("Session ended"),
    "sign_out_others": to_translate("Other sessions ended"),
    "sign_out_all": to_translate("All sessions ended"),
    "name": to_translate("Name changed"),
    "billing": to_translate("Billing details changed"),
    "invited": to_translate("Invitation sent"),
    "invitation_cancelled": to_translate("Invitation cancelled"),
    "joined": to_translate("Joined the team"),
    "left": to_translate("Left the team"),
    "member_removed": to_translate("Member removed"),
    "member_role": to_translate("Member's role changed"),
    "member_budget": to_translate("Member's budget changed"),
    "transferred": to_translate("Account transferred"),
    "account_name": to_translate("Account renamed"),
    "switched": to_translate("Switched to this account"),
    "email_asked": to_translate("Email change requested"),
    "email_cancelled": to_translate("Email change cancelled"),
    "email": to_translate("Email changed"),
    "email_confirmed": to_translate("Email confirmed"),  # by versions that let people in before that
    "password": to_translate("Password changed"),
    "password_reset": to_translate("Password reset by email"),
    "two_factor_on": to_translate("Two-factor sign-in turned on"),
    "two_factor_off": to_translate("Two-factor sign-in turned off"),
    "recovery_codes": to_translate("New recovery codes"),
    "recovery_code": to_translate("Recovery code used"),
    "passkey_added": to_translate("Passkey added"),
    "passkey_removed": to_translate("Passkey removed"),
    "connected": to_translate("Sign-in connected"),
    "disconnected": to_translate("Sign-in disconnected"),
    "operator_on": to_translate("Made an operator"),
    "operator_off": to_translate("No longer an operator"),
    "operator_role": to_translate("Operator's role changed"),
    "reset_sent": to_translate("Link for a new password sent"),
    "suspend": to_translate("Account suspended"),
    "merged": to_translate("Merged with another account"),
    "reactivate": to_translate("Account reactivated"),
    "viewed": to_translate("Pages viewed by an operator"),
    "export": to_translate("Data exported"),
    "deleted": to_translate("Account deleted"),
    "referred": to_translate("Joined by a referral"),
    "referral": to_translate("Referral credited"),
    "referral_back": to_translate("Referral credit taken back"),
    "plan_started": to_translate("Plan started"),
    "plan_chosen": to_translate("Another plan chosen"),
    "plan_switched": to_translate("Plan changed"),
    "plan_ending": to_translate("Plan set to end"),
    "plan_kept": to_translate("Plan kept"),
    "plan_ended": to_translate("Plan ended"),
    "balance": to_translate("Balance changed"),
    "refund": to_translate("Request refunded"),
    "limits": to_translate("Account limits changed"),
    "key_created": to_translate("Key created"),
    "key_changed": to_translate("Key changed"),
    "key_disabled": to_translate("Key disabled"),
    "key_enabled": to_translate("Key enabled"),
    "key_rotated": to_translate("Key rotated"),
    "key_old_ended": to_translate("Old secret of a key ended"),
    "key_given": to_translate("Owner of a key changed"),
    "key_revoked": to_translate("Key revoked"),
}
# what customers are not shown: how the operator runs the gateway
OPERATORS_WORDS = {
    "account_markup": to_translate("Account's own markup changed"),
    "account_group": to_translate("Account's group changed"),
    "own_price": to_translate("Own price of a model changed"),
    "note_added": to_translate("Note added"),
    "note_deleted": to_translate("Note deleted"),
    "drill_sent": to_translate("Fault drill sent"),
    "drill_started": to_translate("Fault drill started"),
    "drill_ended": to_translate("Fault drill ended"),
    "payment": to_translate("Payment decided"),
    "plan_added": to_translate("Plan added"),
    "plan_changed": to_translate("Sale of a plan changed"),
    "codes_created": to_translate("Codes created"),
    "codes_voided": to_translate("Codes voided"),
    "channel_added": to_translate("Channel added"),
    "channel_changed": to_translate("Channel changed"),
    "channel_enabled": to_translate("Channel enabled"),
    "channel_disabled": to_translate("Channel disabled"),
    "channel_removed": to_translate("Channel removed"),
    "channel_key_added": to_translate("Key added to a channel"),
    "channel_key_replaced": to_translate("Key of a channel replaced"),
    "channel_key_removed": to_translate("Key taken out of a channel"),
    "model_added": to_translate("Model added"),
    "model_changed": to_translate("Model changed"),
    "model_retired": to_translate("Model retired"),
    "model_restored": to_translate("Model restored"),
    "price": to_translate("Price changed"),
    "alias_added": to_translate("Alias added"),
    "alias_removed": to_translate("Alias removed"),
    "catalogue": to_translate("Catalogue brought up to date"),
    "vault": to_translate("Secrets sealed under the newest key"),
    "approval_asked": to_translate("Approval asked for"),
    "approval_given": to_translate("Approved"),
    "approval_refused": to_translate("Approval refused"),
    "approval_expired": to_translate("Approval expired"),
    "incident_opened": to_translate("Incident opened"),
    "incident_updated": to_translate("Incident updated"),
    "incident_corrected": to_translate("Incident corrected"),
    "incident_closed": to_translate("Incident resolved"),
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
        return self.made_by if self.network else to_translate("the operator")


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
