"""Deletes an account: its people are erased, its keys refused, its card forgotten; its usage and payments stay, without
a name."""

import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import versions
from bridge.accounts.erasure import GONE, erase_people
from bridge.accounts.letters import written_to
from bridge.accounts.memberships import select_members
from bridge.accounts.tables import Account, Invitation, Member, Membership
from bridge.acts import Actor
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.ledger.forgetting import forget_labels, forget_makers
from bridge.ledger.ledger import find_balance
from bridge.mail.outbox import queue_mail
from bridge.money import format_dollars
from bridge.payments.approvals import forget_deciders
from bridge.payments.auto import forget_card
from bridge.payments.plan_tables import Subscription
from bridge.payments.subscriptions import end_plans
from bridge.payments.tables import Payment

AFTER = datetime.timedelta(hours=1)  # then the last of its requests have ended
PLAIN = {"synchronize_session": False}


def delete_account(settings: Settings, account_id: int, actor: Actor) -> int:
    """Delete the account for good, and mail its owners that it is. When this returns, every worker refuses its keys.
    Returns how many keys were revoked. Raises InvalidRequest while an operator belongs to it and to no other."""
    elsewhere = sa.select(Membership.member_id).where(Membership.account_id != account_id)
    operators = sa.select(Member.id).where(Member.id.in_(select_members(account_id)), Member.is_operator)
    operators = operators.where(Member.id.not_in(elsewhere))
    if db.session.scalar(operators.limit(1)) is not None:
        raise InvalidRequest(translate("An operator's account can't be deleted. Take that right away first."))
    balance = find_balance(account_id).balance_nanos
    forget_card(account_id)
    end_plans(account_id, actor, "the account is deleted")
    with transaction() as session:
        # first: whoever joins by one at this moment is among the members, or finds that it is over
        session.execute(sa.delete(Invitation).where(Invitation.account_id == account_id), execution_options=PLAIN)
        farewells = _write_farewells(session, account_id, balance)  # while their languages are known
        erased = erase_people(session, account_id, actor)
        forget_makers(session, account_id, erased.emails, GONE)
        forget_deciders(session, erased.gone, GONE)
        made = sa.update(Payment).where(Payment.account_id == account_id, Payment.made_by.in_(erased.emails))
        session.execute(made.values(made_by=GONE), execution_options=PLAIN)
        begun = sa.update(Subscription).where(Subscription.account_id == account_id)
        session.execute(begun.values(made_by=GONE), execution_options=PLAIN)
        for number, email in enumerate(erased.emails):
            subject, gone, stays = farewells[email]
            text = gone if email in erased.gone else stays
            queue_mail(session, once=f"deleted:{account_id}:{number}", recipient=email, subject=subject, text=text)
    versions.wait_until_seen(settings)
    return erased.keys


def _write_farewells(session: Session, account_id: int, balance_nanos: int) -> dict[str, tuple[str, str, str]]:
    """The last mail to each member, by address: its subject, and its text for whom this was the last account, and for
    whoever has another."""
    found = {}
    chosen = sa.select(Member).where(Member.id.in_(select_members(account_id)))
    for member in session.scalars(chosen):
        with written_to(member):
            subject = translate("Your AI Bridge account is deleted")
            found[member.email] = (
                subject,
                _write_farewell(balance_nanos, stays=False),
                _write_farewell(balance_nanos, stays=True),
            )
    return found


def _write_farewell(balance_nanos: int, *, stays: bool) -> str:
    left = f"${format_dollars(max(balance_nanos, 0), 2)}"
    if stays:
        told = translate(
            "An AI Bridge account that you belonged to is deleted. Its keys are refused; your other accounts stay."
        )
    else:
        told = translate(
            "Your AI Bridge account is deleted. Its keys are refused, every session has ended, and your name and "
            "address are erased; this mail, which has them, is deleted within 30 days."
        )
    kept = translate(
        "The balance was %(amount)s. Records of requests and payments are kept without your name.", amount=left
    )
    return f"{told}\n\n{kept}\n"


def erase_labels() -> int:
    """Take the end users and tags out of the usage of accounts that were deleted an hour ago. Returns of how many."""
    due = sa.select(Account.id).where(Account.deleted_at < now_utc() - AFTER, Account.labels_erased_at.is_(None))
    found = list(db.session.scalars(due.order_by(Account.id)))
    for account_id in found:
        forget_labels(account_id)
        with transaction() as session:
            done = sa.update(Account).where(Account.id == account_id).values(labels_erased_at=now_utc())
            session.execute(done, execution_options=PLAIN)
    return len(found)
