"""Accounts as the operator sees them: find, list, limit, suspend, reactivate. Their order is
`payments/customer_list.py`."""

import dataclasses
import datetime
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from flask import current_app
from sqlalchemy.orm import Session, aliased

from bridge import versions
from bridge.accounts.emails import find_by_email
from bridge.accounts.key_limits import OF_ACCOUNT
from bridge.accounts.key_rules import check_limit, check_spend_day
from bridge.accounts.keys import TOPIC
from bridge.accounts.letters import written_for
from bridge.accounts.memberships import find_main_account, select_accounts
from bridge.accounts.roles import OWNER
from bridge.accounts.sessions import end_sessions
from bridge.accounts.standing import end_sentence, list_owners
from bridge.accounts.tables import Account, Key, Member, Membership
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.db import GROUP_NAME, db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import to_translate, translate
from bridge.mail.outbox import queue_mail
from bridge.money import check_markup, format_dollars, format_percent
from bridge.providers.faults import FAULTS

PAGE_SIZE = 50
MAX_ID_DIGITS = 18
MAX_DRILL_MINUTES = 24 * 60
MAX_REASON_LENGTH = 400
LIMIT_OF_ACCOUNT = to_translate("Give a whole number, 0 for no limit, or nothing for the gateway's default.")
NEW = datetime.timedelta(days=30)
NAMES = {"spend_day_nanos": "spend a day", "markup_bps": "markup", "group_name": "group"}  # as the audit log has them


@dataclasses.dataclass(frozen=True, slots=True)
class Customer:
    """An account with its owner's address; `keys` counts those that are not revoked, and `is_operator` is whether any
    of its members is one."""

    account_id: int
    name: str
    email: str
    is_operator: bool
    status: str
    rpm: int | None
    tpm: int | None
    concurrency: int | None
    spend_day_nanos: int | None
    max_keys: int | None
    suspend_reason: str
    merged_into: int | None
    markup_bps: int | None
    group: str
    keys: int
    created_at: datetime.datetime
    last_sign_in_at: datetime.datetime | None
    drill_fault: str | None
    drill_until: datetime.datetime | None
    last_used_at: datetime.datetime | None  # the last call of any key

    @property
    def drills(self) -> bool:
        """Whether a fault drill is on."""
        return self.drill_until is not None and self.drill_until > now_utc()


_other = aliased(Member)
_first_member = (
    sa.select(sa.func.min(Membership.member_id))
    .where(Membership.account_id == Account.id, Membership.role == OWNER)
    .correlate(Account)
    .scalar_subquery()
)
_has_operator = (
    sa.exists()
    .where(Membership.account_id == Account.id, Membership.role == OWNER)
    .where(_other.id == Membership.member_id, _other.is_operator)
    .correlate(Account)
)
_key_count = (
    sa.select(sa.func.count()).where(Key.account_id == Account.id, Key.revoked_at.is_(None)).correlate(Account)
).scalar_subquery()
_CUSTOMERS: Any = sa.select(
    Account.id,
    Account.name,
    sa.func.coalesce(Member.email, ""),
    _has_operator,
    Account.status,
    Account.rpm,
    Account.tpm,
    Account.concurrency,
    Account.spend_day_nanos,
    Account.max_keys,
    Account.suspend_reason,
    Account.merged_into,
    Account.markup_bps,
    Account.group_name,
    _key_count,
    Account.created_at,
    Member.last_sign_in_at,
    Account.drill_fault,
    Account.drill_until,
    sa.select(sa.func.max(Key.last_used_at)).where(Key.account_id == Account.id).correlate(Account).scalar_subquery(),
).outerjoin(Member, Member.id == _first_member)


def select_matching(search: str = "", *, state: str = "", among: sa.Select[int] | None = None) -> sa.Select[int]:
    """A query for the accounts that a text finds: their id, a part of their name or of a member's address, or the last
    four characters of a key. `state` is one of STATES or "". `among` is a query for ids: that finds them too, or alone
    where there is no text."""
    query = sa.select(Account.id)
    if text := search.strip():
        query = query.where(sa.or_(*_match(text), *(() if among is None else (Account.id.in_(among),))))
    elif among is not None:
        query = query.where(Account.id.in_(among))
    return query.where(STATES[state]()) if state else query


def list_customers(account_ids: Sequence[int]) -> list[Customer]:
    """These accounts, in this order."""
    found = {row[0]: Customer(*row) for row in db.session.execute(_CUSTOMERS.where(Account.id.in_(account_ids)))}
    return [found[account_id] for account_id in account_ids if account_id in found]


STATES: dict[str, Callable[[], sa.ColumnElement[bool]]] = {
    "suspended": lambda: Account.status == "suspended",
    "new": lambda: Account.created_at > now_utc() - NEW,
}


def _match(text: str) -> list[sa.ColumnElement[bool]]:
    """What a text may find an account by."""
    by_email = select_accounts(Member.email.icontains(text, autoescape=True))
    found = [Account.name.icontains(text, autoescape=True), Account.id.in_(by_email)]
    if text.isascii() and text.isdigit() and len(text) < MAX_ID_DIGITS:
        found.append(Account.id == int(text))
    if len(ending := text[-4:]) == 4 and (len(text) == 4 or text.startswith(("sk-", "…"))):
        found.append(Account.id.in_(sa.select(Key.account_id).where(Key.last_four == ending)))
    return found


def count_customers() -> tuple[int, int, int]:
    """How many accounts there are, how many of them are suspended, and how many came in the last 30 days."""
    one = {name: sa.func.count(sa.case((test(), 1))) for name, test in STATES.items()}
    query = sa.select(sa.func.count(), one["suspended"], one["new"]).where(Account.deleted_at.is_(None))
    total, suspended, new = db.session.execute(query).one()
    return total, suspended, new


def find_customer(account_id: int) -> Customer:
    """One account. Raises NotFound."""
    row = db.session.execute(_CUSTOMERS.where(Account.id == account_id)).one_or_none()
    if row is None:
        raise NotFound(translate("There is no such customer."))
    return Customer(*row)


def has_operators(group: str) -> bool:
    """Whether an operator's account is in this group."""
    theirs = select_accounts(Member.is_operator, owned=True)
    query = sa.select(Account.id).where(Account.id.in_(theirs), Account.group == group)
    return db.session.scalar(query.limit(1)) is not None


def find_terms(account_id: int) -> tuple[int | None, str]:
    """The account's own markup on every price, in hundredths of a percent (None where the models' own apply), and its
    group."""
    row = db.session.execute(sa.select(Account.markup_bps, Account.group_name).where(Account.id == account_id)).one()
    return row.markup_bps, row.group_name


def select_name(account_id: sa.ColumnElement[int]) -> sa.ScalarSelect[str]:
    """The name of the account with this id, as `name_accounts` has it, as a column of a query that is of few rows."""
    name = sa.func.coalesce(Member.email, Account.name)
    query = sa.select(name).select_from(Account).outerjoin(Member, Member.id == _first_member)
    return query.where(Account.id == account_id).scalar_subquery()


def name_accounts(account_ids: Iterable[int]) -> dict[int, str]:
    """Account id -> its owner's address, or the account's name if nobody signs in to it."""
    query = (
        sa.select(Account.id, sa.func.coalesce(Member.email, Account.name))
        .outerjoin(Member, Member.id == _first_member)
        .where(Account.id.in_(list(account_ids)))
    )
    return {row[0]: row[1] for row in db.session.execute(query)}


@dataclasses.dataclass(frozen=True, slots=True)
class NamedKey:
    """A key of any account, as operators see it, with its account's name as in `name_accounts`."""

    name: str
    last_four: str
    account_id: int
    account: str


def name_all_keys(key_ids: Iterable[int]) -> dict[int, NamedKey]:
    """Key id -> its names, for keys of all accounts, revoked or not."""
    if not (wanted := set(key_ids)):
        return {}
    query = (
        sa.select(Key.id, Key.name, Key.last_four, Account.id, sa.func.coalesce(Member.email, Account.name))
        .join(Account, Account.id == Key.account_id)
        .outerjoin(Member, Member.id == _first_member)
        .where(Key.id.in_(wanted))
    )
    return {row[0]: NamedKey(*row[1:]) for row in db.session.execute(query)}


def select_account_count(status: str | None = None) -> sa.Select[int]:
    """A query for how many accounts there are, or those with this status."""
    query = sa.select(sa.func.count()).select_from(Account).where(Account.deleted_at.is_(None))
    return query if status is None else query.where(Account.status == status)


def find_account_id(text: str) -> int | None:
    """The account with that id, or the one that this address stands for (see `find_main_account`)."""
    if text.isascii() and text.isdigit() and len(text) < MAX_ID_DIGITS:
        return db.session.scalar(sa.select(Account.id).where(Account.id == int(text)))
    member = find_by_email(text)
    return find_main_account(member) if member else None


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
        raise InvalidRequest(
            translate("A group is letters, digits, dots, hyphens and underscores, up to 64."), param="group"
        )
    _change(account_id, "account_group", actor, group_name=group)


def set_account_limits(account_id: int, limits: Mapping[str, int | None], actor: Actor = COMMAND) -> None:
    """Limit what all keys of an account may use together: requests (`rpm`) and tokens (`tpm`) a minute, requests at
    once (`concurrency`), what is spent a day (`spend_day_nanos`), and how many keys there are (`max_keys`). 0 is no
    limit, None is the gateway's default; a limit that isn't named stays. When this returns, every worker applies it.
    Raises NotFound or InvalidRequest naming the field."""
    values = {
        name: check_spend_day(limits[name])
        if name == "spend_day_nanos"
        else check_limit(name, limits[name], LIMIT_OF_ACCOUNT)
        for name in OF_ACCOUNT
        if name in limits
    }
    _change(account_id, "limits", actor, **values)
    versions.wait_until_seen(current_app.config["BRIDGE"])


def start_drill(account_id: int, fault: str, minutes: int, actor: Actor = COMMAND) -> datetime.datetime:
    """For some minutes, let each request of the account meet this fault of a made-up upstream first. Every worker knows
    within a second. Returns when the drill ends. Raises NotFound or InvalidRequest naming the field."""
    if fault not in FAULTS:
        raise InvalidRequest(translate("The faults are %(names)s.", names=", ".join(FAULTS)), param="fault")
    if not 1 <= minutes <= MAX_DRILL_MINUTES:
        raise InvalidRequest(translate("From one minute to a day, 1440."), param="minutes")
    until = now_utc() + datetime.timedelta(minutes=minutes)
    _change(account_id, "drill_started", actor, drill_fault=fault, drill_until=until)
    return until


def end_drill(account_id: int, actor: Actor = COMMAND) -> None:
    """End the account's drill, if there is one; within a second on every worker. Raises NotFound."""
    _change(account_id, "drill_ended", actor, drill_fault=None, drill_until=None)


def suspend_account(account_id: int, actor: Actor = COMMAND, reason: str = "") -> None:
    """Refuse every request of the account's keys, and end all sessions of the members who look at it. They read the
    `reason` in each refusal, above every page and in a mail. When this returns, every worker refuses them. Raises
    NotFound, or InvalidRequest for a reason that is too long."""
    reason = " ".join(reason.split())
    if len(reason) > MAX_REASON_LENGTH:
        raise InvalidRequest(
            translate("A reason has at most %(count)s characters.", count=MAX_REASON_LENGTH), param="suspend_reason"
        )
    with transaction() as session:
        _update(session, account_id, status="suspended", suspend_reason=reason)
        end_sessions(session, Member.account_id == account_id)
        record_act(session, account_id, "suspend", actor, reason)
        for _, email in list_owners(session, account_id):
            with written_for(session, email):
                subject, text = _write_suspension(reason)
            once = f"suspended:{secrets.token_hex(16)}"
            queue_mail(session, once=once, recipient=email, subject=subject, text=text)
    versions.wait_until_seen(current_app.config["BRIDGE"])


def _write_suspension(reason: str) -> tuple[str, str]:
    if reason:
        said = translate("This account is suspended: %(reason)s", reason=end_sentence(reason))
    else:
        said = translate("This account is suspended. Write to the operator of this gateway.")
    after = translate(
        "Your balance stays. Until the account is restored, every call answers 403 and costs nothing; you can still "
        "sign in and look."
    )
    return translate("Your AI Bridge account is suspended"), f"{said}\n\n{after}\n"


def reactivate_account(account_id: int, actor: Actor = COMMAND) -> None:
    """Let a suspended account in again, within a second on every worker. Raises NotFound, and InvalidRequest for one
    that was merged into another."""
    if db.session.scalar(sa.select(Account.merged_into).where(Account.id == account_id)) is not None:
        raise InvalidRequest(translate("This account was merged into another, which has its members and keys."))
    with transaction() as session:
        _update(session, account_id, status="active", suspend_reason="")
        record_act(session, account_id, "reactivate", actor)


def _change(account_id: int, what: str, actor: Actor, **values: Any) -> None:
    columns = [getattr(Account, name) for name in values]
    with transaction() as session:
        before = session.execute(sa.select(*columns).where(Account.id == account_id).with_for_update()).one_or_none()
        _update(session, account_id, **values)
        found = zip(values, before or (), values.values(), strict=True)
        changes = [
            (NAMES.get(name, name), _show(name, old), _show(name, new)) for name, old, new in found if old != new
        ]
        detail = "; ".join(write_change(*change) for change in changes)
        record_act(session, account_id, what, actor, detail)


def _show(name: str, value: Any) -> str | None:
    """A column's value as the audit log has it."""
    if name == "markup_bps" and value is not None:
        return f"{format_percent(value)}%"
    if name == "spend_day_nanos" and value is not None:
        return f"${format_dollars(value, 2)}"
    if isinstance(value, datetime.datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    return None if value is None else str(value)


def _update(session: Session, account_id: int, **values: Any) -> None:
    chosen = sa.update(Account).where(Account.id == account_id, Account.deleted_at.is_(None))
    found = session.execute(chosen.values(**values).returning(Account.id))
    if found.first() is None:
        raise NotFound(translate("There is no such customer."))
    versions.bump(TOPIC)
