"""The accounts elsewhere by which members sign in. One is connected only by a member who is signed in already, or makes
a new account."""

import sqlalchemy as sa

from bridge.accounts.notes import tell_member
from bridge.accounts.passkeys import list_passkeys
from bridge.accounts.sign_in_services import Known
from bridge.accounts.tables import Identity, Member
from bridge.acts import Actor, record_act
from bridge.db import db, now_utc, transaction
from bridge.errors import InvalidRequest


def find_connected(service: str, subject: str) -> Member | None:
    """The member who has connected this account."""
    query = sa.select(Member).join(Identity, Identity.member_id == Member.id)
    query = query.where(Identity.service == service, Identity.subject == subject)
    return db.session.scalar(query.execution_options(populate_existing=True))


def list_identities(member_id: int) -> dict[str, Identity]:
    """Service -> the account there that the member has connected."""
    rows = db.session.scalars(sa.select(Identity).where(Identity.member_id == member_id))
    return {row.service: row for row in rows}


def connect(member: Member, service: str, known: Known, actor: Actor) -> None:
    """Let the member sign in by this account. Raises InvalidRequest if another member does, or the member already has
    one of this service."""
    try:
        with transaction() as session:
            row = Identity(service=service, subject=known.subject, member_id=member.id, label=known.label)
            row.created_at = now_utc()
            session.add(row)
            record_act(session, member.account_id, "connected", actor, f"{service}: {known.label}")
            tell_member(session, member, "connected", f"It is {known.label} at {service}.")
    except sa.exc.IntegrityError:
        raise InvalidRequest("That account is connected to another account of ours already.") from None


def disconnect(member: Member, service: str, actor: Actor) -> None:
    """No longer let the member sign in by this service. Raises InvalidRequest if there is no other way for them."""
    others = [name for name in list_identities(member.id) if name != service]
    if not (member.password_hash or others or list_passkeys(member.id)):
        raise InvalidRequest("You would have no way to sign in. Set a password or add a passkey first.")
    with transaction() as session:
        gone = sa.delete(Identity).where(Identity.member_id == member.id, Identity.service == service)
        label = session.scalar(gone.returning(Identity.label).execution_options(synchronize_session=False))
        if label is not None:
            record_act(session, member.account_id, "disconnected", actor, f"{service}: {label}")
            tell_member(session, member, "disconnected", f"It was {label} at {service}.")
