"""From a channel to something that can be sent a request: its address, its key opened for the moment, its deadlines."""

import collections
from collections.abc import Sequence
from typing import Protocol

from bridge import vault
from bridge.catalogue.tables import Channel
from bridge.config import Settings
from bridge.db import SLICE_ROWS, breathe
from bridge.errors import MisconfiguredError
from bridge.providers import PROVIDERS
from bridge.providers.http import Timeouts, Upstream, open_upstream
from bridge.providers.sandbox import Sandbox, SandboxUpstream


class Connectable(Protocol):
    """A channel's row or a snapshot of one."""

    @property
    def provider(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def sealed_key(self) -> str | None: ...


def open_channel(channel: Connectable, settings: Settings) -> Upstream | SandboxUpstream:
    """The channel's Upstream, or the sandbox's, which answers in this process. Opens no connection yet.

    Raises MisconfiguredError when the master keys don't open the channel's key."""
    provider = PROVIDERS[channel.provider]
    if isinstance(provider, Sandbox):
        return provider.open_upstream()
    headers = provider.auth_headers(vault.unseal(channel.sealed_key)) if channel.sealed_key else {}
    # a whole answer's first byte comes when all of it is there, so the socket waits for the longer of the two
    first_byte_seconds = max(settings.first_content_timeout_seconds, settings.answer_timeout_seconds)
    timeouts = Timeouts(settings.connect_timeout_seconds, first_byte_seconds, settings.idle_timeout_seconds)
    return open_upstream(
        channel.base_url or provider.base_url,
        headers,
        timeouts,
        private_allowed=settings.private_upstreams_allowed,
        proxy=settings.upstream_proxy,
    )


def name_credentials(channels: Sequence[Channel]) -> dict[int, str]:
    """Channel id -> the name of its credential, which channels with one provider, address and key share; "" for those
    without a key, or with one that no master key opens. It is another name once any of them has begun afresh."""
    keys = {}
    for place, channel in enumerate(channels):
        keys[channel.id] = _fingerprint(channel)
        if place % SLICE_ROWS == SLICE_ROWS - 1:  # opening a key takes a tenth of a millisecond
            breathe()
    resets: collections.Counter[str] = collections.Counter()
    for channel in channels:
        resets[keys[channel.id]] += channel.resets
    return {id_: f"{key}.{resets[key]}" if key else "" for id_, key in keys.items()}


def _fingerprint(channel: Channel) -> str:
    if not channel.sealed_key:
        return ""
    try:
        return vault.fingerprint(channel.provider, channel.base_url or "", vault.unseal(channel.sealed_key))
    except MisconfiguredError:  # opening the channel says so, where it matters
        return ""
