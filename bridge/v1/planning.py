"""From a Request to a Plan: what every endpoint checks of a request, whatever dialect it came in."""

from collections.abc import Iterable

from bridge.conversation.request import Request
from bridge.errors import InvalidRequest
from bridge.inference.meter import measure
from bridge.inference.offers import Weigh, list_offers, refuse_lowered_cap
from bridge.inference.plan import Plan
from bridge.money import parse_dollars
from bridge.v1.labels import read_labels
from bridge.v1.media import check_media
from bridge.v1.visit import Visit


def plan_request(
    visit: Visit,
    request: Request,
    others: Iterable[str],
    body_bytes: int,
    *,
    hour_writes: bool = False,
    weigh: Weigh = measure,
) -> Plan:
    """Measure what the request can cost, of the model asked for and of the `others` that may serve it. `hour_writes`:
    it may ask for an hour in a cache. `weigh` measures what is no conversation. Raises what is wrong with it; nothing
    was counted or held yet."""
    visit.model = request.model
    if request.media:
        check_media(request.media)
    labels, request = read_labels(visit, request)
    most, stop = visit.environ.get("HTTP_X_BRIDGE_MAX_COST"), visit.environ.get("HTTP_X_BRIDGE_STOP_AT")
    max_cost_nanos = None if most is None else _read_dollars(most, "x-bridge-max-cost", 0)
    stop_at_nanos = None if stop is None else _read_dollars(stop, "x-bridge-stop-at", 1)
    assert visit.caller is not None
    catalogue, caller = visit.services.catalogue, visit.caller
    offers = list_offers(catalogue, caller, request, others, body_bytes, hour_writes=hour_writes, weigh=weigh)
    if stop_at_nanos is not None:
        for offer in offers:
            offer.stop_at_nanos = stop_at_nanos
    strict = visit.header("HTTP_X_BRIDGE_STRICT").strip().lower() in ("true", "1")
    if strict:
        refuse_lowered_cap(offers[0])
    return Plan(request, offers, max_cost_nanos, strict, labels, stop_at_nanos)


def _read_dollars(text: str, header: str, least_nanos: int) -> int:
    """A header's dollars. An empty one is refused: whoever means to cap the cost is not to go without."""
    try:
        nanos = parse_dollars(text)
    except ValueError:
        nanos = -1
    if nanos < least_nanos:
        above = " above 0" if least_nanos else ""
        raise InvalidRequest(f"{header} must be dollars{above}, such as 0.05.", param=header)
    return nanos
