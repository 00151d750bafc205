"""Operators: the four roles, what each of them may do, and who has which."""

import dataclasses
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge.accounts.sessions import end_sessions, owns_suspended
from bridge.accounts.tables import Member, Passkey, SecondFactor
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.db import db, transaction
from bridge.errors import InvalidRequest
from bridge.languages import to_translate, translate

OWNER, FINANCE, SUPPORT, VIEWER = "owner", "finance", "support", "viewer"
ROLES = {
    OWNER: to_translate("Everything, including operators, channels and the system"),
    FINANCE: to_translate("Payments, codes, balances, refunds, prices and exports"),
    SUPPORT: to_translate("Customers, their requests and refunds"),
    VIEWER: to_translate("Looks at everything but the audit log and the system, and changes nothing"),
}
ROLE_NAMES = {
    OWNER: to_translate("Owner"),
    FINANCE: to_translate("Finance"),
    SUPPORT: to_translate("Support"),
    VIEWER: to_translate("Viewer"),
}
# right -> what it lets an operator do, and who has it beside owners
RIGHTS: dict[str, tuple[str, frozenset[str]]] = {
    "look": (
        to_translate("See channels, models, customers, payments and usage"),
        frozenset((FINANCE, SUPPORT, VIEWER)),
    ),
    "customers": (to_translate("Add, limit, group, suspend and sign out customers"), frozenset((SUPPORT,))),
    "view_as": (to_translate("See a customer's pages as they do, and change nothing"), frozenset((SUPPORT,))),
    "requests": (to_translate("Export requests"), frozenset((FINANCE, SUPPORT))),
    "refunds": (to_translate("Refund requests"), frozenset((FINANCE, SUPPORT))),
    "balances": (to_translate("Change balances"), frozenset((FINANCE,))),
    "approvals": (to_translate("Approve what is above the set amount"), frozenset((FINANCE,))),
    "payments": (to_translate("Decide payments"), frozenset((FINANCE,))),
    "codes": (to_translate("Create and void codes"), frozenset((FINANCE,))),
    "prices": (to_translate("Change prices and markups"), frozenset((FINANCE,))),
    "export": (to_translate("Export customers, usage and margin"), frozenset((FINANCE,))),
    "models": (to_translate("Add, change and retire models"), frozenset()),
    "channels": (to_translate("Add, change and test channels"), frozenset()),
    "incidents": (to_translate("Write incidents for customers"), frozenset((SUPPORT,))),
    "drills": (to_translate("Run fault drills"), frozenset()),
    "system": (to_translate("See the system page and change settings"), frozenset()),
    "audit": (to_translate("Read and export the audit log"), frozenset()),
    "operators": (to_translate("Add operators, change their roles and remove them"), frozenset()),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Operator:
    """One who may enter /admin, as others see them."""

    member: Member
    role: str
    is_suspended: bool
    has_code: bool
    passkeys: int

    @property
    def second_factor(self) -> str:
        """What they sign in with beside a password, or instead of it."""
        keys = f"{self.passkeys} passkey{'' if self.passkeys == 1 else 's'}" if self.passkeys else ""
        return " and ".join(filter(None, ("app" if self.has_code else "", keys))) or "none"


def may(role: str | None, right: str) -> bool:
    """Whether an operator of this role has the right. No role, or one that isn't known, has none."""
    return role == OWNER or (role is not None and role in RIGHTS[right][1])


def list_roles_with(right: str) -> list[str]:
    """The roles that have the right, the owner first."""
    return [role for role in ROLES if may(role, right)]


def find_role(member: Member) -> str | None:
    """The member's role as an operator; None for everyone else. Versions before the roles made operators without one:
    they had every right, and keep it."""
    return (member.operator_role or OWNER) if member.is_operator else None


def set_operator(member_id: int, role: str | None, actor: Actor = COMMAND) -> None:
    """Let a member in at /admin with this role, or (None) no longer. All of their sessions end, so none keeps the old
    rights. Raises InvalidRequest for an unknown role, and for the last owner's."""
    if role is not None and role not in ROLES:
        raise InvalidRequest(translate("The roles are %(names)s.", names=", ".join(ROLES)), param="role")
    with transaction() as session:
        operators = _lock_operators(session)
        member = session.get_one(Member, member_id, populate_existing=True)
        before = find_role(member)
        if before == role:
            return
        if before == OWNER and not any(one.id != member_id and find_role(one) == OWNER for one in operators):
            raise InvalidRequest(translate("This is the last owner. Make somebody else an owner first."), param="role")
        changed = sa.update(Member).where(Member.id == member_id)
        session.execute(changed.values(is_operator=role is not None, operator_role=role))
        end_sessions(session, Member.id == member_id)
        what = "operator_on" if before is None else "operator_off" if role is None else "operator_role"
        record_act(session, member.account_id, what, actor, f"{member.email}, {write_change('role', before, role)}")


def _lock_operators(session: Session) -> list[Member]:
    """Every operator who can sign in as one. Until the transaction ends nobody else changes them: two owners who demote
    each other at the same moment would leave none."""
    query = sa.select(Member, ~owns_suspended()).where(Member.is_operator)
    query = query.order_by(Member.id).with_for_update()
    rows = session.execute(query.execution_options(populate_existing=True))
    return [member for member, enters in rows if enters]


def list_operators() -> list[Operator]:
    """All operators, by their addresses."""
    passkeys = sa.select(sa.func.count()).where(Passkey.member_id == Member.id).correlate(Member).scalar_subquery()
    query: Any = sa.select(Member, owns_suspended(), SecondFactor.member_id, passkeys)
    query = query.outerjoin(SecondFactor, SecondFactor.member_id == Member.id)
    rows = db.session.execute(query.where(Member.is_operator).order_by(Member.email))
    return [
        Operator(member, find_role(member) or VIEWER, is_suspended, factor is not None, count)
        for member, is_suspended, factor, count in rows
    ]
