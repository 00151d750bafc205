"""The fault drill: a made-up upstream with a fault, tried before a request's real channels or instead of them."""

import dataclasses

import structlog

from bridge.accounts.keys import drill_of
from bridge.catalogue.routing import Route
from bridge.inference.ask import Ask
from bridge.providers import SANDBOX
from bridge.providers.faults import PREFIX

# In the WSGI environ, where no client can write (its headers are HTTP_…): the fault, and whether real channels follow.
DRILL = "bridge.drill"
NO_CHANNEL = 0  # no row has this id, so nothing of it is written to any channel's health
log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Drill:
    """The made-up upstream, and whether the request's real channels follow it."""

    route: Route
    with_channels: bool

    def lead(self, routes: list[Route], *, is_first: bool) -> list[Route]:
        """A model's routes with the drill's before those of the first. Where no real channel is connected, there is
        none to drill, unless none was wanted."""
        if not self.with_channels:
            return [self.route] if is_first else []
        return [self.route, *routes] if is_first and routes else routes


def find_drill(ask: Ask) -> Drill | None:
    """The drill of this one request, or the account's while it lasts."""
    caller = ask.caller
    if caller.drill_fault is None and ask.drill is None:
        return None
    fault, with_channels = ask.drill or (drill_of(caller), True)
    if fault is None:
        return None
    log.info("drill", request_id=ask.request_id, account_id=caller.account_id, fault=fault)
    route = Route(
        channel_id=NO_CHANNEL,
        channel_name="drill",
        provider=SANDBOX,
        base_url=None,
        sealed_key=None,
        priority=0,
        weight=1,
        upstream_id=f"{PREFIX}{fault}",
    )
    return Drill(route, with_channels)
