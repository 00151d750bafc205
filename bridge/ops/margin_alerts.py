"""Mails operators about models that are sold below cost: once when that begins, and once when it ends."""

import datetime

import sqlalchemy as sa
import structlog

from bridge.accounts.customers import count_markups
from bridge.accounts.own_prices import list_own_rates
from bridge.catalogue.below_cost import MOST_SHOWN, Shortfall, list_losing
from bridge.catalogue.tables import Model
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
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
            _mail(moment, f"begun:{taken[0]}", *_write_begun(settings, {id_: losing[id_] for id_ in taken}))
        if taken := _claim(ended, Model.told_below_cost_at.is_not(None), None):
            log.info("models_not_below_cost", models=taken)
            _mail(moment, f"ended:{taken[0]}", *_write_ended(settings, taken))


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
            lines.append(f"{id_}: and {len(shortfalls) - MOST_SHOWN} more")
        lines.append(f"{settings.site_url}/admin/models/one?id={id_}\n")
    text = "\n".join(lines)
    return f"AI Bridge: {_enumerate(list(losing))} sold below cost", (
        f"Dollars per million tokens:\n\n{text}\nRequests are served all the same. Change the price, the markup or "
        "what the channel costs; you get one more mail once they no longer lose money.\n"
    )


def _write_ended(settings: Settings, ids: list[str]) -> tuple[str, str]:
    text = f"No longer sold below cost: {', '.join(ids)}.\n{settings.site_url}/admin/models\n"
    return f"AI Bridge: {_enumerate(ids)} no longer sold below cost", text


def _enumerate(ids: list[str]) -> str:
    return f"{ids[0]} is" if len(ids) == 1 else f"{len(ids)} models are"


def _mail(moment: datetime.datetime, what: str, subject: str, text: str) -> None:
    mail_operators(db.session(), f"below-cost:{moment.timestamp()}:{what}"[:150], subject, text)
