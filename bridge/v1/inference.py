"""What every inference endpoint does with a request, whatever dialect it came in: it has the request planned, puts it
to the limits, and opens the relay."""

from collections.abc import Callable

from flask import Response

from bridge.conversation.answer import Dialect
from bridge.errors import BridgeError
from bridge.inference.plan import Plan
from bridge.inference.relay import serve
from bridge.inference.resumable import ResumableStream
from bridge.inference.stream import Stream
from bridge.v1.door import count, read_body
from bridge.v1.form_body import forget_boundary
from bridge.v1.idempotency import find_answer, read_claim
from bridge.v1.resume import open_recording, replay, stream_resumable
from bridge.v1.visit import Visit

Planned = tuple[Plan, Dialect]


def answer_inference(
    visit: Visit, plan_body: Callable[[Visit, bytes], Planned], *, takes_forms: bool = False
) -> Response:
    """One answer, whole or streamed. `plan_body` checks the body, measures what it can cost, and says what its client
    speaks. `takes_forms`: see `read_body`. A request that is wrong counts against the limits all the same. Raises
    BridgeError."""
    data = read_body(visit, takes_forms=takes_forms)
    try:
        plan, dialect = plan_body(visit, data)
    except BridgeError:
        count(visit)
        raise
    settings = visit.services.settings
    lease_seconds = settings.total_timeout_seconds + settings.hold_grace_seconds
    count(visit, tokens=plan.reserved_tokens, lease_seconds=lease_seconds)
    recording = open_recording(visit, plan)
    try:
        claim = read_claim(visit)
        if claim is not None:
            said = forget_boundary(visit, data) if takes_forms else data
            kept = find_answer(visit, claim, said, stream=plan.request.stream)
            if kept is not None:
                return kept if recording is None else replay(visit, recording, kept)
        answer = serve(visit.ask(plan, dialect, claim, recording))
    except BaseException:
        if recording is not None:
            recording.drop()
        raise
    if isinstance(answer, ResumableStream):
        return stream_resumable(visit, answer, dialect.keepalive)
    if isinstance(answer, Stream):
        return visit.stream(answer, answer.headers())
    return visit.answer(answer.body, 200, answer.headers())
