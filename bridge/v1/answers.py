"""What whole answers and streams have in common: the usage that a client reads, and what an upstream's error means."""

import contextlib
from collections.abc import Sequence
from typing import Any

import gevent
import structlog

from bridge.money import format_dollars
from bridge.providers.base import UNBELIEVABLE, AttemptFailed, Usage
from bridge.providers.http import Timeouts

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


def find_usage(relay: Any, theirs: Usage | None, text: Sequence[str], ended: bool = True) -> tuple[Usage, str]:
    """The provider's counts, or our own of the prompt and this text where it gave none that can be; and whose."""
    if theirs is not None and theirs != UNBELIEVABLE:
        return relay.check_counts(theirs), "provider"
    if theirs is not None:
        log.warning("usage_not_believed", request_id=relay.visit.request_id, channel=relay.attempts[-1].channel)
    return relay.check_counts(relay.count_delivered(text, ended)), "estimate"


def usage_body(usage: Usage, charge_nanos: int) -> dict[str, Any]:
    """Usage as the client reads it, with what was charged in dollars."""
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
        "cost": format_dollars(charge_nanos),
    }
