"""Enters and ends prices of single models for one account or for a group."""

import dataclasses

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bridge import versions
from bridge.accounts.keys import TOPIC
from bridge.accounts.own_prices import read_own
from bridge.accounts.tables import Account, OwnPrice
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.catalogue.below_cost import require_own_margin
from bridge.catalogue.model_editing import find_model
from bridge.catalogue.price_terms import OF_ACCOUNT, OF_GROUP
from bridge.catalogue.prices import OwnRate
from bridge.catalogue.rates import Rates, name_rates
from bridge.db import GROUP_NAME, db, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import to_translate, translate
from bridge.money import check_markup, format_dollars, format_percent

MAX_NOTE_LENGTH = 200
PLAIN = {"synchronize_session": False}


@dataclasses.dataclass(frozen=True, slots=True)
class Owner:
    """Whose price it is: an account's or, where `group` is given, a group's."""

    account_id: int | None = None
    group: str | None = None

    @property
    def words(self) -> str:
        """As the audit log names it."""
        return "" if self.group is None else f"group {self.group}, "

    def matches(self) -> sa.ColumnElement[bool]:
        """Which rows are the owner's."""
        if self.group is not None:
            return OwnPrice.group_name == self.group
        return OwnPrice.account_id == self.account_id


def set_own_price(
    owner: Owner,
    model: str,
    *,
    markup_bps: int | None = None,
    rates: Rates | None = None,
    note: str = "",
    actor: Actor = COMMAND,
    below_cost: bool = False,
) -> OwnPrice:
    """Give an account or a group a price for one model (an id or another name): the list price with this markup, or
    these rates for prompts of every length. It holds from the next request on, on every worker within a second; running
    requests keep theirs. Raises InvalidRequest and NotFound; BelowCost unless `below_cost` is confirmed."""
    found = find_model(model)
    _check(owner, markup_bps, rates, note)
    own = OwnRate(OF_ACCOUNT if owner.group is None else OF_GROUP, markup_bps, rates)
    if not below_cost:
        require_own_margin(found, own, "this customer" if owner.group is None else f"the group {owner.group}")
    values = {"markup_bps": markup_bps, "rates": None if rates is None else name_rates(rates)}
    with transaction() as session:
        _lock(session, owner)
        where = (owner.matches(), OwnPrice.model_id == found.id)
        row = session.scalar(sa.select(OwnPrice).where(*where).with_for_update())
        before = None if row is None else describe_own(read_own(row))
        if row is None:
            row = OwnPrice(account_id=owner.account_id, group_name=owner.group, model_id=found.id)
            session.add(row)
        row.markup_bps, row.rates, row.note, row.made_by = values["markup_bps"], values["rates"], note, actor.by  # type: ignore[assignment]
        _record(session, owner, found.id, before, describe_own(own), actor)
    return row


def remove_own_price(owner: Owner, model: str, actor: Actor = COMMAND) -> None:
    """Let an account or a group pay for a model what others pay. Raises NotFound."""
    with transaction() as session:
        gone = sa.delete(OwnPrice).where(owner.matches(), OwnPrice.model_id == model)
        columns = OwnPrice.account_id, OwnPrice.markup_bps, OwnPrice.rates
        row = session.execute(gone.returning(*columns), execution_options=PLAIN).first()
        if row is None:
            raise NotFound(translate("There is no such price."))
        _record(session, owner, model, describe_own(read_own(row)), None, actor)


def describe_own(own: OwnRate) -> str:
    """`list and 25%`, `list less 5%`, `$2.85 / $14.25`, as the audit log and commands have it."""
    text, values = _put_in_words(own)
    return text % values


def say_own(own: OwnRate) -> str:
    """The same in the reader's language."""
    text, values = _put_in_words(own)
    return translate(text, **values)


def _put_in_words(own: OwnRate) -> tuple[str, dict[str, str]]:
    if own.rates is not None:
        prices = {"input": format_dollars(own.rates.input, 2), "output": format_dollars(own.rates.output, 2)}
        return "$%(input)s / $%(output)s", prices
    markup = own.markup_bps or 0
    text = to_translate("list and %(share)s") if markup >= 0 else to_translate("list less %(share)s")
    return text, {"share": f"{format_percent(abs(markup))}%"}


def list_groups() -> list[tuple[str, int, int]]:
    """Each group's name, how many accounts are in it, and how many models it has a price for."""
    accounts = sa.select(Account.group_name, sa.func.count()).where(Account.deleted_at.is_(None))
    prices = sa.select(OwnPrice.group_name, sa.func.count()).where(OwnPrice.group_name.is_not(None))
    members = {str(name): count for name, count in db.session.execute(accounts.group_by(Account.group_name))}
    priced = {str(name): count for name, count in db.session.execute(prices.group_by(OwnPrice.group_name))}
    return [(name, members.get(name, 0), priced.get(name, 0)) for name in sorted({*members, *priced})]


def _check(owner: Owner, markup_bps: int | None, rates: Rates | None, note: str) -> None:
    if (markup_bps is None) == (rates is None):
        raise InvalidRequest(translate("Give either a markup, or prices of input and output."), param="own_markup")
    if markup_bps is not None:
        check_markup(markup_bps)
    if len(note) > MAX_NOTE_LENGTH:
        raise InvalidRequest(
            translate("At most %(max_note_length)s characters.", max_note_length=MAX_NOTE_LENGTH), param="own_note"
        )
    if owner.group is not None and not GROUP_NAME.fullmatch(owner.group):
        raise InvalidRequest(
            translate("A group is letters, digits, dots, hyphens and underscores, up to 64."), param="group"
        )


def _lock(session: Session, owner: Owner) -> None:
    """One at a time changes an account's prices. Raises NotFound."""
    if owner.account_id is not None:
        chosen = sa.select(Account.id).where(Account.id == owner.account_id, Account.deleted_at.is_(None))
        if session.scalar(chosen.with_for_update(key_share=True)) is None:
            raise NotFound(translate("There is no such customer."))


def _record(session: Session, owner: Owner, model_id: str, before: str | None, after: str | None, actor: Actor) -> None:
    detail = f"{owner.words}{write_change(model_id, before or 'as others', after or 'as others')}"
    record_act(session, owner.account_id, "own_price", actor, detail)
    versions.bump(TOPIC)
