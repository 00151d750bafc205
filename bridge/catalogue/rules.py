"""Which channels serve a model. These are pure functions, so routing, pages and commands always agree."""

from collections.abc import Collection, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from bridge.providers import stands_in
from bridge.turns import in_slices


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
    @property
    def from_environment(self) -> bool: ...
    @property
    def sealed_key(self) -> str | None: ...


ChannelT = TypeVar("ChannelT", bound=ChannelLike)


def serves(channel: ChannelLike, model: ModelLike, all_channels: Iterable[ChannelLike]) -> bool:
    """Whether this channel, enabled or not, serves the model.

    A channel with a list serves the models on it; without one it serves all models of its provider. The sandbox stands
    in for a model that no real channel serves. A disabled real channel still keeps the sandbox out, since nobody who
    pauses a provider wants made-up answers. A channel whose key has left the environment doesn't count."""
    if channel.models is not None:
        return model.id in channel.models
    if not stands_in(channel.provider):
        return model.provider == channel.provider
    if stands_in(model.provider):
        return True
    return not any(
        not stands_in(other.provider) and is_connected(other) and serves(other, model, ()) for other in all_channels
    )


def is_connected(channel: ChannelLike) -> bool:
    """Whether the channel has an upstream: the environment's channel has none once its key is gone."""
    return not channel.from_environment or channel.sealed_key is not None


def find_upstream_id(channel: ChannelLike, model: ModelLike) -> str:
    """The upstream's name of the model. The sandbox knows public names only."""
    if channel.models is not None:
        return channel.models[model.id]
    return model.id if stands_in(channel.provider) else model.upstream_id


def is_open_to(groups: Collection[str] | None, group: str | None) -> bool:
    """Whether a channel with these groups (None: all) serves accounts of this group (None: any)."""
    return groups is None or group is None or group in groups


class ChannelIndex(Generic[ChannelT]):
    """All channels by what they serve, so that a model's channels are found without reading the others. `channels` must
    be all channels, including disabled ones and those of other groups."""

    def __init__(self, channels: Iterable[ChannelT]):
        self._by_model: dict[str, list[tuple[int, ChannelT]]] = {}  # each with its position among all
        self._by_provider: dict[str, list[tuple[int, ChannelT]]] = {}
        self._stand_ins: list[tuple[int, ChannelT]] = []
        connected = (channel for channel in channels if is_connected(channel))
        ordered = sorted(connected, key=lambda each: (each.priority, -each.weight, each.name))
        for placed in in_slices(enumerate(ordered)):
            channel = placed[1]
            if channel.models is None:
                self._by_provider.setdefault(channel.provider, []).append(placed)
                if stands_in(channel.provider):
                    self._stand_ins.append(placed)
            else:
                for model_id in channel.models:
                    self._by_model.setdefault(model_id, []).append(placed)

    def of(self, model: ModelLike, group: str | None = None) -> list[tuple[ChannelT, str]]:
        """The same as `channels_of`."""
        named = self._by_model.get(model.id, ())
        found = [*named, *self._by_provider.get(model.provider, ())]
        if not stands_in(model.provider) and all(stands_in(channel.provider) for _, channel in found):  # see `serves`
            found += self._stand_ins
        found = [placed for placed in found if placed[1].enabled and is_open_to(placed[1].groups, group)]
        found.sort()  # by position; positions are unique
        return [(channel, find_upstream_id(channel, model)) for _, channel in found]


def channels_of(model: ModelLike, channels: Sequence[ChannelT], group: str | None = None) -> list[tuple[ChannelT, str]]:
    """The enabled channels that serve a model to accounts of a group (None: any), each with the upstream's name of the
    model: by priority number, then the heavier first, then by name. `channels` must be all channels, including disabled
    ones and those of other groups. For many models, keep a ChannelIndex."""
    return ChannelIndex(channels).of(model, group)
