"""Mails operators about channels that need them: once when a channel goes out, and once when it is back."""

import dataclasses
import functools
from collections.abc import Callable

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.catalogue.listing import NEEDS_OPERATOR
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.languages import translate
from bridge.ops.trouble_alerts import mail_operators, write_failed_link

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class _Incident:
    """What a mail says about a channel. `number` counts its incidents."""

    channel: Channel
    number: int


def queue_channel_alerts(settings: Settings) -> None:
    """Queue the mails that are due. If several workers look at the same moment, one of them reports each channel."""
    gone = Channel.enabled & NEEDS_OPERATOR & Channel.told_at.is_(None)
    back = Channel.told_at.is_not(None) & ~NEEDS_OPERATOR
    due = sa.select(sa.func.count()).select_from(Channel).where(gone | back)
    waiting = db.session.scalar(due)
    db.session.commit()
    if not waiting:
        return
    with transaction() as session:
        if told := _claim(session, gone, {"told_at": now_utc(), "incidents": Channel.incidents + 1}):
            _mail(session, "out", told, functools.partial(_write_out, settings, told))
        if told := _claim(session, back, {"told_at": None}):
            _mail(session, "back", told, functools.partial(_write_back, settings, told))


def _claim(session: Session, due: sa.ColumnElement[bool], values: dict[str, object]) -> list[_Incident]:
    """The channels that this call reports: one conditional statement decides."""
    statement = sa.update(Channel).where(due).values(values).returning(Channel.id, Channel.incidents)
    rows = session.execute(statement.execution_options(synchronize_session=False)).all()
    found = [_Incident(session.get_one(Channel, id_, populate_existing=True), number) for id_, number in rows]
    return sorted(found, key=lambda incident: incident.channel.name)


def _write_out(settings: Settings, told: list[_Incident]) -> tuple[str, str]:
    subject = (
        translate("AI Bridge: channel %(channel)s needs you", channel=told[0].channel.name)
        if len(told) == 1
        else translate("AI Bridge: %(count)s channels need you", count=len(told))
    )
    lines = []
    for incident in told:
        channel = incident.channel
        label = find_label(channel.provider)
        if channel.health == "out":
            what = translate(
                "%(channel)s: %(provider)s refuses its key. Check the key and the credit behind it.",
                channel=channel.name,
                provider=label,
            )
        else:
            what = translate(
                "%(channel)s: its upstream has no %(models)s. Check the names and the base URL.",
                channel=channel.name,
                models=", ".join(channel.refused_models or ()),
            )
        last = "\n" + translate("It answered: %(said)s", said=channel.last_error) if channel.last_error else ""
        page = f"{settings.site_url}/admin/channels/{channel.name}"
        lines.append(f"{what}{last}\n{page}\n{write_failed_link(settings, channel.name)}")
    after = translate(
        "Requests go to other channels where there are some, and answer 503 where there are none. Put it right, then "
        "press Test: an answered test takes a channel back at once. Otherwise a request tries it every five minutes. "
        "You get one more mail once it answers again."
    )
    return subject, "\n\n".join((*lines, after)) + "\n"


def _write_back(settings: Settings, told: list[_Incident]) -> tuple[str, str]:
    subject = (
        translate("AI Bridge: channel %(channel)s is back", channel=told[0].channel.name)
        if len(told) == 1
        else translate("AI Bridge: %(count)s channels are back", count=len(told))
    )
    pages = "\n".join(f"{settings.site_url}/admin/channels/{incident.channel.name}" for incident in told)
    text = translate("Requests are answered again. What happened is on the channel's page:")
    return subject, f"{text}\n{pages}\n"


def _mail(session: Session, what: str, told: list[_Incident], write: Callable[[], tuple[str, str]]) -> None:
    names = [incident.channel.name for incident in told]
    log.error("channels_need_operator" if what == "out" else "channels_back", channels=names)
    mail_operators(session, f"channel-{what}:{told[0].channel.id}:{told[0].number}", write)
