"""What upstreams have taught this process by refusing: by which dialect a model wants to be asked there, and what it
doesn't take."""

import structlog

from bridge.catalogue.routing import Route
from bridge.providers.base import Remedy

MOST_MODELS = 1024  # of channels; the oldest are forgotten, and learned again
Name = tuple[int, int, str]
NOTHING: frozenset[str] = frozenset()
log = structlog.get_logger()


class Lessons:
    """Remedies that last, for each model of a channel, until the channel starts afresh or the process ends."""

    def __init__(self) -> None:
        self._wires: dict[Name, str] = {}
        self._without: dict[Name, frozenset[str]] = {}

    def find_wire(self, route: Route) -> str:
        """By which dialect the route's model is asked: the operator's word, then what was learned, then ""."""
        return route.wire or (self._wires.get(_name(route), "") if self._wires else "")

    def find_without(self, route: Route) -> frozenset[str]:
        """What of a request is left out for this model."""
        return self._without.get(_name(route), NOTHING) if self._without else NOTHING

    def learn(self, route: Route, remedy: Remedy) -> None:
        """Remember what lasts."""
        name = _name(route)
        log.info(
            "lesson", channel=route.channel_name, model=route.upstream_id, wire=remedy.wire, without=remedy.without
        )
        if remedy.wire:
            self._wires[name] = remedy.wire
        if remedy.without:
            self._without[name] = self._without.get(name, NOTHING) | {remedy.without}
        for known in (self._wires, self._without):
            if len(known) > MOST_MODELS:
                del known[next(iter(known))]


def _name(route: Route) -> Name:
    return route.channel_id, route.resets, route.upstream_id
