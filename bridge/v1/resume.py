"""Resumable streams: `x-bridge-resume` with any stream, and GET and DELETE of what is kept of one."""

import contextlib
import functools
import re
import time
from collections.abc import Callable

import gevent
from flask import Response, request

from bridge.db import db
from bridge.dialects.endings import find_sign_of_life, write_stream_end
from bridge.errors import BridgeError, InvalidRequest, MisconfiguredError, NotFound, ServiceUnavailable
from bridge.inference.plan import Plan
from bridge.inference.resumable import Resumable, ResumableStream
from bridge.ledger.usage import find_request, find_running_request, normalise_id
from bridge.resume.reader import Listener, Reader
from bridge.resume.recording import HEADER, Recording
from bridge.resume.store import MOST_EVENTS, RUNNING, Head, Headers, Want
from bridge.v1.client import HttpClient
from bridge.v1.door import count
from bridge.v1.receipts import answer_receipt
from bridge.v1.visit import Visit

YES, NO = ("true", "True", "1"), ("false", "False", "0")
NUMBER = re.compile(r"\d{1,9}", re.ASCII)
OPEN_SECONDS = 1.0
END_SECONDS = 10.0
LOOK_SECONDS = 0.1
REPLAYED = [("Idempotent-Replayed", "true"), ("x-bridge-cost", "0"), ("x-bridge-attempts", "0")]


def open_recording(visit: Visit, plan: Plan) -> Recording | None:
    """What keeps the stream's events, where `x-bridge-resume` asks for it. Raises InvalidRequest for what can't be
    kept, and RateLimitExceeded or Unavailable where there is no room, or no store."""
    asked = visit.environ.get("HTTP_X_BRIDGE_RESUME")
    if asked is None or asked in NO:
        return None
    if asked not in YES:
        raise InvalidRequest(f"{HEADER} must be true or false.", param=HEADER, code="invalid_value")
    if not plan.request.stream:
        raise InvalidRequest(f'{HEADER} is for streams: send "stream": true, or leave it out.', param=HEADER)
    assert visit.caller is not None
    wanted = plan.request
    return visit.services.recorder.open(visit.request_id, visit.caller.account_id, wanted.endpoint, wanted.model)


def stream_resumable(visit: Visit, stream: ResumableStream, keepalive: bytes) -> Response:
    """The stream, which goes on when its client has left."""
    recording, outlet = stream.recording, visit.outlet
    visit.outlet = None
    recording.headers = stream.headers()

    def open_reader(after: int) -> Reader:  # the visit goes on with the stream, whoever reads it
        return _open_reader(visit, recording.request_id, recording.head, after, lambda: None)

    frames = stream if outlet is None else outlet(stream)
    return visit.stream(Resumable(stream, frames, keepalive, recording, open_reader), recording.headers)


def replay(visit: Visit, recording: Recording, kept: Response) -> Response:
    """The answer to the same Idempotency-Key, by its numbered events while all of them are kept; otherwise `kept`,
    which has no numbers and so can't be read on."""
    recording.drop()
    store = visit.services.recorder.store
    found = store.find(visit.request_id)
    if found is None or not store.read(Want(visit.request_id, MOST_EVENTS, found[0].owner)).is_complete:
        return kept
    visit.outlet = None
    return visit.stream(_open_reader(visit, visit.request_id, found[0], 0, visit.leave), REPLAYED)


def resume_stream(visit: Visit, request_id: str) -> Response:
    """The events of a stream from behind the one that the client had last, and then those to come. Raises NotFound for
    what isn't kept, and InvalidRequest."""
    count(visit)
    after = _read_after(visit)
    request_id, head, headers = _find(visit, request_id)
    visit.answer_for(request_id)
    until = time.monotonic() + OPEN_SECONDS
    while not headers and time.monotonic() < until:  # its first events are on their way
        gevent.sleep(LOOK_SECONDS)
        request_id, head, headers = _find(visit, request_id)
    _require_seen(visit, request_id)
    if request.method == "HEAD":
        visit.leave()
        return visit.stream([], headers)
    return visit.stream(_open_reader(visit, request_id, head, after, visit.leave), headers)


def end_request(visit: Visit, request_id: str) -> Response:
    """End a running request; its receipt says what was charged, as for a client that leaves. Raises NotFound for one
    that wasn't asked for with `x-bridge-resume`."""
    count(visit)
    request_id, head, _ = _find(visit, request_id)
    _require_seen(visit, request_id)
    store, want = visit.services.recorder.store, Want(request_id, MOST_EVENTS, head.owner)
    until = time.monotonic() + END_SECONDS
    if _runs(visit, want):
        store.cancel(request_id, head.owner)
    while _runs(visit, want) and time.monotonic() < until:
        gevent.sleep(LOOK_SECONDS)
    try:
        return answer_receipt(visit, request_id)
    except NotFound:
        raise ServiceUnavailable(
            f"The request is being ended. GET /v1/requests/{request_id} says what was charged, once it is."
        ) from None


def _runs(visit: Visit, want: Want) -> bool:
    found = visit.services.recorder.store.read(want)
    return not found.blocks and found.state == RUNNING


def _find(visit: Visit, request_id: str) -> tuple[str, Head, Headers]:
    """The stream's id, in either form, and what is kept of it besides events."""
    assert visit.caller is not None
    request_id = normalise_id(request_id)
    found = visit.services.recorder.store.find(request_id)
    if found is None or found[0].account_id != visit.caller.account_id:
        raise _find_nothing(visit)
    return request_id, *found


def _require_seen(visit: Visit, request_id: str) -> None:
    """Raise NotFound for what a key of another member asked for, where the caller reads about their own alone."""
    assert visit.caller is not None
    account_id, member_id = visit.caller.account_id, visit.caller.seen_member_id
    if member_id is None:
        return
    for find in (find_running_request, find_request):  # in this order: it may end in between
        with contextlib.suppress(NotFound):
            find(account_id, request_id, member_id)
            db.session.commit()  # no connection is held while the stream goes on
            return
    raise _find_nothing(visit)


def _find_nothing(visit: Visit) -> NotFound:
    minutes = visit.services.settings.resume_seconds / 60
    return NotFound(
        f"No stream of this id is kept: it was not asked for with {HEADER}: true, it ended before its first event, or "
        f"it ended more than {minutes:g} minutes ago. GET /v1/requests/{{id}} has the receipt."
    )


def _read_after(visit: Visit) -> int:
    """The number of the last event that the client has: `after`, or what an EventSource says when it comes again."""
    name, text = "after", request.args.get("after")
    if text is None:
        name, text = "Last-Event-ID", visit.header("HTTP_LAST_EVENT_ID").strip() or "0"
    if not NUMBER.fullmatch(text):
        raise InvalidRequest(
            f"{name} must be the number of the last event that you have, such as 12, or 0.",
            param=name,
            code="invalid_value",
        )
    return int(text)


def _open_reader(visit: Visit, request_id: str, head: Head, after: int, leave: Callable[[], None]) -> Reader:
    services = visit.services

    def must_go() -> BridgeError | None:
        return services.restarts() if time.monotonic() > services.stop_streams_at else None

    write_end = functools.partial(write_stream_end, head.endpoint, request_id, head.model)

    listener = Listener(
        find_sign_of_life(head.endpoint),
        services.settings.keepalive_seconds,
        HttpClient(visit.environ).has_left,
        must_go,
        write_end,
        leave,
    )
    try:
        return Reader(services.recorder.store, request_id, head, after, listener)
    except MisconfiguredError:  # it was sealed under a master key that is gone
        raise _find_nothing(visit) from None
