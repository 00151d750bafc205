"""Mails operators about models that are sold below cost: once when that begins, and once when it ends."""

import datetime
import functools
from collections.abc import Callable

import sqlalchemy as sa
import structlog

from bridge.accounts.customers import count_markups
from bridge.accounts.own_prices import list_own_rates
from bridge.catalogue.below_cost import MOST_SHOWN, Shortfall, list_losing
from bridge.catalogue.tables import Model
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.languages import translate
from bridge.ops.trouble_alerts import mail_operators

log = structlog.get_logger()


def queue_margin_alerts(settings: Settings) -> None:
    """Queue the mails that are due. If several workers look at the same moment, one of them reports each model. It
    doesn't matter what makes a model lose money: a price, a later price taking effect, a markup of the model or of an
    account, or a channel's cost."""
    losing = list_losing(count_markups(), list_own_rates())
    told = set(db.session.scalars(sa.select(Model.id).where(Model.told_below_cost_at.is_not(None))))
    db.session.commit()
    begun, ended = sorted(losing.keys() - told), sorted(told - losing.keys())
    if not begun and not ended:
        return
    with transaction():
        moment = now_utc()
        if taken := _claim(begun, Model.told_below_cost_at.is_(None), moment):
            log.error("models_below_cost", models=taken)
            _mail(
                moment,
                f"begun:{taken[0]}",
                functools.partial(_write_begun, settings, {id_: losing[id_] for id_ in taken}),
            )
        if taken := _claim(ended, Model.told_below_cost_at.is_not(None), None):
            log.info("models_not_below_cost", models=taken)
            _mail(moment, f"ended:{taken[0]}", functools.partial(_write_ended, settings, taken))


def _claim(ids: list[str], state: sa.ColumnElement[bool], told_at: datetime.datetime | None) -> list[str]:
    """The models that this call reports: one conditional statement decides."""
    if not ids:
        return []
    statement = sa.update(Model).where(Model.id.in_(ids), state).values(told_below_cost_at=told_at).returning(Model.id)
    return sorted(db.session.scalars(statement.execution_options(synchronize_session=False)))


def _write_begun(settings: Settings, losing: dict[str, list[Shortfall]]) -> tuple[str, str]:
    lines = []
    for id_, shortfalls in losing.items():
        lines += [shortfall.text for shortfall in shortfalls[:MOST_SHOWN]]
        if len(shortfalls) > MOST_SHOWN:
            lines.append(translate("%(model)s: and %(count)s more", model=id_, count=len(shortfalls) - MOST_SHOWN))
        lines.append(f"{settings.site_url}/admin/models/one?id={id_}\n")
    text = "\n".join(lines)
    subject = (
        translate("AI Bridge: %(model)s is sold below cost", model=next(iter(losing)))
        if len(losing) == 1
        else translate("AI Bridge: %(count)s models are sold below cost", count=len(losing))
    )
    after = translate(
        "Requests are served all the same. Change the price, the markup or what the channel costs; you get one more "
        "mail once they no longer lose money."
    )
    before = translate("Dollars per million tokens:")
    return subject, f"{before}\n\n{text}\n{after}\n"


def _write_ended(settings: Settings, ids: list[str]) -> tuple[str, str]:
    subject = (
        translate("AI Bridge: %(model)s is no longer sold below cost", model=ids[0])
        if len(ids) == 1
        else translate("AI Bridge: %(count)s models are no longer sold below cost", count=len(ids))
    )
    text = translate("No longer sold below cost: %(models)s.", models=", ".join(ids))
    return subject, f"{text}\n{settings.site_url}/admin/models\n"


def _mail(moment: datetime.datetime, what: str, write: Callable[[], tuple[str, str]]) -> None:
    mail_operators(db.session(), f"below-cost:{moment.timestamp()}:{what}"[:150], write)
