"""Merges a duplicate of a customer into the account that stays: its money, members and keys go there, and nothing is
charged twice. What it used and paid stays where it was, so that every sum of the past stays true."""

import secrets

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.memberships import select_owners
from bridge.accounts.roles import higher_of
from bridge.accounts.sessions import end_sessions
from bridge.accounts.tables import Account, AccountNote, Invitation, Key, Member, Membership
from bridge.acts import COMMAND, Actor, record_act
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import translate
from bridge.ledger.ledger import MERGE, Guard, book
from bridge.ledger.tables import Balance
from bridge.money import format_dollars
from bridge.payments.auto import drop_card
from bridge.payments.subscriptions import move_plans

PLAIN = {"synchronize_session": False}


def merge_accounts(
    settings: Settings,
    from_id: int,
    into_id: int,
    actor: Actor = COMMAND,
    *,
    at_most_nanos: int | None = None,
    guard: Guard = None,
) -> int:
    """Merge one account into another. Requests that run are settled where they began; what their holds leave follows
    later (`move_leftovers`), and so does a payment that comes in late. When this returns, every worker takes the moved
    keys for the other account's. Returns the nano-dollars that were moved. `guard` may refuse the merge.

    Raises InvalidRequest for accounts that can't be merged and where more than `at_most_nanos` would be moved, and
    NotFound."""
    if from_id == into_id:
        raise InvalidRequest(translate("An account can't be merged into itself."), param="into")
    _require_mergeable(from_id, into_id)
    with transaction() as session:
        _lock_accounts(session, from_id, into_id)
        _require_mergeable(from_id, into_id)
        drop_card(session, from_id)
        end_sessions(session, Member.account_id == from_id)
        _move_members(session, from_id, into_id)
        for table in (Member, AccountNote):
            moved_rows = sa.update(table).where(table.account_id == from_id).values(account_id=into_id)
            session.execute(moved_rows, execution_options=PLAIN)
        moving = sa.update(Key).where(Key.account_id == from_id, Key.revoked_at.is_(None), ~Key.is_drill)
        # the account that stays has a playground of its own; whoever was given this one's secret may go on with it
        moving = moving.values(account_id=into_id, is_playground=False).returning(Key.id)
        keys = len(session.execute(moving, execution_options=PLAIN).all())
        why = f"It was merged into account {into_id}"
        ended = {"status": "suspended", "merged_into": into_id, "suspend_reason": why}
        earlier = (Account.id == from_id) | (Account.merged_into == from_id)
        session.execute(sa.update(Account).where(earlier).values(merged_into=into_id), execution_options=PLAIN)
        session.execute(sa.update(Account).where(Account.id == from_id).values(**ended), execution_options=PLAIN)
        move_plans(session, from_id, into_id, actor)
        moved = _move_available(session, from_id, into_id, actor)
        if at_most_nanos is not None and abs(moved) > at_most_nanos:
            raise InvalidRequest(
                translate("The balance is larger than what was approved. Ask for the merge again."), param="into"
            )
        if guard is not None:
            guard(session)
        amount = f"${format_dollars(moved, 2)}, {keys} key{'' if keys == 1 else 's'}"
        record_act(session, from_id, "merged", actor, f"into account {into_id}: {amount}")
        record_act(session, into_id, "merged", actor, f"from account {from_id}: {amount}")
        versions.bump(TOPIC)
    versions.wait_until_seen(settings)
    return moved


def _move_members(session: Session, from_id: int, into_id: int) -> None:
    """Let the members of one account belong to the other. Somebody of both keeps the higher of their two roles. Open
    invitations to the account that ends are void."""
    session.execute(sa.delete(Invitation).where(Invitation.account_id == from_id), execution_options=PLAIN)
    query = sa.select(Membership.member_id, Membership.role).where(Membership.account_id == into_id)
    there = {row.member_id: row.role for row in session.execute(query)}
    here = sa.select(Membership.member_id, Membership.role).where(Membership.account_id == from_id)
    for member_id, role in session.execute(here).all():
        mine = (Membership.account_id == from_id) & (Membership.member_id == member_id)
        if member_id not in there:
            session.execute(sa.update(Membership).where(mine).values(account_id=into_id), execution_options=PLAIN)
            continue
        session.execute(sa.delete(Membership).where(mine), execution_options=PLAIN)
        stays = (Membership.account_id == into_id) & (Membership.member_id == member_id)
        higher = sa.update(Membership).where(stays).values(role=higher_of(role, there[member_id]))
        session.execute(higher, execution_options=PLAIN)


def find_merged_into(account_id: int) -> int | None:
    """The account that this one was merged into."""
    return db.session.scalar(sa.select(Account.merged_into).where(Account.id == account_id))


def move_leftovers() -> int:
    """Let what has come free since in merged accounts follow: holds that ended, late payments, refunds, and what was
    charged back. Returns of how many. If several workers look at once, each amount is moved once."""
    available = Balance.balance_nanos - Balance.held_nanos
    other = sa.orm.aliased(Account)
    query = (
        sa.select(Account.id, Account.merged_into)
        .join(Balance, Balance.account_id == Account.id)
        .join(other, other.id == Account.merged_into)
        .where(Account.merged_into.is_not(None), available != 0, other.deleted_at.is_(None))
    )
    found = list(db.session.execute(query.order_by(Account.id)))
    db.session.commit()
    for from_id, into_id in found:
        with transaction() as session:
            _move_available(session, from_id, into_id or 0, COMMAND)
    return len(found)


def _require_mergeable(from_id: int, into_id: int) -> None:
    """Raises InvalidRequest and NotFound."""
    rows = {row.id: row for row in db.session.scalars(sa.select(Account).where(Account.id.in_((from_id, into_id))))}
    if len(rows) < 2 or any(row.deleted_at is not None for row in rows.values()):
        raise NotFound(translate("There is no such customer."))
    if any(row.merged_into is not None for row in rows.values()):
        raise InvalidRequest(translate("One of the two was merged into another account before."), param="into")
    if rows[into_id].status != "active":
        raise InvalidRequest(translate("The account that stays is suspended. Restore it first."), param="into")
    if db.session.scalar(select_owners(from_id).join(Member).where(Member.is_operator).limit(1)) is not None:
        raise InvalidRequest(translate("An operator's account can't be merged into another."), param="into")


def _lock_accounts(session: Session, *account_ids: int) -> None:
    chosen = sa.select(Account.id).where(Account.id.in_(account_ids)).order_by(Account.id)
    session.execute(chosen.with_for_update(key_share=True)).all()


def _move_available(session: Session, from_id: int, into_id: int, actor: Actor) -> int:
    """Book what one account has beside its open holds, also a debt, over to the other: two entries that sum to zero,
    in the caller's transaction. Balances are locked in order of id, as the batch of the ledger locks them."""
    chosen = sa.select(Balance.account_id, Balance.balance_nanos - Balance.held_nanos)
    chosen = chosen.where(Balance.account_id.in_((from_id, into_id))).order_by(Balance.account_id)
    rows = session.execute(chosen.with_for_update()).all()
    amount = next((int(nanos) for account_id, nanos in rows if account_id == from_id), 0)
    if amount:
        once = f"{from_id}:{into_id}:{secrets.token_hex(8)}"
        by = actor.by
        out, in_ = f"Moved to account {into_id}", f"Moved from account {from_id}"
        legs = [(from_id, -amount, f"{once}:out", out), (into_id, amount, f"{once}:in", in_)]
        for account_id, nanos, external_id, note in sorted(legs):
            book(session, account_id, nanos, source=MERGE, external_id=external_id, note=note, made_by=by)
    return amount
