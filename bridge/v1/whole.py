"""A whole answer: the first channel's that gives one, paid for before it goes out."""

from collections.abc import Callable
from typing import Any

import gevent
import msgspec
from flask import Response

from bridge.catalogue.routing import Route
from bridge.errors import BridgeError, ServiceUnavailable
from bridge.money import format_dollars
from bridge.providers import PROVIDERS
from bridge.providers.base import AttemptFailed, Blame, Completion, Outgoing, Usage
from bridge.providers.recast import is_whole, read_any_answer, says_something
from bridge.v1.answers import note_mended, read_failure, usage_body
from bridge.v1.choices import call_all, merge_completions
from bridge.v1.counts import find_usage
from bridge.v1.relay import Relay

SLACK_SECONDS = 0.25  # what the limits of single phases, which say more, come earlier by


def answer_whole(relay: Relay) -> Response:
    """The whole answer of the first channel that gives one, paid for. Raises what the client is told instead."""
    waiting, here = relay.services.waiting, gevent.getcurrent()
    waiting.add(here)
    try:
        try:
            usage, body, finish_reason, source = _ask_channels(relay)
            said = any(says_something(choice["message"]) for choice in body["choices"])
        finally:
            waiting.discard(here)
    except BridgeError as error:
        relay.refused(error)
        raise
    except Exception:
        relay.refused(ServiceUnavailable(""))
        raise
    except BaseException:  # the greenlet is ended: the sweeper settles, the channel is free at once
        relay.failover.leave(0)
        raise

    def write() -> bytes:
        return msgspec.json.encode({**body, "usage": usage_body(usage, relay.charge_nanos)})

    empty = not said and not usage.completion_tokens
    relay.settle("complete", usage, source=source, status=200, finish_reason=finish_reason, answer=write, empty=empty)
    cost = ("x-bridge-cost", format_dollars(relay.charge_nanos))
    return relay.visit.answer(write(), 200, [cost, *relay.adapted_headers()])


def _ask_channels(relay: Relay) -> tuple[Usage, dict[str, Any], str | None, str]:
    for route in relay.routes():
        try:
            completion = _ask(relay, route)
        except AttemptFailed as failure:
            relay.failed(failure)
            continue
        relay.keep_reasoning(completion.kept)
        relay.answered()
        note_mended(relay, completion.mended)
        created = completion.body.get("created")
        ours = {
            "id": relay.answer_id,
            "object": "chat.completion",
            "created": created if type(created) is int else int(relay.created_at.timestamp()),
            "model": relay.offer.name,
        }
        body = {**ours, **completion.body, **ours}  # twice: first in order, and ours whatever the upstream says
        usage, source = find_usage(relay, completion.usage, completion.text)
        return usage, body, completion.finish_reason, source
    raise relay.failover.explain()


def _ask(relay: Relay, route: Route) -> Completion:
    """One attempt: one call, or as many as there are choices. An answer that only drips is given up for the next
    channel while there is time. Raises AttemptFailed."""
    outgoing, left = relay.write(route), max(0.001, relay.time_left())
    patience = relay.timeouts().first_byte_seconds
    with gevent.Timeout(min(left, patience + SLACK_SECONDS), False):
        if relay.calls == 1:
            return _call(relay, route, outgoing)
        return merge_completions(call_all(relay.calls, lambda _: _call(relay, route, outgoing)))
    limit = "before the deadline" if left <= patience + SLACK_SECONDS else f"within {patience:g} s"
    raise AttemptFailed(Blame.UPSTREAM, f"no whole answer {limit}")


def read_whole(
    answer: Any, max_bytes: int, idle_seconds: float, end_seconds: float, is_all: Callable[[bytes], bool]
) -> bytes:
    """The whole body of an answer; also one whose connection stays open, or is cut, after all of it has come, as
    `is_all` says. Raises AttemptFailed when it is too large, silent or cut short."""
    pieces: list[bytes] = []
    received, silent = 0, 0.0
    announced = answer.headers.get("content-length", "")
    while max(received, int(announced) if announced.isdecimal() else 0) <= max_bytes:
        wait = min(end_seconds, idle_seconds - silent)
        try:
            data = answer.read_some(wait)
        except AttemptFailed:
            if is_all(body := b"".join(pieces)):
                return body
            raise
        if data == b"":
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data is None:
            silent += wait
            if received and is_all(body := b"".join(pieces)):
                return body
            if silent >= idle_seconds:
                raise AttemptFailed(Blame.UPSTREAM, f"silent for {idle_seconds:g} s", status=answer.status)
            continue
        silent = 0.0
        pieces.append(data)
        received += len(data)
    raise AttemptFailed(Blame.UPSTREAM, f"the answer is larger than {max_bytes} bytes", status=answer.status)


def _call(relay: Relay, route: Route, outgoing: Outgoing) -> Completion:
    provider, settings, timeouts = PROVIDERS[route.provider], relay.services.settings, relay.timeouts()
    answer = relay.services.upstream(route).send(outgoing, timeouts=timeouts)
    try:
        if answer.status != 200:
            raise read_failure(provider, answer, timeouts)
        choices = relay.offer.choices if relay.calls == 1 else 1
        data = read_whole(
            answer,
            settings.max_answer_bytes,
            timeouts.idle_seconds,
            settings.end_mark_seconds,
            lambda data: is_whole(provider, data, outgoing, choices),
        )
        return read_any_answer(provider, data, outgoing, choices)
    finally:
        answer.close()
