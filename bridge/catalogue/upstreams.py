"""Turns a channel into something that requests can be sent to: its address, its key (opened for the moment), its time
limits."""

import collections
from collections.abc import Mapping, Sequence
from typing import Protocol

from bridge import vault
from bridge.catalogue.channel_wire import DIRECT, Wire, place_model, read_wire
from bridge.catalogue.tables import Channel, ChannelKey
from bridge.conceal import conceal
from bridge.config import Settings
from bridge.errors import MisconfiguredError
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed
from bridge.providers.sandbox import Sandbox, SandboxUpstream
from bridge.providers.wire.http import Timeouts, Upstream, open_upstream
from bridge.settings_rules import read_certificates
from bridge.turns import in_slices


class Connectable(Protocol):
    """A channel's row or a snapshot of one."""

    @property
    def provider(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def sealed_key(self) -> str | None: ...
    @property
    def sealed_wire(self) -> str | None: ...


def open_channel(channel: Connectable, settings: Settings, upstream_id: str = "") -> Upstream | SandboxUpstream:
    """The channel's Upstream, or the sandbox's, which answers in this process. No connection is opened yet.
    `upstream_id` is the model's name for a base URL in which it stands; a route's own has it already.

    Raises MisconfiguredError when the master keys don't open the channel's key."""
    provider = PROVIDERS[channel.provider]
    if isinstance(provider, Sandbox):
        return provider.open_upstream()
    key = vault.unseal(channel.sealed_key) if channel.sealed_key else ""
    wire = read_wire(channel.sealed_wire)
    headers, query = wire.fill(key)
    if key and not wire.carries_key:
        own = {name: value for name, value in provider.auth_headers(key).items() if name.lower() not in headers}
        headers = own | headers
    # the first byte of a whole answer comes when all of it is ready, so the socket waits for the longer of the two
    first_byte_seconds = max(settings.first_content_timeout_seconds, settings.answer_timeout_seconds)
    timeouts = Timeouts(settings.connect_timeout_seconds, first_byte_seconds, settings.idle_timeout_seconds)
    return open_upstream(
        place_model(channel.base_url, upstream_id) or provider.base_url,
        headers,
        timeouts,
        private_allowed=settings.private_upstreams_allowed,
        proxy="" if wire.proxy == DIRECT else wire.proxy or settings.upstream_proxy,
        proxy_private_allowed=settings.private_upstreams_allowed or not wire.proxy,
        query=query,
        more_cas=read_certificates(settings.upstream_ca_cert) if settings.upstream_ca_cert else "",
    )


def hide_key(failure: AttemptFailed, channel: Connectable) -> None:
    """Remove the channel's own key, and what its headers, query and proxy hold, from the failure's text. That text may
    be the upstream's, and it goes to clients, the log, the database and operators' pages. Call this before anything
    else is done with a failure."""
    for secret in _list_secrets(channel):
        failure.reason, failure.message = conceal(failure.reason, secret), conceal(failure.message, secret)
        failure.said = conceal(failure.said, secret)
        failure.args = (failure.reason,)
        failure.param = _none_if_changed(failure.param, secret)
        failure.code = _none_if_changed(failure.code, secret)


def hide_key_in(text: str, channel: Connectable) -> str:
    """The text without the channel's own secrets."""
    for secret in _list_secrets(channel):
        text = conceal(text, secret)
    return text


def _list_secrets(channel: Connectable) -> list[str]:
    try:
        key = [vault.unseal(channel.sealed_key)] if channel.sealed_key else []
        return key + (read_wire(channel.sealed_wire).list_secrets() if channel.sealed_wire else [])
    except MisconfiguredError:  # then nothing was sent with them
        return []


def _none_if_changed(text: str | None, secret: str) -> str | None:
    return text if text is None or conceal(text, secret) == text else None


Credentials = dict[tuple[int, int], str]


def name_credentials(channels: Sequence[Channel], keys: Mapping[int, Sequence[ChannelKey]]) -> Credentials:
    """Channel id and key id (0: its only key) -> the name of the credential, which channels with the same provider,
    address, headers and key share. It is "" without a key, or for a key that no master key opens. The name changes when
    any of these channels is reset. `keys`: those of channels that have several."""
    found: Credentials = {}
    resets: collections.Counter[str] = collections.Counter()
    for channel in in_slices(channels):
        wire = _open_wire(channel)
        several: list[tuple[int, str | None]] = [(key.id, key.sealed) for key in keys.get(channel.id, ())]
        for id_, sealed in several or [(0, channel.sealed_key)]:
            found[channel.id, id_] = name = _fingerprint(channel, sealed, wire)
            resets[name] += channel.resets
    return {place: f"{name}.{resets[name]}" if name else "" for place, name in found.items()}


def _fingerprint(channel: Channel, sealed_key: str | None, wire: Wire | None) -> str:
    if not sealed_key or wire is None:
        return ""
    beside = [part for name, value in wire.list_values() for part in (name, value)]
    try:
        return vault.fingerprint(channel.provider, channel.base_url or "", vault.unseal(sealed_key), *beside)
    except MisconfiguredError:  # opening the channel reports it where it matters
        return ""


def _open_wire(channel: Channel) -> Wire | None:
    try:
        return read_wire(channel.sealed_wire)
    except MisconfiguredError:
        return None
