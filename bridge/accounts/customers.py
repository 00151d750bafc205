"""Accounts as the operator sees them: find, list, limit, suspend, reactivate."""

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session, aliased

from bridge import versions
from bridge.accounts.emails import find_by_email
from bridge.accounts.key_limits import LIMITS
from bridge.accounts.key_rules import check_limit
from bridge.accounts.keys import TOPIC
from bridge.accounts.sessions import end_sessions
from bridge.accounts.tables import Account, Key, Member
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.db import GROUP_NAME, db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.money import check_markup, format_percent
from bridge.providers.faults import FAULTS

PAGE_SIZE = 50
MAX_ID_DIGITS = 18
MAX_DRILL_MINUTES = 24 * 60


@dataclasses.dataclass(frozen=True, slots=True)
class Customer:
    """An account with its owner's address; `keys` counts those that are not revoked."""

    account_id: int
    name: str
    email: str
    is_operator: bool
    status: str
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    markup_bps: int | None
    group: str
    keys: int
    created_at: datetime.datetime
    last_sign_in_at: datetime.datetime | None
    drill_fault: str | None
    drill_until: datetime.datetime | None

    @property
    def drills(self) -> bool:
        """Whether a fault drill is on."""
        return self.drill_until is not None and self.drill_until > now_utc()


_other = aliased(Member)
_first_member = (
    sa.select(sa.func.min(_other.id)).where(_other.account_id == Account.id).correlate(Account).scalar_subquery()
)
_key_count = (
    sa.select(sa.func.count()).where(Key.account_id == Account.id, Key.revoked_at.is_(None)).correlate(Account)
).scalar_subquery()
_CUSTOMERS: Any = sa.select(
    Account.id,
    Account.name,
    sa.func.coalesce(Member.email, ""),
    sa.func.coalesce(Member.is_operator, sa.false()),
    Account.status,
    Account.rpm,
    Account.tpm,
    Account.concurrency,
    Account.markup_bps,
    Account.group_name,
    _key_count,
    Account.created_at,
    Member.last_sign_in_at,
    Account.drill_fault,
    Account.drill_until,
).outerjoin(Member, Member.id == _first_member)


def list_customers(search: str = "", *, before_id: int | None = None, limit: int = PAGE_SIZE) -> list[Customer]:
    """Accounts whose name or address contains the text, the newest first, from those older than `before_id`."""
    query = _CUSTOMERS.order_by(Account.id.desc()).limit(limit)
    if text := search.strip():
        query = query.where(
            sa.or_(Account.name.icontains(text, autoescape=True), Member.email.icontains(text, autoescape=True))
        )
    if before_id is not None:
        query = query.where(Account.id < before_id)
    return [Customer(*row) for row in db.session.execute(query)]


def find_customer(account_id: int) -> Customer:
    """One account. Raises NotFound."""
    row = db.session.execute(_CUSTOMERS.where(Account.id == account_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such customer.")
    return Customer(*row)


def find_terms(account_id: int) -> tuple[int | None, str]:
    """The account's own markup on every price, in hundredths of a percent (None where the models' own apply), and its
    group."""
    row = db.session.execute(sa.select(Account.markup_bps, Account.group_name).where(Account.id == account_id)).one()
    return row.markup_bps, row.group_name


def name_accounts(account_ids: Iterable[int]) -> dict[int, str]:
    """Account id -> its owner's address, or the account's name if nobody signs in to it."""
    query = (
        sa.select(Account.id, sa.func.coalesce(Member.email, Account.name))
        .outerjoin(Member, Member.id == _first_member)
        .where(Account.id.in_(list(account_ids)))
    )
    return {row[0]: row[1] for row in db.session.execute(query)}


def find_account_id(text: str) -> int | None:
    """The account with that id, or the one whose member has that address."""
    if text.isascii() and text.isdigit() and len(text) < MAX_ID_DIGITS:
        return db.session.scalar(sa.select(Account.id).where(Account.id == int(text)))
    member = find_by_email(text)
    return member.account_id if member else None


def count_markups() -> dict[int, int]:
    """A markup in hundredths of a percent -> how many accounts have it as their own. Suspended accounts are left
    out."""
    query = sa.select(Account.markup_bps, sa.func.count()).where(Account.markup_bps.is_not(None))
    rows = db.session.execute(query.where(Account.status == "active").group_by(Account.markup_bps))
    return {markup: count for markup, count in rows if markup is not None}


def set_account_markup(account_id: int, basis_points: int | None, actor: Actor = COMMAND) -> None:
    """Give an account its own markup on every price, in place of the models'. None: the models' markups apply again.
    Every worker knows within a second. Raises NotFound or InvalidRequest."""
    if basis_points is not None:
        check_markup(basis_points)
    _change(account_id, "account_markup", actor, markup_bps=basis_points)


def set_account_group(account_id: int, group: str, actor: Actor = COMMAND) -> None:
    """Put an account into a group: the group's channels serve it, and so do those that are open to all. Every worker
    knows within a second. Raises NotFound or InvalidRequest."""
    if not GROUP_NAME.fullmatch(group):
        raise InvalidRequest("A group is letters, digits, dots, hyphens and underscores, up to 64.", param="group")
    _change(account_id, "account_group", actor, group_name=group)


def set_account_limits(account_id: int, limits: Mapping[str, int | None], actor: Actor = COMMAND) -> None:
    """Limit what all keys of an account may use together: requests (`rpm`) and tokens (`tpm`) a minute, and requests at
    once (`concurrency`). 0 is no limit, None is the gateway's default; a limit that isn't named stays. When this
    returns, every worker applies it. Raises NotFound or InvalidRequest naming the field."""
    values = {name: check_limit(name, limits[name], "the gateway's default") for name in LIMITS if name in limits}
    _change(account_id, "limits", actor, **values)
    versions.wait_until_seen(current_app.config["BRIDGE"])


def start_drill(account_id: int, fault: str, minutes: int, actor: Actor = COMMAND) -> datetime.datetime:
    """For some minutes, let each request of the account meet this fault of a made-up upstream first. Every worker knows
    within a second. Returns when the drill ends. Raises NotFound or InvalidRequest naming the field."""
    if fault not in FAULTS:
        raise InvalidRequest(f"The faults are {', '.join(FAULTS)}.", param="fault")
    if not 1 <= minutes <= MAX_DRILL_MINUTES:
        raise InvalidRequest("From one minute to a day, 1440.", param="minutes")
    until = now_utc() + datetime.timedelta(minutes=minutes)
    _change(account_id, "drill_started", actor, drill_fault=fault, drill_until=until)
    return until


def end_drill(account_id: int, actor: Actor = COMMAND) -> None:
    """End the account's drill, if there is one; within a second on every worker. Raises NotFound."""
    _change(account_id, "drill_ended", actor, drill_fault=None, drill_until=None)


def suspend_account(account_id: int, actor: Actor = COMMAND) -> None:
    """Refuse every request of the account's keys, and end all sessions of its members. When this returns, every worker
    refuses them. Raises NotFound."""
    with transaction() as session:
        _update(session, account_id, status="suspended")
        end_sessions(session, Member.account_id == account_id)
        record_act(session, account_id, "suspend", actor)
    versions.wait_until_seen(current_app.config["BRIDGE"])


def reactivate_account(account_id: int, actor: Actor = COMMAND) -> None:
    """Let a suspended account in again, within a second on every worker. Raises NotFound."""
    with transaction() as session:
        _update(session, account_id, status="active")
        record_act(session, account_id, "reactivate", actor)


def _change(account_id: int, what: str, actor: Actor, **values: Any) -> None:
    columns = [getattr(Account, name) for name in values]
    with transaction() as session:
        before = session.execute(sa.select(*columns).where(Account.id == account_id).with_for_update()).one_or_none()
        _update(session, account_id, **values)
        found = zip(values, before or (), values.values(), strict=True)
        detail = "; ".join(write_change(name, _show(name, old), _show(name, new)) for name, old, new in found)
        record_act(session, account_id, what, actor, detail)


def _show(name: str, value: Any) -> str | None:
    """A column's value as the audit log has it."""
    if name == "markup_bps" and value is not None:
        return f"{format_percent(value)}%"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return None if value is None else str(value)


def _update(session: Session, account_id: int, **values: Any) -> None:
    chosen = sa.update(Account).where(Account.id == account_id, Account.deleted_at.is_(None))
    found = session.execute(chosen.values(**values).returning(Account.id))
    if found.first() is None:
        raise NotFound("There is no such customer.")
    versions.bump(TOPIC)
