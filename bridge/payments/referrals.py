"""Referrals: an account's link, who came by it, and the credit for both sides. It is booked once, in the transaction
that books the newcomer's first payment, and taken back when that payment goes back wholly."""

import dataclasses
import secrets

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from bridge.accounts.erasure import was_here_before
from bridge.accounts.memberships import select_members
from bridge.accounts.tables import Account, Member
from bridge.acts import Actor, record_act
from bridge.config import Settings
from bridge.db import db, transaction
from bridge.languages import to_translate
from bridge.ledger.ledger import book
from bridge.ledger.tables import Balance
from bridge.money import format_dollars
from bridge.payments.referral_tables import Referral, ReferralCode
from bridge.payments.rows import REFERRAL, REFERRAL_RETURN
from bridge.payments.tables import Payment

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without what looks alike
CODE_LENGTH = 10
MAX_CODE_LENGTH = 16
GIVEN_NOTES = (
    to_translate("Referral credit, for joining by a link"),
    to_translate("Referral credit, for somebody who joined by your link"),
)
RETURN_NOTES = (
    to_translate("Referral credit taken back with its payment"),
    to_translate("Referral credit given back with its payment"),
)


@dataclasses.dataclass(frozen=True, slots=True)
class ReferralFigures:
    """An account's code ("" before it asked for one), how many joined by it, how many of them have paid, and what the
    account has earned, less what was taken back."""

    code: str
    joined: int
    paid: int
    earned_nanos: int


def make_referral_code(account_id: int) -> str:
    """The account's code: its own from the first time on."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    with transaction() as session:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        made = insert(ReferralCode).values(account_id=account_id, code=code)
        session.execute(made.on_conflict_do_nothing(index_elements=["account_id"]))
        return session.scalars(sa.select(ReferralCode.code).where(ReferralCode.account_id == account_id)).one()


def find_referral_figures(account_id: int) -> ReferralFigures:
    """What came of the account's link, in one statement."""
    is_paid, is_kept = Referral.payment_intent.is_not(None), ~Referral.is_taken_back
    earned = sa.case((is_paid & is_kept, Referral.referrer_nanos), else_=0)
    columns = (sa.func.count(), sa.func.count(Referral.payment_intent), sa.func.coalesce(sa.func.sum(earned), 0))
    code = sa.select(ReferralCode.code).where(ReferralCode.account_id == account_id).scalar_subquery()
    found = db.session.execute(sa.select(code, *columns).where(Referral.referrer_id == account_id)).one()
    return ReferralFigures(found[0] or "", int(found[1]), int(found[2]), int(found[3]))


def record_referral(settings: Settings, newcomer: Member, code: str, actor: Actor) -> bool:
    """Keep that a newcomer came by somebody's link, with what both are promised today. Returns whether it counts: not
    without the setting, by an unknown code or a suspended account's, by one's own, nor for an owner who was here
    before."""
    if not code or len(code) > MAX_CODE_LENGTH or not settings.referral_credit_nanos:
        return False
    query = sa.select(ReferralCode.account_id).join(Account, Account.id == ReferralCode.account_id)
    referrer = db.session.scalar(query.where(ReferralCode.code == code, Account.status == "active"))
    if referrer is None or referrer == newcomer.account_id or was_here_before(newcomer.email):
        return False
    theirs = db.session.scalars(sa.select(Member.email).where(Member.id.in_(select_members(referrer))))
    if _bare(newcomer.email) in map(_bare, theirs):
        return False
    each = settings.referral_credit_nanos
    with transaction() as session:
        sums = {"newcomer_nanos": each, "referrer_nanos": each}
        session.add(Referral(newcomer_id=newcomer.account_id, referrer_id=referrer, **sums))
        record_act(session, newcomer.account_id, "referred", actor, f"by account {referrer}")
    return True


def _bare(email: str) -> str:
    """An address without its tag: a+b@example.com is a@example.com."""
    local, _, host = email.partition("@")
    return f"{local.partition('+')[0]}@{host}"


def lock_referral(session: Session, payment: Payment) -> Referral | None:
    """The referral of which a payment of a newcomer is, or may become, the first, locked with both balances until the
    transaction ends; None where there is none. Balances are locked in order of id, as the ledger's batch locks them."""
    mine = Referral.payment_intent.is_(None) | (Referral.payment_intent == payment.payment_intent)
    query = sa.select(Referral).where(Referral.newcomer_id == payment.account_id, mine).with_for_update()
    found = session.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if found is not None:
        ids = (found.newcomer_id, found.referrer_id)
        # of one referrer's newcomers only one is booked at a time, so that the cap holds
        chosen = sa.select(Account.id).where(Account.id == found.referrer_id)
        session.execute(chosen.with_for_update(key_share=True)).all()
        balances = sa.select(Balance.account_id).where(Balance.account_id.in_(ids)).order_by(Balance.account_id)
        session.execute(balances.with_for_update()).all()
    return found


def give_referral(session: Session, found: Referral, payment: Payment, cap_nanos: int, *, made_by: str) -> None:
    """Book the credit for both sides with the newcomer's first payment, in the caller's transaction."""
    if found.payment_intent is not None or not _are_apart(session, found):
        return
    newcomer, referrer, intent = found.newcomer_id, found.referrer_id, payment.payment_intent or ""
    # what was taken back counts too: its dispute may yet be decided for us
    given = sa.select(sa.func.coalesce(sa.func.sum(Referral.referrer_nanos), 0))
    given = given.where(Referral.referrer_id == referrer, Referral.payment_intent.is_not(None))
    left = max(0, cap_nanos - int(session.scalar(given) or 0))
    is_active = session.scalar(sa.select(Account.deleted_at.is_(None)).where(Account.id == referrer))
    found.referrer_nanos = min(found.referrer_nanos, left) if is_active else 0
    found.payment_intent = intent
    session.flush()
    _book(session, found, 1, REFERRAL, intent, GIVEN_NOTES, made_by)
    _log_both(session, newcomer, referrer, found, "referral", made_by)


def move_referral(session: Session, found: Referral, payment: Payment, external_id: str, *, made_by: str) -> None:
    """Take the credit of both sides back when its payment has gone back wholly, and give it back when that is so no
    more, in the caller's transaction."""
    wholly = payment.returned_minor >= payment.amount_minor
    if found.payment_intent is None or found.payment_intent != payment.payment_intent or wholly == found.is_taken_back:
        return
    found.is_taken_back = wholly
    session.flush()
    note = RETURN_NOTES[not wholly]
    _book(session, found, -1 if wholly else 1, REFERRAL_RETURN, external_id, (note, note), made_by)
    _log_both(session, found.newcomer_id, found.referrer_id, found, "referral_back" if wholly else "referral", made_by)


def _book(
    session: Session, found: Referral, sign: int, source: str, external_id: str, notes: tuple[str, str], made_by: str
) -> None:
    sides = (
        (found.newcomer_id, found.newcomer_nanos, "newcomer"),
        (found.referrer_id, found.referrer_nanos, "referrer"),
    )
    for (account_id, nanos, side), note in zip(sides, notes, strict=True):
        if nanos:
            once = {"source": source, "external_id": f"{external_id}:{side}"}
            book(session, account_id, sign * nanos, **once, note=note, made_by=made_by)


def _log_both(session: Session, newcomer: int, referrer: int, found: Referral, what: str, made_by: str) -> None:
    for account_id, nanos in ((newcomer, found.newcomer_nanos), (referrer, found.referrer_nanos)):
        if nanos:
            record_act(session, account_id, what, Actor(made_by), f"${format_dollars(nanos, 2)}")


def _are_apart(session: Session, found: Referral) -> bool:
    """Whether the two are still different customers: merged ones are not."""
    ids = (found.newcomer_id, found.referrer_id)
    query = sa.select(sa.func.coalesce(Account.merged_into, Account.id)).where(Account.id.in_(ids))
    return len(set(session.scalars(query))) == 2
