"""Channels that come from outside the catalogue: the environment's credentials, the sandbox, a model server nearby."""

from collections.abc import Mapping

import requests
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from bridge import vault
from bridge.catalogue.channel_events import forget_health
from bridge.catalogue.price_file import MODEL_ID
from bridge.catalogue.price_rows import make_price
from bridge.catalogue.rates import make_rates
from bridge.catalogue.tables import Alias, Channel, Model
from bridge.config import Settings, provider_credentials
from bridge.conversation.kinds import CHAT, COMPLETIONS, EMBEDDINGS
from bridge.db import transaction
from bridge.providers import COMMON_DIALECT, COMPANIES, SANDBOX, stands_in
from bridge.versions import bump

ENVIRONMENT_SUFFIX = "-env"
LOCAL_SERVERS = {"ollama": "http://127.0.0.1:11434/v1", "llama-cpp": "http://127.0.0.1:8080/v1"}
LOCAL_PROVIDER = "local"  # of models that only a channel's own list connects
LOCAL_CONTEXT_TOKENS = 32_768
PROBE_SECONDS = 0.3


def connect_environment(settings: Settings, environ: Mapping[str, str] | None = None) -> list[str]:
    """Bring the channels in line with the environment. Returns what changed, a line each. If nothing changed, nothing
    is written.

    A credential becomes the channel `openai-env` (and so on). One that is gone disables its channel and deletes its
    key; one that comes back enables it again. A channel that an operator has disabled, with its key in place, stays
    disabled. The sandbox exists in development only. Raises MisconfiguredError when the master keys don't open a stored
    key."""
    credentials = provider_credentials(COMPANIES, environ)
    try:
        return _bring_in_line(settings, credentials)
    except IntegrityError:  # another process has just done the same
        return _bring_in_line(settings, credentials)


def _bring_in_line(settings: Settings, credentials: dict[str, tuple[str, str]]) -> list[str]:
    with transaction() as session:
        channels = {channel.name: channel for channel in session.scalars(select(Channel))}
        done = []
        for provider, (key, base_url) in credentials.items():
            done += _connect(session, channels.get(provider + ENVIRONMENT_SUFFIX), provider, key, base_url or None)
        for channel in channels.values():
            if channel.from_environment and channel.provider not in credentials and channel.sealed_key:
                channel.enabled, channel.sealed_key, channel.key_last_four = False, None, None
                done.append(f"Channel {channel.name} is disabled: its key has left the environment.")
        done += _place_sandbox(session, channels, settings)
        if done:
            bump("catalogue")
    return done


def _connect(session: Session, channel: Channel | None, provider: str, key: str, base_url: str | None) -> list[str]:
    if channel is None:
        channel = Channel(name=provider + ENVIRONMENT_SUFFIX, provider=provider, from_environment=True)
        session.add(channel)
    elif not channel.from_environment:
        return []  # an operator's own channel of that name, from before names were reserved
    elif channel.sealed_key and vault.unseal(channel.sealed_key) == key and channel.base_url == base_url:
        return []
    if not channel.sealed_key:
        channel.enabled = True
    channel.sealed_key, channel.key_last_four, channel.base_url = vault.seal(key), key[-4:], base_url
    forget_health(channel)
    return [f"Channel {channel.name} is connected with the environment's key."]


def _place_sandbox(session: Session, channels: dict[str, Channel], settings: Settings) -> list[str]:
    if settings.development:
        if any(stands_in(channel.provider) for channel in channels.values()):
            return []
        session.add(Channel(name=SANDBOX, provider=SANDBOX, priority=1000))
        return ["Channel sandbox is connected: it answers for models that have no provider."]
    done = []
    for channel in channels.values():
        if stands_in(channel.provider) and channel.enabled:
            channel.enabled = False
            done.append(f"Channel {channel.name} is disabled: production has no sandbox.")
    return done


def connect_local_upstreams(settings: Settings) -> list[str]:
    """In development, connect an Ollama or llama.cpp server that answers on its usual port. Its models cost nothing.
    Returns what changed, a line each."""
    if not settings.development:
        return []
    done = []
    for name, base_url in LOCAL_SERVERS.items():
        if ids := list_local_models(base_url):
            done += _connect_local(name, base_url, ids)
    return done


def list_local_models(base_url: str) -> list[str]:
    """The models that a server on this machine offers; none if nothing answers there, or something else does."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(f"{base_url}/models", timeout=PROBE_SECONDS, allow_redirects=False)
            ids = [str(item["id"]) for item in answer.json()["data"]]
        except (requests.RequestException, ValueError, KeyError, TypeError):
            return []
    return [id_ for id_ in ids if MODEL_ID.fullmatch(id_)]


def _connect_local(name: str, base_url: str, ids: list[str]) -> list[str]:
    with transaction() as session:
        # a public name that is taken means another model: only new names become this server's
        taken = set(session.scalars(select(Model.id))) | set(session.scalars(select(Alias.name)))
        added = {id_: id_ for id_ in ids if id_ not in taken}
        if not added:
            return []
        for id_ in added:
            session.add(_local_model(id_))
        session.flush()  # the prices refer to them
        for id_ in added:
            session.add(make_price(id_, [make_rates({"input": 0, "output": 0})], source="runs on this machine"))
        channel = session.scalar(select(Channel).where(Channel.name == name))
        if channel is None:
            channel = Channel(name=name, provider=COMMON_DIALECT, base_url=base_url, models={})
            session.add(channel)
        channel.models = {**(channel.models or {}), **added}
        bump("catalogue")
    return [f"Channel {name} at {base_url} serves {', '.join(added)}."]


def _local_model(id_: str) -> Model:
    """A model of a server on this machine. Its sizes are guesses, which cost nobody anything."""
    return Model(
        id=id_,
        name=id_,
        provider=LOCAL_PROVIDER,
        upstream_id=id_,
        context_tokens=LOCAL_CONTEXT_TOKENS,
        max_output_tokens=LOCAL_CONTEXT_TOKENS,
        kinds=[CHAT, EMBEDDINGS, COMPLETIONS],  # its server knows which
    )
