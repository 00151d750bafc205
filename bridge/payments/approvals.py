"""Four eyes: a balance, refund, merge or batch of codes above the set amount waits until another operator approves it,
and so does what exceeds it together with what the same operator booked alone within a day. It is booked once, whoever
presses twice and whatever dies in between."""

import dataclasses
import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge.accounts.tables import Member
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import translate
from bridge.ledger.ledger import MERGE as MERGED
from bridge.ledger.ledger import OPERATOR, Guard, adjust
from bridge.ledger.refunds import REFUND as REFUNDED
from bridge.ledger.refunds import list_refunds, refund_request
from bridge.ledger.tables import Entry
from bridge.money import format_dollars
from bridge.payments.approval_tables import Approval
from bridge.payments.code_tables import CodeBatch
from bridge.payments.codes import MadeBatch, create_batch
from bridge.payments.merging import find_merged_into, merge_accounts

WAITS = datetime.timedelta(days=7)
TOGETHER = datetime.timedelta(days=1)  # within it, what one operator books on one account counts as one amount
MOST_LISTED = 50
BALANCE, REFUND, CODES, MERGE = "balance", "refund", "codes", "merge"
BOOKED_BY_OPERATORS = (OPERATOR, REFUNDED, MERGED)  # the entries' sources
WAITING, BOOKING, APPROVED, REFUSED, EXPIRED = "waiting", "booking", "approved", "refused", "expired"
MAX_OUTCOME_LENGTH, MAX_NOTE_LENGTH = 300, 500


class NeedsAnother(Exception):
    """An operator may not move this much alone. Nothing was booked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """What an operator wants to book: `amount_nanos` of each code, with a sign of a balance and of a merge. Of a merge,
    `account_id` is the account that ends; of a part of a charge, `refund_number` is which refund it is to be."""

    kind: str
    amount_nanos: int
    account_id: int | None = None
    request_id: str | None = None
    count: int = 1
    codes_expire_at: datetime.datetime | None = None
    note: str = ""
    into_id: int | None = None
    refund_number: int | None = None


def bound(settings: Settings, by: str, account_id: int | None) -> Guard:
    """What a booking of this operator asks in its own transaction: is it, with all that they have booked alone on this
    account in the last day (None: with their codes), more than the set amount? Then it raises NeedsAnother. Whoever
    books two at the same moment waits for the first."""
    limit = settings.four_eyes_nanos
    if limit is None:
        return None

    def guard(session: Session) -> None:
        one_at_a_time = sa.select(Member.id).where(Member.email == by).with_for_update(key_share=True)
        session.execute(one_at_a_time).all()
        if _sum_alone(session, by, account_id) > limit:
            raise NeedsAnother

    return guard


def _sum_alone(session: Session, by: str, account_id: int | None) -> int:
    """What an operator moved in the last day, in either direction, less what another approved."""
    since = now_utc() - TOGETHER
    approved = sa.select(sa.func.sum(sa.func.abs(Approval.amount_nanos) * Approval.count))
    approved = approved.where(Approval.state == APPROVED, Approval.asked_by == by, Approval.decided_at > since)
    if account_id is None:
        batches = sa.select(sa.func.sum(CodeBatch.amount_nanos * CodeBatch.count))
        moved = batches.where(CodeBatch.made_by == by, CodeBatch.created_at > since)
        approved = approved.where(Approval.kind == CODES)
    else:
        entries = sa.select(sa.func.sum(Entry.amount_nanos)).where(Entry.account_id == account_id)
        moved = entries.where(Entry.made_by == by, Entry.created_at > since, Entry.source.in_(BOOKED_BY_OPERATORS))
        of_account = sa.case((Approval.kind == MERGE, Approval.into_id), else_=Approval.account_id)
        approved = approved.where(Approval.kind != CODES, sa.func.coalesce(of_account, Approval.from_id) == account_id)
    return int(session.scalar(moved) or 0) - int(session.scalar(approved) or 0)


def ask_for_approval(wish: Wish, actor: Actor, *, once: str | None = None) -> bool:
    """Put a change on the list for another operator. Returns False if the form with the number `once` did so before.
    Raises InvalidRequest without a reason, or with one that is too long."""
    note = wish.note.strip()
    if len(note) > MAX_NOTE_LENGTH or (wish.kind not in (CODES, MERGE) and not note):
        raise InvalidRequest(
            translate("Give a reason of at most %(max_note_length)s characters.", max_note_length=MAX_NOTE_LENGTH),
            param="note",
        )
    values = {**dataclasses.asdict(wish), "note": note}
    if wish.kind == MERGE or wish.refund_number is not None:  # see the table
        values |= {"account_id": None, "from_id": wish.account_id}
    asked = Approval(**values, once=once, asked_by=actor.by, ends_at=now_utc() + WAITS)
    try:
        with transaction() as session:
            session.add(asked)
            session.flush()
            record_act(session, wish.account_id, "approval_asked", actor, describe(asked))
    except IntegrityError:
        if once is None or not db.session.scalar(sa.select(Approval.id).where(Approval.once == once)):
            raise
        return False
    return True


def describe(approval: Approval) -> str:
    """What was asked for, in one line."""
    amount = f"${format_dollars(abs(approval.amount_nanos), 2)}"
    if approval.kind == CODES:
        said = f"{approval.count} codes of {amount}"
    elif approval.kind == REFUND:
        said = f"refund of {amount} for {approval.request_id}"
    elif approval.kind == MERGE:
        said = f"merge account {approval.from_id} into {approval.into_id}, balance {amount}"
    else:
        said = f"balance {'+' if approval.amount_nanos > 0 else '-'}{amount}"
    return f"#{approval.id}: {said}" + (f", {approval.note}" if approval.note else "")


def _is_open() -> sa.ColumnElement[bool]:
    in_time = (Approval.state == WAITING) & (Approval.ends_at > now_utc())
    return Approval.state.in_((WAITING, BOOKING)) & ((Approval.state == BOOKING) | in_time)


def select_waiting_count() -> sa.Select[int]:
    """A query for how many wait for a decision."""
    return sa.select(sa.func.count()).select_from(Approval).where(_is_open())


def list_waiting_approvals(limit: int = MOST_LISTED) -> list[Approval]:
    """What waits for a decision, the oldest first."""
    query = sa.select(Approval).where(_is_open())
    return list(db.session.scalars(query.order_by(Approval.id).limit(limit)))


def list_decided_approvals(limit: int = MOST_LISTED) -> list[Approval]:
    """What was decided or has expired, the newest first."""
    query = sa.select(Approval).where(Approval.state.in_((APPROVED, REFUSED, EXPIRED)))
    return list(db.session.scalars(query.order_by(Approval.id.desc()).limit(limit)))


def find_approval(approval_id: int) -> Approval:
    """One of them. Raises NotFound."""
    found = db.session.get(Approval, approval_id, populate_existing=True)
    if found is None:
        raise NotFound(translate("There is no such approval."))
    return found


def approve(settings: Settings, approval_id: int, actor: Actor) -> MadeBatch | None:
    """Approve what another operator asked for, and book it, once. Returns the codes of a batch, which are read this
    once. What a killed worker left undone is done when somebody approves it again.

    Raises InvalidRequest for one's own, for one that is decided or has expired, and where it can't be booked any
    more: then it is refused, with that reason."""
    found = find_approval(approval_id)
    if found.state != BOOKING:
        _decide(approval_id, BOOKING, actor, "approval_given")
    elif found.asked_by == actor.by:
        raise InvalidRequest(translate("You asked for this: another operator has to approve it."))
    try:
        made = _book(settings, find_approval(approval_id))
    except (InvalidRequest, NotFound) as error:
        _finish(approval_id, REFUSED, error.message)
        raise
    _finish(approval_id, APPROVED, "")
    return made


def refuse(approval_id: int, actor: Actor, reason: str) -> None:
    """Refuse what another operator asked for, or withdraw what one asked for oneself. Raises InvalidRequest for one
    that is decided or has expired, and without a reason."""
    if not reason.strip():
        raise InvalidRequest(translate("Say why: the operator who asked for it reads this."), param="reason")
    _decide(approval_id, REFUSED, actor, "approval_refused", reason.strip()[:MAX_OUTCOME_LENGTH])


def expire_approvals() -> int:
    """Mark what nobody decided in time. Returns how many."""
    with transaction() as session:
        late = sa.update(Approval).where(Approval.state == WAITING, Approval.ends_at <= now_utc())
        changed = late.values(state=EXPIRED, decided_at=now_utc()).returning(Approval)
        expired = session.scalars(changed.execution_options(synchronize_session=False)).all()
        for one in expired:
            record_act(session, one.of_account, "approval_expired", Actor(one.asked_by), describe(one))
    return len(expired)


def forget_deciders(session: Session, emails: list[str], instead: str) -> None:
    """Replace these addresses, in the caller's transaction: their account is deleted."""
    for column in (Approval.asked_by, Approval.decided_by):
        named = sa.update(Approval).where(column.in_(emails)).values({column: instead})
        session.execute(named.execution_options(synchronize_session=False))


def _decide(approval_id: int, state: str, actor: Actor, what: str, outcome: str = "") -> None:
    """Take the decision, which only one of those who decide at the same moment does."""
    with transaction() as session:
        open_ = sa.update(Approval).where(
            Approval.id == approval_id, Approval.state == WAITING, Approval.ends_at > now_utc()
        )
        if state != REFUSED:
            open_ = open_.where(Approval.asked_by != actor.by)
        values: dict[str, Any] = {"state": state, "decided_by": actor.by, "decided_at": now_utc(), "outcome": outcome}
        changed = open_.values(**values).returning(Approval.id)
        if session.scalar(changed.execution_options(synchronize_session=False)) is None:
            raise InvalidRequest(_explain(session.get(Approval, approval_id, populate_existing=True), actor))
        found = session.get_one(Approval, approval_id, populate_existing=True)
        record_act(session, found.of_account, what, actor, describe(found) + (f"; {outcome}" if outcome else ""))


def _explain(found: Approval | None, actor: Actor) -> str:
    if found is None:
        raise NotFound(translate("There is no such approval."))
    if found.state == WAITING and found.ends_at > now_utc():
        assert found.asked_by == actor.by
        return translate("You asked for this: another operator has to approve it.")
    if found.state in (WAITING, EXPIRED):
        return translate("Nobody decided this in time. It has to be asked for again.")
    return translate("This was decided before, by %(name)s. Nothing was changed.", name=found.decided_by)


def _book(settings: Settings, approval: Approval) -> MadeBatch | None:
    """Do what was asked for, in the name of whoever asked. A second time changes nothing."""
    once = f"approval:{approval.id}"
    if approval.kind == CODES:
        terms: dict[str, Any] = {"expires_at": approval.codes_expire_at, "note": approval.note, "once": once}
        return create_batch(approval.amount_nanos, approval.count, made_by=approval.asked_by, **terms)
    account_id = approval.of_account
    assert account_id is not None
    if approval.kind == MERGE:
        _merge(settings, approval, account_id)
    elif approval.kind == REFUND:
        _refund(approval, account_id)
    else:
        terms = {"note": approval.note, "made_by": approval.asked_by, "external_id": once}
        adjust(account_id, approval.amount_nanos, **terms)
    return None


def _refund(approval: Approval, account_id: int) -> None:
    assert approval.request_id is not None
    number = approval.refund_number or 1
    before = list_refunds(account_id, approval.request_id)
    if len(before) >= number:  # by a worker that was killed then, or else by somebody else's refund, which is refused
        done = before[number - 1]
        mine = (approval.amount_nanos, approval.asked_by, approval.note)
        if (done.amount_nanos, done.made_by, done.note) == mine:
            return
    terms: dict[str, Any] = {"reason": approval.note, "made_by": approval.asked_by, "account_id": account_id}
    refund_request(approval.request_id, amount_nanos=approval.amount_nanos, number=number, **terms)


def _merge(settings: Settings, approval: Approval, from_id: int) -> None:
    """Merge, unless it was done. What has come since, beyond what was approved, makes it a thing to ask for again."""
    assert approval.into_id is not None
    if find_merged_into(from_id) == approval.into_id:
        return
    at_most = abs(approval.amount_nanos)
    merge_accounts(settings, from_id, approval.into_id, Actor(approval.asked_by), at_most_nanos=at_most)


def _finish(approval_id: int, state: str, outcome: str) -> None:
    with transaction() as session:
        done = sa.update(Approval).where(Approval.id == approval_id, Approval.state == BOOKING)
        done = done.values(state=state, outcome=outcome[:MAX_OUTCOME_LENGTH])
        session.execute(done.execution_options(synchronize_session=False))
