"""The fault drill: a made-up upstream with a fault, tried before a request's real channels or instead of them."""

import structlog

from bridge.accounts.keys import drill_of
from bridge.catalogue.routing import Route
from bridge.catalogue.rules import SANDBOX
from bridge.providers.drill import PREFIX
from bridge.v1.visit import Visit

# In the WSGI environ, where no client can write (its headers are HTTP_…): the fault, and whether real channels follow.
DRILL = "bridge.drill"
NO_CHANNEL = 0  # no row has this id, so nothing of it is written to any channel's health
log = structlog.get_logger()


def lead_with_fault(routes: list[Route], visit: Visit) -> list[Route]:
    """The routes with the drill's in front: that of this one request, or the account's while its drill lasts. Where no
    real channel is connected, there is none to drill, unless none was wanted."""
    caller = visit.caller
    assert caller is not None
    fault, with_channels = visit.environ.get(DRILL) or (drill_of(caller), True)
    if fault is None or (with_channels and not routes):
        return routes
    log.info("drill", request_id=visit.request_id, account_id=caller.account_id, fault=fault)
    drill = Route(
        channel_id=NO_CHANNEL,
        channel_name="drill",
        provider=SANDBOX,
        base_url=None,
        sealed_key=None,
        priority=0,
        weight=1,
        upstream_id=f"{PREFIX}{fault}",
    )
    return [drill, *routes] if with_channels else [drill]
