"""Opens accounts: an account, its owner, its balance and what it starts with are created in one transaction. A person
may open further ones, which start with nothing. What they have available in each is told beside the account's name."""

import dataclasses

import sqlalchemy as sa

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.erasure import was_here_before
from bridge.accounts.memberships import add_member
from bridge.accounts.profile import check_name
from bridge.accounts.roles import OWNER
from bridge.accounts.sign_in import AddressTaken, add_account, hash_password
from bridge.accounts.tables import Account, Member, Membership
from bridge.accounts.team import check_account_name
from bridge.acts import COMMAND, Actor, record_act
from bridge.db import DEFAULT_GROUP, GROUP_NAME, db, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.ledger.ledger import book
from bridge.ledger.tables import Balance

MOST_OWNED = 10  # accounts of one person


@dataclasses.dataclass(frozen=True, slots=True)
class OwnAccount:
    """An account of a person, and what is available in it."""

    id: int
    name: str
    available_nanos: int


def list_own_accounts(member_id: int) -> list[OwnAccount]:
    """The accounts that a person belongs to, by name."""
    available = sa.func.coalesce(Balance.balance_nanos - Balance.held_nanos, 0)
    query = sa.select(Account.id, Account.name, available).join(Membership, Membership.account_id == Account.id)
    query = query.outerjoin(Balance, Balance.account_id == Account.id).where(Membership.member_id == member_id)
    return [OwnAccount(*row) for row in db.session.execute(query.order_by(sa.func.lower(Account.name), Account.id))]


def open_further_account(member: Member, name: str, actor: Actor) -> int:
    """Open another account, which the person owns and looks at from now on. Its balance is nothing: the starting credit
    was for their first. Returns its id. Raises InvalidRequest for a name that is none, and beyond MOST_OWNED."""
    name = check_account_name(name)
    with transaction() as session:
        session.execute(sa.select(Member.id).where(Member.id == member.id).with_for_update())  # one after the other
        owned = sa.select(sa.func.count()).where(Membership.member_id == member.id, Membership.role == OWNER)
        if (session.scalar(owned) or 0) >= MOST_OWNED:
            raise InvalidRequest(f"You own {MOST_OWNED} accounts already, and can't open another.")
        account = Account(name=name)
        session.add(account)
        session.flush()
        account_id = account.id
        add_member(session, account_id, member.id, OWNER)
        session.execute(sa.insert(Balance).values(account_id=account_id))
        record_act(session, account_id, "sign_up", actor, name)
    return account_id


def create_account(
    email: str,
    password: str | None,
    is_operator: bool = False,
    *,
    name: str = "",
    group: str = DEFAULT_GROUP,
    starting_credit_nanos: int = 0,
    actor: Actor = COMMAND,
) -> Member:
    """Create an account with its owner and its balance. Without a password they sign in by something else. The starting
    credit is in the balance, unless an earlier account of this owner, which was deleted, had it already.

    Raises AddressTaken, ValueError with a sentence if address or password can't be used, or InvalidRequest for a name
    or a group that is none."""
    email, name = check_email(email), check_name(name)
    if not GROUP_NAME.fullmatch(group):
        raise InvalidRequest(
            translate("A group is letters, digits, dots, hyphens and underscores, up to 64."), param="group"
        )
    password_hash = (
        "" if password is None else hash_password(password)
    )  # also for a taken address, so that it takes as long
    if find_by_email(email):
        raise AddressTaken(f"{email} already has an account.")
    db.session.rollback()
    try:
        with transaction() as session:
            member = add_account(session, email, password_hash, is_operator=is_operator, actor=actor)
            account_id = member.account_id
            given = {"group_name": group, **({"name": name} if name else {})}
            session.execute(sa.update(Account).where(Account.id == account_id).values(**given))
            session.execute(sa.insert(Balance).values(account_id=account_id))
            if starting_credit_nanos and not was_here_before(email):
                once = {"source": "signup", "external_id": f"signup:{account_id}"}
                book(session, account_id, starting_credit_nanos, **once, note="Starting credit", made_by=None)
                session.refresh(member)  # booking made it forget what it had read
    except sa.exc.IntegrityError:  # another sign-up with the same address was faster
        raise AddressTaken(f"{email} already has an account.") from None
    return member
