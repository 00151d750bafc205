"""What whole answers and streams have in common: the usage that a client reads, and what an upstream's error means."""

import contextlib
from collections.abc import Set
from typing import Any

import gevent
import msgspec
import structlog

from bridge.money import format_dollars
from bridge.providers.base import AttemptFailed, Usage
from bridge.providers.http import Timeouts
from bridge.v1.counts import describe_counts

MAX_ERROR_BYTES = 64 * 1024
ERROR_SECONDS = 2.0  # within which a client that leaves is to be noticed
log = structlog.get_logger()


def read_failure(provider: Any, answer: Any, timeouts: Timeouts) -> AttemptFailed:
    """What an answer that isn't 200 means. Its words are waited for a little: the next channel can be asked without."""
    data = b""
    with contextlib.suppress(AttemptFailed), gevent.Timeout(min(ERROR_SECONDS, timeouts.idle_seconds), False):
        data = answer.read_all(MAX_ERROR_BYTES, timeouts.idle_seconds)
    failure: AttemptFailed = provider.read_error(answer.status, answer.headers, data)
    return failure


def note_mended(relay: Any, mended: Set[str]) -> None:
    """What was odd about an answer and was put right: once for each, so that an operator knows their server."""
    if mended:
        channel = relay.attempts[-1].channel
        log.info("answer_mended", request_id=relay.visit.request_id, channel=channel, oddities=sorted(mended))


def usage_body(usage: Usage, charge_nanos: int) -> dict[str, Any]:
    """Usage as the client reads it, with what was charged in dollars, and what the provider said where it differs."""
    heard = usage.audio_tokens + usage.cached_audio_tokens
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            **({"audio_tokens": heard} if heard else {}),
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **({"provider_counts": describe_counts(usage.altered.said)} if usage.altered else {}),
        "cost": msgspec.Raw(format_dollars(charge_nanos).encode()),  # a number, with its exact digits
    }
