"""Asks an upstream which models it has: a channel's, or one that isn't connected yet."""

import dataclasses
import time

from bridge import vault
from bridge.catalogue.seed import find_label
from bridge.catalogue.upstreams import Connectable, hide_key, open_channel
from bridge.config import Settings
from bridge.errors import InvalidRequest
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, FoundModel, Outgoing
from bridge.providers.sandbox import SandboxUpstream
from bridge.providers.wire.http import Answer, Timeouts, Upstream

LIST_SECONDS = 20.0  # for all pages together
PAGE_BYTES = 8 * 2**20  # OpenRouter describes some hundreds of models at length
MAX_PAGES = 20
MAX_MODELS = 5000
NO_LIST_STATUSES = (404, 405, 501)


class NoModelList(InvalidRequest):
    """The upstream answers, and has no list of its models: they have to be named."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """An upstream that may become a channel. Its key is sealed like a channel's; see `make_candidate`."""

    provider: str
    base_url: str | None = None
    sealed_key: str | None = None
    sealed_wire: str | None = None


def make_candidate(provider: str, base_url: str | None, api_key: str | None) -> Candidate:
    """An upstream by what an operator typed in. Raises InvalidRequest for an unknown provider."""
    if provider not in PROVIDERS:
        raise InvalidRequest(f"The providers are {', '.join(sorted(PROVIDERS))}.", param="provider")
    return Candidate(provider, base_url or None, vault.seal(api_key) if api_key else None)


def list_upstream_models(channel: Connectable, settings: Settings) -> tuple[FoundModel, ...]:
    """The models that the upstream of this channel or candidate says it has, by its own ids and in its own order, each
    once, 5,000 at most. It takes 20 seconds at most; give the database's connection back before.

    Raises NoModelList where the upstream has no list, MisconfiguredError when no master key opens the channel's key,
    and otherwise InvalidRequest that says what is wrong, naming `api_key` or `base_url`."""
    upstream = open_channel(channel, settings)
    if isinstance(upstream, SandboxUpstream):
        raise NoModelList("The sandbox has no list of models.", param="models")
    try:
        return _read_pages(upstream, channel, settings)
    except AttemptFailed as failure:
        hide_key(failure, channel)
        raise _explain(failure, channel) from None
    finally:
        upstream.close()


def _read_pages(upstream: Upstream, channel: Connectable, settings: Settings) -> tuple[FoundModel, ...]:
    """All pages. A list that leads back to a page that was read, or has no end, is taken as far as it was read."""
    provider = PROVIDERS[channel.provider]
    until = time.monotonic() + LIST_SECONDS
    found: dict[str, FoundModel] = {}
    after, seen = "", {""}
    for _ in range(MAX_PAGES):
        page = provider.read_list(_get(upstream, channel, provider.write_list(after), settings, until))
        for model in page.models:
            found.setdefault(model.id, model)
        after = page.after
        if after in seen or len(found) >= MAX_MODELS:
            break
        seen.add(after)
    return tuple(found.values())[:MAX_MODELS]


def _get(upstream: Upstream, channel: Connectable, outgoing: Outgoing, settings: Settings, until: float) -> bytes:
    left_seconds = max(0.001, until - time.monotonic())
    connect_seconds = min(settings.connect_timeout_seconds, left_seconds)
    patience = Timeouts(connect_seconds, left_seconds, left_seconds, until)
    answer = upstream.get(outgoing.path, outgoing.headers, timeouts=patience)
    try:
        data = _read_until(answer, until)
        if answer.status != 200:
            raise PROVIDERS[channel.provider].read_error(answer.status, answer.headers, data)
        return data
    finally:
        answer.close()


def _read_until(answer: Answer, until: float) -> bytes:
    """The body, if it is there by then and not too large. Raises AttemptFailed."""
    pieces: list[bytes] = []
    received = 0
    while (left_seconds := until - time.monotonic()) > 0:
        data = answer.read_some(left_seconds)
        if data == b"":
            return b"".join(pieces)
        pieces.append(data or b"")
        received += len(pieces[-1])
        if received > PAGE_BYTES:
            raise AttemptFailed(Blame.UPSTREAM, "the list of models is too large", status=answer.status)
    raise AttemptFailed(Blame.UPSTREAM, f"no list within {LIST_SECONDS:.0f} s", status=answer.status)


def _explain(failure: AttemptFailed, channel: Connectable) -> InvalidRequest:
    """What is wrong, for the operator, at the field that would mend it."""
    label, reason = find_label(channel.provider), failure.reason
    where = channel.base_url or PROVIDERS[channel.provider].base_url
    if failure.blame is Blame.CREDENTIAL:
        if not channel.sealed_key:
            return InvalidRequest(f"{where} wants an API key ({reason}).", param="api_key")
        said = f"{label} refuses this key ({reason}). Check that it is complete, active and has credit."
        return InvalidRequest(said, param="api_key")
    if failure.status in NO_LIST_STATUSES:
        return NoModelList(f"{where} has no list of models ({reason}). Name them yourself.", param="models")
    if failure.blame is Blame.RATE:
        return InvalidRequest(f"{label} limits this key ({reason}). Try again a little later.", param="api_key")
    if failure.blame is Blame.SETUP and failure.status is None:
        return InvalidRequest(f"This address can't be used: {reason}.", param="base_url")
    if failure.status is None:
        said = f"Nothing answers at {where} ({reason}). Check the address and the network."
        return InvalidRequest(said, param="base_url")
    if failure.status == 200:
        said = f"What answers at {where} does not speak as {label} does ({reason}). Check the address."
        return InvalidRequest(said, param="base_url")
    return InvalidRequest(f"{label} is failing ({reason}). Try again later.", param="base_url")
