"""What members may say about themselves."""

import functools
import zoneinfo

import sqlalchemy as sa

from bridge.accounts.tables import Account, Member
from bridge.acts import Actor, record_act
from bridge.db import db, transaction
from bridge.errors import InvalidRequest

MAX_NAME_LENGTH = 100
BILLING_LENGTHS = {"billing_name": 200, "billing_address": 500, "tax_id": 50}


def find_account(account_id: int) -> Account:
    """The account that somebody is signed in to."""
    return db.session.get_one(Account, account_id, populate_existing=True)


@functools.cache
def list_time_zones() -> tuple[str, ...]:
    """The time zones that this machine knows, by their names."""
    return tuple(sorted(zoneinfo.available_timezones() | {"UTC"}))


def set_time_zone(member: Member, name: str) -> None:
    """Choose the zone in which the member reads times; "" is the browser's own. Raises InvalidRequest."""
    if name and name not in list_time_zones():
        raise InvalidRequest("Choose one of the time zones in the list.", param="time_zone")
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member.id).values(time_zone=name))


def set_name(member: Member, name: str, actor: Actor) -> None:
    """Change what a member is called. Raises InvalidRequest."""
    name = " ".join(name.split())
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"Use at most {MAX_NAME_LENGTH} letters.", param="name")
    before = member.name or "none"
    with transaction() as session:
        session.execute(sa.update(Member).where(Member.id == member.id).values(name=name))
        record_act(session, member.account_id, "name", actor, f"{before} → {name or 'none'}")


def set_billing_details(account_id: int, actor: Actor, *, billing_name: str, billing_address: str, tax_id: str) -> None:
    """Change what statements and receipts are made out to; the address has several lines. Raises InvalidRequest."""
    lines = [" ".join(line.split()) for line in billing_address.splitlines()]
    fields = {
        "billing_name": " ".join(billing_name.split()),
        "billing_address": "\n".join(filter(None, lines)),
        "tax_id": " ".join(tax_id.split()),
    }
    for name, text in fields.items():
        if len(text) > BILLING_LENGTHS[name] or not text.replace("\n", "").isprintable():
            raise InvalidRequest(f"Use at most {BILLING_LENGTHS[name]} letters.", param=name)
    with transaction() as session:
        session.execute(sa.update(Account).where(Account.id == account_id).values(**fields))
        record_act(session, account_id, "billing", actor)


def check_name(name: str) -> str:
    """The name of a member or an account, its spaces put in order. Raises InvalidRequest."""
    name = " ".join(name.split())
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise InvalidRequest(f"Use at most {MAX_NAME_LENGTH} letters.", param="name")
    return name
