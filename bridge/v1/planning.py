"""From a Conversation to a Plan: what every endpoint checks of a request, whatever dialect it came in."""

from collections.abc import Iterable

from bridge.conversation.request import Conversation
from bridge.errors import InvalidRequest
from bridge.inference.offers import list_offers, refuse_lowered_cap
from bridge.inference.plan import Plan
from bridge.money import parse_dollars
from bridge.v1.media import check_media
from bridge.v1.visit import Visit


def plan_request(
    visit: Visit, request: Conversation, others: Iterable[str], body_bytes: int, *, hour_writes: bool
) -> Plan:
    """Measure what the request can cost, of the model asked for and of the `others` that may serve it. `hour_writes`:
    it may ask for an hour in a cache. Raises what is wrong with it; nothing was counted or held yet."""
    if request.media:
        check_media(request.media)
    most = visit.environ.get("HTTP_X_BRIDGE_MAX_COST")
    max_cost_nanos = None if most is None else _read_max_cost(most)
    assert visit.caller is not None
    offers = list_offers(visit.services.catalogue, visit.caller, request, others, body_bytes, hour_writes=hour_writes)
    strict = visit.header("HTTP_X_BRIDGE_STRICT").strip().lower() in ("true", "1")
    if strict:
        refuse_lowered_cap(offers[0])
    return Plan(request, offers, max_cost_nanos, strict)


def _read_max_cost(text: str) -> int:
    """An empty one is refused: whoever means to cap the cost is not to go without."""
    try:
        nanos = parse_dollars(text)
    except ValueError:
        nanos = -1
    if nanos < 0:
        raise InvalidRequest("x-bridge-max-cost must be dollars, such as 0.05.", param="x-bridge-max-cost")
    return nanos
