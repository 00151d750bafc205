"""Mails operators about trouble that leaves a channel in use: one of its keys is refused, or it, or a model of it, has
been failing for five minutes. Once when that is so, and once when it has ended."""

import datetime
import functools
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote_plus

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from bridge.accounts.letters import written_for
from bridge.accounts.tables import Member
from bridge.catalogue.channel_state import find_state
from bridge.catalogue.key_health import name_key
from bridge.catalogue.listing import NEEDS_OPERATOR
from bridge.catalogue.seed import find_label
from bridge.catalogue.tables import Channel, ChannelKey
from bridge.config import Settings
from bridge.db import db, now_utc, transaction
from bridge.languages import translate, translate_plural
from bridge.mail.outbox import queue_mail
from bridge.providers import STAND_INS

FAILING_FOR = datetime.timedelta(minutes=5)  # a provider's short trouble passes without anybody's help
TOLD = ("failing", "partly")  # the states that are told
Row = TypeVar("Row", Channel, ChannelKey)
log = structlog.get_logger()


def queue_trouble_alerts(settings: Settings) -> None:
    """Queue the mails that are due. If several workers look at the same moment, one of them reports each key and
    channel."""
    failing, ended = _list_failing(), _find(Channel, _has_ended())
    refused, answered = _find(ChannelKey, _is_refused()), _find(ChannelKey, _is_answered())
    db.session.commit()
    if not (failing or ended or refused or answered):
        return
    now = now_utc()
    with transaction() as session:
        if told := _claim(session, Channel, failing, Channel.told_failing_at.is_(None), now):
            log.error("channels_failing", channels=[channel.name for channel in told])
            write = functools.partial(_write_failing, settings, told)
            mail_operators(session, f"failing:{now.timestamp()}:{told[0].id}", write)
        if told := _claim(session, Channel, ended, _has_ended(), None):
            log.info("channels_answer", channels=[channel.name for channel in told])
            write = functools.partial(_write_ended, settings, told)
            mail_operators(session, f"answers:{now.timestamp()}:{told[0].id}", write)
        if keys := _claim(session, ChannelKey, refused, _is_refused(), now):
            log.error("channel_keys_refused", keys=[key.id for key in keys])
            write = functools.partial(_write_refused, settings, session, keys)
            mail_operators(session, f"key-out:{now.timestamp()}:{keys[0].id}", write)
        if keys := _claim(session, ChannelKey, answered, _is_answered(), None):
            log.info("channel_keys_back", keys=[key.id for key in keys])
            write = functools.partial(_write_back, settings, session, keys)
            mail_operators(session, f"key-back:{now.timestamp()}:{keys[0].id}", write)


def mail_operators(session: Session, once: str, write: Callable[[], tuple[str, str]]) -> None:
    """Queue a mail to each operator, whose subject and text are written in the operator's language. `once` names what
    it is about: it goes out once to each."""
    operators = session.execute(sa.select(Member.id, Member.email).where(Member.is_operator).order_by(Member.id))
    for member_id, email in operators.all():
        with written_for(session, email):
            subject, text = write()
        queue_mail(session, once=f"{once}:{member_id}", recipient=email, subject=subject, text=text)


def _list_failing() -> list[int]:
    """The channels that are to be told, by their ids: those out of service have a mail of their own."""
    query = sa.select(Channel).where(
        Channel.failing_since < now_utc() - FAILING_FOR,
        Channel.told_failing_at.is_(None),
        Channel.enabled,
        ~NEEDS_OPERATOR,
        Channel.provider.not_in(STAND_INS),
    )
    return [channel.id for channel in db.session.scalars(query) if find_state(channel).code in TOLD]


def _has_ended() -> sa.ColumnElement[bool]:
    return Channel.told_failing_at.is_not(None) & Channel.failing_since.is_(None)


def _is_refused() -> sa.ColumnElement[bool]:
    """Keys that are refused and were not told, of channels that others still serve."""
    in_use = sa.select(Channel.id).where(Channel.enabled, Channel.health != "out")
    return (ChannelKey.health == "out") & ChannelKey.told_at.is_(None) & ChannelKey.channel_id.in_(in_use)


def _is_answered() -> sa.ColumnElement[bool]:
    return ChannelKey.told_at.is_not(None) & (ChannelKey.health != "out")


def _find(table: type[Row], due: sa.ColumnElement[bool]) -> list[int]:
    return list(db.session.scalars(sa.select(table.id).where(due)))


def _claim(
    session: Session,
    table: type[Row],
    ids: Sequence[int],
    due: sa.ColumnElement[bool],
    told_at: datetime.datetime | None,
) -> list[Row]:
    """Those that this call reports: one conditional statement decides."""
    if not ids:
        return []
    values = {"told_failing_at" if table is Channel else "told_at": told_at}
    statement = sa.update(table).where(table.id.in_(ids), due).values(values).returning(table.id)
    found = session.scalars(statement.execution_options(synchronize_session=False)).all()
    return [session.get_one(table, id_, populate_existing=True) for id_ in sorted(found)]


def _write_failing(settings: Settings, told: Sequence[Channel]) -> tuple[str, str]:
    lines = []
    for channel in told:
        values = {"channel": channel.name, "why": find_state(channel).why}
        if channel.failing_since:
            time = f"{channel.failing_since:%H:%M}"
            said = translate("%(channel)s, since %(time)s UTC: %(why)s", time=time, **values)
        else:
            said = translate("%(channel)s, now: %(why)s", **values)
        failed = write_failed_link(settings, channel.name)
        lines.append(f"{said}\n{_link(settings, channel.name)}\n{failed}")
    after = translate(
        "It stays in use. Requests go to other channels where there are some, and answer 503 where there are none. "
        "Look at its provider's status page, or switch the channel off on its page. You get one more mail once it "
        "answers again."
    )
    subject = (
        translate("AI Bridge: channel %(channel)s is failing", channel=told[0].name)
        if len(told) == 1
        else translate("AI Bridge: %(count)s channels are failing", count=len(told))
    )
    return subject, "\n\n".join((*lines, after)) + "\n"


def write_failed_link(settings: Settings, channel: str) -> str:
    """Where a channel's failed requests are shown."""
    failed = f"{settings.site_url}/admin/requests?period=7&status=failed&channel={quote_plus(channel)}"
    return translate("Failed requests: %(url)s", url=failed)


def _write_ended(settings: Settings, told: Sequence[Channel]) -> tuple[str, str]:
    subject = (
        translate("AI Bridge: channel %(channel)s no longer fails", channel=told[0].name)
        if len(told) == 1
        else translate("AI Bridge: %(count)s channels no longer fail", count=len(told))
    )
    pages = "\n".join(_link(settings, channel.name) for channel in told)
    text = translate("Most requests are answered again.")
    return subject, f"{text}\n{pages}\n"


def _write_refused(settings: Settings, session: Session, keys: Sequence[ChannelKey]) -> tuple[str, str]:
    lines = []
    for key in keys:
        channel = session.get_one(Channel, key.channel_id)
        said = "\n" + translate("It answered: %(said)s", said=key.last_error) if key.last_error else ""
        refused = translate(
            "%(provider)s refuses key %(key)s of channel %(channel)s.",
            provider=find_label(channel.provider),
            key=name_key(key),
            channel=channel.name,
        )
        lines.append(f"{refused}{said}\n{_link(settings, channel.name)}")
    after = translate(
        "The channel's other keys serve on. Check the key and the credit behind it, or remove it on the channel's "
        "page. A request tries it every five minutes; you get one more mail once it is answered."
    )
    subject = translate_plural("AI Bridge: a key is refused", "AI Bridge: %(num)s keys are refused", len(keys))
    return subject, "\n\n".join((*lines, after)) + "\n"


def _write_back(settings: Settings, session: Session, keys: Sequence[ChannelKey]) -> tuple[str, str]:
    lines = []
    for key in keys:
        channel = session.get_one(Channel, key.channel_id)
        said = translate(
            "Key %(key)s of channel %(channel)s is answered again.", key=name_key(key), channel=channel.name
        )
        lines.append(f"{said}\n{_link(settings, channel.name)}")
    subject = translate_plural("AI Bridge: a key is back", "AI Bridge: %(num)s keys are back", len(keys))
    return subject, "\n\n".join(lines) + "\n"


def _link(settings: Settings, name: str) -> str:
    return f"{settings.site_url}/admin/channels/{name}"
