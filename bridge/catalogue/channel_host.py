"""Which host a channel's secrets are for. They were given for one host, and an operator who changes the address doesn't
send them to another by that: whoever wants that types them again."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bridge.catalogue.channel_wire import DIRECT, KEY, OPEN_NAMES, Wire
from bridge.catalogue.tables import Channel
from bridge.conceal import HIDDEN
from bridge.errors import InvalidRequest
from bridge.languages import translate
from bridge.providers import PROVIDERS

PORTS = {"https": 443, "http": 80}


def require_secrets_anew(
    channel: Channel,
    fields: Mapping[str, Any],
    *,
    old_base_url: str | None,
    old: Wire,
    new: Wire,
    has_several_keys: bool,
) -> None:
    """Refuse a change of the channel, made with these fields, that sends a stored key or header to a host that never
    had it. Plain http is another host than https, since everybody on the way reads it, and there a proxy is one too.
    Raises InvalidRequest naming the secret to type again."""
    before, after = _find_origin(channel.provider, old_base_url), _find_origin(channel.provider, channel.base_url)
    reader = _find_reader(after, new)
    if before == after and reader in ("", _find_reader(before, old)):
        return
    host = reader or after[1]
    if has_several_keys:
        said = translate(
            "This channel's keys are not sent to %(host)s. Add a channel for that address, with its own keys.",
            host=host,
        )
        raise InvalidRequest(said, param="base_url")
    if channel.sealed_key and not fields.get("api_key"):
        raise InvalidRequest(
            translate("The stored key is not sent to %(host)s, which never had it. Type the key again.", host=host),
            param="api_key",
        )
    for field, values, stored in (("headers", new.headers, old.headers), ("query", new.query, old.query)):
        typed = {name.lower(): value for name, value in (fields.get(field) or {}).items()}
        for name, value in values.items():
            is_secret = name not in OPEN_NAMES and value.strip() != KEY
            if is_secret and name in stored and typed.get(name.lower(), HIDDEN) == HIDDEN:
                said = translate(
                    "The stored %(name)s is not sent to %(host)s, which never had it. Type its value again.",
                    name=name[:40],
                    host=host,
                )
                raise InvalidRequest(said, param=field)


def _find_origin(provider: str, base_url: str | None) -> tuple[str, str, int]:
    """Scheme, host and port that the channel asks."""
    parts = urlsplit(base_url or PROVIDERS[provider].base_url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or PORTS.get(parts.scheme, 0)


def _find_reader(origin: tuple[str, str, int], wire: Wire) -> str:
    """The channel's own proxy if it can read what passes it; "" otherwise. The gateway's own proxy is a setting."""
    if origin[0] == "https" or wire.proxy in ("", DIRECT):
        return ""
    parts = urlsplit(wire.proxy)
    return f"{parts.hostname}:{parts.port}"
