"""Which channels serve a model. Pure, so that routing, pages and commands can't disagree."""

from collections.abc import Collection, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

SANDBOX = "sandbox"


class ModelLike(Protocol):
    """A catalogue row or a snapshot of one."""

    @property
    def id(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def upstream_id(self) -> str: ...


class ChannelLike(Protocol):
    """A channel's row or a snapshot of one."""

    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def models(self) -> dict[str, str] | None: ...
    @property
    def priority(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def groups(self) -> Collection[str] | None: ...


ChannelT = TypeVar("ChannelT", bound=ChannelLike)


def serves(channel: ChannelLike, model: ModelLike, all_channels: Iterable[ChannelLike]) -> bool:
    """Whether this channel, enabled or not, is one of the model's.

    A list of models says so itself; without one a channel serves all models of its provider. The sandbox stands in
    for any model that no real channel serves: a real one that is switched off still keeps it out, since nobody who
    pauses a provider wants made-up answers instead."""
    if channel.models is not None:
        return model.id in channel.models
    if channel.provider != SANDBOX:
        return model.provider == channel.provider
    if model.provider == SANDBOX:
        return True
    return not any(other.provider != SANDBOX and serves(other, model, ()) for other in all_channels)


def find_upstream_id(channel: ChannelLike, model: ModelLike) -> str:
    """What the channel's upstream calls the model. The sandbox knows public names only."""
    if channel.models is not None:
        return channel.models[model.id]
    return model.id if channel.provider == SANDBOX else model.upstream_id


def is_open_to(groups: Collection[str] | None, group: str | None) -> bool:
    """Whether a channel of these groups serves accounts of this one. None: everyone's; whoever may see everything."""
    return groups is None or group is None or group in groups


class ChannelIndex(Generic[ChannelT]):
    """All channels by what they serve, so that a model finds its own without a look at the others. `channels` must be
    all there are, disabled ones and those of other groups included."""

    def __init__(self, channels: Iterable[ChannelT]):
        self._by_model: dict[str, list[ChannelT]] = {}
        self._by_provider: dict[str, list[ChannelT]] = {}
        for channel in sorted(channels, key=lambda each: (each.priority, -each.weight, each.name)):
            if channel.models is None:
                self._by_provider.setdefault(channel.provider, []).append(channel)
            else:
                for model_id in channel.models:
                    self._by_model.setdefault(model_id, []).append(channel)

    def of(self, model: ModelLike, group: str | None = None) -> list[tuple[ChannelT, str]]:
        """What `channels_of` says."""
        named = self._by_model.get(model.id, ())
        found = [*named, *self._by_provider.get(model.provider, ())]
        if model.provider != SANDBOX and all(channel.provider == SANDBOX for channel in found):  # see `serves`
            found += self._by_provider.get(SANDBOX, ())
        found = [channel for channel in found if channel.enabled and is_open_to(channel.groups, group)]
        if named and len(found) > 1:  # of one list it has the order already
            found.sort(key=lambda channel: (channel.priority, -channel.weight, channel.name))
        return [(channel, find_upstream_id(channel, model)) for channel in found]


def channels_of(model: ModelLike, channels: Sequence[ChannelT], group: str | None = None) -> list[tuple[ChannelT, str]]:
    """The enabled channels that serve a model to accounts of a group (None: to anybody), each with the upstream's name
    for it; lowest priority number first, then the heavier, then by name. `channels` must be all there are, disabled
    ones and those of other groups included. Whoever asks for many models keeps a ChannelIndex."""
    return ChannelIndex(channels).of(model, group)
