"""Whole answers and streams share this: who writes them, and what an upstream's error means."""

import contextlib
from collections.abc import Mapping, Set

import gevent
import structlog

from bridge.conversation.answer import AnswerWriter
from bridge.inference.ask import Ask
from bridge.inference.attempts import Attempt
from bridge.inference.plan import Offer
from bridge.inference.purchase import Purchase
from bridge.inference.upstream import UpstreamAnswer
from bridge.json_types import Json
from bridge.providers.base import AttemptFailed, Blame, Provider
from bridge.providers.blame.quoting import quote_error
from bridge.providers.wire.http import Timeouts
from bridge.reasoning.reasoning import keep_reasoning

MAX_ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 2.0  # within which a client that leaves is to be noticed
log = structlog.get_logger()


def read_failure(provider: Provider, answer: UpstreamAnswer, timeouts: Timeouts) -> AttemptFailed:
    """Read what an answer other than 200 means. It waits only briefly for the error's words: the next channel can be
    asked without them."""
    data = b""
    with contextlib.suppress(AttemptFailed), gevent.Timeout(min(ERROR_SECONDS, timeouts.idle_seconds), False):
        data = answer.read_all(MAX_ERROR_BYTES, timeouts.idle_seconds)
    failure = provider.read_error(answer.status, answer.headers, data)
    # words against the request may quote it, so of those the operator reads what the client does
    failure.said = failure.message if failure.blame is Blame.REQUEST else quote_error(data)
    return failure


def open_writer(ask: Ask, purchase: Purchase, offer: Offer) -> AnswerWriter:
    """The writer of an answer of this model, under the name that the client has for it."""
    return ask.dialect.open_writer(ask.request_id, offer.name, int(purchase.created_at.timestamp()))


def keep_reasoning_of(ask: Ask, kept: Mapping[str, Json]) -> None:
    """Keep what the provider wants back with the results of these calls. This happens before the client can answer
    them."""
    if kept:
        with ask.services.app.app_context():
            keep_reasoning(ask.caller.account_id, kept, ask.plan.request.turns)


def note_mended(attempt: Attempt, mended: Set[str]) -> None:
    """Log each oddity of an answer that was put right, once, so that operators know their server."""
    if mended:
        channel = attempt.record.channel
        log.info("answer_mended", request_id=attempt.request_id, channel=channel, oddities=sorted(mended))
