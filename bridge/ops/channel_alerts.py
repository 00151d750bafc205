"""Mails operators about channels that need them: once when a channel goes out, and once when it is back."""

import dataclasses
from urllib.parse import quote_plus

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.catalogue.listing import NEEDS_OPERATOR
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.ops.trouble_alerts import mail_operators

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
            _mail(session, "out", told, *_write_out(settings, told))
        if told := _claim(session, back, {"told_at": None}):
            _mail(session, "back", told, *_write_back(settings, told))


def _claim(session: Session, due: sa.ColumnElement[bool], values: dict[str, object]) -> list[_Incident]:
    """The channels that this call reports: one conditional statement decides."""
    statement = sa.update(Channel).where(due).values(values).returning(Channel.id, Channel.incidents)
    rows = session.execute(statement.execution_options(synchronize_session=False)).all()
    found = [_Incident(session.get_one(Channel, id_, populate_existing=True), number) for id_, number in rows]
    return sorted(found, key=lambda incident: incident.channel.name)


def _write_out(settings: Settings, told: list[_Incident]) -> tuple[str, str]:
    subject = f"AI Bridge: {_enumerate(told)} {'needs' if len(told) == 1 else 'need'} you"
    lines = []
    for incident in told:
        channel = incident.channel
        label = find_label(channel.provider)
        if channel.health == "out":
            what = f"{label} refuses its key. Check the key and the credit behind it."
        else:
            what = f"its upstream has no {', '.join(channel.refused_models or ())}. Check the names and the base URL."
        last = f"\nIt answered: {channel.last_error}" if channel.last_error else ""
        failed = f"/admin/requests?period=7&status=failed&channel={quote_plus(channel.name)}"
        pages = f"{settings.site_url}/admin/channels/{channel.name}\nFailed requests: {settings.site_url}{failed}"
        lines.append(f"{channel.name}: {what}{last}\n{pages}")
    text = "\n\n".join(lines)
    return subject, (
        f"{text}\n\nRequests go to other channels where there are some, and answer 503 where there are none. Put it "
        "right, then press Test: an answered test takes a channel back at once. Otherwise a request tries it every "
        "five minutes. You get one more mail once it answers again.\n"
    )


def _write_back(settings: Settings, told: list[_Incident]) -> tuple[str, str]:
    subject = f"AI Bridge: {_enumerate(told)} {'is' if len(told) == 1 else 'are'} back"
    pages = "\n".join(f"{settings.site_url}/admin/channels/{incident.channel.name}" for incident in told)
    return subject, f"Requests are answered again. What happened is on the channel's page:\n{pages}\n"


def _enumerate(told: list[_Incident]) -> str:
    if len(told) == 1:
        return f"channel {told[0].channel.name}"
    return f"{len(told)} channels"


def _mail(session: Session, what: str, told: list[_Incident], subject: str, text: str) -> None:
    names = [incident.channel.name for incident in told]
    log.error("channels_need_operator" if what == "out" else "channels_back", channels=names)
    mail_operators(session, f"channel-{what}:{told[0].channel.id}:{told[0].number}", subject, text)
