"""What every inference endpoint does with a request, whatever dialect it came in: it has the request planned, puts it
to the limits, and opens the relay."""

from collections.abc import Callable

from flask import Response

from bridge.conversation.answer import Dialect
from bridge.errors import BridgeError
from bridge.inference.plan import Plan
from bridge.inference.relay import serve
from bridge.inference.stream import Stream
from bridge.v1.door import count, read_body
from bridge.v1.idempotency import find_answer, read_claim
from bridge.v1.visit import Visit

Planned = tuple[Plan, Dialect]


def answer_inference(visit: Visit, plan_body: Callable[[Visit, bytes], Planned]) -> Response:
    """One answer, whole or streamed. `plan_body` checks the body, measures what it can cost, and says what its client
    speaks. A request that is wrong counts against the limits all the same. Raises BridgeError."""
    data = read_body(visit)
    try:
        plan, dialect = plan_body(visit, data)
    except BridgeError:
        count(visit)
        raise
    settings = visit.services.settings
    lease_seconds = settings.total_timeout_seconds + settings.hold_grace_seconds
    count(visit, tokens=plan.reserved_tokens, lease_seconds=lease_seconds)
    claim = read_claim(visit)
    if claim is not None:
        kept = find_answer(visit, claim, data, stream=plan.request.stream)
        if kept is not None:
            return kept
    answer = serve(visit.ask(plan, dialect, claim))
    if isinstance(answer, Stream):
        return visit.stream(answer, answer.headers())
    return visit.answer(answer.body, 200, answer.headers())
