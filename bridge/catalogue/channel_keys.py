"""Several keys of one channel: how they are added, replaced and removed. Their health: `key_health.py`.

A channel with one key has no rows here. Its second key makes a row for both; without its last but one it is a channel
of one key again. `Channel.sealed_key` is that of the first row all along."""

from collections.abc import Sequence

from flask import current_app
from sqlalchemy.orm import Session

from bridge import vault
from bridge.acts import COMMAND, Actor, record_act
from bridge.catalogue.breaker_states import KEY_MARK
from bridge.catalogue.channel_events import forget_calls, forget_health
from bridge.catalogue.editing import PRINTABLE, find_channel
from bridge.catalogue.key_health import follow_keys, forget_key_health, list_keys
from bridge.catalogue.tables import Channel, ChannelKey
from bridge.db import now_utc, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.languages import translate
from bridge.versions import bump, wait_until_seen

MOST_KEYS = 50
MAX_NOTE = 64
ONLY = "only"  # as a key's name: the one that a channel has


def add_key(name: str, api_key: str, note: str = "", *, actor: Actor = COMMAND) -> None:
    """One more key for a channel, or its first. Raises NotFound, or InvalidRequest naming the field."""
    with transaction() as session:
        channel, keys = _open(session, name)
        _check_key(api_key, note)
        _refuse_known(channel, keys, api_key)
        if len(keys) >= MOST_KEYS:
            raise InvalidRequest(
                translate("A channel has at most %(most_keys)s keys.", most_keys=MOST_KEYS), param="api_key"
            )
        if channel.sealed_key:
            if not keys:
                session.add(_make_row(channel, channel.sealed_key, channel.key_last_four or ""))
                session.flush()  # the first one's number is the lower
            session.add(_make_row(channel, vault.seal(api_key), api_key[-4:], note))
        else:
            channel.sealed_key, channel.key_last_four = vault.seal(api_key), api_key[-4:]
            forget_calls(channel)
            forget_health(channel)
        record_act(session, None, "channel_key_added", actor, f"{name}, …{api_key[-4:]}")
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def replace_key(name: str, which: str, api_key: str, *, actor: Actor = COMMAND) -> None:
    """Put another key in the place of the one that ends so. Raises NotFound or InvalidRequest."""
    with transaction() as session:
        channel, keys = _open(session, name)
        _check_key(api_key)
        row = find_key(channel, keys, which)
        _refuse_known(channel, keys, api_key)
        before = row.last_four if row else channel.key_last_four
        if row is not None:
            row.sealed, row.last_four = vault.seal(api_key), api_key[-4:]
            forget_key_health(row)
        if row is None or row is keys[0]:
            channel.sealed_key, channel.key_last_four = vault.seal(api_key), api_key[-4:]
        if row is None:
            forget_calls(channel)
        forget_health(channel)
        record_act(session, None, "channel_key_replaced", actor, f"{name}, …{before} → …{api_key[-4:]}")
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def remove_key(name: str, which: str, *, actor: Actor = COMMAND) -> None:
    """Take one of several keys out. Raises NotFound, or InvalidRequest for the only one."""
    with transaction() as session:
        channel, keys = _open(session, name)
        row = find_key(channel, keys, which)
        if row is None:
            raise InvalidRequest(
                translate("A channel keeps one key: replace it, or remove the channel."), param="api_key"
            )
        left = [key for key in keys if key is not row]
        channel.sealed_key, channel.key_last_four = left[0].sealed, left[0].last_four
        session.delete(row)
        if len(left) == 1:
            session.delete(left[0])
        follow_keys(channel, left, now_utc())
        record_act(session, None, "channel_key_removed", actor, f"{name}, …{row.last_four}")
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def find_key(channel: Channel, keys: Sequence[ChannelKey], which: str) -> ChannelKey | None:
    """The key that ends so, or has this number after KEY_MARK; of several the first where none is named; None for an
    only one. Raises NotFound, or InvalidRequest where several end so."""
    if not which:
        return keys[0] if keys else None
    if not keys and channel.sealed_key and which in (channel.key_last_four, ONLY):
        return None
    found = [key for key in keys if which in (key.last_four, f"{KEY_MARK}{key.id}")]
    if not found:
        raise NotFound(translate("%(name)s has no key %(which)s.", name=channel.name, which=repr(which)), param="key")
    if len(found) > 1:
        numbers = " or ".join(f"{KEY_MARK}{key.id}" for key in found)
        raise InvalidRequest(
            translate("Several keys end so: name one by its number, %(numbers)s.", numbers=numbers), param="key"
        )
    return found[0]


def _open(session: Session, name: str) -> tuple[Channel, list[ChannelKey]]:
    """The channel, locked, and its rows. Two changes at once would each count without the other's."""
    channel = find_channel(name)
    session.refresh(channel, with_for_update=True)
    if channel.from_environment:
        raise InvalidRequest(
            translate("The environment sets this channel's key: copy the channel to give it more."), param="name"
        )
    return channel, list_keys(channel)


def _make_row(channel: Channel, sealed: str, last_four: str, note: str = "") -> ChannelKey:
    return ChannelKey(channel_id=channel.id, sealed=sealed, last_four=last_four, note=note, health="unknown")


def _check_key(api_key: str, note: str = "") -> None:
    if not PRINTABLE.fullmatch(api_key):  # it is sent in a header
        raise InvalidRequest(translate("An API key is printable ASCII without spaces."), param="api_key")
    if len(note) > MAX_NOTE or not note.isprintable():
        raise InvalidRequest(translate("A note has at most %(max_note)s characters.", max_note=MAX_NOTE), param="note")


def _refuse_known(channel: Channel, keys: Sequence[ChannelKey], api_key: str) -> None:
    sealed = [key.sealed for key in keys] or ([channel.sealed_key] if channel.sealed_key else [])
    if any(vault.unseal(each) == api_key for each in sealed):
        raise InvalidRequest(translate("This channel has that key already."), param="api_key")
