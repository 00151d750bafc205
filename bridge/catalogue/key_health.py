"""The keys of channels that have several, and the state of each: workers' notes on one key are its own, and the
channel's only where all of its keys share them."""

import datetime
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from bridge.catalogue.tables import Channel, ChannelKey
from bridge.db import db, read_plain
from bridge.providers.blame.scrubbing import scrub

RESTING = ("out", "cooling")


def read_keys() -> Mapping[int, Sequence[ChannelKey]]:
    """Channel id -> its keys, of channels that have several, read-only: the oldest first."""
    found: dict[int, list[ChannelKey]] = {}
    for key in read_plain(ChannelKey, ChannelKey.id):
        found.setdefault(key.channel_id, []).append(key)
    return found


def list_keys(channel: Channel) -> list[ChannelKey]:
    """The channel's keys, the oldest first; none if it has a single one, or none at all."""
    query = sa.select(ChannelKey).where(ChannelKey.channel_id == channel.id).order_by(ChannelKey.id)
    return list(db.session.scalars(query))


def count_keys() -> dict[int, tuple[int, int]]:
    """Channel id -> how many keys it has and how many of them are refused, of channels that have several."""
    refused = sa.func.sum(sa.case((ChannelKey.health == "out", 1), else_=0))
    query = sa.select(ChannelKey.channel_id, sa.func.count(), refused).group_by(ChannelKey.channel_id)
    return {id_: (count, int(out)) for id_, count, out in db.session.execute(query)}


def select_refused() -> sa.Select[str]:
    """A query for the names of the channels, separated by commas, of which some keys are refused and others serve: once
    for each such key."""
    names = sa.select(sa.func.aggregate_strings(Channel.name, ",")).join_from(ChannelKey, Channel)
    return names.where(ChannelKey.health == "out", Channel.health != "out", Channel.enabled)


def follow_keys(channel: Channel, keys: Sequence[ChannelKey], moment: datetime.datetime) -> None:
    """Bring a channel's health in line with that of its keys: it is out or cooling down while each of them is, and no
    longer."""
    if all(key.health in RESTING and not _is_over(key, moment) for key in keys):
        out = all(key.health == "out" for key in keys)
        untils = [key.cooling_until for key in keys if key.cooling_until is not None]
        channel.health, channel.cooling_until = "out" if out else "cooling", min(untils, default=None)
    elif channel.health == "out":
        channel.health, channel.cooling_until = "unknown", None


def _is_over(key: ChannelKey, moment: datetime.datetime) -> bool:
    """Whether the time of a key's limit has passed. One that is refused stays out until it is answered."""
    return key.health == "cooling" and (key.cooling_until is None or key.cooling_until <= moment)


def name_key(key: ChannelKey) -> str:
    """The key as pages, commands and the timeline call it."""
    return f"…{key.last_four} ({key.note})" if key.note else f"…{key.last_four}"


def rest_key(key: ChannelKey, what: str, why: str, until: datetime.datetime, moment: datetime.datetime) -> None:
    """The key is refused (`what`: out) or at its limit (cooling)."""
    key.last_error, key.last_error_at = scrub(why), moment
    if what == "out" or key.health != "out":
        key.health, key.cooling_until = what, until


def fail_key(key: ChannelKey, why: str, moment: datetime.datetime) -> None:
    """A request with the key failed, which may be no fault of the key."""
    key.last_error, key.last_error_at = scrub(why), moment
    if key.health == "unknown":
        key.health = "failing"


def bring_key_back(key: ChannelKey, moment: datetime.datetime) -> bool:
    """The key was answered. Returns whether it had been out, or at a limit."""
    was_away = key.health in RESTING
    key.last_answer_at = moment
    if was_away and key.health == "cooling" and not _is_over(key, moment):
        return False  # answered before the limit, which goes on
    key.health, key.cooling_until = "healthy", None
    return was_away


def test_key(key: ChannelKey, ok: bool, said: str, moment: datetime.datetime) -> None:
    """The key was tested."""
    if ok:
        key.health, key.cooling_until, key.last_answer_at = "healthy", None, moment
    else:
        key.last_error, key.last_error_at = scrub(said), moment


def forget_key_health(key: ChannelKey) -> None:
    """Nothing is known of the key any more."""
    key.health, key.cooling_until, key.last_error, key.last_error_at, key.told_at = "unknown", None, None, None, None
