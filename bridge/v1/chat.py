"""POST /v1/chat/completions: has the request planned, puts it to the limits, and opens the relay."""

from flask import Response

from bridge.dialects.chat.writer import Chat
from bridge.errors import BridgeError
from bridge.inference.relay import serve
from bridge.inference.stream import Stream
from bridge.v1.chat_body import plan_chat
from bridge.v1.door import count, read_body
from bridge.v1.idempotency import find_answer, read_claim
from bridge.v1.visit import Visit


def create_chat_completion(visit: Visit) -> Response:
    """One chat completion, whole or streamed. A request that is wrong counts against the limits all the same."""
    data = read_body(visit)
    plan, fault = None, None
    try:
        plan = plan_chat(visit, data)
    except BridgeError as error:
        fault = error
    settings = visit.services.settings
    count(
        visit,
        requests=1,
        tokens=plan.reserved_tokens if plan else 0,
        lease_seconds=settings.total_timeout_seconds + settings.hold_grace_seconds if plan else 0,
    )
    if plan is None:
        assert fault is not None
        raise fault
    claim = read_claim(visit)
    if claim is not None:
        kept = find_answer(visit, claim, data, stream=plan.request.stream)
        if kept is not None:
            return kept
    answer = serve(visit.ask(plan, Chat(plan.request.wants_usage), claim))
    if isinstance(answer, Stream):
        return visit.stream(answer, answer.headers())
    return visit.answer(answer.body, 200, answer.headers())
