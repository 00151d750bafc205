"""Turns a channel into something that requests can be sent to: its address, its key (opened for the moment), its time
limits."""

import collections
from collections.abc import Sequence
from typing import Protocol

from bridge import vault
from bridge.catalogue.tables import Channel
from bridge.conceal import conceal
from bridge.config import Settings
from bridge.errors import MisconfiguredError
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed
from bridge.providers.sandbox import Sandbox, SandboxUpstream
from bridge.providers.wire.http import Timeouts, Upstream, open_upstream
from bridge.turns import in_slices


class Connectable(Protocol):
    """A channel's row or a snapshot of one."""

    @property
    def provider(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def sealed_key(self) -> str | None: ...


def open_channel(channel: Connectable, settings: Settings) -> Upstream | SandboxUpstream:
    """The channel's Upstream, or the sandbox's, which answers in this process. No connection is opened yet.

    Raises MisconfiguredError when the master keys don't open the channel's key."""
    provider = PROVIDERS[channel.provider]
    if isinstance(provider, Sandbox):
        return provider.open_upstream()
    headers = provider.auth_headers(vault.unseal(channel.sealed_key)) if channel.sealed_key else {}
    # the first byte of a whole answer comes when all of it is ready, so the socket waits for the longer of the two
    first_byte_seconds = max(settings.first_content_timeout_seconds, settings.answer_timeout_seconds)
    timeouts = Timeouts(settings.connect_timeout_seconds, first_byte_seconds, settings.idle_timeout_seconds)
    return open_upstream(
        channel.base_url or provider.base_url,
        headers,
        timeouts,
        private_allowed=settings.private_upstreams_allowed,
        proxy=settings.upstream_proxy,
    )


def hide_key(failure: AttemptFailed, channel: Connectable) -> None:
    """Remove the channel's own key from the failure's text. That text may be the upstream's, and it goes to clients,
    the log, the database and operators' pages. Call this before anything else is done with a failure."""
    key = _open_key(channel)
    failure.reason, failure.message = conceal(failure.reason, key), conceal(failure.message, key)
    failure.args = (failure.reason,)
    failure.param = _none_if_changed(failure.param, key)
    failure.code = _none_if_changed(failure.code, key)


def hide_key_in(text: str, channel: Connectable) -> str:
    """The text without the channel's own key."""
    return conceal(text, _open_key(channel))


def _open_key(channel: Connectable) -> str:
    try:
        return vault.unseal(channel.sealed_key) if channel.sealed_key else ""
    except MisconfiguredError:  # then nothing was sent with that key
        return ""


def _none_if_changed(text: str | None, key: str) -> str | None:
    return text if text is None or conceal(text, key) == text else None


def name_credentials(channels: Sequence[Channel]) -> dict[int, str]:
    """Channel id -> the name of its credential, which channels with the same provider, address and key share. It is ""
    for a channel without a key, or with a key that no master key opens. The name changes when any of these channels is
    reset."""
    keys = {channel.id: _fingerprint(channel) for channel in in_slices(channels)}
    resets: collections.Counter[str] = collections.Counter()
    for channel in channels:
        resets[keys[channel.id]] += channel.resets
    return {id_: f"{key}.{resets[key]}" if key else "" for id_, key in keys.items()}


def _fingerprint(channel: Channel) -> str:
    if not channel.sealed_key:
        return ""
    try:
        return vault.fingerprint(channel.provider, channel.base_url or "", vault.unseal(channel.sealed_key))
    except MisconfiguredError:  # opening the channel reports it where it matters
        return ""
