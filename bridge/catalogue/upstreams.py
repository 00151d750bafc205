"""From a channel to something that can be sent a request: its address, its key opened for the moment, its deadlines."""

from typing import Protocol

from bridge import vault
from bridge.config import Settings
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
