"""How an operator changes channels, in pages and commands alike. Models and prices: `model_editing.py`."""

import ipaddress
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from bridge import vault
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.catalogue.channel_events import forget_health
from bridge.catalogue.connect import ENVIRONMENT_SUFFIX
from bridge.catalogue.model_editing import (
    add_alias,
    add_model,
    enter_price,
    remove_alias,
    restore_model,
    retire_model,
    set_added_tokens,
    set_markup,
    set_openai_wire,
    set_patience,
    set_price,
    set_route_order,
)
from bridge.catalogue.tables import Alias, Channel, Model
from bridge.config import Settings
from bridge.db import GROUP_NAME, db, read_plain, transaction
from bridge.errors import InvalidRequest, NotFound
from bridge.providers import PROVIDERS, stands_in
from bridge.providers.openai.request_fields import check_pass_fields
from bridge.versions import bump, wait_until_seen

__all__ = [
    "add_alias",
    "add_channel",
    "add_model",
    "find_channel",
    "list_channels",
    "remove_alias",
    "remove_channel",
    "restore_model",
    "retire_model",
    "set_channel_enabled",
    "enter_price",
    "set_added_tokens",
    "set_markup",
    "set_openai_wire",
    "set_patience",
    "set_price",
    "set_route_order",
    "update_channel",
]

CHANNEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PRINTABLE = re.compile(r"[!-~]+")
MAX_ORDER = 1_000_000
MAX_COST_BPS = 1_000_000  # a hundred times the price list
MAX_LIMIT = 10**12
# field: its least, its most, and whether it may be left empty
NUMBERS = {
    "priority": (0, MAX_ORDER, False),
    "weight": (1, MAX_ORDER, False),
    "cost_bps": (0, MAX_COST_BPS, False),
    "rpm": (1, MAX_LIMIT, True),
    "tpm": (1, MAX_LIMIT, True),
    "concurrency": (1, MAX_LIMIT, True),
}


def list_channels() -> list[Channel]:
    """All channels, read-only, in the order in which they are tried."""
    return list(read_plain(Channel, Channel.priority, Channel.weight.desc(), Channel.name))


def find_channel(name: str) -> Channel:
    """Raises NotFound."""
    channel = db.session.scalar(select(Channel).where(Channel.name == name))
    if channel is None:
        raise NotFound(f"There is no channel named {name!r}.", param="name")
    return channel


def add_channel(  # noqa: PLR0913 - the columns of a row
    name: str,
    provider: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    models: dict[str, str] | None = None,
    priority: int = 1,
    weight: int = 1,
    actor: Actor = COMMAND,
    **further: Any,
) -> Channel:
    """Connect an upstream. `models` maps public names to the upstream's names ("" for the catalogue's own); None serves
    all models of the provider. `further` has fields of `update_channel`. Raises InvalidRequest naming the field."""
    if not CHANNEL_NAME.fullmatch(name):
        raise InvalidRequest("Use letters, digits, dots, hyphens and underscores, up to 64.", param="name")
    if name.endswith(ENVIRONMENT_SUFFIX):
        raise InvalidRequest(f"Names that end in {ENVIRONMENT_SUFFIX} belong to the environment's keys.", param="name")
    if provider not in PROVIDERS:
        raise InvalidRequest(f"The providers are {', '.join(sorted(PROVIDERS))}.", param="provider")
    if stands_in(provider):
        _require_development()
    elif not api_key and not base_url:
        raise InvalidRequest("The provider's own address needs an API key.", param="api_key")
    with transaction() as session:
        if session.scalar(select(Channel.id).where(Channel.name == name)):
            raise InvalidRequest(f"There is a channel named {name!r} already.", param="name")
        channel = Channel(name=name, provider=provider)
        fields = {"base_url": base_url, "api_key": api_key, "models": models, "priority": priority, "weight": weight}
        _set_fields(session, channel, {**fields, **further})
        session.add(channel)
        record_act(session, None, "channel_added", actor, f"{name}, {provider}")
        bump("catalogue")
    return channel


def update_channel(name: str, *, actor: Actor = COMMAND, **fields: Any) -> Channel:
    """Change any of `base_url`, `api_key`, `models`, `priority`, `weight`, `groups` (of accounts; None is all),
    `cost_bps` (what the channel pays, in hundredths of a percent of the provider's price), `pass_fields` (request
    fields that are passed on beside those that the provider takes), `rpm`, `tpm` and `concurrency` (the operator's own
    limits). A field that isn't given stays, None removes it. Raises NotFound, or InvalidRequest naming the field."""
    with transaction() as session:
        channel = find_channel(name)
        if channel.from_environment and (own := {"base_url", "api_key"} & fields.keys()):
            raise InvalidRequest("The environment sets this channel's key and address.", param=min(own))
        before = (channel.base_url, channel.sealed_key, channel.models)
        shown = {field: getattr(channel, field) for field in fields if field != "api_key" and hasattr(channel, field)}
        _set_fields(session, channel, fields)
        record_act(session, None, "channel_changed", actor, _describe_change(channel, shown, before[1]))
        if before != (channel.base_url, channel.sealed_key, channel.models):
            forget_health(channel)
        bump("catalogue")
    wait_until_seen(_settings())
    return channel


def _describe_change(channel: Channel, before: dict[str, Any], sealed_key: str | None) -> str:
    """The channel's name, and what is other than before: of a key only that it is."""
    changes = [
        write_change(field, old, new) for field, old in before.items() if (new := getattr(channel, field)) != old
    ]
    if channel.sealed_key != sealed_key:
        changes.append("another key" if channel.sealed_key else "no key")
    return f"{channel.name}: {'; '.join(changes) or 'nothing'}"


def set_channel_enabled(name: str, enabled: bool, actor: Actor = COMMAND) -> Channel:
    """Switch a channel on or off; when this returns, every worker knows. Raises NotFound or InvalidRequest."""
    with transaction() as session:
        channel = find_channel(name)
        if enabled and stands_in(channel.provider):
            _require_development()
        if enabled and channel.from_environment and not channel.sealed_key:
            raise InvalidRequest(f"{channel.provider.upper()}_API_KEY is no longer set.", param="enabled")
        channel.enabled = enabled
        if enabled:
            forget_health(channel)
        record_act(session, None, "channel_enabled" if enabled else "channel_disabled", actor, name)
        bump("catalogue")
    wait_until_seen(_settings())
    return channel


def remove_channel(name: str, actor: Actor = COMMAND) -> None:
    """Delete a channel and its key. When this returns, every worker knows. Raises NotFound, or InvalidRequest for a
    channel that the environment would bring back."""
    with transaction() as session:
        channel = find_channel(name)
        if channel.from_environment and channel.sealed_key:
            variable = f"{channel.provider.upper()}_API_KEY"
            raise InvalidRequest(f"{variable} connects this channel: unset it, or disable the channel.", param="name")
        session.delete(channel)
        record_act(session, None, "channel_removed", actor, name)
        bump("catalogue")
    wait_until_seen(_settings())


def _set_fields(session: Session, channel: Channel, fields: dict[str, Any]) -> None:
    for field, value in fields.items():
        if field == "base_url":
            channel.base_url = _check_base_url(value) if value else None
        elif field == "api_key":
            _set_key(channel, value)
        elif field == "models":
            channel.models = _check_models(session, value) if value else None
        elif field == "groups":
            channel.groups = _check_groups(value) if value else None
        elif field == "pass_fields":
            channel.pass_fields = check_pass_fields(value) if value else None
        elif field in NUMBERS:
            least, most, optional = NUMBERS[field]
            if not (optional and value is None) and (type(value) is not int or not least <= value <= most):
                raise InvalidRequest(f"Must be a whole number from {least} to {most}.", param=field)
            setattr(channel, field, value)
        else:
            raise InvalidRequest("A channel has no such field.", param=field)


def _check_groups(groups: Sequence[str]) -> list[str]:
    for group in groups:
        if not GROUP_NAME.fullmatch(group):
            raise InvalidRequest(
                "Groups are letters, digits, dots, hyphens and underscores, up to 64 each.", param="groups"
            )
    return sorted(set(groups))


def _set_key(channel: Channel, key: str | None) -> None:
    if key and not PRINTABLE.fullmatch(key):  # the key is sent in a header
        raise InvalidRequest("An API key is printable ASCII without spaces.", param="api_key")
    channel.sealed_key = vault.seal(key) if key else None
    channel.key_last_four = key[-4:] if key else None


def _check_models(session: Session, models: dict[str, str]) -> dict[str, str]:
    """Map public names or aliases to model ids; an empty upstream name becomes the catalogue's."""
    found = {}
    for public, upstream in models.items():
        alias = session.get(Alias, public)
        model = session.get(Model, alias.model_id if alias else public)
        if model is None:
            raise InvalidRequest(f"There is no model named {public!r}: add it first.", param="models")
        if len(upstream) > 128:
            raise InvalidRequest("An upstream's model name has at most 128 characters.", param="models")
        found[model.id] = upstream or model.upstream_id
    return found


def _check_base_url(url: str) -> str:
    """The URL without a trailing slash. Names are looked up and checked again at each connection."""
    try:
        parts = urlsplit(url)
        private = _is_private(parts.hostname or "")
        sound = parts.port != 0
    except ValueError:
        sound = False
    if not sound or parts.scheme not in ("https", "http") or not parts.hostname or not PRINTABLE.fullmatch(url):
        raise InvalidRequest("Give a URL such as https://api.openai.com/v1.", param="base_url")
    if parts.username is not None or parts.query or parts.fragment or len(url) > 500:
        raise InvalidRequest("A base URL has no credentials, query or fragment.", param="base_url")
    if (parts.scheme == "http" or private) and not _settings().private_upstreams_allowed:
        message = "Only https to public addresses; ALLOW_PRIVATE_UPSTREAMS=1 permits http and private ones."
        raise InvalidRequest(message, param="base_url")
    return url.rstrip("/")


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _require_development() -> None:
    if not _settings().development:
        raise InvalidRequest("The sandbox makes answers up: production refuses it.", param="provider")


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings
