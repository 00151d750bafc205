"""How an operator changes channels, in pages and commands alike. Models and prices: `model_editing.py`."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
from flask import current_app
from sqlalchemy import select
from sqlalchemy.orm import Session

from bridge import vault
from bridge.acts import COMMAND, Actor, record_act, write_change
from bridge.catalogue.channel_events import forget_calls, forget_health
from bridge.catalogue.channel_host import require_secrets_anew
from bridge.catalogue.channel_wire import (
    NOTHING,
    WIRE_FIELDS,
    Wire,
    check_headers,
    check_proxy,
    check_query,
    hide_login,
    read_wire,
    seal_wire,
)
from bridge.catalogue.connect import ENVIRONMENT_SUFFIX
from bridge.catalogue.key_health import forget_key_health, list_keys
from bridge.catalogue.model_editing import (
    add_alias,
    add_model,
    edit_model,
    enter_price,
    remove_alias,
    restore_model,
    retire_model,
    set_added_tokens,
    set_kinds,
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
from bridge.languages import translate
from bridge.providers import PROVIDERS, stands_in
from bridge.providers.openai.request_fields import check_pass_fields
from bridge.versions import bump, wait_until_seen

__all__ = [
    "add_alias",
    "add_channel",
    "add_model",
    "edit_model",
    "find_channel",
    "list_channels",
    "remove_alias",
    "remove_channel",
    "restore_model",
    "retire_model",
    "set_channel_enabled",
    "enter_price",
    "set_added_tokens",
    "set_kinds",
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
# fields whose values the audit log may say
SHOWN = {
    *("base_url", "models", "priority", "weight", "cost_bps", "groups", "pass_fields", "rpm", "tpm", "concurrency"),
    *("probes", "always_on"),
}
# field: its least, its most, and whether it may be left empty
NUMBERS = {
    "priority": (0, MAX_ORDER, False),
    "weight": (1, MAX_ORDER, False),
    "cost_bps": (0, MAX_COST_BPS, False),
    "rpm": (1, MAX_LIMIT, True),
    "tpm": (1, MAX_LIMIT, True),
    "concurrency": (1, MAX_LIMIT, True),
}
SWITCHES = ("probes", "always_on")


def list_channels() -> list[Channel]:
    """All channels, read-only, in the order in which they are tried."""
    return list(read_plain(Channel, Channel.priority, Channel.weight.desc(), Channel.name))


def find_channel(name: str) -> Channel:
    """Raises NotFound."""
    channel = db.session.scalar(select(Channel).where(Channel.name == name))
    if channel is None:
        raise NotFound(translate("There is no channel named %(name)s.", name=repr(name)), param="name")
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
    enabled: bool = True,
    actor: Actor = COMMAND,
    **further: Any,
) -> Channel:
    """Connect an upstream. `models` maps public names to the upstream's names ("" for the catalogue's own); None serves
    all models of the provider. Unless it is `enabled`, nothing is sent to it but tests. `further` has fields of
    `update_channel`. Raises InvalidRequest naming the field."""
    if not CHANNEL_NAME.fullmatch(name):
        raise InvalidRequest(translate("Use letters, digits, dots, hyphens and underscores, up to 64."), param="name")
    if name.endswith(ENVIRONMENT_SUFFIX):
        raise InvalidRequest(
            translate(
                "Names that end in %(environment_suffix)s belong to the environment's keys.",
                environment_suffix=ENVIRONMENT_SUFFIX,
            ),
            param="name",
        )
    if provider not in PROVIDERS:
        raise InvalidRequest(
            translate("The providers are %(value)s.", value=", ".join(sorted(PROVIDERS))), param="provider"
        )
    if stands_in(provider):
        _require_development()
    elif not api_key and not base_url:
        raise InvalidRequest(translate("The provider's own address needs an API key."), param="api_key")
    with transaction() as session:
        if session.scalar(select(Channel.id).where(Channel.name == name)):
            raise InvalidRequest(translate("There is a channel named %(name)s already.", name=repr(name)), param="name")
        channel = Channel(name=name, provider=provider, enabled=enabled)
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
    limits), `headers`, `query` and `proxy` (see `channel_wire.py`), `probes` (whether it is checked while nobody uses
    it), `always_on` (whether it never leaves by itself). A field that isn't given stays, None removes it; but a new
    host takes the key and the secret headers anew (see `channel_host.py`). Raises NotFound, or InvalidRequest naming
    the field."""
    with transaction() as session:
        channel = find_channel(name)
        change_fields(session, channel, fields, actor)
        bump("catalogue")
    wait_until_seen(_settings())
    return channel


def change_fields(session: Session, channel: Channel, fields: Mapping[str, Any], actor: Actor) -> None:
    """The same in the caller's transaction, which bumps the catalogue's number."""
    if channel.from_environment and (own := {"base_url", "api_key"} & fields.keys()):
        raise InvalidRequest(translate("The environment sets this channel's key and address."), param=min(own))
    if "api_key" in fields and list_keys(channel):
        raise InvalidRequest(
            translate("%(name)s has several keys: add, replace or remove one of them.", name=channel.name),
            param="api_key",
        )
    before = (channel.base_url, channel.sealed_key, channel.sealed_wire, channel.models)
    was_on = channel.always_on
    shown = {field: getattr(channel, field) for field in fields if field in SHOWN}
    moves = bool({"base_url", "proxy"} & fields.keys())
    wire = read_wire(channel.sealed_wire) if moves or WIRE_FIELDS & fields.keys() else NOTHING
    _set_fields(session, channel, fields)
    if moves:
        require_secrets_anew(
            channel,
            fields,
            old_base_url=before[0],
            old=wire,
            new=read_wire(channel.sealed_wire),
            has_several_keys=bool(list_keys(channel)),
        )
    said = _describe_change(channel, shown, before[1])
    if WIRE_FIELDS & fields.keys():
        said += _describe_wire(wire, read_wire(channel.sealed_wire))
    record_act(session, None, "channel_changed", actor, f"{channel.name}: {said.lstrip('; ') or 'nothing'}")
    if before[:3] != (channel.base_url, channel.sealed_key, channel.sealed_wire):
        forget_calls(channel)
    is_back = channel.always_on and not was_on
    if is_back or before != (channel.base_url, channel.sealed_key, channel.sealed_wire, channel.models):
        forget_health(channel)


def _describe_change(channel: Channel, before: dict[str, Any], sealed_key: str | None) -> str:
    """What is other than before: of a key only that it is."""
    changes = [
        write_change(field, old, new) for field, old in before.items() if (new := getattr(channel, field)) != old
    ]
    if channel.sealed_key != sealed_key:
        changes.append("another key" if channel.sealed_key else "no key")
    return "; ".join(changes)


def _describe_wire(before: Wire, after: Wire) -> str:
    """Which headers and parameters are other than before, by name: their values are secrets."""
    found = []
    for what, old, new in (("header", before.headers, after.headers), ("query", before.query, after.query)):
        found += [f"{what} {name} set" for name in new if new[name] != old.get(name)]
        found += [f"{what} {name} removed" for name in old if name not in new]
    if before.proxy != after.proxy:
        found.append(f"proxy {hide_login(after.proxy) or 'removed'}")
    return "".join(f"; {each}" for each in found)


def set_channel_enabled(name: str, enabled: bool, actor: Actor = COMMAND) -> Channel:
    """Switch a channel on or off; when this returns, every worker knows. Raises NotFound or InvalidRequest."""
    with transaction() as session:
        channel = find_channel(name)
        switch_channel(session, channel, enabled, actor)
        bump("catalogue")
    wait_until_seen(_settings())
    return channel


def switch_channel(session: Session, channel: Channel, enabled: bool, actor: Actor) -> None:
    """The same in the caller's transaction, which bumps the catalogue's number."""
    if enabled and stands_in(channel.provider):
        _require_development()
    if enabled and channel.from_environment and not channel.sealed_key:
        raise InvalidRequest(
            translate("%(value)s_API_KEY is no longer set.", value=channel.provider.upper()), param="enabled"
        )
    channel.enabled = enabled
    if enabled:
        forget_health(channel)
        for key in list_keys(channel):
            forget_key_health(key)
    record_act(session, None, "channel_enabled" if enabled else "channel_disabled", actor, channel.name)


def remove_channel(name: str, actor: Actor = COMMAND) -> None:
    """Delete a channel and its key. When this returns, every worker knows. Raises NotFound, or InvalidRequest for a
    channel that the environment would bring back."""
    with transaction() as session:
        channel = find_channel(name)
        if channel.from_environment and channel.sealed_key:
            variable = f"{channel.provider.upper()}_API_KEY"
            raise InvalidRequest(
                translate("%(variable)s connects this channel: unset it, or disable the channel.", variable=variable),
                param="name",
            )
        session.delete(channel)
        record_act(session, None, "channel_removed", actor, name)
        bump("catalogue")
    wait_until_seen(_settings())


def _set_fields(session: Session, channel: Channel, fields: Mapping[str, Any]) -> None:
    for field, value in fields.items():
        if field == "base_url":
            channel.base_url = check_base_url(value) if value else None
        elif field == "api_key":
            _set_key(channel, value)
        elif field == "models":
            channel.models = _check_models(session, value) if value else None
        elif field in ("groups", "pass_fields"):
            check = _check_groups if field == "groups" else check_pass_fields
            setattr(channel, field, check(value) if value else None)
        elif field in WIRE_FIELDS:
            _set_wire(channel, field, value)
        elif field in SWITCHES:
            setattr(channel, field, bool(value))
        elif field in NUMBERS:
            least, most, optional = NUMBERS[field]
            if not (optional and value is None) and (type(value) is not int or not least <= value <= most):
                raise InvalidRequest(
                    translate("Must be a whole number from %(least)s to %(most)s.", least=least, most=most), param=field
                )
            setattr(channel, field, value)
        else:
            raise InvalidRequest(translate("A channel has no such field."), param=field)


def _set_wire(channel: Channel, field: str, value: Any) -> None:
    wire = read_wire(channel.sealed_wire)
    if field == "headers":
        wire = msgspec.structs.replace(wire, headers=check_headers(value or {}, wire.headers))
    elif field == "query":
        wire = msgspec.structs.replace(wire, query=check_query(value or {}, wire.query))
    else:
        proxy = check_proxy(value or "", wire.proxy, private_allowed=_settings().private_upstreams_allowed)
        wire = msgspec.structs.replace(wire, proxy=proxy)
    if wire != read_wire(channel.sealed_wire):  # sealed anew, the same would look like a change
        channel.sealed_wire = seal_wire(wire)


def _check_groups(groups: Sequence[str]) -> list[str]:
    for group in groups:
        if not GROUP_NAME.fullmatch(group):
            raise InvalidRequest(
                translate("Groups are letters, digits, dots, hyphens and underscores, up to 64 each."), param="groups"
            )
    return sorted(set(groups))


def _set_key(channel: Channel, key: str | None) -> None:
    if key:
        check_api_key(key)
    channel.sealed_key = vault.seal(key) if key else None
    channel.key_last_four = key[-4:] if key else None


def check_api_key(key: str) -> str:
    """The key, if it can be sent in a header. Raises InvalidRequest."""
    if not PRINTABLE.fullmatch(key):
        raise InvalidRequest(translate("An API key is printable ASCII without spaces."), param="api_key")
    return key


def _check_models(session: Session, models: dict[str, str]) -> dict[str, str]:
    """Map public names or aliases to model ids; an empty upstream name becomes the catalogue's."""
    found = {}
    for public, upstream in models.items():
        alias = session.get(Alias, public)
        model = session.get(Model, alias.model_id if alias else public)
        if model is None:
            raise InvalidRequest(
                translate("There is no model named %(public)s: add it first.", public=repr(public)), param="models"
            )
        if len(upstream) > 128:
            raise InvalidRequest(translate("An upstream's model name has at most 128 characters."), param="models")
        found[model.id] = upstream or model.upstream_id
    return found


def check_base_url(url: str) -> str:
    """The URL without a trailing slash. Names are looked up and checked again at each connection. Raises
    InvalidRequest."""
    try:
        parts = urlsplit(url)
        private = _is_private(parts.hostname or "")
        sound = parts.port != 0
    except ValueError:
        sound = False
    if (
        not sound
        or "{" in parts.netloc
        or parts.scheme not in ("https", "http")
        or not parts.hostname
        or not PRINTABLE.fullmatch(url)
    ):
        raise InvalidRequest(translate("Give a URL such as https://api.openai.com/v1."), param="base_url")
    if parts.username is not None or parts.query or parts.fragment or len(url) > 500:
        raise InvalidRequest(translate("A base URL has no credentials, query or fragment."), param="base_url")
    if (parts.scheme == "http" or private) and not _settings().private_upstreams_allowed:
        message = translate("Only https to public addresses; ALLOW_PRIVATE_UPSTREAMS=1 permits http and private ones.")
        raise InvalidRequest(message, param="base_url")
    return url.rstrip("/")


def _is_private(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _require_development() -> None:
    if not _settings().development:
        raise InvalidRequest(translate("The sandbox makes answers up: production refuses it."), param="provider")


def _settings() -> Settings:
    settings: Settings = current_app.config["BRIDGE"]
    return settings
