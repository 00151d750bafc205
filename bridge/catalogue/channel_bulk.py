"""Many channels at once, and a copy of one. Either all of them change or none, and workers are waited for once."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from bridge.acts import COMMAND, Actor, record_act
from bridge.catalogue.connect import ENVIRONMENT_SUFFIX
from bridge.catalogue.editing import CHANNEL_NAME, change_fields, find_channel, switch_channel
from bridge.catalogue.key_health import list_keys
from bridge.catalogue.tables import Channel, ChannelKey
from bridge.db import transaction
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.providers import stands_in
from bridge.versions import bump, wait_until_seen

MOST_CHANNELS = 200
# what a copy has in common with its original; it is disabled, and its health is its own
COPIED = (
    *("provider", "base_url", "sealed_key", "key_last_four", "sealed_wire", "models", "priority", "weight", "cost_bps"),
    *("groups", "pass_fields", "rpm", "tpm", "concurrency", "probes", "always_on"),
)


def change_channels(names: Sequence[str], fields: Mapping[str, Any], *, actor: Actor = COMMAND) -> None:
    """The same change to each of these channels; fields as in `update_channel`. Raises NotFound, or InvalidRequest
    naming the field; then nothing was changed."""
    with transaction() as session:
        for name in _check_names(names):
            change_fields(session, find_channel(name), fields, actor)
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def switch_channels(names: Sequence[str], enabled: bool, *, actor: Actor = COMMAND) -> None:
    """Switch each of these channels on or off. Raises NotFound or InvalidRequest; then nothing was changed."""
    with transaction() as session:
        for name in _check_names(names):
            switch_channel(session, find_channel(name), enabled, actor)
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])


def copy_channel(name: str, new_name: str, *, actor: Actor = COMMAND) -> Channel:
    """A channel like this one under another name, with the same keys, still sealed, and disabled: it serves nobody
    before its operator has changed what is to be different. Raises NotFound, or InvalidRequest naming the field."""
    with transaction() as session:
        copy = _copy(session, find_channel(name), new_name, actor)
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])
    return copy


def copy_channels(names: Sequence[str], suffix: str, *, actor: Actor = COMMAND) -> list[str]:
    """A copy of each, with this after its name. Returns the new names. Raises NotFound or InvalidRequest; then there is
    none."""
    with transaction() as session:
        made = [_copy(session, find_channel(name), name + suffix, actor).name for name in _check_names(names)]
        bump("catalogue")
    wait_until_seen(current_app.config["BRIDGE"])
    return made


def _copy(session: Session, channel: Channel, new_name: str, actor: Actor) -> Channel:
    if not CHANNEL_NAME.fullmatch(new_name) or new_name.endswith(ENVIRONMENT_SUFFIX):
        said = translate(
            "Use letters, digits, dots, hyphens and underscores, up to 64, and no %(suffix)s at the end.",
            suffix=ENVIRONMENT_SUFFIX,
        )
        raise InvalidRequest(said, param="name")
    if session.scalar(select(Channel.id).where(Channel.name == new_name)):
        raise InvalidRequest(
            translate("There is a channel named %(new_name)s already.", new_name=repr(new_name)), param="name"
        )
    if stands_in(channel.provider):
        raise InvalidRequest(
            translate("%(name)s makes its answers up: one is enough.", name=channel.name), param="name"
        )
    copy = Channel(name=new_name, enabled=False, **{field: getattr(channel, field) for field in COPIED})
    session.add(copy)
    session.flush()
    for key in list_keys(channel):
        session.add(ChannelKey(channel_id=copy.id, sealed=key.sealed, last_four=key.last_four, note=key.note))
        session.flush()  # in their order
    record_act(session, None, "channel_added", actor, f"{new_name}, {channel.provider}, a copy of {channel.name}")
    return copy


def _check_names(names: Sequence[str]) -> Sequence[str]:
    """Each once, sorted: two changes of the same channels lock them in one order."""
    if not names:
        raise InvalidRequest(translate("Choose at least one channel."), param="name")
    if len(names) > MOST_CHANNELS:
        raise InvalidRequest(
            translate("At most %(most_channels)s channels at once.", most_channels=MOST_CHANNELS), param="name"
        )
    return sorted(set(names))
