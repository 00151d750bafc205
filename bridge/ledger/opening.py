"""Opens accounts: an account, its owner, its balance and what it starts with are created in one transaction."""

import sqlalchemy as sa

from bridge.accounts.emails import check_email, find_by_email
from bridge.accounts.erasure import was_here_before
from bridge.accounts.profile import check_name
from bridge.accounts.sign_in import AddressTaken, add_account, hash_password
from bridge.accounts.tables import Account, Member
from bridge.acts import COMMAND, Actor
from bridge.db import DEFAULT_GROUP, GROUP_NAME, db, transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.ledger.ledger import book
from bridge.ledger.tables import Balance


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
